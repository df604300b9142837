"""A cancel that is refused or lost is chased, and not more often than every ten seconds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from connectors.ibkr import sender
from connectors.ibkr.open_orders import ANSWER_S, CANCEL_AGAIN_S, LIFE_S, OpenOrder, OpenOrders
from contracts.instruments import INSTRUMENTS
from contracts.orders import SessionState
from tests.execution.test_sender import RESTING, Hand

SPY = INSTRUMENTS["SPY"]


def resting(*, snapshots: int = 1, unlisted: bool = False) -> OpenOrders:
    """An order, 7, that has worked through some snapshots, the last at 0 s; or that none of them had."""
    orders = OpenOrders()
    orders.add(7, OpenOrder("a" * 24, SPY, "ofi", 10, -100.0, -97.0))
    for _ in range(snapshots):
        orders.reading()
        if not unlisted:
            orders.named(7, 900, (10, None))
        orders.asked(0.0)
    return orders


def snapshots(orders: OpenOrders, until_s: float, cancel: Callable[[float], None]) -> list[float]:
    """When snapshots are read, by the clock of the session; each READY has the cancel written anew."""
    read = []
    for now_s in itertools.takewhile(lambda now_s: now_s < until_s, itertools.count(0.0, 0.1)):
        if orders.overdue(now_s):
            read.append(round(now_s, 1))
            orders.reading()
            orders.named(7, 900, (10, None))
            orders.asked(now_s)
            cancel(now_s + 0.01)
    return read


def test_a_cancel_without_an_answer_is_asked_about_soon_though_the_order_is_old_and_then_every_ten_seconds() -> None:
    orders = resting(snapshots=12)
    assert not orders.overdue(100.0)
    orders.cancelled(7, 0.0)
    read = snapshots(orders, 60.0, lambda now_s: orders.cancelled(7, now_s))
    assert read[0] == pytest.approx(ANSWER_S, abs=0.2)
    gaps_s = [later - earlier for earlier, later in itertools.pairwise(read)]
    assert len(gaps_s) >= 5
    assert all(CANCEL_AGAIN_S <= gap_s <= CANCEL_AGAIN_S + 0.3 for gap_s in gaps_s), read


def test_a_cancel_that_is_refused_each_time_leads_to_one_snapshot_at_once_and_then_to_one_in_ten_seconds() -> None:
    orders = resting()

    def refused(now_s: float) -> None:
        orders.cancelled(7, now_s)
        orders.cancel_refused(7)

    refused(0.0)
    read = snapshots(orders, 60.0, refused)
    assert read[0] == 0.0
    assert 5 <= len(read) <= 7, read


def test_a_cancel_after_a_new_connection_is_a_first_one_again() -> None:
    orders = resting()
    orders.cancelled(7, 0.0)
    orders.cancel_refused(7)
    orders.reconnected()
    orders.asked(1.0)
    order = orders.get(7)
    assert order is not None
    orders.cancelled(7, 1.0)
    assert order.due_s == 1.0 + ANSWER_S
    orders.cancel_refused(7)
    assert order.due_s == 0.0


def test_an_order_that_is_over_is_not_asked_about_because_its_cancel_crossed_its_end() -> None:
    orders = resting()
    orders.status(7, "Cancelled", 0, 1.0)
    orders.cancelled(7, 1.0)
    orders.cancel_refused(7)
    assert not orders.overdue(1e9)


def test_a_probe_of_an_order_that_nobody_here_knows_is_looked_at_again_until_it_is_answered() -> None:
    orders = OpenOrders()
    orders.cancelled(9, 0.0)
    orders.cancelled(9, 9.0)
    assert orders.overdue(CANCEL_AGAIN_S - 0.1) == []
    assert orders.overdue(CANCEL_AGAIN_S) == [9], "asking again is no answer"
    orders.asked(CANCEL_AGAIN_S)
    assert orders.overdue(1e9) == [], "who still waits asks again at READY"
    orders.cancelled(9, CANCEL_AGAIN_S)
    orders.unknown_there(9)
    assert orders.overdue(1e9) == []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The sender's monotonic clock, in a list."""
    now_s = [1000.0]
    monkeypatch.setattr(sender, "time", type("Clock", (), {"monotonic": lambda: now_s[0], "time_ns": lambda: 0}))
    return now_s


async def killed(clock: list[float]) -> Hand:
    """A resting order, 7, under a kill that READY has carried out."""
    hand = await Hand().open()
    await hand.place(7, **RESTING)
    assert hand.wire.written == [("order", 7, 100.0)]
    clock[0] += 60.0
    await hand.sender.latch(("instrument:SPY",))
    return hand


def new_snapshot(hand: Hand, clock: list[float]) -> Any:
    hand.ears.epoch += 1
    hand.ears.orders.reading()
    hand.ears.orders.named(7, 900, (100, None))
    hand.ears.orders.asked(clock[0])
    return hand.sender.latch(("instrument:SPY",))


def cancels(hand: Hand) -> int:
    return hand.wire.written.count(("cancel", 7))


async def test_each_ready_under_a_kill_does_not_write_its_cancels_again(clock: list[float]) -> None:
    hand = await killed(clock)
    for _ in range(20):
        clock[0] += 0.2
        await new_snapshot(hand, clock)
        await hand.sender.pay()
    assert cancels(hand) == 1
    clock[0] += CANCEL_AGAIN_S
    await new_snapshot(hand, clock)
    assert cancels(hand) == 2


async def test_a_person_who_kills_again_is_heard_at_once(clock: list[float]) -> None:
    hand = await killed(clock)
    clock[0] += 1.5
    await hand.sender.latch(("instrument:SPY",))
    assert cancels(hand) == 2
    clock[0] += 1.5
    await hand.sender.hold({"account": False})
    assert cancels(hand) == 3


async def test_a_killed_order_that_still_works_is_named_once_a_kill(clock: list[float]) -> None:
    hand = await killed(clock)
    assert hand.sender.outlived(clock[0] + LIFE_S - 0.1) == []
    assert [text.split(" (")[0] for text in hand.sender.outlived(clock[0] + LIFE_S)] == ["order 7 of SPY"]
    clock[0] += 30.0
    await new_snapshot(hand, clock)
    assert hand.sender.outlived(clock[0] + 100.0) == []
    await hand.sender.latch(())
    assert hand.sender.outlived(clock[0]) == []
    await hand.sender.latch(("account",))
    assert len(hand.sender.outlived(clock[0] + LIFE_S)) == 1, "another kill"


async def test_a_kill_that_waits_for_a_session_is_named_too_and_one_of_an_order_that_is_nowhere_is_not(
    clock: list[float],
) -> None:
    hand = await Hand().open()
    await hand.place(7, **RESTING)
    hand.state = SessionState.DISCONNECTED
    await hand.sender.latch(("account",))
    assert len(hand.sender.outlived(clock[0] + LIFE_S)) == 1
    hand = await killed(clock)
    hand.ears.orders.reading()
    hand.ears.orders.asked(clock[0])
    assert hand.sender.outlived(clock[0] + LIFE_S) == [], "the snapshot does not have it: its row is UNKNOWN"
