"""The share of the volume is that of a bucket, whoever asks for it and how often."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from contracts.controls import Denial
from contracts.orders import ExecutionReport, OrderState
from tests.execution.admission_parts import (
    LIMITS,
    Front,
    account,
    fleet,
    intent,
    kill,
    mark,
    report,
    risk,
    verdict,
)
from tests.execution.test_amends import amend_intent
from tests.execution.test_parents import THIN

D = Denial
SHARE = 10
"""Lots: a tenth of the 100 that trade in a bucket."""

BOTH = LIMITS.model_copy(update={"strategies": ("ofi", "pairs")})


def filled(front: Front) -> ExecutionReport:
    """The last order filled."""
    last = front.commands[-1]
    done: dict[str, Any] = {"intent_id": last.intent_id, "order_id": last.order_id, "side": last.side}
    return report(1, kind="FILL", fill=last.quantity_lots, lots=last.quantity_lots, **done)


def bucket(front: Front, later: int) -> None:
    front.tell(risk(-later), account(age_s=-later), *fleet(-later), verdict(lives_buckets=999))
    front.tell(mark(later=later, volume=100))


def test_several_intents_of_one_bucket_get_one_share_of_it_between_them() -> None:
    front = Front(usual=THIN, limits=BOTH)
    front.decide(intent(1, quantity_lots=7))
    front.tell(filled(front))
    _, command = front.decide(intent(2, strategy="pairs", quantity_lots=30, position_lots=7))
    assert command is not None
    assert command.quantity_lots == 3
    front.tell(filled(front))
    decision, _ = front.decide(intent(3, strategy="pairs", quantity_lots=31, position_lots=SHARE))
    assert decision.reasons == (D.PARTICIPATION_EXCEEDS_MAXIMUM,)
    assert f"bucket_lots={SHARE} share_lots={SHARE}" in decision.message
    bucket(front, 1)
    _, command = front.decide(intent(4, 1, strategy="pairs", quantity_lots=32, position_lots=SHARE))
    assert command is not None
    assert command.quantity_lots == SHARE


def test_a_child_takes_what_is_left_of_its_bucket_or_waits_for_the_next() -> None:
    front = Front(usual=THIN)
    front.decide(intent(1, quantity_lots=20))
    bucket(front, 1)
    front.tell(filled(front))
    assert [command.quantity_lots for command in front.commands] == [SHARE, SHARE]
    front.tell(filled(front))
    wanted = intent(2, 1, quantity_lots=40, position_lots=20)
    assert front.decide(wanted)[0].reasons == (D.PARTICIPATION_EXCEEDS_MAXIMUM,)
    bucket(front, 2)
    assert len(front.commands) == 2, "what was denied has no children"


def test_amends_of_a_bucket_do_not_add_up_to_more_than_its_share() -> None:
    front = Front(usual=THIN)
    terms: dict[str, Any] = {"order_type": "LIMIT", "limit_price": Decimal("600.00"), "time_in_force": "DAY"}
    front.decide(intent(1, quantity_lots=6, **terms))
    front.tell(report(1, OrderState.ACKNOWLEDGED, lots=6))
    front.tell(amend_intent(2, lots=10), report(1, OrderState.ACKNOWLEDGED, lots=10, amend_id=f"{2:024x}"))
    assert front.decisions[-1].admitted
    front.tell(report(1, OrderState.PARTIALLY_FILLED, kind="FILL", fill=9, lots=10))
    front.tell(amend_intent(3, lots=11))
    assert front.decisions[-1].reasons == (D.PARTICIPATION_EXCEEDS_MAXIMUM,)
    assert "added_lots=1 share_left_lots=0" in front.decisions[-1].message
    bucket(front, 1)
    front.tell(amend_intent(4, lots=12, ts_event_ns=intent(later=1).ts_event_ns))
    assert front.decisions[-1].admitted


def test_event_time_that_steps_back_brings_no_second_share() -> None:
    front = Front(usual=THIN)
    bucket(front, 2)
    front.decide(intent(1, 2, quantity_lots=SHARE))
    front.tell(filled(front), risk(-1), mark(later=1, volume=100))
    decision, _ = front.decide(intent(2, 1, quantity_lots=11, position_lots=SHARE))
    assert decision.reasons == (D.PARTICIPATION_EXCEEDS_MAXIMUM,)
    front.tell(risk(40), mark(later=-40, volume=100))
    assert D.PARTICIPATION_EXCEEDS_MAXIMUM not in front.decide(intent(3, -40, position_lots=SHARE))[0].reasons


def test_no_share_keeps_a_position_from_being_flattened() -> None:
    front = Front(usual=THIN)
    front.decide(intent(1, quantity_lots=SHARE))
    front.tell(filled(front), kill(flatten=True), mark(volume=100))
    assert [(command.side, command.quantity_lots) for command in front.commands[1:]] == [("SELL", SHARE)]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_asked_for_no_bucket_brings_more_than_its_share(seed: Any) -> None:
    dice = random.Random(seed)
    front = Front(
        usual=THIN, limits=BOTH.model_copy(update={"repeat_orders_max": 10**6, "orders_per_minute_max": 10**6})
    )
    number = 0
    for later in range(1, 120):
        before = len(front.commands)
        bucket(front, later)
        for _ in range(dice.randrange(6)):
            assert front.state is not None
            if "SPY" in front.state.working and dice.random() < 0.8:
                front.tell(filled(front))
            number += 1
            held = front.state.positions.get("SPY", 0)
            wanted: dict[str, Any] = {"strategy": dice.choice(BOTH.strategies or ()), "position_lots": held}
            side = "SELL" if held > 0 and dice.random() < 0.7 else "BUY"
            front.decide(intent(number, later, side=side, quantity_lots=dice.randrange(1, 40), **wanted))
        assert sum(command.quantity_lots for command in front.commands[before:]) <= SHARE, f"seed {seed}"
    assert len(front.commands) > 60, f"seed {seed}"
