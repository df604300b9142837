"""Kills: blocked, cancelled, latched; ahead of all that waits; straight to the gateway when nothing else lives."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import Any

import pytest

from app.broker import obey
from app.killfile import Kill, add, remove
from connectors.ibkr import emergency
from connectors.ibkr.session import Address
from contracts import topics as t
from contracts.controls import KillCommand, ResetCommand
from contracts.orders import CancelCommand, OrderCommand, OrderState, SessionState
from tests.faults.desk_harness import MiniDesk, mini_desk
from tests.gateway.gateway_harness import local_gateway

pytestmark = pytest.mark.slow


S = OrderState


def resting(desk: MiniDesk, number: int, instrument: str = "SPY", **changes: Any) -> OrderCommand:
    """A day order far below the market: it works until somebody ends it."""
    values: dict[str, Any] = {
        "intent_id": f"{number:024x}",
        "order_id": number,
        "instrument": instrument,
        "side": "BUY",
        "quantity_lots": 1,
        "limit_price": Decimal("50.00"),
        "time_in_force": "DAY",
        "ts_event_ns": desk.now_ns,
        "ts_ingest_ns": time.time_ns(),
        "strategy": "ofi",
    }
    return OrderCommand(**(values | changes))


async def work(desk: MiniDesk, count: int = 3, **changes: Any) -> list[str]:
    """Orders that work at the gateway; their intents."""
    orders = [resting(desk, 1000 + i, ("SPY", "QQQ", "AAPL", "MSFT")[i % 4], **changes) for i in range(count)]
    for order in orders:
        desk.say(t.ORDER_COMMANDS, order.intent_id, order)
    await desk.until(
        lambda: all(desk.order(o.intent_id) and desk.order(o.intent_id).state is S.ACKNOWLEDGED for o in orders),
        "working orders",
    )
    return [order.intent_id for order in orders]


def kill(desk: MiniDesk, scope: str = "account", flatten: bool = False) -> None:
    command = KillCommand(operator="Ada", reason="a test", scope=scope, flatten=flatten, ts_ns=time.time_ns())
    desk.say(t.CONTROL, "switch", command)


async def test_a_kill_cancels_what_works_blocks_what_comes_and_stays_until_a_named_reset() -> None:
    async with mini_desk() as desk:
        orders = await work(desk)
        kill(desk)
        await desk.until(lambda: all(desk.order(o).state is S.CANCELLED for o in orders), "the cancels", 2.0)
        desk.mark()
        intent = desk.intend()
        await desk.until(lambda: intent in desk.decided, "a decision")
        assert not desk.decided[intent]
        order = resting(desk, 1100)
        desk.say(t.ORDER_COMMANDS, order.intent_id, order)
        await desk.until(lambda: desk.order(order.intent_id) is not None, "its row")
        await desk.until(lambda: desk.order(order.intent_id).state is S.CANCELLED, "NotSent")
        assert len(desk.gateway.ledger.orders) == 3, "an order that passed admission before the kill was not sent"
        reset = ResetCommand(operator="Bo", reason="all clear", ts_ns=time.time_ns())
        desk.say(t.CONTROL, "switch", reset)
        await desk.until(lambda: desk.seen.switch == "ACTIVE", "the switch")
        desk.mark()
        intent = desk.intend()
        await desk.until(lambda: intent in desk.decided, "a decision")
        assert desk.decided[intent]
        await desk.settled()


@pytest.mark.parametrize("scope", ["instrument:SPY", "order:0000000000000000000003e8"])
async def test_a_kill_of_a_part_leaves_the_rest_alone(scope: Any) -> None:
    async with mini_desk() as desk:
        orders = await work(desk)
        kill(desk, scope)
        await desk.until(lambda: desk.order(orders[0]).state is S.CANCELLED, "the cancel", 2.0)
        assert [desk.order(order).state for order in orders[1:]] == [S.ACKNOWLEDGED] * 2


async def test_a_kill_of_a_strategy_leaves_the_other_strategy_alone() -> None:
    async with mini_desk() as desk:
        orders = await work(desk, 2)
        other = resting(desk, 1200, strategy="pairs")
        desk.say(t.ORDER_COMMANDS, other.intent_id, other)
        await desk.until(
            lambda: desk.order(other.intent_id) and desk.order(other.intent_id).state is S.ACKNOWLEDGED, "it works"
        )
        kill(desk, "strategy:ofi")
        await desk.until(lambda: all(desk.order(o).state is S.CANCELLED for o in orders), "the cancels", 2.0)
        assert desk.order(other.intent_id).state is S.ACKNOWLEDGED


async def test_p10_a_kill_whose_cancels_were_half_sent_is_carried_to_its_end_after_a_restart() -> None:
    async with mini_desk() as desk:
        orders = await work(desk, 30)
        kill(desk)
        await desk.until(lambda: any(desk.order(o).state is not S.ACKNOWLEDGED for o in orders), "the first cancel")
        await desk.crash()
        await desk.start()
        await desk.until(lambda: all(desk.order(o).state is S.CANCELLED for o in orders), "the last cancel", 10.0)
        assert not desk.violations()


async def test_a_kill_does_not_wait_behind_a_full_pacing_queue_and_nothing_violates_the_rate() -> None:
    async with mini_desk() as desk:
        orders = await work(desk, 20)
        flood = [resting(desk, 2000 + i) for i in range(100)]
        for order in flood:
            desk.say(t.ORDER_COMMANDS, order.intent_id, order)
        await desk.until(lambda: desk.session.pacing.queue > 0, "a queue")
        began = time.monotonic()
        await desk.session.sender.stop("account")
        assert time.monotonic() - began < 3.0
        await desk.until(lambda: all(desk.order(o).state in (S.CANCELLED,) for o in orders), "the cancels", 4.0)
        assert desk.gateway.hits("G11") == 0


async def test_orders_that_are_all_refused_and_asked_about_do_not_break_the_rate() -> None:
    """Refusals bring cancels, cancels bring a snapshot: the reserve of one window is not enough for all of them."""
    async with mini_desk() as desk:
        orders = [resting(desk, 1000 + number) for number in range(60)]  # IB takes 20 of an instrument and a side
        for order in orders:
            desk.say(t.ORDER_COMMANDS, order.intent_id, order)
        await desk.until(lambda: desk.rows["execution"].keys() >= {order.intent_id for order in orders}, "their rows")
        rows = [desk.order(order.intent_id) for order in orders]
        await desk.until(lambda: sum(row.state is S.REJECTED for row in rows) == 40, "the refusals")
        assert desk.gateway.hits("G11") == 0


async def test_flatten_closes_positions_and_tries_again_after_a_halt_refused_it() -> None:
    async with mini_desk() as desk:
        desk.intend(lots=10)
        await desk.until(lambda: desk.position("SPY") == 10, "a position")
        desk.gateway.arm("G19", symbol="SPY", for_s=1.0)
        desk.gateway.gateway.broker.books["SPY"].halted = False  # our quotes are from before the halt
        kill(desk, flatten=True)

        async def market() -> None:
            while True:
                desk.mark()
                await asyncio.sleep(0.1)

        marks = asyncio.create_task(market())
        try:
            await desk.until(lambda: desk.position("SPY") == 0, "the end of the position", 10.0)
        finally:
            marks.cancel()
        assert desk.gateway.ledger.positions == {}
        await desk.settled()


async def test_a_kill_file_blocks_and_cancels_without_kafka(tmp_path: Any) -> None:
    async with mini_desk() as desk:
        watch = asyncio.create_task(obey(desk.session, tmp_path))
        orders = await work(desk)
        add(tmp_path, Kill("instrument:SPY", "Ada", "Kafka is down"))
        began = time.monotonic()
        ledger = desk.gateway
        await desk.until(lambda: "Cancelled" in {o.status for o in ledger.ledger.orders.values()}, "the cancel", 1.0)
        assert time.monotonic() - began < 1.0
        await desk.until(lambda: desk.order(orders[0]).state is S.CANCELLED, "its report")
        assert desk.order(orders[1]).state is S.ACKNOWLEDGED
        remove(tmp_path, "instrument:SPY")
        watch.cancel()


async def test_a_kill_file_that_cannot_be_read_kills_the_account(tmp_path: Any) -> None:
    (tmp_path / "KILLED").write_text("{ not json\n")
    async with mini_desk() as desk:
        watch = asyncio.create_task(obey(desk.session, tmp_path))
        await asyncio.sleep(0)
        order = resting(desk, 1000)
        desk.say(t.ORDER_COMMANDS, order.intent_id, order)
        await desk.until(lambda: desk.order(order.intent_id) is not None, "its row")
        await desk.until(lambda: desk.order(order.intent_id).state is S.CANCELLED, "NotSent")
        assert not desk.gateway.ledger.orders
        watch.cancel()


async def test_with_the_worker_dead_the_command_line_cancels_and_flattens_straight_at_the_gateway() -> None:
    async with mini_desk() as desk:
        desk.intend(lots=10)
        await desk.until(lambda: desk.position("SPY") == 10, "a position")
        await work(desk, 5)
        await desk.crash()
        address = Address("127.0.0.1", desk.gateway.port, 9, simulated=True)
        async with emergency.connection(address) as ib:
            before, left, _ = await emergency.cancel_all(ib, 5.0)
            assert (before, left) == (5, 0)
            assert await emergency.flatten(ib, 5.0) == {}
        assert desk.gateway.ledger.positions == {}


async def test_without_a_gateway_the_command_line_says_what_to_do() -> None:
    with pytest.raises(emergency.EmergencyError, match="use TWS or telephone"):
        async with emergency.connection(Address("127.0.0.1", 1, 9, simulated=True)):
            pass


async def test_the_rollback_ends_the_session_and_it_stays_away_until_it_is_lifted(tmp_path: Any) -> None:
    async with mini_desk() as desk:
        watch = asyncio.create_task(obey(desk.session, tmp_path))
        add(tmp_path, Kill("account", "Ada", "rollback", flatten=True, disconnect=True))
        await desk.until(lambda: 1 not in desk.gateway.gateway.sessions, "the end of the session", 3.0)
        remove(tmp_path, "account")
        await desk.is_ready()
        watch.cancel()


@pytest.mark.parametrize("mode", ["pending", "cancelled"])
async def test_g23_a_fill_after_a_cancel_is_booked(mode: Any) -> None:
    async with mini_desk() as desk:
        desk.gateway.arm("G23", mode=mode, count=1)
        [order] = await work(desk, 1)
        desk.say(t.ORDER_COMMANDS, order, CancelCommand(intent_id=order, reason="test"))
        await desk.until(lambda: desk.order(order).state is S.FILLED, "the fill")
        await desk.settled()


@pytest.mark.parametrize("options", [{"mode": "late", "delay_s": 0.5}, {"mode": "10147"}, {"mode": "10148"}])
async def test_g12_a_cancel_that_is_late_or_denied_does_not_end_a_live_order_and_is_asked_for_again(
    options: Any,
) -> None:
    async with mini_desk() as desk:
        desk.gateway.arm("G12", count=1, **options)
        [order] = await work(desk, 1)
        desk.say(t.ORDER_COMMANDS, order, CancelCommand(intent_id=order, reason="test"))
        await desk.until(lambda: desk.gateway.hits("G12") == 1, "the fault")
        await desk.until(lambda: desk.order(order).state is S.CANCELLED, "the cancel")
        if options["mode"] != "late":
            cancelled = desk.states[order].index(S.PENDING_CANCEL)
            assert S.ACKNOWLEDGED in desk.states[order][cancelled:], "the snapshot said that it works"
        await desk.settled()


async def test_only_paper_accounts_are_traded() -> None:
    async with local_gateway(account="U1234567") as gateway:
        desk = MiniDesk(gateway)
        await desk.start()
        await desk.until(lambda: desk.session.state is SessionState.LOCKED, "LOCKED")
        await desk.until(lambda: [alert.code for _, alert in desk.alerts] == ["ACCOUNT_REFUSED"], "the alert")
        await desk.crash()
