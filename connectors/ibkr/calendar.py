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
REMIND_S: Final = 3600.0


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


class LoginWatch:
    """Whether a person has to be told that the weekly login waits: once an outage, and again every `REMIND_S`.

    The login ends within the nightly reset, which explains an outage as long as it lasts: it is told after that.
    """

    def __init__(self) -> None:
        self._due = False
        self._told_s: float | None = None

    @property
    def waits(self) -> bool:
        """Whether the outage is a login that waits for a person: it is no failure of the connection."""
        return self._due

    def failed(self, now_s: float, *, due: bool, planned: bool) -> bool:
        """A connection ended or did not come about; True if a person has to be told now."""
        self._due = self._due or due
        if not self._due or planned or (self._told_s is not None and now_s - self._told_s < REMIND_S):
            return False
        self._told_s = now_s
        return True

    def succeeded(self) -> None:
        """The outage is over."""
        self._due, self._told_s = False, None
