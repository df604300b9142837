"""What is evidence about an order and what is not: twins, late answers, refusals, and the ends of amends."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from agents.execution import step
from agents.ports import AmendOrder, CancelAll, CancelOrder
from agents.spec import UNCHANGED
from contracts.executions import parts
from contracts.orders import AmendCommand, CancelCommand, OrderState
from tests.execution.order_parts import (
    INTENT,
    NOW_NS,
    SIZE,
    Life,
    commission,
    execution,
    ready,
    record,
    sent,
    status,
)

S = OrderState
SUBMITTED = (sent(), status("Submitted"))
AMEND = AmendCommand(
    intent_id=INTENT,
    amend_id="d" * 24,
    instrument="SPY",
    quantity_lots=120,
    limit_price=Decimal("600.20"),
    ts_ingest_ns=NOW_NS,
)
CANCEL = CancelOrder(7, INTENT)


# ---- two broker orders -----------------------------------------------------------------------------------------------


def test_the_end_of_the_second_order_is_not_the_end_while_the_first_works() -> None:
    life = Life(*SUBMITTED, status("Submitted", perm_id=901), status("Cancelled", perm_id=901))
    assert life.order.state is S.UNKNOWN
    assert life.hear(status("Cancelled")).order.state is S.CANCELLED


def test_an_execution_is_not_the_end_while_the_other_order_works_until_a_status_says_so() -> None:
    life = Life(*SUBMITTED, status("Submitted", perm_id=901), execution(SIZE))
    assert (life.order.state, life.reports[-1].state) == (S.UNKNOWN, S.UNKNOWN), "admission would unlock by FILLED"


def test_two_orders_that_were_over_when_the_second_was_seen_lock_nothing() -> None:
    life = Life(*SUBMITTED, status("Cancelled"), status("Cancelled", perm_id=901))
    assert (life.order.state, life.effects[1:], life.alerts) == (S.CANCELLED, [], ["TWO_BROKER_ORDERS"])


@pytest.mark.parametrize("first", [execution(40), status("Submitted")])
def test_a_second_order_is_seen_whether_a_status_or_an_execution_named_the_first(first: Any) -> None:
    own_word = status("Inactive", perm_id=0, reason="201 no margin")
    life = Life(sent(), first, own_word)
    assert (life.order.state, life.alerts) == (S.REJECTED, []), "an error has no permanent id, and is no second order"
    life.hear(status("Submitted", perm_id=901))
    assert (life.order.state, life.effects[-1], life.alerts) == (S.UNKNOWN, CancelAll(), ["TWO_BROKER_ORDERS"])


def test_two_orders_that_no_snapshot_has_any_more_end_by_the_gateways_denial() -> None:
    life = Life(*SUBMITTED, status("Submitted", perm_id=901), ready(2))
    assert (life.order.state, life.effects[-1]) == (S.UNKNOWN, CANCEL)
    assert life.hear(status("NotFound", epoch=2)).order.state is S.CANCELLED


# ---- answers that come late ------------------------------------------------------------------------------------------


def test_a_denial_that_comes_after_the_order_has_shown_itself_proves_nothing() -> None:
    """The snapshot did not have it, its cancel was asked for, it turned up, and then the answer came."""
    life = Life(*SUBMITTED, ready(2), status("Submitted", epoch=2), status("NotFound", epoch=2))
    assert life.order.state is S.ACKNOWLEDGED


@pytest.mark.parametrize("word", ["NotFound", "AmendRefused"])
def test_an_answer_within_a_snapshot_does_not_stand_for_the_order_in_it(word: str) -> None:
    life = Life(*SUBMITTED, status(word, epoch=2), ready(2))
    assert (life.order.state, life.alerts) == (S.UNKNOWN, ["ORDER_UNKNOWN"])


def test_a_word_about_an_intent_that_is_not_ours_makes_no_row() -> None:
    for message in (CancelCommand(intent_id=INTENT, reason="a test"), status("Submitted"), execution(SIZE), AMEND):
        assert step(None, record(message)) == (None, UNCHANGED)


def test_a_resend_that_was_not_sent_is_reported_as_unknown_so_that_its_instrument_is_locked() -> None:
    life = Life(ready(2), status("NotSent", epoch=2, reason="killed: account"))
    assert [report.state for report in life.reports] == [S.UNKNOWN]


def test_an_order_that_no_snapshot_has_is_reported_and_alerted_once_and_asked_about_each_time() -> None:
    life = Life(*SUBMITTED, ready(2), ready(3))
    assert [report.state for report in life.reports][2:] == [S.UNKNOWN], "admission locks by this report"
    assert (life.alerts, life.effects[1:]) == (["ORDER_UNKNOWN"], [CANCEL, CANCEL])
    assert "not in the snapshot" in life.order.reason


def test_a_word_without_a_state_shows_that_the_order_has_left_us() -> None:
    life = Life(status("PendingSubmit"), ready(2))
    assert (life.order.state, life.effects[1:]) == (S.UNKNOWN, [CANCEL])


def test_a_resend_that_was_not_sent_is_not_tried_a_third_time() -> None:
    life = Life(ready(2), status("NotSent", epoch=2), ready(3))
    assert (life.order.state, life.effects[2:]) == (S.UNKNOWN, [CANCEL, CANCEL])


def test_an_order_that_was_not_sent_at_all_is_over() -> None:
    life = Life(status("NotSent", reason="killed: account"))
    assert (life.order.state, life.effects[1:]) == (S.CANCELLED, [])


def test_executions_that_a_snapshot_does_not_bring_are_missing_and_those_it_brings_are_not() -> None:
    heard = (*SUBMITTED, status("Submitted", filled=40))
    assert Life(*heard, status("Submitted", epoch=2, filled=40), ready(2)).order.state is S.UNKNOWN
    life = Life(*heard, execution(40), status("Submitted", epoch=2, filled=40), ready(2))
    assert (life.order.state, life.effects[1:]) == (S.PARTIALLY_FILLED, [])


def test_an_older_status_does_not_take_back_what_was_said_to_be_filled() -> None:
    life = Life(*SUBMITTED, status("Submitted", filled=1), status("Submitted", epoch=2), ready(2))
    assert life.order.state is S.UNKNOWN
    assert "1 lots are missing" in life.order.reason


@pytest.mark.parametrize(("fills", "state"), [((), S.ACKNOWLEDGED), ((execution(40),), S.PARTIALLY_FILLED)])
def test_a_status_that_says_filled_with_less_than_the_order_does_not_fill_it(fills: Any, state: Any) -> None:
    said = sum(fill.quantity_lots for fill in fills)
    life = Life(*SUBMITTED, *fills, status("Filled", filled=said))
    assert life.order.state is state
    life = Life(*SUBMITTED, status("Filled", filled=said), *fills)
    assert life.order.state is state


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_a_refusal_that_is_said_twice_or_followed_by_its_cancel_is_cancelled_once() -> None:
    life = Life(*SUBMITTED, status("Inactive"), status("Inactive"), status("Cancelled"), status("Cancelled"))
    assert (life.order.state, life.effects[1:]) == (S.CANCELLED, [CANCEL])


def test_the_cancel_of_a_refused_order_that_a_crash_lost_is_asked_for_again() -> None:
    life = Life(*SUBMITTED, status("Inactive"), status("Submitted", epoch=2))
    life.effects.clear()
    life.hear(status("Submitted", epoch=3), ready(3))
    assert life.effects == [CANCEL]


# ---- executions and amends -------------------------------------------------------------------------------------------


def test_a_correction_is_reported_as_one_and_a_commission_of_nothing_is_a_word_too() -> None:
    life = Life(*SUBMITTED, execution(SIZE), execution(SIZE, revision=2, price="600.07"), commission("0"))
    assert [report.kind for report in life.reports[2:]] == ["FILL", "CORRECTION", "COMMISSION"]


def test_an_amended_order_of_which_executions_are_missing_is_not_filled() -> None:
    """Filled at its old size before the amend came; a status in between may say less again."""
    life = Life(*SUBMITTED, AMEND, execution(40), status("Filled", filled=SIZE))
    assert life.order.state is S.PENDING_AMEND
    life.hear(status("Submitted", filled=40), execution(30, number=2))
    assert life.order.state is S.PENDING_AMEND
    assert life.hear(execution(30, number=3)).order.state is S.FILLED


def amends(life: Life) -> list[Any]:
    return [effect for effect in life.effects if isinstance(effect, AmendOrder)]


def test_an_amend_that_comes_twice_is_sent_once_and_not_called_refused() -> None:
    life = Life(*SUBMITTED, AMEND)
    said = len(life.reports)
    life.hear(AMEND)
    assert (len(amends(life)), len(life.reports)) == (1, said)


def test_an_amend_waits_for_the_one_before_also_when_a_cancel_was_refused_in_between() -> None:
    other = AMEND.model_copy(update={"amend_id": "e" * 24, "quantity_lots": 130})
    life = Life(*SUBMITTED, AMEND, CancelCommand(intent_id=INTENT, reason="a test"), status("Submitted"), other)
    assert (len(amends(life)), life.reports[-1].amend_id) == (1, other.amend_id)
    assert life.order.amend == AMEND
    life.hear(status("Submitted", epoch=2), ready(2))
    assert AMEND.amend_id in [report.amend_id for report in life.reports]
    assert life.order.amend is None


def test_a_snapshot_from_before_the_amend_does_not_end_it() -> None:
    life = Life(*SUBMITTED, AMEND, status("Submitted", epoch=2), ready(2, age_s=-1))
    assert life.order.amend == AMEND


@pytest.mark.parametrize(("lots", "sent_on"), [(SIZE, 1), (SIZE + 1, 0)])
def test_a_child_takes_another_price_and_not_another_lot(lots: int, sent_on: int) -> None:
    child: dict[str, Any] = {"parent_id": "b" * 24, "parent_lots": 1_000}
    life = Life(*SUBMITTED, AMEND.model_copy(update={"quantity_lots": lots}), **child)
    assert len(amends(life)) == sent_on


def test_a_word_that_an_amend_was_not_sent_changes_nothing_where_none_was_asked_for() -> None:
    life = Life(*SUBMITTED)
    said = len(life.reports)
    assert len(life.hear(status("AmendNotSent")).reports) == said


def test_a_size_that_somebody_else_gave_the_order_is_reported_as_its_size() -> None:
    terms = {"order_lots": 150, "limit_price": Decimal("600.10")}
    life = Life(*SUBMITTED, status("Submitted").model_copy(update=terms))
    assert (life.alerts, life.reports[-1].order_lots) == (["TERMS_CHANGED"], 150), "admission counts by the report"


def test_a_single_lot_is_a_part() -> None:
    life = Life(sent(), execution(1), status("Submitted"))
    assert (life.order.state, parts("a.b")) == (S.PARTIALLY_FILLED, ("a.b", 0))
