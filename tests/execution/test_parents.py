"""An intent that goes out in children can be stopped: by its id or a child's, by cancel or kill, at any moment."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from agents.parameters import Limits
from contracts.controls import DecisionRecord, Denial, ResetCommand, TradingState
from contracts.orders import CancelCommand, CancelIntent, OrderCommand, OrderState
from tests.execution.admission_parts import (
    BUCKET_NS,
    FLEET,
    LIMITS,
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
    for number, names in enumerate((PARENT, front.commands[-1].intent_id), start=90):
        decision, orders = cancelled(front, cancel(names, number, strategy="pairs"))
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
    assert decision.reasons == (Denial.HALTED_BY_SWITCH, Denial.ORDER_NOT_WORKING)


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


# ---- several strategies ----------------------------------------------------------------------------------------------

BOTH = LIMITS.model_copy(update={"strategies": ("ofi", "pairs"), "orders_per_minute_max": 10**6})


def between(limits: Limits = BOTH) -> Front:
    """A parent of 40 lots between its first child and its second."""
    front = Front(usual=THIN, limits=limits)
    assert front.decide(intent(1, quantity_lots=40))[0].admitted
    ended(front)
    return front


@pytest.mark.parametrize("strategy", ["intruder", "pairs"])
def test_no_intent_of_another_strategy_ends_a_parent(strategy: str) -> None:
    """Not even one that may not trade."""
    front = between()
    front.tell(risk(-1))
    decision, command = front.decide(intent(2, 1, strategy=strategy, position_lots=10))
    assert decision.reasons.count(Denial.INSTRUMENT_BUSY) == 1
    assert f"parent_intent={PARENT} strategy=ofi left_lots=30" in decision.message
    assert command is None
    assert later(front) != []


def test_the_same_intent_again_does_not_end_its_parent() -> None:
    front = between()
    assert Denial.DUPLICATE_INTENT in front.decide(intent(1, quantity_lots=40))[0].reasons
    assert later(front) != []


def test_a_newer_intent_of_the_strategy_takes_the_place_of_its_parent_though_it_is_denied() -> None:
    front = between()
    assert front.decide(intent(2, quantity_lots=39))[0].reasons == (
        Denial.POSITION_STALE,
        Denial.PARTICIPATION_EXCEEDS_MAXIMUM,
    )
    assert later(front) == []


def test_a_parent_that_is_all_out_keeps_nobody_away() -> None:
    front = Front(usual=THIN, limits=BOTH)
    front.decide(intent(1, quantity_lots=20))
    ended(front)
    front.tell(risk(-1), mark(later=1, volume=100))
    ended(front)
    front.tell(risk(-2))
    assert front.decide(intent(2, 2, strategy="pairs", position_lots=20))[0].admitted


@pytest.mark.parametrize(
    ("scope", "ends"),
    [
        ("account", True),
        ("strategy:ofi", True),
        ("instrument:SPY", True),
        (f"order:{PARENT}", True),
        ("strategy:pairs", False),
        ("instrument:QQQ", False),
        (f"order:{2:024x}", False),
    ],
)
def test_a_kill_ends_the_parents_that_its_scope_covers_and_no_other(scope: str, ends: bool) -> None:
    front = between()
    front.tell(kill(scope), ResetCommand(operator="Bo", reason="looked at", scope=scope, ts_ns=NOW_NS))
    assert (later(front) == []) is ends


def test_a_kill_of_a_child_ends_its_parent() -> None:
    front = sliced(2)
    child = front.commands[-1].intent_id
    ended(front)
    front.tell(kill(f"order:{child}"))
    assert later(front) == []


def test_a_flatten_of_another_strategy_ends_the_parent_whose_position_it_closes() -> None:
    front = between()
    front.tell(kill("strategy:pairs", flatten=True))
    assert front.state is not None
    assert front.state.parents == {}


def test_children_are_no_duplicates_of_each_other_however_long_the_window() -> None:
    front = between(BOTH.model_copy(update={"duplicate_window_buckets": 30}))
    for bucket in range(1, 6):
        front.tell(risk(-bucket), mark(later=bucket, volume=100))
        if front.state is not None and "SPY" in front.state.working:
            ended(front)
    assert sum(command.quantity_lots for command in front.commands) == 40
    assert front.decide(intent(2, 5, quantity_lots=40, position_lots=40))[0].reasons == (Denial.DUPLICATE_CONTENT,)


def test_a_cancel_of_another_intent_ends_neither_the_order_that_works_nor_the_children_to_come() -> None:
    front = sliced(2)
    decision, orders = cancelled(front, cancel("f" * 24))
    assert decision is not None
    assert (decision.reasons, orders) == ((Denial.ORDER_NOT_WORKING,), [])
    ended(front)
    assert later(front) != []


def test_an_order_whose_strategy_nobody_knows_any_more_is_cancelled_by_any() -> None:
    """It came back from a snapshot: a cancel makes the desk safer."""
    assert cancelled(Front(report(9, OrderState.ACKNOWLEDGED)), cancel(f"{9:024x}"))[1] == [f"{9:024x}"]


def test_the_last_child_may_be_a_single_lot() -> None:
    front = Front(usual=THIN)
    front.decide(intent(1, quantity_lots=21))
    for bucket in (1, 2):
        ended(front)
        front.tell(risk(-bucket), mark(later=bucket, volume=100))
    assert [command.quantity_lots for command in front.commands] == [10, 10, 1]
    ended(front)
    assert later(front) == []


def test_a_child_that_is_denied_ends_its_parent() -> None:
    front = sliced(2)
    ended(front)
    front.tell(switch(TradingState.HALTED), risk(-2), mark(later=2, volume=100))
    assert front.decisions[-1].reasons == (Denial.HALTED_BY_SWITCH,)
    front.tell(switch())
    assert later(front) == []


def test_an_amend_of_a_sale_is_judged_as_a_sale() -> None:
    terms: dict[str, Any] = {"order_type": "LIMIT", "limit_price": Decimal("600.10"), "time_in_force": "DAY"}
    front = Front(report(9, kind="FILL", fill=10), switch(TradingState.REDUCING))
    assert front.decide(intent(1, side="SELL", quantity_lots=5, position_lots=10, **terms))[0].admitted
    front.tell(report(1, OrderState.ACKNOWLEDGED, side="SELL", lots=5))
    for number, lots, reasons in ((2, 11, (Denial.REDUCE_ONLY,)), (3, 10, ())):
        decision, _ = cancelled(front, amend_intent(number, lots=lots, price="600.10"))
        assert decision is not None
        assert decision.reasons == reasons
