"""The last hop: what is on the wire, what waits for its turn, and what never goes out."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from connectors.ibkr import sender as last_hop
from connectors.ibkr.ears import lots
from connectors.ibkr.pacing import MESSAGES_MAX, WINDOW_S, Pacing
from connectors.ibkr.sender import SINGLY_MAX, LostOwnershipError, Sender
from contracts.instruments import INSTRUMENTS
from contracts.orders import BrokerStatus, OrderSent, SessionState
from tests.execution.order_parts import INTENT, command
from tests.execution.test_sender import EPOCH, RESTING, Hand, Wire
from tests.gateway.gateway_harness import until


class Scribe(Wire):
    """A socket that keeps whole orders."""

    def __init__(self) -> None:
        super().__init__()
        self.orders: list[tuple[int, Any, Any]] = []

    def placeOrder(self, order_id: int, contract: Any, order: Any) -> None:  # noqa: N802 - the client library's names
        super().placeOrder(order_id, contract, order)
        self.orders.append((order_id, contract, order))


class Slow(Hand):
    """A hand whose clock stands still until it is moved."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.wire: Scribe = Scribe()
        self.pacing = Pacing(lambda: self.now_s)
        self.sender = Sender(self.wire, self.ears, self.pacing, lambda: self.state, self._say)
        self.sender.account = "DU1"

    def full(self) -> Slow:
        """As many messages as may go out have just gone out."""
        for _ in range(MESSAGES_MAX):
            self.pacing.count()
        return self

    @property
    def orders(self) -> list[int]:
        return [order_id for order_id, _, _ in self.wire.orders]

    @property
    def not_sent(self) -> dict[int, str]:
        words = [word for word in self.said if isinstance(word, BrokerStatus) and word.status == "NotSent"]
        return {word.order_id: word.reason for word in words}


async def slow() -> Slow:
    hand = Slow()
    await hand.open()
    return hand


@pytest.mark.parametrize("side", ["BUY", "SELL"])
@pytest.mark.parametrize(
    ("terms", "kind", "price", "tif"),
    [({}, "LMT", 600.1, "IOC"), (RESTING, "LMT", 601.0, "GTD"), ({"order_type": "MARKET"}, "MKT", None, "IOC")],
)
async def test_the_order_on_the_wire_is_the_one_that_was_commanded(
    side: str, terms: Any, kind: str, price: float | None, tif: str
) -> None:
    hand = await slow()
    await hand.place(7, side=side, quantity_lots=40, **terms)
    [(order_id, contract, order)] = hand.wire.orders
    assert (order_id, order.orderRef, order.account) == (7, f"{7:024x}", "DU1")
    assert (order.action, order.totalQuantity, order.orderType, order.tif) == (side, 40.0, kind, tif)
    assert bool(order.goodTillDate) == (tif == "GTD"), "what rests ends by itself"
    assert order.lmtPrice == price if price is not None else order.lmtPrice > 1e300
    assert (contract.conId, contract.symbol) == (INSTRUMENTS["SPY"].con_id, "SPY")
    assert [(m.order_id, m.epoch) for m in hand.said if isinstance(m, OrderSent)] == [(7, EPOCH)]


async def test_an_order_is_written_once_in_a_session_however_often_it_is_asked_for() -> None:
    hand = await slow()
    for epoch in (0, EPOCH, 0):
        await hand.sender.place(command(), epoch)
    assert hand.orders == [7]


@pytest.mark.parametrize("epoch", [0, EPOCH - 1, EPOCH])
async def test_an_order_waits_for_the_ready_of_this_session(epoch: int) -> None:
    hand = Slow()
    await hand.sender.latch(())
    hand.sender.reconciled(EPOCH - 1)
    await hand.sender.place(command(), epoch)
    assert hand.orders == ([7] if epoch == EPOCH else [])
    hand.state = SessionState.SYNCING
    await hand.sender.place(command(order_id=8), EPOCH)
    hand.state = SessionState.READY
    await hand.sender.place(command(order_id=9), EPOCH)
    assert 8 not in hand.orders
    assert hand.not_sent == {}, "READY asks for it again"


async def test_nothing_goes_out_before_the_latch_has_spoken_and_all_of_it_then() -> None:
    hand = Slow()
    hand.sender.reconciled(EPOCH)
    await hand.place(7)
    assert (hand.orders, hand.not_sent) == ([], {})
    await hand.sender.latch(())
    assert hand.sender._drain() is None
    assert hand.orders == [7]


