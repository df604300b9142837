"""Regular trading hours of the US stock market: Monday to Friday, 09:30 to 16:00 in New York; no holidays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time
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
