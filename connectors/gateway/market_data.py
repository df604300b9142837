"""Market data lines: what a client has subscribed to, what it was last told, and what it must be told now.

A line sends a price with its size when the price moves, and the size alone otherwise, as IB does. Depth rows are
inserted at the end, updated in place and deleted from the end, which every public client reads the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from connectors.gateway import frames
from connectors.gateway.book import Book, Levels
from connectors.gateway.wire import Value
from contracts.instruments import InstrumentSpec

Send = Callable[[list[Value]], bool]
"""Sends one message; False when it was left out, so that the line tells it again with the next change."""

BID, ASK, LAST, HIGH, LOW, VOLUME, CLOSE, OPEN = 1, 2, 4, 6, 7, 8, 9, 14
BID_SIZE, ASK_SIZE, LAST_SIZE = 0, 3, 5
LAST_TIME, RT_VOLUME, HALTED, SHORTABLE, TRADE_COUNT, RT_TRADE_VOLUME = 45, 48, 49, 46, 54, 77
DELAYED: Final = {
    BID: 66, ASK: 67, LAST: 68, BID_SIZE: 69, ASK_SIZE: 70, LAST_SIZE: 71, HIGH: 72, LOW: 73, VOLUME: 74, CLOSE: 75,
    OPEN: 76, LAST_TIME: 88,
}  # fmt: skip
"""The tick types of delayed data (docs tick_types)."""
SIZE_OF: Final = {BID: BID_SIZE, ASK: ASK_SIZE, LAST: LAST_SIZE}
GENERIC_TICKS: Final = frozenset(
    {100, 101, 104, 106, 165, 225, 232, 233, 236, 292, 293, 294, 295, 318, 375, 411, 456, 586, 588, 619}
)


@dataclass(slots=True)
class QuoteLine:
    """A top-of-book subscription (reqMktData)."""

    spec: InstrumentSpec
    req_id: int
    version: int
    send: Send
    generic: frozenset[int] = frozenset()
    delayed: bool = False
    sent: dict[int, Value] = field(default_factory=dict)
    trades: int = 0

    def update(self, book: Book) -> None:
        """Send what changed since the last call."""
        for kind, levels in ((BID, book.bids), (ASK, book.asks)):
            price, lots = levels[0] if levels else (-1, 0)
            self._price(kind, self.spec.price(price) if levels else -1, frames.sized(lots, self.spec, self.version))
        if book.last is not None and book.prints != self.sent.get(-1):
            self._trade(book)
        if book.close:
            self._plain(CLOSE, self.spec.price(book.close))
        halted: list[Value] = [45, 6, self.req_id, HALTED, int(book.halted)]
        if book.halted != bool(self.sent.get(HALTED, False)) and self.send(halted):
            self.sent[HALTED] = book.halted

    def start(self, book: Book) -> None:
        """The first picture, with what comes once."""
        self.send([81, self.req_id, self.spec.tick_size, "9c0001" if self.spec.sec_type == "STK" else "", 3])
        self.send([58, 1, self.req_id, 3 if self.delayed else 1])
        self.update(book)
        if 236 in self.generic and self.spec.sec_type == "STK":
            self.send([45, 6, self.req_id, SHORTABLE, 3])

    def _trade(self, book: Book) -> None:
        assert book.last is not None
        ticks, lots = book.last
        spec = self.spec
        self.sent[-1] = book.prints
        self._price(LAST, spec.price(ticks), frames.sized(lots, spec, self.version))
        self.send(frames.tick_string(self.req_id, self._type(LAST_TIME), str(book.last_ns // 1_000_000_000)))
        self._size(VOLUME, frames.sized(book.volume, spec, self.version))
        for kind, price in ((OPEN, book.open), (HIGH, book.high), (LOW, book.low)):
            self._plain(kind, spec.price(price))
        self.trades += 1
        volume = f"{spec.price(ticks)};{lots * spec.lot_size:f};{book.last_ns // 1_000_000};"
        volume += f"{book.volume * spec.lot_size:f};{book.turnover / book.volume * float(spec.tick_size):.6f};true"
        if 233 in self.generic:
            self.send(frames.tick_string(self.req_id, RT_VOLUME, volume))
        if 375 in self.generic:
            self.send(frames.tick_string(self.req_id, RT_TRADE_VOLUME, volume))
        if 293 in self.generic:
            self.send([45, 6, self.req_id, TRADE_COUNT, self.trades])

    def _type(self, kind: int) -> int:
        return DELAYED.get(kind, kind) if self.delayed else kind

    def _price(self, kind: int, price: Value, size: Value) -> None:
        if self.sent.get(kind) != price and self.send(frames.tick_price(self.req_id, self._type(kind), price, size)):
            self.sent[kind], self.sent[SIZE_OF[kind]] = price, size
        self._size(SIZE_OF[kind], size)

    def _size(self, kind: int, size: Value) -> None:
        if self.sent.get(kind) != size and self.send(frames.tick_size(self.req_id, self._type(kind), size)):
            self.sent[kind] = size

    def _plain(self, kind: int, price: Value) -> None:
        if self.sent.get(kind) != price and self.send(frames.tick_price(self.req_id, self._type(kind), price, 0)):
            self.sent[kind] = price


@dataclass(slots=True)
class DepthLine:
    """A market depth subscription (reqMktDepth) of at most `rows` rows a side."""

    spec: InstrumentSpec
    req_id: int
    version: int
    send: Send
    rows: int
    smart: bool
    sent: dict[int, Levels] = field(default_factory=lambda: {0: [], 1: []})

    def update(self, book: Book) -> None:
        """Send the rows that changed since the last call."""
        for side, levels in ((1, book.bids), (0, book.asks)):
            rows, known = levels[: self.rows], self.sent[side]
            for row, level in enumerate(rows):
                if row >= len(known):
                    if not self._row(row, 0, side, level):
                        return
                    known.append(level)
                elif level != known[row] and self._row(row, 1, side, level):
                    known[row] = level
            while len(known) > len(rows) and self._row(len(known) - 1, 2, side, (0, 0)):
                known.pop()

    def start(self, book: Book) -> None:
        self.update(book)

    def _row(self, row: int, operation: int, side: int, level: tuple[int, int]) -> bool:
        price, size = self.spec.price(level[0]), frames.sized(level[1], self.spec, self.version)
        if self.smart:
            maker = self.spec.primary_exchange or self.spec.exchange
            return self.send(frames.depth_l2(self.req_id, row, maker, operation, side, price, size))
        return self.send(frames.depth(self.req_id, row, operation, side, price, size))


class Line(Protocol):
    """A subscription the hub feeds."""

    @property
    def spec(self) -> InstrumentSpec: ...

    def update(self, book: Book) -> None: ...


class Hub:
    """All lines by instrument; each book change is told to the lines of its instrument alone."""

    def __init__(self) -> None:
        self.lines: dict[str, list[Line]] = {}

    def add(self, line: Line) -> None:
        self.lines.setdefault(line.spec.instrument, []).append(line)

    def remove(self, line: Line) -> None:
        lines = self.lines.get(line.spec.instrument, [])
        if line in lines:
            lines.remove(line)

    def changed(self, book: Book) -> None:
        for line in self.lines.get(book.spec.instrument, ()):
            line.update(book)
