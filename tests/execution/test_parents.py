"""An intent that goes out in children can be stopped: by its id or a child's, by cancel or kill, at any moment."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from contracts.controls import DecisionRecord, Denial
from contracts.orders import CancelCommand, CancelIntent, OrderCommand, OrderState
from tests.execution.admission_parts import (
    BUCKET_NS,
    FLEET,
    Front,
    account,
    intent,
    kill,
    mark,
    report,
    risk,
    session,
    switch,
    verdict,
)
from tests.execution.order_parts import NOW_NS
from tests.execution.test_amends import amend_intent
from tests.execution.test_sender import RESTING, Hand

PARENT = f"{1:024x}"
THIN: tuple[Any, ...] = (session(), switch(), risk(), account(), verdict(), mark(volume=100), *FLEET)
"""A market in which an intent of 40 lots goes out in children of 10."""


def cancel(names: str, number: int = 90, strategy: str = "ofi") -> CancelIntent:
    return CancelIntent(
        intent_id=f"{number:024x}",
        cancels=names,
        strategy=strategy,
        instrument="SPY",
        ts_event_ns=NOW_NS,
        ts_ingest_ns=NOW_NS,
        bucket_ns=BUCKET_NS,
        inputs=(),
    )


def ended(front: Front, state: OrderState = OrderState.FILLED) -> None:
    """The last child that went out is over."""
    last = front.commands[-1]
    done: dict[str, Any] = {"intent_id": last.intent_id, "order_id": last.order_id, "lots": last.quantity_lots}
    fill = last.quantity_lots if state is OrderState.FILLED else 0
    front.tell(report(1, state, kind="FILL" if fill else "STATE", fill=fill, **done))


def sliced(children: int) -> Front:
    """A front whose parent of 40 lots has so many children out, the last of them working."""
    front = Front(usual=THIN)
    assert front.decide(intent(1, quantity_lots=40))[0].admitted
    for bucket in range(1, children):
        ended(front)
        front.tell(risk(-bucket), mark(later=bucket, volume=100))
    assert len(front.commands) == children
    return front


def later(front: Front) -> list[OrderCommand]:
    """What goes out in the next buckets, once all that works is over."""
    front.outputs.clear()
    front.tell(*(fact for bucket in range(3, 9) for fact in (risk(-bucket), mark(later=bucket, volume=100))))
    return front.commands


def cancelled(front: Front, request: Any) -> tuple[DecisionRecord | None, list[str]]:
    """The decision, and the intents of the orders that are to be cancelled."""
    messages = [out.message for out in front.tell(request)]
    decision = next((m for m in messages if isinstance(m, DecisionRecord)), None)
    return decision, [m.intent_id for m in messages if isinstance(m, CancelCommand)]


@pytest.mark.parametrize("children", [1, 2])
@pytest.mark.parametrize("by", ["parent", "child"])
def test_a_cancel_of_a_sliced_intent_or_of_its_child_ends_both(children: int, by: str) -> None:
    front = sliced(children)
    child = front.commands[-1].intent_id
    decision, orders = cancelled(front, cancel(PARENT if by == "parent" else child))
    assert decision is not None
    assert decision.admitted
    assert decision.message.endswith("its working order and its children to come")
    assert orders == [child]
    front.tell(report(1, OrderState.CANCELLED, intent_id=child))
    assert later(front) == []


@pytest.mark.parametrize("by", ["parent", "child"])
def test_a_cancel_between_two_children_ends_the_parent(by: str) -> None:
    front = sliced(2)
    child = front.commands[-1].intent_id
    ended(front)
    decision, orders = cancelled(front, cancel(PARENT if by == "parent" else child))
    assert decision is not None
    assert (decision.admitted, orders) == (True, [])
    assert decision.message.endswith("its children to come")
    assert later(front) == []
    assert cancelled(front, cancel(PARENT, 91))[0].reasons == (Denial.ORDER_NOT_WORKING,)  # type: ignore[union-attr]


def test_a_cancel_by_another_strategy_ends_no_parent() -> None:
    front = sliced(2)
    for names in (PARENT, front.commands[-1].intent_id):
        decision, orders = cancelled(front, cancel(names, strategy="pairs"))
        assert decision is not None
        assert (decision.reasons, orders) == ((Denial.ORDER_NOT_WORKING,), [])
    ended(front)
    assert later(front) != []


def test_an_order_that_is_whole_is_cancelled_as_such() -> None:
    front = Front()
    front.decide(intent(1))
    decision, orders = cancelled(front, cancel(PARENT))
    assert decision is not None
    assert decision.message == f"admitted as a cancel of intent {PARENT}: its working order"
    assert orders == [PARENT]


def test_a_kill_of_a_sliced_intent_cancels_the_child_that_works_and_ends_the_parent() -> None:
    front = sliced(2)
    child = front.commands[-1].intent_id
    assert child != PARENT
    assert cancelled(front, kill(f"order:{PARENT}")) == (None, [child])
    front.tell(report(1, OrderState.CANCELLED, intent_id=child))
    assert later(front) == []


def test_a_kill_of_another_order_leaves_the_child_that_works_alone() -> None:
    front = sliced(2)
    assert cancelled(front, kill(f"order:{2:024x}")) == (None, [])


def test_a_child_whose_parent_is_killed_takes_no_amend() -> None:
    """A child that rests may live for a while after the kill: until its cancel is through."""
    terms: dict[str, Any] = {"order_type": "LIMIT", "limit_price": Decimal("599.90"), "time_in_force": "DAY"}
    front = Front(usual=THIN)
    front.decide(intent(1, quantity_lots=40, **terms))
    ended(front)
    front.tell(risk(-1), mark(later=1, volume=100))
    child = front.commands[-1]
    front.tell(report(1, OrderState.ACKNOWLEDGED, intent_id=child.intent_id, order_id=child.order_id))
    request = amend_intent(amends=1, lots=9).model_copy(update={"amends": child.intent_id})
    front.tell(kill(f"order:{PARENT}"))
    decision, _ = cancelled(front, request)
    assert decision is not None
    assert decision.reasons == (Denial.HALTED_BY_SWITCH,)


async def test_a_kill_of_a_sliced_intent_reaches_its_children_in_the_kill_file_too() -> None:
    """Without Kafka admission hears nothing: the sender cancels the child that works, and writes no other."""
    hand = await Hand().open()
    child: dict[str, Any] = {"parent_id": PARENT, "parent_lots": 1_000, **RESTING}
    await hand.place(7, **child)
    await hand.place(8, **RESTING)
    await hand.sender.hold({f"order:{PARENT}": False})
    assert hand.wire.written[2:] == [("cancel", 7)]
    await hand.place(9, **child)
    assert len(hand.wire.written) == 3
