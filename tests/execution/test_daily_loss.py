"""Our own daily loss is that of the day, in event time: neither yesterday's profit nor yesterday's loss counts."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.controls import Denial
from tests.execution.admission_parts import USUAL, Front, account, fleet, intent, mark, risk, verdict

DAY_BUCKETS = 86_400
MORNING_BUCKETS = 8 * 3_600
"""It is 08:00 UTC in these tests, a bucket is a second."""

OTHERS = tuple(fact for fact in USUAL if fact.type != "risk")


def reasons(*pnl: tuple[int, float]) -> tuple[Denial, ...]:
    """Why an intent is denied after these words of risk, each (buckets ago, PnL since the first start)."""
    front = Front(usual=(*OTHERS, *(risk(ago, usd) for ago, usd in pnl)))
    return front.decide(intent())[0].reasons


@pytest.mark.parametrize(
    ("pnl", "denied"),
    [
        (((DAY_BUCKETS, 50_000.0), (0, 20_000.0)), True),
        (((DAY_BUCKETS, 50_000.0), (0, 30_000.0)), False),
        (((DAY_BUCKETS, -15_000.0), (0, -34_000.0)), False),
        (((DAY_BUCKETS, -15_000.0), (MORNING_BUCKETS, -30_000.0), (0, -35_001.0)), True),
        (((MORNING_BUCKETS + 1, -15_000.0), (MORNING_BUCKETS, -30_000.0), (0, -34_000.0)), False),
        (((3 * DAY_BUCKETS, 50_000.0), (0, 29_999.0)), True),
        (((60, 50_000.0), (0, 29_999.0)), False),
        (((0, -20_001.0),), True),
    ],
)
def test_what_was_won_or_lost_before_today_is_not_held_against_the_limit_of_20_000(pnl: Any, denied: bool) -> None:
    """Against the last word of the day before: a loss over night is a loss of the new day."""
    assert reasons(*pnl) == ((Denial.DAILY_LOSS_EXCEEDS_MAXIMUM,) if denied else ())


def test_a_word_of_risk_that_is_late_does_not_bring_back_the_day_before() -> None:
    late = (0, 50_000.0), (DAY_BUCKETS, 90_000.0), (0, 29_999.0)
    assert reasons((DAY_BUCKETS, 50_000.0), *late) == (Denial.DAILY_LOSS_EXCEEDS_MAXIMUM,)


@pytest.mark.parametrize("other_s", [DAY_BUCKETS, -DAY_BUCKETS])
def test_the_brokers_loss_of_today_is_not_forgotten_by_a_stamp_of_another_day(other_s: int) -> None:
    front = Front(account("979999"), account("979999", age_s=other_s), account("979999"))
    assert front.decide(intent())[0].reasons == (Denial.DAILY_LOSS_EXCEEDS_MAXIMUM,)


def test_the_brokers_loss_of_yesterday_is_not_held_against_today() -> None:
    front = Front(account("979999"), mark(later=DAY_BUCKETS), account("979998", age_s=-DAY_BUCKETS))
    front.tell(risk(-DAY_BUCKETS), *fleet(-DAY_BUCKETS), verdict(lives_buckets=2 * DAY_BUCKETS))
    assert front.decide(intent(1, DAY_BUCKETS))[0].admitted


def test_what_the_broker_saw_lost_yesterday_is_not_lost_today() -> None:
    usual = tuple(fact for fact in USUAL if fact.type != "account_value")
    night = account(nav="970000", age_s=MORNING_BUCKETS)
    front = Front(account(age_s=DAY_BUCKETS), night, account(nav="955000"), usual=usual)
    assert front.decide(intent(1))[0].admitted
    front.tell(account(nav="949999"))
    assert front.decide(intent(2, quantity_lots=11))[0].reasons[-1] is Denial.DAILY_LOSS_EXCEEDS_MAXIMUM
