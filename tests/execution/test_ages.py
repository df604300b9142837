"""Staleness is held against the newest that anybody has said, not against what an intent says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.controls import Denial, Verdict
from contracts.orders import OrderState
from tests.execution.admission_parts import (
    BUCKET_NS,
    IDENTITY,
    LIMITS,
    USUAL,
    Front,
    account,
    fleet,
    intent,
    mark,
    report,
    risk,
    session,
    switch,
    verdict,
    worker,
)
from tests.execution.order_parts import NOW_NS
from tests.execution.test_amends import amend_intent, decided
from tests.execution.test_amends import working as with_limit_order

D = Denial
HOUR_S = 3600
SECOND_NS = 1_000_000_000


def world(age_s: int) -> tuple[Any, ...]:
    """Everything that admission hears of, so old."""
    return (session(), switch(), risk(age_s), account(age_s=age_s), verdict(), mark(later=-age_s), *fleet(age_s))


@pytest.mark.parametrize("bucket_ns", [1, BUCKET_NS // 2, 2 * BUCKET_NS, 2**53 - 1])
def test_an_intent_that_counts_in_other_buckets_than_the_desk_is_denied(bucket_ns: int) -> None:
    decision, command = Front().decide(intent(bucket_ns=bucket_ns))
    assert (decision.reasons, command) == ((D.INTENT_STALE,), None)
    assert f"bucket_ns={bucket_ns} desk_bucket_ns={BUCKET_NS}" in decision.message


def test_an_amend_that_counts_in_other_buckets_than_the_desk_is_denied() -> None:
    decision, commands = decided(with_limit_order(), amend_intent(bucket_ns=2**53 - 1))
    assert (decision.reasons, commands) == ((D.INTENT_STALE,), [])


@pytest.mark.parametrize("bucket_ns", [BUCKET_NS, 2**53 - 1])
@pytest.mark.parametrize("ingest_age_s", [0, HOUR_S])
def test_a_world_an_hour_old_denies_whatever_the_intent_says_of_itself(bucket_ns: int, ingest_age_s: int) -> None:
    wanted = intent(bucket_ns=bucket_ns, ts_ingest_ns=NOW_NS - ingest_age_s * SECOND_NS)
    decision, _ = Front(usual=world(HOUR_S)).decide(wanted)
    assert {D.PRICE_STALE, D.RISK_HEARTBEAT_STALE} <= set(decision.reasons)


@pytest.mark.parametrize(
    ("silent", "reason"),
    [("account_value", D.ACCOUNT_STALE), ("worker", D.MIXED_FLEET), ("risk", D.RISK_HEARTBEAT_STALE)],
)
def test_who_is_silent_while_the_others_speak_is_stale_also_for_an_intent_of_long_ago(silent: Any, reason: Any) -> None:
    """An old stamp on the intent does not make the world younger."""
    old = tuple(fact for fact in world(70) if fact.type == silent)
    new = tuple(fact for fact in world(0) if fact.type != silent)
    decision, _ = Front(usual=(*old, *new)).decide(intent(ts_ingest_ns=NOW_NS - HOUR_S * SECOND_NS))
    assert set(decision.reasons) == {reason}


def test_an_intent_of_a_fresh_stamp_does_not_make_an_old_quote_or_verdict_younger() -> None:
    front = Front(mark("QQQ", later=61), risk(-61), account(age_s=-61), *fleet(-61))
    decision, _ = front.decide(intent(later=0))
    assert set(decision.reasons) == {D.INTENT_STALE, D.PRICE_STALE, D.GATE_NOT_PASSED}


def test_an_account_from_the_future_is_not_fresh_until_then() -> None:
    """A clock that jumped an hour ahead and back."""
    front = Front(account(age_s=-HOUR_S))
    decision, _ = front.decide(intent())
    assert D.ACCOUNT_STALE in decision.reasons
    assert "account_age_s=-3600" in decision.message
    later = 3000
    front.tell(mark(later=later), risk(-later), *fleet(-later), verdict(lives_buckets=2 * later))
    assert D.ACCOUNT_STALE in front.decide(intent(2, later=later))[0].reasons
    front.tell(account(age_s=-later))
    assert front.decide(intent(3, later=later))[0].admitted


def test_risk_from_the_future_is_not_fresh_until_then() -> None:
    decision, _ = Front(risk(-HOUR_S)).decide(intent())
    assert D.RISK_HEARTBEAT_STALE in decision.reasons
    assert "risk_age_buckets=-3600" in decision.message


def test_a_verdict_from_the_future_does_not_hold_until_then() -> None:
    ahead = verdict().model_copy(update={"ts_event_ns": NOW_NS + HOUR_S * SECOND_NS})
    assert D.GATE_NOT_PASSED not in Front(ahead.model_copy(update={"ts_event_ns": NOW_NS})).decide(intent())[0].reasons
    assert Front(ahead).decide(intent())[0].reasons == (D.GATE_NOT_PASSED,)


def test_a_worker_from_the_future_does_not_count_as_alive_but_its_build_counts() -> None:
    front = Front(worker("risk", age_s=-HOUR_S))
    assert "group risk: no live worker" in front.decide(intent(1))[0].message
    front.tell(worker("risk", age_s=-HOUR_S, build="e" * 64))
    assert "execution has bbbbbbbbbbbb" in front.decide(intent(2))[0].message
    front.tell(*fleet())
    assert front.decide(intent(3))[0].admitted
    assert IDENTITY.build.startswith("b")


@pytest.mark.parametrize(("silent", "reason"), [("account_value", D.ACCOUNT_STALE), ("worker", D.MIXED_FLEET)])
def test_a_child_is_held_against_its_own_time_and_not_against_that_of_its_parent(silent: Any, reason: Any) -> None:
    """The parent was decided when all was well; later the account, or every worker, is silent."""
    limits = LIMITS.model_copy(update={"account_age_s_max": 5.0})
    late = 30 if silent == "worker" else 20
    usual = tuple(fact for fact in USUAL if fact.type != "signal")
    front = Front(mark(volume=100), *fleet(1), usual=usual, limits=limits)
    first = front.decide(intent(1, quantity_lots=40))[1]
    assert first is not None
    front.tell(report(1, lots=10, kind="FILL", fill=10), *(fact for fact in world(-late) if fact.type != silent))
    assert set(front.decisions[-1].reasons) == {reason}


def test_a_child_carries_its_own_time_to_the_gateway() -> None:
    """A claim is sent again while it is young: by its own stamp, not by that of a parent from before."""
    usual = tuple(fact for fact in USUAL if fact.type != "signal")
    front = Front(mark(volume=100), usual=usual)
    front.decide(intent(1, quantity_lots=40))
    front.tell(report(1, lots=10, kind="FILL", fill=10), risk(-20), mark(later=20, volume=100))
    assert [command.ts_ingest_ns - NOW_NS for command in front.commands] == [0, 20 * SECOND_NS]


def test_an_intent_from_the_future_makes_admission_forget_nothing() -> None:
    """Neither the limit that a person tightened, nor the intents it has decided, nor the messages of this minute."""
    front = Front(limits=LIMITS.model_copy(update={"orders_per_minute_max": 1}))
    assert front.decide(intent(1))[0].admitted
    front.tell(report(1))
    assert D.PRICE_STALE in front.decide(intent(2, later=10**6))[0].reasons
    reasons = front.decide(intent(1))[0].reasons
    assert {D.DUPLICATE_INTENT, D.ORDER_RATE_EXCEEDS_MAXIMUM} <= set(reasons)


def test_the_row_forgets_intents_from_the_future_as_it_forgets_all_others() -> None:
    front = Front()
    for number in range(1, 101):
        front.decide(intent(number, later=10**6))
    front.tell(mark(later=40), risk(-40))
    front.decide(intent(101, later=40))
    assert front.state is not None
    assert len(front.state.recent) == 1


def test_an_intent_of_the_minute_before_does_not_start_the_count_of_messages_anew() -> None:
    front = Front(limits=LIMITS.model_copy(update={"orders_per_minute_max": 1}))
    minute_s = 60 - NOW_NS // SECOND_NS % 60
    front.tell(mark(later=minute_s), risk(-minute_s), account(age_s=-minute_s), *fleet(-minute_s))
    front.tell(verdict(word=Verdict.PASS, lives_buckets=10**6))
    assert front.decide(intent(1, later=minute_s))[0].admitted
    front.tell(report(1))
    for number, later in ((2, minute_s - 1), (3, minute_s), (4, minute_s - 2)):
        assert front.decide(intent(number, later, quantity_lots=11))[0].reasons == (D.ORDER_RATE_EXCEEDS_MAXIMUM,)


def test_no_minute_has_more_messages_than_the_limit_wherever_it_begins() -> None:
    """By minutes of the clock the last second of one and the first of the next had twice as many."""
    front = Front(limits=LIMITS.model_copy(update={"orders_per_minute_max": 5}))
    last_s = 59 - NOW_NS // SECOND_NS % 60
    number = 0
    sent: dict[int, int] = {}
    for later in range(last_s, last_s + 62):
        front.tell(risk(-later), account(age_s=-later), verdict(lives_buckets=999), *fleet(-later), mark(later=later))
        for _ in range(10 if later < last_s + 2 else 1):
            number += 1
            admitted = front.decide(intent(number, later, quantity_lots=number % 30 + 1))[0].admitted
            front.tell(report(number, OrderState.CANCELLED))
            sent[later] = sent.get(later, 0) + admitted
    assert [later - last_s for later, count in sent.items() if count] == [0, 60, 61]
    assert sum(sent.values()) == 7


def test_messages_still_count_when_event_time_steps_back() -> None:
    front = Front(risk(-20), mark(later=20), limits=LIMITS.model_copy(update={"orders_per_minute_max": 1}))
    assert front.decide(intent(1, 20))[0].admitted
    front.tell(report(1), risk(), mark())
    assert front.decide(intent(2, quantity_lots=11))[0].reasons == (D.ORDER_RATE_EXCEEDS_MAXIMUM,)


@pytest.mark.parametrize("later", [60, HOUR_S, 23 * HOUR_S])
def test_the_word_of_one_worker_from_tomorrow_makes_nothing_else_old(later: int) -> None:
    """Its clock was wrong once, it was never heard again, and no order went out for a day."""
    front = Front(worker("signals", age_s=-24 * HOUR_S, instance=7))
    assert front.decide(intent(1))[0].admitted
    front.tell(report(1))
    front.tell(*fleet(-later), account(age_s=-later), risk(-later), verdict(lives_buckets=later + 60))
    front.tell(mark(later=later))
    assert front.decide(intent(2, later, quantity_lots=11))[0].reasons == ()
    front.tell(report(2), *fleet(-later))
    front.tell(worker("signals", age_s=-24 * HOUR_S, instance=7))
    assert front.decide(intent(3, later, quantity_lots=12))[0].reasons == ()
