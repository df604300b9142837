"""Regular trading hours of the US stock market: Monday to Friday, 09:30 to 16:00 in New York; no holidays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
OPEN, CLOSE = time(9, 30), time(16, 0)


@dataclass(frozen=True, slots=True)
class TradingHours:
    """Whether the market trades; always, when hours are not enforced."""

    enforced: bool

    def open_at(self, ts_ns: int) -> bool:
        if not self.enforced:
            return True
        local = datetime.fromtimestamp(ts_ns / 1e9, UTC).astimezone(NEW_YORK)
        return local.weekday() < 5 and OPEN <= local.time() < CLOSE

    def close_after(self, ts_ns: int) -> int | None:
        """The next close in nanoseconds; None when hours are not enforced."""
        if not self.enforced:
            return None
        local = datetime.fromtimestamp(ts_ns / 1e9, UTC).astimezone(NEW_YORK)
        day = local if local.time() < CLOSE else local + timedelta(days=1)
        while day.weekday() >= 5:
            day += timedelta(days=1)
        return int(datetime.combine(day.date(), CLOSE, NEW_YORK).timestamp()) * 1_000_000_000
