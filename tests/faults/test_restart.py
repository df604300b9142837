"""What a restart finds half done: a claim that never left, one that did, a kill in between, a closed latch."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from agents.orders import OrderRow
from contracts import topics as t
from contracts.controls import KillCommand
from contracts.orders import STALE_NS, OrderCommand, OrderState, SessionEvent, SessionState
from tests.faults.desk_harness import MiniDesk, mini_desk
from tests.gateway.gateway_harness import local_gateway

pytestmark = pytest.mark.slow


S = OrderState


def claim(age_ns: int = 0, number: int = 77, order_id: int = 7) -> OrderCommand:
    return OrderCommand(
        intent_id=f"{number:024x}",
        order_id=order_id,
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
        await desk.until(lambda: desk.session.sender._killed is not None, "the latch")
        await desk.session.sender.place(command)
        await restarted(desk, command)
        await desk.settled()
        assert desk.order(command.intent_id).state is S.FILLED
        assert len(desk.gateway.ledger.orders) == 1


@pytest.mark.parametrize("left_us", [True, False])
async def test_a_claim_under_a_kill_is_not_sent_and_what_became_of_it_is_found_out(left_us: Any) -> None:
    async with mini_desk() as desk:
        command = claim()
        await desk.until(lambda: desk.session.sender._killed is not None, "the latch")
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
        command = claim(age_ns=STALE_NS + 1_000_000_000)
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
        await desk.until(lambda: desk.session.pacing.queue == 1, "the order in the queue")
        assert not gateway.ledger.orders
        await desk.session.sender.latch(())
        await desk.settled()
        assert len(gateway.ledger.orders) == 1
        await desk.crash()


async def test_a_second_owner_gets_no_order_out() -> None:
    """The client id is the lock: the loser is told 326 and stays away."""
    async with mini_desk() as desk:
        second = MiniDesk(desk.gateway)
        await second.start()
        await second.until(lambda: "326" in second.session.reason, "the refusal")
        second.say(t.ORDER_COMMANDS, claim().intent_id, claim())
        await second.until(lambda: second.order(claim().intent_id) is not None and not second.queue, "its row")
        assert second.order(claim().intent_id).state is S.PENDING_SUBMIT
        assert not desk.gateway.ledger.orders
        assert desk.ready
        await second.crash()


async def test_an_order_claimed_while_the_session_is_away_goes_out_once_ready_is_real() -> None:
    async with local_gateway() as gateway:
        desk = MiniDesk(gateway)
        stale = SessionEvent(
            state=SessionState.READY, epoch=7, next_order_id=1, account="", reason="", ts_ns=time.time_ns()
        )
        desk.say(t.ORDER_COMMANDS, claim().intent_id, claim())
        desk.say(t.BROKER_EVENTS, t.BROADCAST, stale)
        await desk.start()
        await desk.until(lambda: desk.order(claim().intent_id) is not None, "its row")
        await desk.settled()
        assert desk.order(claim().intent_id).state is S.FILLED
        assert len(gateway.ledger.orders) == 1
        await desk.crash()


async def test_orders_that_wait_for_ready_go_out_by_their_ids_and_no_new_one_overtakes_them() -> None:
    """The gateway takes no id below the last one (103): the order that comes too late would be lost."""
    async with mini_desk() as desk:
        await desk.crash()
        waiting = [claim(number=number, order_id=20 - number) for number in (1, 2, 3)]
        for command in waiting:
            desk.rows["execution"][command.intent_id] = OrderRow(command)
        new = claim(number=4, order_id=30)
        desk.say(t.ORDER_COMMANDS, new.intent_id, new)
        await desk.start(asleep=True)
        await desk.until(lambda: desk.session.state is SessionState.READY, "READY, of which the agents do not know yet")
        desk.wake()
        await desk.until(lambda: new.intent_id in desk.rows["execution"], "its row")
        await desk.settled()
        assert [desk.order(command.intent_id).state for command in (*waiting, new)] == [S.FILLED] * 4


async def test_an_order_whose_session_comes_back_too_late_is_not_sent_and_the_report_says_stale() -> None:
    async with mini_desk() as desk:
        command = claim(age_ns=STALE_NS - 500_000_000)
        desk.gateway.arm("G10", mode="reset", for_s=1.0)
        await desk.until(lambda: desk.session.state is SessionState.DISCONNECTED, "the loss of the session")
        desk.say(t.ORDER_COMMANDS, command.intent_id, command)
        await desk.is_ready()
        await desk.settled()
        assert desk.order(command.intent_id).reason.startswith("stale: ")
        assert not desk.gateway.ledger.orders
