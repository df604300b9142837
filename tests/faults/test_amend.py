"""Amends and order types on a real socket: the simulated gateway's ledger says which terms were in force."""

from __future__ import annotations

import asyncio
import random
import time
from decimal import Decimal
from typing import Any

import pytest

from contracts import topics as t
from contracts.orders import (
    TERMINAL,
    AmendCommand,
    AmendIntent,
    CancelCommand,
    CancelIntent,
    ExecutionReport,
    OrderIntent,
    OrderState,
)
from tests.faults.desk_harness import BUCKET_NS, MiniDesk, mini_desk

pytestmark = pytest.mark.slow

S = OrderState


def order(desk: MiniDesk, number: int = 1, **changes: Any) -> str:
    """A limit order of 10 lots, 5 ticks under the bid of 100.00, through admission; its intent id."""
    values: dict[str, Any] = {
        "intent_id": f"{number:024x}",
        "strategy": "ofi",
        "instrument": "SPY",
        "side": "BUY",
        "quantity_lots": 10,
        "arrival_bid_ticks": 10_000,
        "arrival_ask_ticks": 10_001,
        "position_lots": desk.position("SPY"),
        "regime": "calm",
        "ts_event_ns": desk.now_ns,
        "ts_ingest_ns": time.time_ns(),
        "bucket_ns": BUCKET_NS,
        "inputs": (),
        "order_type": "LIMIT",
        "limit_price": Decimal("99.95"),
        "time_in_force": "DAY",
    }
    intent = OrderIntent(**(values | changes))
    desk.say(t.ORDER_INTENTS, intent.instrument, intent)
    return intent.intent_id


async def working(desk: MiniDesk, **changes: Any) -> str:
    intent_id = order(desk, **changes)
    await desk.until(lambda: state(desk, intent_id) is S.ACKNOWLEDGED, "a working order")
    return intent_id


def amend(desk: MiniDesk, intent_id: str, lots: int, price: str, number: int = 2) -> str:
    request = AmendIntent(
        intent_id=f"{number:024x}",
        amends=intent_id,
        strategy="ofi",
        instrument="SPY",
        quantity_lots=lots,
        limit_price=Decimal(price),
        ts_event_ns=desk.now_ns,
        ts_ingest_ns=time.time_ns(),
        bucket_ns=BUCKET_NS,
        inputs=(),
    )
    desk.say(t.ORDER_INTENTS, "SPY", request)
    return request.intent_id


def state(desk: MiniDesk, intent_id: str) -> OrderState | None:
    row = desk.order(intent_id)
    return None if row is None else row.state


def settled(desk: MiniDesk, amend_id: str) -> list[ExecutionReport]:
    return [m for _, _, m in desk.log if isinstance(m, ExecutionReport) and m.amend_id == amend_id]


def at_the_broker(desk: MiniDesk) -> list[tuple[str, int, int]]:
    """(status, lots, limit in ticks) of every order of the gateway."""
    return [(str(o.status), o.ticket.lots, o.ticket.limit or 0) for o in desk.gateway.gateway.broker.open.values()]


async def test_an_amend_goes_through_admission_to_the_gateway_and_changes_the_one_order() -> None:
    async with mini_desk() as desk:
        intent_id = await working(desk)
        amend_id = amend(desk, intent_id, 15, "99.97")
        await desk.until(lambda: bool(settled(desk, amend_id)), "the word on the amend")
        assert at_the_broker(desk) == [("Submitted", 15, 9_997)]
        assert desk.states[intent_id][-2:] == [S.PENDING_AMEND, S.ACKNOWLEDGED]
        [report] = settled(desk, amend_id)
        assert (report.order_lots, report.limit_price) == (15, Decimal("99.97"))
        assert len(desk.gateway.ledger.orders) == 1
        assert not desk.alerts


async def test_an_amend_to_a_marketable_price_fills_the_order_at_its_new_size() -> None:
    async with mini_desk() as desk:
        intent_id = await working(desk)
        amend(desk, intent_id, 15, "100.01")
        await desk.until(lambda: state(desk, intent_id) is S.FILLED, "the fill")
        await desk.settled()
        assert desk.position("SPY") == 15


async def test_a_fill_that_crosses_the_amend_is_booked_once() -> None:
    """The market comes to the order while its amend is on the way: nothing is lost, doubled or left open."""
    async with mini_desk() as desk:
        intent_id = await working(desk)
        amend(desk, intent_id, 15, "99.96")
        desk.gateway.market.book((("99.89", 500),), (("99.90", 500),))
        await desk.until(lambda: state(desk, intent_id) is S.FILLED, "the fill")
        await desk.settled()
        assert desk.position("SPY") in (10, 15)
        assert desk.rows["admission"]["desk"].working == {}


