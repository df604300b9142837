"""`python -m benchmarks.execution [--write]`: what the execution group costs, on a real socket and without Kafka.

Steps are timed alone; session and simulated gateway share one process and one core here, so the wire figures are an
upper bound of what the session adds. Latencies through Kafka are in the summary of `make demo`. `--write` puts the
figures on the page of all benchmarks.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Sequence
from decimal import Decimal

from agents.execution import step
from app.summary import percentile
from benchmarks import page
from contracts import topics as t
from contracts.orders import OrderCommand, OrderState
from tests.execution.admission_parts import LIMITS, Front, account, fleet, intent, mark, report, risk, verdict
from tests.execution.order_parts import Life, command, commission, execution, ready, record, sent, status
from tests.faults.desk_harness import MiniDesk, mini_desk

ORDERS = 200
WORKING = 100
BOOK = 100_000
"""Order rows that a READY goes over."""

NOTES = """Session and simulated gateway share one process and one core, without Kafka. A kill of the account is one
message, IB's global cancel; one of a strategy is a cancel for each order, at IB's 50 messages a second, and none of it
waits behind orders that wait for their turn. No run had a rate violation at the gateway."""

figures: list[str] = []
kills: list[str] = []


def show(name: str, values: Sequence[float], unit: str = "ms") -> None:
    ordered = sorted(values)
    p50, p95, p99 = (percentile(ordered, q) for q in (0.50, 0.95, 0.99))
    print(f"{name:<44} n {len(ordered):<5} p50 {p50:8.3f}  p95 {p95:8.3f}  p99 {p99:8.3f} {unit}")
    figures.append(f"| {name} | {p50:.2f} | {p95:.2f} | {p99:.2f} | {unit} | {len(ordered)} |")


def steps(count: int = 2_000) -> None:
    """CPU of one order through the pure steps: decision, claim, two statuses, fill, commission."""
    front = Front(limits=LIMITS.model_copy(update={"repeat_orders_max": 10**9, "orders_per_minute_max": 10**9}))
    admit, live, scale = [], [], []
    line = command().model_dump_json()
    for number in range(count):
        later = number // 4
        front.tell(mark(later=later), risk(-later), verdict(lives_buckets=count), account(age_s=-later), *fleet(-later))
        began = time.process_time()
        front.decide(intent(number, later=later, quantity_lots=10 + number % 4))
        admit.append((time.process_time() - began) * 1e6)
        front.tell(report(number, OrderState.CANCELLED))
        began = time.process_time()
        Life(sent(), status("PreSubmitted"), execution(100), status("Filled", filled=100), commission("1.00"))
        live.append((time.process_time() - began) * 1e6)
        began = time.process_time()
        OrderCommand.model_validate_json(line)
        scale.append((time.process_time() - began) * 1e6)
    assert front.state is not None
    assert front.state.admitted == count, f"denied {front.state.denied}: a denial is not what an order costs"
    show("CPU of reading one order command, for scale", scale, "us")
    show("CPU of a decision (admission)", admit, "us")
    show("CPU of an order's life (execution)", live, "us")
    show("CPU of both", [a + b for a, b in zip(admit, live, strict=True)], "us")


def ready_over_a_large_book() -> None:
    """READY reaches the row of every order there ever was."""
    row = Life(sent(), status("Submitted"), execution(100), status("Filled", filled=100)).row
    rows, event = dict.fromkeys(map(str, range(BOOK)), row), record(ready(2))
    began = time.process_time()
    for key in sorted(rows):
        step(rows[key], event)
    show(f"CPU of READY over {BOOK:,} orders that are over", [(time.process_time() - began) * 1e3])


async def latencies(desk: MiniDesk) -> None:
    """One order after the other: intent, bytes on the socket, first word of the gateway, fill."""
    cpu = time.process_time()
    began: dict[str, int] = {}
    for number in range(ORDERS):
        desk.mark()
        moment = time.time_ns()
        began[desk.intend(side="SELL" if number % 2 else "BUY")] = moment
        await desk.until(lambda n=number: not desk.open_orders() and len(desk.seen.executions) > n, "its fill")
        await asyncio.sleep(0.03)  # stay below the pacing, which is measured apart
    cpu_ms = (time.process_time() - cpu) * 1e3 / ORDERS
    times = desk.seen.times
    show("intent to submit", [(times[i]["sent"] - began[i]) / 1e6 for i in began])
    show("submit to acknowledgement", [(times[i]["ack"] - times[i]["sent"]) / 1e6 for i in began])
    show("intent to fill", [(times[i]["fill"] - began[i]) / 1e6 for i in began])
    show("CPU per order, desk and gateway together", [cpu_ms])


async def kill(desk: MiniDesk, scope: str, queued: int) -> None:
    """From the command to the last cancel on the socket, with orders working and others waiting for their turn."""
    orders = [_resting(desk, 10_000 + queued * 10 + i) for i in range(WORKING)]
    for order in orders:
        desk.say(t.ORDER_COMMANDS, order.intent_id, order)
    await desk.until(lambda: all(_works(desk, order) for order in orders), "working orders", 30.0)
    if not queued:
        await asyncio.sleep(1.1)  # an idle pacing window
    waiting = [asyncio.create_task(desk.session.sender.place(_resting(desk, 50_000 + i))) for i in range(queued)]
    await asyncio.sleep(0.2 if queued else 0)
    cancels: list[float] = []
    client = desk.session.sender._client
    single, every = client.cancelOrder, client.reqGlobalCancel

    def cancel_one(order_id: int, manual_time: str) -> None:
        cancels.append(time.monotonic())
        single(order_id, manual_time)

    def cancel_all() -> None:
        cancels.append(time.monotonic())
        every()

    client.cancelOrder, client.reqGlobalCancel = cancel_one, cancel_all
    began = time.monotonic()
    await desk.session.sender.latch((scope,), flatten=())
    await desk.until(lambda: not any(_works(desk, order) for order in orders), "the end of all orders")
    took = [(moment - began) * 1e3 for moment in cancels]
    label = f"kill of {scope}, {WORKING} working, {queued} queued"
    print(f"{label:<44} first {took[0]:.1f} ms, last {took[-1]:.1f} ms, {len(took)} messages")
    kills.append(f"| {scope} | {queued} | {took[0]:.1f} | {took[-1]:.1f} | {len(took)} |")
    await asyncio.gather(*waiting)
    client.cancelOrder, client.reqGlobalCancel = single, every
    await desk.session.sender.latch((), flatten=())
    assert desk.gateway.hits("G11") == 0, "the gateway counted a rate violation"


def _resting(desk: MiniDesk, number: int) -> OrderCommand:
    return OrderCommand(
        intent_id=f"{number:024x}",
        order_id=number,
        instrument=("SPY", "QQQ", "AAPL", "MSFT", "AMZN")[number % 5],
        side="BUY" if number % 2 else "SELL",
        quantity_lots=1,
        limit_price=Decimal("50.00") if number % 2 else Decimal("150.00"),
        time_in_force="DAY",
        ts_event_ns=desk.now_ns,
        ts_ingest_ns=time.time_ns(),
        strategy="ofi",
    )


def _works(desk: MiniDesk, order: OrderCommand) -> bool:
    row = desk.order(order.intent_id)
    return row is not None and row.state is OrderState.ACKNOWLEDGED


async def wire() -> None:
    async with mini_desk() as desk:
        await latencies(desk)
    for scope, queued in (("account", 0), ("account", 100), ("strategy:ofi", 0), ("strategy:ofi", 100)):
        async with mini_desk() as desk:
            await kill(desk, scope, queued)


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.execution")
    options.add_argument("--write", action="store_true", help="write the figures to docs/reference/benchmarks.md")
    write, load = options.parse_args().write, os.getloadavg()[0]
    steps()
    ready_over_a_large_book()
    asyncio.run(wire())
    if write:
        heads = ("| | p50 | p95 | p99 | | samples |", "|---|--:|--:|--:|---|--:|")
        kill_heads = (
            "| kill of | orders queued | first cancel, ms | last cancel, ms | messages |",
            "|---|--:|--:|--:|--:|",
        )
        parts = (page.machine("no Java", load), "\n".join((*heads, *figures)), "\n".join((*kill_heads, *kills)), NOTES)
        page.write("Execution", "\n\n".join(parts))


if __name__ == "__main__":
    main()