async def test_a_later_ready_is_another_owners_and_one_of_before_or_of_now_is_not() -> None:
    hand = await slow()
    hand.sender.reconciled(EPOCH - 1)
    hand.sender.reconciled(EPOCH)
    with pytest.raises(LostOwnershipError, match="another owner"):
        hand.sender.reconciled(EPOCH + 1)
    hand.ears.epoch = 0
    hand.sender.reconciled(EPOCH + 1)  # read again by a process that has had no session yet


# ---- waiting for a turn


async def test_orders_wait_for_their_turn_in_their_order_and_a_cancel_takes_out_its_own_alone() -> None:
    hand = (await slow()).full()
    for order_id in (7, 8, 9):
        await hand.place(order_id)
    assert (hand.orders, hand.pacing.queue) == ([], 3)
    await hand.sender.cancel(8, f"{8:024x}")
    assert (list(hand.not_sent), hand.wire.written, hand.pacing.queue) == ([8], [], 2)
    hand.now_s = 10.0
    assert hand.sender._drain() is None
    assert (hand.orders, hand.pacing.queue) == ([7, 9], 0)


async def test_an_order_that_may_not_go_out_does_not_wait_to_hear_so() -> None:
    hand = (await slow()).full()
    await hand.sender.latch(("instrument:SPY",))
    await hand.place(7)
    assert (list(hand.not_sent), hand.pacing.queue) == ([7], 0)
    assert hand.not_sent[7] == "killed: instrument:SPY"


async def test_an_order_whose_session_ended_while_it_waited_is_left_to_the_next_ready() -> None:
    hand = (await slow()).full()
    await hand.place(7)
    hand.state = SessionState.DISCONNECTED
    assert hand.sender._drain() is None
    assert (hand.orders, hand.not_sent, hand.pacing.queue) == ([], {}, 0)


async def test_children_that_would_exceed_their_parent_stop_at_the_socket_and_others_do_not() -> None:
    hand = await slow()
    child: dict[str, Any] = {"parent_id": "b" * 24, "parent_lots": 100, "quantity_lots": 40}
    for order_id in (7, 8, 9):
        await hand.place(order_id, **child)
    await hand.place(10, **(child | {"quantity_lots": 20}))
    await hand.place(11, **(child | {"parent_id": "c" * 24}))
    assert hand.orders == [7, 8, 10, 11]
    assert hand.not_sent == {9: "children exceed their parent: 80+40>100"}


# ---- amends, cancels, kills


async def test_an_amend_is_written_under_its_id_and_one_of_an_order_that_is_over_or_killed_is_not() -> None:
    hand = await slow()
    await hand.place(7, **RESTING)
    new = command(order_id=7, intent_id=f"{7:024x}", **(RESTING | {"quantity_lots": 50}))
    await hand.sender.amend(new)
    assert [(order_id, order.totalQuantity) for order_id, _, order in hand.wire.orders] == [(7, 100.0), (7, 50.0)]
    order = hand.ears.orders.get(7)
    assert order is not None
    assert order.amend == (50, Decimal("601.00"))
    await hand.sender.latch(("strategy:ofi",))
    await hand.sender.amend(new)
    await hand.sender.latch(())
    hand.ears.orders.status(7, "Cancelled", 0, 0.0)
    await hand.sender.amend(new)
    await hand.sender.amend(command(order_id=8))
    words = [word for word in hand.said if isinstance(word, BrokerStatus)]
    assert [(word.status, word.reason) for word in words] == [
        ("AmendNotSent", "killed: strategy:ofi"),
        ("AmendNotSent", "the order is over"),
        ("AmendNotSent", "the order is over"),
    ]
    assert len(hand.orders) == 2


async def test_a_cancel_that_went_out_is_owed_no_more_and_its_answer_is_awaited() -> None:
    hand = await slow()
    hand.state = SessionState.SYNCING
    await hand.sender.cancel(7, INTENT)
    assert (hand.sender._owed, hand.ears.probed) == ({7: INTENT}, {})
    hand.state = SessionState.READY
    await hand.sender.pay()
    assert (hand.sender._owed, hand.ears.probed) == ({}, {7: INTENT})


