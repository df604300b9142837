"""What the sender owes the gateway while the session is away, and what a kill lets it send."""

from __future__ import annotations

import time
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.ibkr.ears import Ears
from connectors.ibkr.pacing import Pacing
from connectors.ibkr.sender import Sender
from contracts.controls import FLATTEN
from contracts.instruments import INSTRUMENTS
from contracts.orders import STALE_NS, BrokerStatus, OrderSent, SessionState
from tests.execution.order_parts import INTENT, command

EPOCH = 5


class Wire:
    """A socket: keeps what was written, and takes nothing once it has `ended`."""

    def __init__(self) -> None:
        self.ended = False
        self.written: list[Any] = []

    def _write(self, *what: Any) -> None:
        if self.ended:
            raise ConnectionError("Not connected")
        self.written.append(what)

    def placeOrder(self, order_id: int, _contract: Any, order: Any) -> None:  # noqa: N802 - the client library's names
        self._write("order", order_id, order.totalQuantity)

    def cancelOrder(self, order_id: int, _time: str) -> None:  # noqa: N802
        self._write("cancel", order_id)

    def reqGlobalCancel(self) -> None:  # noqa: N802
        self._write("cancel all")


class Hand:
    """A sender with a socket and a session of the test's own; `said` is what it told the desk."""

    def __init__(self) -> None:
        self.state = SessionState.READY
        self.wire, self.said = Wire(), list[Any]()
        self.ears = Ears(1, self._say, lambda *_: None, lambda _: None)
        self.ears.epoch = EPOCH
        self.sender = Sender(self.wire, self.ears, Pacing(), lambda: self.state, self._say)

    def _say(self, _key: str, message: Any) -> None:
        self.said.append(message)

    async def open(self) -> Hand:
        self.sender.reconciled(EPOCH)
        await self.sender.latch(())
        return self

    async def place(self, order_id: int, **changes: Any) -> None:
        await self.sender.place(command(order_id=order_id, intent_id=f"{order_id:024x}", **changes))


RESTING: dict[str, Any] = {"order_type": "LIMIT", "time_in_force": "DAY", "limit_price": Decimal("601.00")}


async def test_a_cancel_asked_for_during_a_snapshot_is_sent_once_after_it() -> None:
    hand = await Hand().open()
    hand.state = SessionState.SYNCING
    await hand.sender.cancel(7, INTENT)
    assert hand.wire.written == []
    hand.state = SessionState.READY
    await hand.sender.pay()
    await hand.sender.pay()
    assert hand.wire.written == [("cancel", 7)]


@pytest.mark.parametrize("away", ["the socket has ended", "the session is not READY"])
async def test_a_connection_that_has_ended_raises_into_no_agent_and_is_owed_the_cancels(away: str) -> None:
    hand = await Hand().open()
    await hand.place(7, **RESTING)
    before = len(hand.said)
    if away == "the socket has ended":
        hand.wire.ended = True
    else:
        hand.state = SessionState.DISCONNECTED
    await hand.place(8)
    await hand.sender.amend(command(order_id=7, intent_id=f"{7:024x}", quantity_lots=50))
    await hand.sender.cancel(7, f"{7:024x}")
    await hand.sender.cancel_all()
    said = hand.said[before:]
    assert not any(isinstance(message, OrderSent) for message in said), "what was not written is not said to be sent"
    assert [m.status for m in said if isinstance(m, BrokerStatus)] == ["AmendNotSent"]
    assert hand.wire.written == [("order", 7, 100.0)]
    hand.wire.ended, hand.state = False, SessionState.READY
    await hand.sender.pay()
    await hand.sender.pay()
    assert hand.wire.written[1:] == [("cancel all",), ("cancel", 7)]
    await hand.place(8)  # READY asks for it again
    assert hand.wire.written[3:] == [("order", 8, 100.0)]


async def test_a_kill_that_flattens_cancels_a_resting_order_that_reduces_and_spares_its_own() -> None:
    hand = await Hand().open()
    await hand.place(7, side="SELL", **RESTING)
    await hand.place(8, side="SELL", strategy=FLATTEN)
    await hand.sender.latch(("instrument:SPY",), flatten=("instrument:SPY",))
    assert hand.wire.written[2:] == [("cancel", 7)], "admission waits for it before it closes the position"
    await hand.place(9, side="SELL")
    await hand.place(10, side="SELL", strategy=FLATTEN)
    assert [word for word in hand.wire.written if word[0] == "order"][2:] == [("order", 10, 100.0)]


