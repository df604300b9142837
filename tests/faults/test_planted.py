"""One planted bug per invariant: each check fails when it should, and finds nothing in the desk as it is.

I11 (replay), I12 (tables) and I13 (dead letters) are checked where the whole flow runs, not here.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agents.controls import checks
from agents.controls.exposure import exposure
from agents.orders import move
from connectors.ibkr.ears import Ears
from connectors.ibkr.pacing import Pacing
from connectors.ibkr.sender import Sender
from connectors.ibkr.session import IbkrSession
from contracts import topics as t
from contracts.orders import OrderSent, OrderState
from tests.chaos import verdicts
from tests.faults.desk_harness import MiniDesk, mini_desk
from tests.faults.test_kill import kill, resting

pytestmark = pytest.mark.slow

Plant = Callable[[pytest.MonkeyPatch], None]
Story = Callable[[MiniDesk], Awaitable[verdicts.Broken]]
IN_TIME_S = 5.0


def change_step(desk: MiniDesk, name: str, change: Callable[[Any, Any, Any], Any]) -> None:
    """Let `change(row, record, step)` stand in for the step of an agent."""
    specs = {spec.name: spec for spec in desk.specs}
    step = specs[name].step
    specs[name] = dataclasses.replace(specs[name], step=lambda row, record: change(row, record, step))
    desk.specs = list(specs.values())


async def one_order(desk: MiniDesk) -> verdicts.Broken:
    """An order and its fill; the verdict when all is quiet, or when it should be."""
    intent = desk.intend()
    await desk.until(lambda: desk.gateway.ledger.executions, "the fill at the gateway")
    try:
        await desk.until(lambda: not desk.open_orders() and not desk.judge(), "quiet books", IN_TIME_S)
    except AssertionError:
        return desk.judge()
    assert desk.order(intent).state is OrderState.FILLED
    return desk.judge()


def send_twice(patch: pytest.MonkeyPatch) -> None:
    send = Sender._send

    def twice(self: Sender, command: Any) -> None:
        send(self, command)
        send(self, command.model_copy(update={"order_id": command.order_id + 500}))

    patch.setattr(Sender, "_send", twice)


def hear_no_execution(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ears, "on_execution", lambda self, contract, execution: None)


def book_the_wrong_way(desk: MiniDesk) -> None:
    def change(row: Any, record: Any, step: Any) -> Any:
        side = "SELL" if record.message.side == "BUY" else "BUY"
        return step(row, record._replace(message=record.message.model_copy(update={"side": side})))

    change_step(desk, "positions", change)


def decide_in_silence(desk: MiniDesk) -> None:
    def change(row: Any, record: Any, step: Any) -> Any:
        row, outputs = step(row, record)
        return row, [out for out in outputs if out.topic is not t.DECISIONS]

    change_step(desk, "admission", change)


@pytest.mark.parametrize(
    ("invariant", "plant"),
    [("I1", send_twice), ("I2", hear_no_execution), ("I3", book_the_wrong_way), ("I7", decide_in_silence)],
)
async def test_the_books_and_the_trail_of_one_order(invariant: Any, plant: Any, monkeypatch: Any) -> None:
    async with mini_desk() as desk:
        assert await one_order(desk) == []
    in_the_desk = plant in (book_the_wrong_way, decide_in_silence)
    if not in_the_desk:
        plant(monkeypatch)
    async with mini_desk() as desk:
        if in_the_desk:
            plant(desk)
        assert invariant in {name for name, _ in await one_order(desk)}


async def order_under_a_kill(desk: MiniDesk) -> verdicts.Broken:
    kill(desk)
    await desk.until(lambda: desk.rows["latch"]["desk"].kills, "the kill")
    before, order = desk.gateway.ledger, resting(desk, 1100)
    desk.say(t.ORDER_COMMANDS, order.intent_id, order)
    await desk.until(lambda: desk.order(order.intent_id), "its row")
    await desk.until(lambda: desk.order(order.intent_id).state is not OrderState.PENDING_SUBMIT, "its fate")
    return verdicts.silence(before, desk.gateway.ledger, flatten=False)


async def six_large_orders(desk: MiniDesk) -> verdicts.Broken:
    """200 lots at 100 dollars each, under a limit of 100,000 dollars."""
    for _ in range(6):
        desk.mark()
        intent = desk.intend(lots=200)
        await desk.until(lambda intent=intent: intent in desk.decided and not desk.open_orders(), "its end")
    return verdicts.exposure(desk.gateway.gateway.ledger.rows, 1_000)


async def sixty_orders_at_once(desk: MiniDesk) -> verdicts.Broken:
    for number in range(60):
        order = resting(desk, 1000 + number, ("SPY", "QQQ", "AAPL", "MSFT")[number % 4])
        desk.say(t.ORDER_COMMANDS, order.intent_id, order)
    await desk.until(lambda: desk.gateway.hits("G11") or len(desk.gateway.ledger.orders) == 60, "all of them")
    return [("I6", "error 100")] * desk.gateway.hits("G11")


async def children_of_one_parent(desk: MiniDesk) -> verdicts.Broken:
    for number in (1000, 1001):
        child = resting(desk, number, quantity_lots=8, parent_id="c" * 24, parent_lots=10)
        desk.say(t.ORDER_COMMANDS, child.intent_id, child)
        await desk.until(lambda name=child.intent_id: name in desk.states, "its fate")
    return [found for found in desk.judge() if found[0] == "I14"]


WITHOUT_EXPOSURE = tuple(check for check in checks.CHECKS if check is not exposure)
PLANTED: list[tuple[str, Story, Plant]] = [
    ("I4", order_under_a_kill, lambda patch: patch.setattr(Sender, "_refusal", lambda self, command: "")),
    ("I5", six_large_orders, lambda patch: patch.setattr(checks, "CHECKS", WITHOUT_EXPOSURE)),
    ("I6", sixty_orders_at_once, lambda patch: patch.setattr(Pacing, "free_in_s", lambda self, limit: 0.0)),
    ("I14", children_of_one_parent, lambda patch: patch.setattr(Sender, "_excess", lambda self, command: "")),
]


@pytest.mark.parametrize(("invariant", "story", "plant"), PLANTED, ids=[name for name, _, _ in PLANTED])
async def test_what_must_not_go_out(invariant: Any, story: Any, plant: Any, monkeypatch: Any) -> None:
    async with mini_desk() as desk:
        assert await story(desk) == []
    plant(monkeypatch)
    async with mini_desk() as desk:
        assert invariant in {name for name, _ in await story(desk)}


@pytest.mark.parametrize("planted", [False, True])
async def test_i8_a_silence_taken_for_a_cancel_is_seen(planted: Any) -> None:
    def change(row: Any, record: Any, step: Any) -> Any:
        row, outputs = step(row, record)
        if isinstance(record.message, OrderSent):
            outputs = [*outputs, *move(row, OrderState.CANCELLED, "no answer in time", record.message.ts_ns)]
        return row, outputs

    async with mini_desk() as desk:
        if planted:
            change_step(desk, "execution", change)
        desk.gateway.arm("G1", mode="accepted", count=1)
        order = resting(desk, 1000)
        desk.say(t.ORDER_COMMANDS, order.intent_id, order)
        await desk.until(lambda: desk.gateway.ledger.orders, "the order at the gateway")
        wanted = OrderState.CANCELLED if planted else OrderState.ACKNOWLEDGED
        await desk.until(lambda: desk.order(order.intent_id).state is wanted, "its state")
        assert [name for name, _ in desk.judge() if name == "I8"] == ["I8"] * planted


@pytest.mark.parametrize("planted", [False, True])
async def test_i9_a_session_that_does_not_come_back_is_seen(planted: Any) -> None:
    async with mini_desk() as desk:
        if planted:
            desk.session._back_off_s = (3_600,)
        ready = desk.reconnected(lambda: desk.gateway.arm("G10", mode="reset"))
        if planted:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ready, IN_TIME_S)
        else:
            await asyncio.wait_for(ready, IN_TIME_S)


@pytest.mark.parametrize("planted", [False, True])
async def test_i10_an_alert_that_does_not_come_is_seen(planted: Any, monkeypatch: Any) -> None:
    if planted:
        monkeypatch.setattr(IbkrSession, "_alert", lambda *_: None)
    async with mini_desk() as desk:
        desk.gateway.arm("G11", mode="100", count=1)
        order = resting(desk, 1000)
        desk.say(t.ORDER_COMMANDS, order.intent_id, order)
        alerted = desk.until(lambda: "100" in [alert.code for _, alert in desk.alerts], "the alert", IN_TIME_S)
        if planted:
            with pytest.raises(AssertionError, match="the alert"):
                await alerted
        else:
            await alerted
