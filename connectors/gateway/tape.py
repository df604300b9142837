"""What the market has shown: ticks and bars of one instrument, kept within bounds, in the gateway's time.

Bars of one second reach back two hours and bars of one minute two weeks; ticks number 10,000 a kind. What lies before
the gateway's start is invented: a seeded random walk back from the first price seen (see `backfill`).
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections import deque
from dataclasses import dataclass
from typing import Final

from connectors.gateway.book import Book

TICKS_MAX: Final = 10_000
SECONDS_MAX, MINUTES_MAX = 7_200, 20_160
KINDS: Final = ("TRADES", "BID", "ASK", "MIDPOINT")
BACKFILL_MAX: Final = 10_000
"""Invented bars reach back this many steps of their size and no further."""
VOLATILITY_PER_YEAR: Final = 0.2
SECONDS_PER_YEAR: Final = 252 * 6.5 * 3600


@dataclass(slots=True)
class Bar:
    """Prices in half ticks (a midpoint may lie between two), volume in lots, `turnover` the sum of price x lots."""

    start_s: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    turnover: int = 0
    count: int = 0

    def add(self, price: int, lots: int) -> None:
        self.high, self.low, self.close = max(self.high, price), min(self.low, price), price
        self.volume += lots
        self.turnover += price * lots
        self.count += 1

    def merge(self, later: Bar) -> None:
        """Extend by a bar that follows."""
        self.high, self.low, self.close = max(self.high, later.high), min(self.low, later.low), later.close
        self.volume += later.volume
        self.turnover += later.turnover
        self.count += later.count

    @property
    def average(self) -> float:
        """Volume-weighted price in half ticks; the close when nothing traded."""
        return self.turnover / self.volume if self.volume else float(self.close)


class Series:
    """Bars of one kind at one base size."""

    def __init__(self, size_s: int, limit: int) -> None:
        self.size_s = size_s
        self.bars: deque[Bar] = deque(maxlen=limit)

    def add(self, ts_s: int, price: int, lots: int) -> None:
        start = ts_s - ts_s % self.size_s
        if not self.bars or self.bars[-1].start_s != start:
            self.bars.append(Bar(start, price, price, price, price))
        self.bars[-1].add(price, lots)


class Tape:
    """The recent past of one instrument."""

    def __init__(self, seed: int, name: str) -> None:
        self.seed, self.name = seed, name
        self.trades: deque[tuple[int, int, int]] = deque(maxlen=TICKS_MAX)
        self.quotes: deque[tuple[int, int, int, int, int]] = deque(maxlen=TICKS_MAX)
        self.first: tuple[int, int] | None = None
        self._series = {(k, s): Series(s, n) for k in KINDS for s, n in ((1, SECONDS_MAX), (60, MINUTES_MAX))}
        self._prints = 0
        self._walks: dict[int, Walk] = {}

    def record(self, book: Book, now_ns: int) -> None:
        """Take down what is new in a book."""
        now_s = now_ns // 1_000_000_000
        if book.prints != self._prints and book.last is not None:
            self._prints = book.prints
            ticks, lots = book.last
            self.trades.append((now_ns, ticks, lots))
            self._add("TRADES", now_s, 2 * ticks, lots)
        if not book.bids or not book.asks:
            return
        (bid, bid_lots), (ask, ask_lots) = book.bids[0], book.asks[0]
        if self.first is None:
            self.first = now_s, bid + ask
        if not self.quotes or self.quotes[-1][1:] != (bid, bid_lots, ask, ask_lots):
            self.quotes.append((now_ns, bid, bid_lots, ask, ask_lots))
            for kind, price in (("BID", 2 * bid), ("ASK", 2 * ask), ("MIDPOINT", bid + ask)):
                self._add(kind, now_s, price, 0)

    def _add(self, kind: str, now_s: int, price: int, lots: int) -> None:
        for size_s in (1, 60):
            self._series[kind, size_s].add(now_s, price, lots)

    def bars(self, kind: str, size_s: int, start_s: int, end_s: int) -> list[Bar]:
        """Bars of `size_s` that start in [start_s, end_s), oldest first, gaps left out, the past before us invented."""
        if self.first is None:
            return []
        first_s = self.first[0] - self.first[0] % size_s
        bars = self.backfill(size_s, start_s, min(end_s, first_s))
        base = self._series[kind, 1 if size_s < 60 else 60].bars
        for bar in base:
            begin = bar.start_s - bar.start_s % size_s
            if not start_s <= bar.start_s < end_s:
                continue
            if bars and bars[-1].start_s == begin:
                bars[-1].merge(bar)
            else:
                bars.append(Bar(begin, *(bar.open, bar.high, bar.low, bar.close, bar.volume, bar.turnover, bar.count)))
        return bars

    def last(self, kind: str) -> int | None:
        """The newest price of a kind in half ticks."""
        bars = self._series[kind, 1].bars
        return bars[-1].close if bars else None

    def backfill(self, size_s: int, start_s: int, end_s: int) -> list[Bar]:
        """Invented bars in [start_s, end_s): a geometric random walk of 20 % a year, back from the first price seen.

        The walk of one bar size is drawn in one go from a generator seeded by gateway seed, instrument and size, so a
        request repeats; walks of different sizes are not each other's aggregates.
        """
        assert self.first is not None
        if start_s >= end_s:
            return []
        anchor_s = self.first[0] - self.first[0] % size_s
        walk = self._walks.setdefault(size_s, Walk(self.first[1], size_s, f"{self.seed}/{self.name}/{size_s}"))
        steps = min(BACKFILL_MAX, (anchor_s - start_s) // size_s)
        first = max(0, -(-(anchor_s - end_s) // size_s))
        walked = enumerate(walk.bars(first, steps), first + 1)
        bars = [dataclasses.replace(bar, start_s=anchor_s - step * size_s) for step, bar in walked]
        return bars[::-1]


class Walk:
    """An endless random walk into the past; bar 0 is the last before the start."""

    def __init__(self, price: int, size_s: int, seed: str) -> None:
        self._price = float(price)
        self._sigma = VOLATILITY_PER_YEAR * math.sqrt(size_s / SECONDS_PER_YEAR)
        self._random = random.Random(seed)
        self._bars: list[Bar] = []

    def bars(self, first: int, end: int) -> list[Bar]:
        """Bars [first, end), newest first, without their times."""
        while len(self._bars) < end:
            self._bars.append(self._step())
        return self._bars[first:end]

    def _step(self) -> Bar:
        draw = self._random
        close = max(2, round(self._price / 2) * 2)
        self._price *= math.exp(-self._sigma * draw.gauss(0, 1))
        open_ = max(2, round(self._price / 2) * 2)
        reach = 2 * round(self._sigma * self._price * draw.random() / 4)
        volume = 100 + int(draw.random() * 9_900)
        high, low = max(open_, close) + reach, max(2, min(open_, close) - reach)
        return Bar(0, open_, high, low, close, volume, volume * (open_ + close) // 2, volume // 100 + 1)
