"""Our own daily loss is that of the day, in event time: neither yesterday's profit nor yesterday's loss counts."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.controls import Denial
from tests.execution.admission_parts import USUAL, Front, intent, risk

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
