"""The market as the gateway sees it: one book of displayed levels per instrument, and what we already took from it.

The rule for displayed size: a fill consumes it. What was taken from a level stays taken until a new snapshot shows
that level with another size (or the level goes away and comes back); then the shown size is there to trade again.
Our orders leave no trace in the displayed book: the recorded market does not react to us.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from contracts.instruments import InstrumentSpec
from contracts.market import RawBook, RawLevel, RawTrade

Levels = list[tuple[int, int]]
"""(ticks, lots), best first."""


@lru_cache(maxsize=1 << 16)
def _whole(raw: str, unit: Decimal) -> int:
    """Whole units in a venue's decimal, rounded down; prices and sizes repeat, hence the cache."""
    try:
        return int(Decimal(raw) / unit)
    except (InvalidOperation, OverflowError, ValueError):
        raise ValueError(f"{raw!r} is not a number") from None


class Book:
    """Displayed levels, last trade, day statistics and halt state of one instrument."""

    def __init__(self, spec: InstrumentSpec) -> None:
        self.spec = spec
        self.bids: Levels = []
        self.asks: Levels = []
        self.halted = False
        self.ts_event_ns = 0
        self.last: tuple[int, int] | None = None
        self.last_ns = 0
        self.open = self.high = self.low = 0
        self.close = 0
        self.volume = 0
        self.turnover = 0
        self.prints = 0
        self._taken: dict[str, dict[int, int]] = {"BUY": {}, "SELL": {}}

    def apply_book(self, record: RawBook) -> None:
        """Show the levels of a snapshot; ValueError when a price or size cannot be read."""
        bids, asks = self._levels(record.bids), self._levels(record.asks)
        self._forget("SELL", self.bids, bids)
        self._forget("BUY", self.asks, asks)
        self.bids, self.asks = bids, asks
        self.ts_event_ns = record.ts_event_ns
        if not self.close and self.mid is not None:
            self.close = self.mid

    def apply_trade(self, record: RawTrade) -> tuple[int, int]:
        """Book a print into the day's statistics; its (ticks, lots)."""
        ticks, lots = _whole(record.price, self.spec.tick_size), _whole(record.size, self.spec.lot_size)
        self.last, self.last_ns, self.ts_event_ns = (ticks, lots), record.ts_event_ns, record.ts_event_ns
        self.open = self.open or ticks
        self.high = max(self.high, ticks)
        self.low = min(self.low or ticks, ticks)
        self.volume += lots
        self.turnover += ticks * lots
        self.prints += 1
        return ticks, lots

    @property
    def mid(self) -> int | None:
        """Midpoint in ticks, rounded down; None while a side is empty."""
        return (self.bids[0][0] + self.asks[0][0]) // 2 if self.bids and self.asks else None

    @property
    def mark(self) -> int:
        """The price positions are valued at, in ticks: last trade, else midpoint, else 0."""
        return self.last[0] if self.last else (self.mid or 0)

    def shown(self, side: str, ticks: int) -> int | None:
        """Displayed lots resting on `side` at a price; None when the price lies beyond the displayed levels."""
        levels = self.bids if side == "BUY" else self.asks
        for price, lots in levels:
            if price == ticks:
                return lots
        if not levels:
            return None
        worst = levels[-1][0]
        inside = ticks > worst if side == "BUY" else ticks < worst
        return 0 if inside else None

    def available(self, side: str, limit: int | None) -> Iterator[tuple[int, int]]:
        """(ticks, lots) that an order on `side` may still take, best first, down to its limit."""
        taken = self._taken[side]
        for price, lots in self.asks if side == "BUY" else self.bids:
            if limit is not None and (price > limit if side == "BUY" else price < limit):
                return
            left = lots - taken.get(price, 0)
            if left > 0:
                yield price, left

    def take(self, side: str, ticks: int, lots: int) -> None:
        """Consume displayed size against an order on `side`."""
        taken = self._taken[side]
        taken[ticks] = taken.get(ticks, 0) + lots

    def _levels(self, raw: tuple[RawLevel, ...]) -> Levels:
        tick, lot = self.spec.tick_size, self.spec.lot_size
        levels = [(_whole(price, tick), _whole(size, lot)) for price, size in raw]
        return [level for level in levels if level[0] > 0 and level[1] > 0]

    def _forget(self, side: str, before: Levels, after: Levels) -> None:
        """Drop what was taken from levels whose displayed size is another one now."""
        taken = self._taken[side]
        if taken:
            same = set(before) & set(after)
            for ticks in [price for price in taken if not any(price == level[0] for level in same)]:
                del taken[ticks]