async def test_a_kill_without_flatten_spares_nothing_whatever_another_scope_has_asked_for() -> None:
    hand = await Hand().open()
    await hand.place(7, side="SELL", strategy=FLATTEN)
    await hand.sender.latch(("account", "instrument:SPY"), flatten=("instrument:SPY",))
    assert hand.wire.written[1:] == [("cancel", 7)]
    await hand.place(8, side="SELL", strategy=FLATTEN)
    assert len(hand.wire.written) == 2


async def test_a_kill_file_without_flatten_stops_the_flatten_of_the_control_topic() -> None:
    hand = await Hand().open()
    await hand.sender.latch(("account",), flatten=("account",))
    await hand.sender.hold({"account": False})
    await hand.place(7, side="SELL", strategy=FLATTEN)
    assert hand.wire.written == []
    await hand.sender.hold({"account": True})
    await hand.place(8, side="SELL", strategy=FLATTEN)
    assert hand.wire.written == [("order", 8, 100.0)]


async def test_an_order_that_a_snapshot_brings_under_a_kill_file_is_cancelled_at_ready() -> None:
    """The worker was away when the file was written, and Kafka with it: nothing else tells it."""
    hand = await Hand().open()
    await hand.sender.hold({"instrument:SPY": False})
    hand.ears.on_open_order(
        SimpleNamespace(conId=INSTRUMENTS["SPY"].con_id),
        SimpleNamespace(
            clientId=1, orderRef=INTENT, orderId=7, permId=9, totalQuantity=1.0, orderType="LMT", lmtPrice=1.0
        ),
    )
    assert hand.wire.written == []
    await hand.sender.pay()
    assert hand.wire.written == [("cancel", 7)]


async def test_an_order_that_lay_on_its_topic_while_no_worker_ran_does_not_go_out() -> None:
    hand = await Hand().open()
    await hand.place(7, ts_ingest_ns=time.time_ns() - STALE_NS - 1_000_000_000)
    await hand.place(8, ts_ingest_ns=time.time_ns())
    assert [what[:2] for what in hand.wire.written] == [("order", 8)]
    words = [message for message in hand.said if isinstance(message, BrokerStatus)]
    assert [(word.order_id, word.status) for word in words] == [(7, "NotSent")]
    assert words[0].reason.startswith("stale: 21 s")


async def test_an_amend_between_a_snapshot_and_its_ready_is_not_sent() -> None:
    """The row took READY for the word on it: not in force; and the gateway had it."""
    hand = await Hand().open()
    await hand.place(7, **RESTING, ts_ingest_ns=time.time_ns())
    hand.ears.epoch += 1
    change = command(order_id=7, quantity_lots=50, **RESTING, ts_ingest_ns=time.time_ns())
    await hand.sender.amend(change)
    said = [(message.status, message.reason) for message in hand.said if isinstance(message, BrokerStatus)]
    assert said == [("AmendNotSent", "the snapshot of this session has not reached every order")]
    hand.sender.reconciled(hand.ears.epoch)
    await hand.sender.amend(change)
    assert [entry[0] for entry in hand.wire.written] == ["order", "order"]


async def test_children_from_before_a_restart_count_against_their_parent_and_one_that_is_sent_again_counts_once() -> (
    None
):
    hand, parent = await Hand().open(), {"parent_id": "f" * 24, "parent_lots": 200}
    await hand.place(7, parent_sent_lots=150, **parent)
    words = [message for message in hand.said if isinstance(message, BrokerStatus)]
    assert [(word.order_id, word.status, word.reason) for word in words] == [
        (7, "NotSent", "children exceed their parent: 150+100>200")
    ]
    await hand.place(8, quantity_lots=120, **parent)
    hand.ears.epoch += 1  # the connection took it along: READY of the next session has it sent again
    hand.sender.reconciled(hand.ears.epoch)
    await hand.place(8, quantity_lots=120, **parent)
    await hand.place(9, quantity_lots=80, parent_sent_lots=120, **parent)
    await hand.place(10, quantity_lots=1, **parent)
    assert [what[:2] for what in hand.wire.written] == [("order", 8), ("order", 8), ("order", 9)]


async def test_children_from_before_a_restart_count_against_their_parent() -> None:
    hand = await Hand().open()
    child = {"parent_id": "b" * 24, "parent_lots": 250, "quantity_lots": 100, "ts_ingest_ns": time.time_ns()}
    hand.sender.count("b" * 24, 3, 100)
    hand.sender.count("b" * 24, 3, 100)
    await hand.place(4, **child)
    await hand.place(5, **child)
    assert hand.wire.written == [("order", 4, 100.0)]
    (refused,) = [message for message in hand.said if isinstance(message, BrokerStatus)]
    assert refused.reason == "children exceed their parent: 200+100>250"
