"""A cancel is asked for once: the gateway counts each message, and ends a session that sends too many."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from contracts.controls import DecisionRecord, Denial
from contracts.orders import CancelCommand, CancelIntent, OrderState
from tests.execution.admission_parts import BUCKET_NS, Front, intent, kill, mark, report, risk
from tests.execution.order_parts import NOW_NS

D = Denial
ORDER = f"{1:024x}"


def cancel(number: int = 90, strategy: str = "ofi", cancels: str = ORDER, age_s: int = 0) -> CancelIntent:
    return CancelIntent(
        intent_id=f"{number:024x}",
        cancels=cancels,
        strategy=strategy,
        instrument="SPY",
        ts_event_ns=NOW_NS - age_s * 1_000_000_000,
        ts_ingest_ns=NOW_NS,
        bucket_ns=BUCKET_NS,
        inputs=(),
    )


def resting() -> Front:
    """A front with an order of the day that works."""
    front = Front()
    terms: dict[str, Any] = {"order_type": "LIMIT", "limit_price": Decimal("600.00"), "time_in_force": "DAY"}
    assert front.decide(intent(1, **terms))[0].admitted
    front.tell(report(1, OrderState.ACKNOWLEDGED))
    return front


def asked(front: Front, request: CancelIntent) -> tuple[DecisionRecord, int]:
    """The decision, and how many cancels go out."""
    messages = [out.message for out in front.tell(request)]
    [decision] = [message for message in messages if isinstance(message, DecisionRecord)]
    return decision, sum(isinstance(message, CancelCommand) for message in messages)


def test_a_thousand_cancels_of_one_order_are_one_message_to_the_gateway() -> None:
    front = resting()
    answers = [asked(front, cancel(number)) for number in range(100, 1_100)]
    assert [sent for _, sent in answers] == [1] + [0] * 999
    assert {decision.reasons for decision, _ in answers[1:]} == {(D.DUPLICATE_INTENT,)}
    assert "cancel_age_s=0 cancel_again_s=10" in answers[1][0].message
    assert front.state is not None
    assert sum(front.state.rate.values()) == 2, "the order and its cancel"
    assert len(front.state.recent) == 2, "and the row does not grow with what was denied"


def test_the_same_cancel_intent_is_decided_once_however_old_it_says_it_is() -> None:
    front = resting()
    assert asked(front, cancel())[1] == 1
    front.tell(risk(-11), mark(later=11))
    for age_s in (0, 10**6):
        decision, sent = asked(front, cancel(age_s=age_s))
        assert (decision.reasons, sent) == ((D.DUPLICATE_INTENT,), 0)


@pytest.mark.parametrize(("later", "sent"), [(9, 0), (10, 1)])
def test_a_cancel_that_was_lost_is_asked_for_again_after_ten_seconds(later: int, sent: int) -> None:
    front = resting()
    asked(front, cancel())
    front.tell(risk(-later), mark(later=later))
    assert asked(front, cancel(91))[1] == sent


def test_event_time_that_steps_back_does_not_keep_an_order_from_being_cancelled() -> None:
    front = resting()
    front.tell(risk(-3600), mark(later=3600))
    assert asked(front, cancel())[1] == 1
    front.tell(risk(-1), mark(later=1))
    assert asked(front, cancel(91))[1] == 1


def test_the_cancel_of_the_order_before_says_nothing_of_the_next_one() -> None:
    front = resting()
    asked(front, cancel())
    front.tell(report(1, OrderState.CANCELLED))
    assert front.decide(intent(2, quantity_lots=11))[0].admitted
    decision, sent = asked(front, cancel(91, cancels=f"{2:024x}"))
    assert (decision.admitted, sent) == (True, 1)


def test_a_strategy_that_calls_itself_flatten_cancels_no_flatten() -> None:
    front = Front(report(9, OrderState.FILLED, kind="FILL", fill=10), kill(flatten=True))
    front.tell(risk(-1), mark(later=1))
    [closing] = front.commands
    decision, sent = asked(front, cancel(strategy="flatten", cancels=closing.intent_id))
    assert (decision.reasons, sent) == ((D.STRATEGY_NOT_ALLOWED,), 0)