async def test_an_amend_that_the_gateway_refuses_leaves_the_old_order_in_force() -> None:
    """The account has no money for so many; error 201 carries the order's id, and the order works on."""
    async with mini_desk(cash=Decimal(5_000)) as desk:
        intent_id = await working(desk)
        amend_id = f"{2:024x}"
        command = AmendCommand(
            intent_id=intent_id,
            amend_id=amend_id,
            instrument="SPY",
            quantity_lots=5_000,
            limit_price=Decimal("99.97"),
            ts_ingest_ns=time.time_ns(),
        )
        desk.say(t.ORDER_COMMANDS, intent_id, command)
        await desk.until(lambda: bool(settled(desk, amend_id)), "the word on the amend")
        [report] = settled(desk, amend_id)
        assert report.state is S.ACKNOWLEDGED
        assert "201" in report.reason
        assert at_the_broker(desk) == [("Submitted", 10, 9_995)]
        assert S.UNKNOWN not in desk.states[intent_id]
        assert S.REJECTED not in desk.states[intent_id]


async def test_an_amend_whose_answer_is_lost_with_the_connection_is_settled_by_the_snapshot() -> None:
    async with mini_desk() as desk:
        intent_id = await working(desk)
        amend_id = amend(desk, intent_id, 15, "99.97")
        await desk.until(lambda: at_the_broker(desk) == [("Submitted", 15, 9_997)], "the new terms at the broker")
        await desk.crash()
        await desk.start()
        await desk.is_ready()
        await desk.until(lambda: bool(settled(desk, amend_id)), "the word on the amend")
        assert state(desk, intent_id) is S.ACKNOWLEDGED
        assert desk.order(intent_id).command.quantity_lots == 15


async def test_g5_an_amend_that_makes_a_second_order_is_found_locked_and_ended() -> None:
    async with mini_desk() as desk:
        desk.gateway.arm("G5", count=1)
        intent_id = await working(desk)
        amend(desk, intent_id, 15, "99.97")
        await desk.until(lambda: "TWO_BROKER_ORDERS" in [alert.code for _, alert in desk.alerts], "the alert")
        assert S.UNKNOWN in desk.states[intent_id]
        await desk.until(lambda: state(desk, intent_id) is S.CANCELLED, "the end of both orders", 15.0)
        assert at_the_broker(desk) == []
        assert [o.status for o in desk.gateway.ledger.orders.values()] == ["Cancelled", "Cancelled"]


async def test_a_cancel_intent_ends_the_order() -> None:
    async with mini_desk() as desk:
        intent_id = await working(desk)
        values = {"intent_id": f"{3:024x}", "cancels": intent_id, "strategy": "ofi", "instrument": "SPY"}
        times = {"ts_event_ns": desk.now_ns, "ts_ingest_ns": time.time_ns(), "bucket_ns": BUCKET_NS}
        desk.say(t.ORDER_INTENTS, "SPY", CancelIntent(**values, **times, inputs=()))  # type: ignore[arg-type]
        await desk.until(lambda: state(desk, intent_id) is S.CANCELLED, "the cancel")
        await desk.settled()


async def test_a_market_order_has_no_price_on_the_wire_and_fills_through_the_book() -> None:
    async with mini_desk() as desk:
        intent_id = order(desk, order_type="MARKET", limit_price=None, time_in_force="IOC")
        await desk.until(lambda: state(desk, intent_id) is S.FILLED, "the fill")
        [ticket] = [o.ticket for o in desk.gateway.gateway.broker.completed]
        assert (ticket.order_type, ticket.limit) == ("MKT", None)
        await desk.settled()


@pytest.mark.parametrize("seed", range(4))
async def test_amends_cancels_and_fills_that_cross_each_other_leave_equal_books(seed: int) -> None:
    """A market that comes and goes over a resting order, while its strategy changes its mind without waiting."""
    rng = random.Random(seed)
    async with mini_desk() as desk:
        for number in range(12):
            desk.mark()
            intent_id = order(desk, 100 * number + 1, quantity_lots=rng.randrange(5, 30))
            for turn in range(1, 6):
                choice = rng.random()
                if choice < 0.5:
                    price = Decimal(10_000 - rng.randrange(8)) / 100
                    amend(desk, intent_id, rng.randrange(5, 30), str(price), 100 * number + 1 + turn)
                elif choice < 0.8:
                    bid = 10_000 - rng.randrange(8)
                    size = rng.randrange(1, 20)
                    desk.gateway.market.book(((_dollars(bid), size),), ((_dollars(bid + 1), size),))
                    desk.gateway.market.trade(_dollars(bid), size, "SELL")
                await asyncio.sleep(rng.random() * 0.01)
            desk.gateway.market.book()
            desk.say(t.ORDER_COMMANDS, intent_id, CancelCommand(intent_id=intent_id, reason="the end of the round"))
            await desk.until(lambda i=intent_id: state(desk, i) in TERMINAL, f"seed {seed}: the end of round {number}")
        await desk.settled()
        row = desk.rows["admission"]["desk"]
        assert (row.working, row.locks) == ({}, {}), f"seed {seed}"
        codes = {alert.code for _, alert in desk.alerts}
        assert codes <= {"104", "201"}, f"seed {seed}: the gateway refused an amend, and nothing else was wrong"
        sent = [m for _, _, m in desk.log if isinstance(m, AmendCommand)]
        told = {m.amend_id for _, _, m in desk.log if isinstance(m, ExecutionReport) and m.amend_id}
        assert {m.amend_id for m in sent} == told, f"seed {seed}: each amend that was admitted is settled"
        assert len(sent) >= 5, f"seed {seed}"


def _dollars(ticks: int) -> str:
    return f"{ticks / 100:.2f}"