@pytest.mark.parametrize(
    ("scope", "cancelled"),
    [
        ("account", [7, 8, 9]),
        ("strategy:ofi", [7, 9]),
        ("instrument:QQQ", [9]),
        (f"order:{8:024x}", [8]),
        ("strategy:nobody", []),
    ],
)
async def test_a_kill_cancels_what_its_scope_covers_and_nothing_else(scope: str, cancelled: list[int]) -> None:
    hand = await slow()
    await hand.place(7, **RESTING)
    await hand.place(8, strategy="pairs", **RESTING)
    await hand.place(9, instrument="QQQ", **RESTING)
    assert await hand.sender.stop(scope) == len(cancelled)
    assert hand.wire.written[3:] == [("cancel", order_id) for order_id in cancelled]


@pytest.mark.parametrize("more", [0, 1])
async def test_many_orders_of_the_account_are_cancelled_with_one_message_and_then_what_is_left(
    monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    monkeypatch.setattr(last_hop, "GLOBAL_CANCEL_S", 0.0)
    hand = await slow()
    ids = range(7, 7 + SINGLY_MAX + more)
    for order_id in ids:
        await hand.place(order_id, **RESTING)
    assert await hand.sender.stop("account") == len(ids)
    after = hand.wire.written[len(ids) :]
    assert after == [("cancel all",)] * more + [("cancel", order_id) for order_id in ids]


async def test_a_kill_while_the_session_is_away_owes_each_cancel() -> None:
    hand = await slow()
    ids = range(7, 7 + SINGLY_MAX + 1)
    for order_id in ids:
        await hand.place(order_id, **RESTING)
    hand.state = SessionState.DISCONNECTED
    await hand.sender.stop("account")
    assert (list(hand.sender._owed), len(hand.wire.written)) == (list(ids), len(ids))


async def test_an_order_that_waits_goes_out_by_itself_when_its_turn_comes() -> None:
    hand = (await slow()).full()
    hand.now_s = WINDOW_S - 0.01
    running = asyncio.create_task(hand.sender.run())
    await asyncio.sleep(0)
    await hand.place(7)
    assert hand.orders == []
    hand.now_s = 2 * WINDOW_S
    await until(lambda: hand.orders == [7])
    running.cancel()


async def test_an_amend_waits_for_its_turn_like_an_order() -> None:
    hand = await slow()
    await hand.place(7, **RESTING)
    hand.full()
    hand.now_s = WINDOW_S - 0.01
    amend = command(order_id=7, intent_id=f"{7:024x}", **(RESTING | {"quantity_lots": 50}))
    waiting = asyncio.create_task(hand.sender.amend(amend))
    await asyncio.sleep(0)
    assert (hand.orders, hand.pacing.queue) == ([7], 1)
    hand.now_s = 2 * WINDOW_S
    await waiting
    assert hand.orders == [7, 7]


async def test_the_wire_has_units_where_the_desk_has_lots() -> None:
    hand = await slow()
    await hand.place(7, instrument="BTCUSDT", quantity_lots=250, **RESTING)
    [(_, _, order)] = hand.wire.orders
    spec = INSTRUMENTS["BTCUSDT"]
    assert order.totalQuantity == float(250 * spec.lot_size) != 250.0
    assert lots(spec, order.totalQuantity) == 250


@pytest.mark.parametrize("what", ["cancel", "cancel_all"])
async def test_a_cancel_keeps_the_rate_too(what: str) -> None:
    hand = (await slow()).full()
    hand.now_s = WINDOW_S - 0.01
    job = hand.sender.cancel(7, INTENT) if what == "cancel" else hand.sender.cancel_all()
    waiting = asyncio.create_task(job)
    await asyncio.sleep(0)
    assert hand.wire.written == []
    hand.now_s = 2 * WINDOW_S
    await waiting
    assert len(hand.wire.written) == 1


async def test_orders_that_wait_for_the_latch_go_out_when_it_speaks() -> None:
    hand = Slow()
    hand.sender.reconciled(EPOCH)
    running = asyncio.create_task(hand.sender.run())
    await hand.place(7)
    await asyncio.sleep(0)
    assert hand.orders == []
    await hand.sender.latch(("strategy:pairs", "instrument:QQQ"))
    await until(lambda: hand.orders == [7])
    running.cancel()


async def test_what_was_written_is_remembered_for_the_newest_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_hop, "PARENTS_MAX", 4)
    hand = await slow()
    child: dict[str, Any] = {"parent_id": "b" * 24, "parent_lots": 40, "quantity_lots": 40}
    for order_id in range(7, 14):
        await hand.place(order_id)
    await hand.place(14, **child)
    await hand.place(15, **child)
    await hand.place(13)
    assert hand.orders == list(range(7, 15)), "neither the child that is too much nor an order that is there already"
