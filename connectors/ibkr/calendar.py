"""When IB resets itself: nightly, and on Sunday, when a person must confirm the login with a second factor.

Times are New York's, from IB's pages on system status and on Gateway auto-restart; the restart time is the default.
"""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Final
from zoneinfo import ZoneInfo

NEW_YORK: Final = ZoneInfo("America/New_York")
RESTART: Final = (time(23, 45), time(23, 59, 59))
RESET: Final = (time(0, 15), time(1, 45))
SUNDAY_LOGIN: Final = (time(1, 0), time(23, 59, 59))
SUNDAY: Final = 6


def expected_outage(now_s: float) -> str:
    """Which planned outage it is at `now_s` (seconds since the epoch); empty for none."""
    moment = datetime.fromtimestamp(now_s, UTC).astimezone(NEW_YORK)
    at = moment.time()
    if RESTART[0] <= at <= RESTART[1]:
        return "nightly restart of the gateway"
    if RESET[0] <= at <= RESET[1]:
        return "nightly reset of IB's servers"
    return ""


def second_factor_due(now_s: float) -> bool:
    """Whether a login at `now_s` waits for a person: the token of the week ends on Sunday at 01:00 New York time."""
    moment = datetime.fromtimestamp(now_s, UTC).astimezone(NEW_YORK)
    return moment.weekday() == SUNDAY and SUNDAY_LOGIN[0] <= moment.time() <= SUNDAY_LOGIN[1]
