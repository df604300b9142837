"""The weekly login that waits for a person: told when nothing planned explains the outage any more."""

from __future__ import annotations

from datetime import datetime

import pytest

from connectors.ibkr.calendar import NEW_YORK, REMIND_S, LoginWatch, expected_outage, second_factor_due

TRY_S = 16
"""The session tries again this often."""


def told(down: str, back: str) -> list[str]:
    """When the alert is said in an outage between two moments of New York, day and time."""
    watch, said = LoginWatch(), []
    at_s, end_s = (datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp() for text in (down, back))
    while at_s < end_s:
        if watch.failed(at_s, due=second_factor_due(at_s), planned=bool(expected_outage(at_s))):
            said.append(f"{datetime.fromtimestamp(at_s, NEW_YORK):%a %H:%M}")
        at_s += TRY_S
    return said


def test_the_alert_of_the_weekly_login_is_not_lost_in_the_nightly_reset_in_which_the_login_ends() -> None:
    assert told("2026-11-22 01:00:10", "2026-11-22 02:30") == ["Sun 01:45"]


def test_it_is_repeated_rarely_and_into_the_next_day() -> None:
    assert REMIND_S == 3600
    said = told("2026-11-22 01:00:10", "2026-11-23 03:00")
    assert said[:3] == ["Sun 01:45", "Sun 02:45", "Sun 03:45"]
    assert len(said) == 25
    assert any(text.startswith("Mon") for text in said)


@pytest.mark.parametrize(
    ("down", "back", "wanted"),
    [
        ("2026-11-22 14:00:10", "2026-11-22 14:30", ["Sun 14:00"]),
        ("2026-11-21 23:50:00", "2026-11-22 02:00", ["Sun 01:45"]),
        ("2026-11-22 01:00:10", "2026-11-22 01:40", []),
        ("2026-11-24 00:20:00", "2026-11-24 05:00", []),
        ("2026-11-21 14:00:00", "2026-11-21 20:00", []),
        # The clock goes from 02:00 back to 01:00, and forward to 03:00.
        ("2026-11-01 01:00:10", "2026-11-01 02:30", ["Sun 01:45", "Sun 01:45"]),
        ("2026-03-08 01:00:10", "2026-03-08 03:10", ["Sun 01:45"]),
    ],
)
def test_it_waits_for_the_end_of_what_is_planned_and_for_nothing_else(down: str, back: str, wanted: list[str]) -> None:
    assert told(down, back) == wanted


def test_each_outage_has_an_alert_of_its_own() -> None:
    watch = LoginWatch()
    assert watch.failed(1.0, due=True, planned=False)
    assert not watch.failed(2.0, due=True, planned=False)
    watch.succeeded()
    assert not watch.failed(3.0, due=False, planned=False)
    assert watch.failed(4.0, due=True, planned=False)
