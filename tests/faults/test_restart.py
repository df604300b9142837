"""What a restart finds half done: a claim that never left, one that did, a kill in between, a closed latch."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from agents.execution import RESEND_NS, OrderRow
from contracts import topics as t
from contracts.controls import KillCommand
from contracts.orders import OrderCommand, OrderState
from tests.faults.desk_harness import MiniDesk, mini_desk
from tests.gateway.gateway_harness import local_gateway

pytestmark = pytest.mark.slow


S = OrderState


def claim(age_ns: int = 0) -> OrderCommand:
    return OrderCommand(
        intent_id=f"{77:024x}",
        order_id=7,
        instrument="SPY",
        side="BUY",
        quantity_lots=10,
        limit_price=Decimal("100.10"),
        time_in_force="IOC",
        ts_event_ns=time.time_ns(),
        ts_ingest_ns=time.time_ns() - age_ns,
        strategy="ofi",
    )


async def restarted(desk: MiniDesk, command: OrderCommand) -> None:
    """The row of a claim is all that is left of the last process."""
    await desk.crash()
    desk.rows["execution"][command.intent_id] = OrderRow(command)
    await desk.start()
    await desk.is_ready()


async def test_p4_a_claim_that_never_left_us_is_sent_once() -> None:
    async with mini_desk() as desk:
        await restarted(desk, claim())
        await desk.settled()
        assert desk.order(claim().intent_id).state is S.FILLED
        assert len(desk.gateway.ledger.orders) == 1


async def test_p5_a_claim_that_did_leave_us_is_found_and_not_sent_again() -> None:
    async with mini_desk() as desk:
        command = claim()
        await desk.until(lambda: desk.session.sender._spoken.is_set(), "the latch")
        await desk.session.sender.place(command)
        await restarted(desk, command)
        await desk.settled()
        assert desk.order(command.intent_id).state is S.FILLED
        assert len(desk.gateway.ledger.orders) == 1


@pytest.mark.parametrize("left_us", [True, False])
async def test_a_claim_under_a_kill_is_not_sent_and_what_became_of_it_is_found_out(left_us: Any) -> None:
    async with mini_desk() as desk:
        command = claim()
        await desk.until(lambda: desk.session.sender._spoken.is_set(), "the latch")
        if left_us:
            await desk.session.sender.place(command)
        kill = KillCommand(operator="Ada", reason="a test", ts_ns=time.time_ns())
        desk.say(t.CONTROL, "switch", kill)
        await desk.until(lambda: desk.rows["latch"]["desk"].kills, "the kill")
        await restarted(desk, command)
        await desk.settled()
        assert desk.order(command.intent_id).state is (S.FILLED if left_us else S.CANCELLED)
        assert len(desk.gateway.ledger.orders) == left_us


async def test_a_claim_too_old_for_its_market_is_not_sent_and_ends_by_the_gateways_word() -> None:
    async with mini_desk() as desk:
        command = claim(age_ns=RESEND_NS + 1_000_000_000)
        await restarted(desk, command)
        await desk.settled()
        assert desk.order(command.intent_id).state is S.CANCELLED
        assert not desk.gateway.ledger.orders


async def test_nothing_is_sent_before_the_latch_has_spoken() -> None:
    async with local_gateway() as gateway:
        desk = MiniDesk(gateway)
        desk.specs = [spec for spec in desk.specs if spec.name != "latch"]
        await desk.start()
        await desk.is_ready()
        desk.say(t.ORDER_COMMANDS, claim().intent_id, claim())
        await desk.until(lambda: desk.order(claim().intent_id) is not None, "its row")
        await desk.until(lambda: desk.order(claim().intent_id).state is S.CANCELLED, "NotSent")
        assert not gateway.ledger.orders
        await desk.crash()


async def test_a_second_owner_gets_no_order_out() -> None:
    """The client id is the lock: the loser is told 326 and stays away."""
    async with mini_desk() as desk:
        second = MiniDesk(desk.gateway)
        await second.start()
        await second.until(lambda: "326" in second.session.reason, "the refusal")
        second.say(t.ORDER_COMMANDS, claim().intent_id, claim())
        await second.until(lambda: second.order(claim().intent_id) is not None, "its row")
        await second.until(lambda: second.order(claim().intent_id).state is S.CANCELLED, "NotSent")
        assert not desk.gateway.ledger.orders
        assert desk.ready
        await second.crash()
