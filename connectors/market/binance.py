"""Binance spot streams recorded as `<local ns> <json>` lines in a gzip (the collector format of hftbacktest).

Three combined streams are used: `bookTicker`, `depth` (differences) and `trade`; a REST depth snapshot among them
resets the book; other streams are passed over.
The best quote is always the last bookTicker's, because it is sent at every change of the top while differences arrive
every 100 ms; differences fill the levels strictly behind it. So the book is never crossed, needs no snapshot, and its
top equals the bookTicker's. Until the first bookTicker no book is emitted.

Event time is the local receive stamp: bookTicker carries no exchange time, and the exchange and the recorder run on
different clocks. A stamp behind the one before it is raised to it. Prices and sizes stay as the venue wrote them.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from connectors.market.errors import MalformedLineError, SourceError
from contracts.market import RawBook, RawLevel, RawTrade

DEPTH = 5
_DECIMALS = 8
"""Binance writes at most eight decimals, so prices compare as whole units of 1e-8."""


def _units(number: str) -> int:
    """A decimal number in units of 1e-8, exact; ValueError when it is not one or is negative."""
    whole, _, fraction = number.partition(".")
    if len(fraction) > _DECIMALS or not (whole + fraction).isdecimal():
        raise ValueError(number)
    return int(whole + fraction.ljust(_DECIMALS, "0"))


class _Side:
    """Levels of one side; keys rise away from the market, so bids are kept negative."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._keys: list[int] = []
        self._levels: dict[int, RawLevel] = {}

    def key(self, price: str) -> int:
        """Where a price stands on this side; lower is better."""
        return self._sign * _units(price)

    def put(self, price: str, size: str) -> None:
        """Set one level; a zero size removes it."""
        key = self.key(price)
        if _units(size) == 0:
            if self._levels.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]
            return
        if key not in self._levels:
            self._keys.insert(bisect_left(self._keys, key), key)
        self._levels[key] = (price, size)

    def prune(self, key: int) -> None:
        """Remove the levels better than `key`: the market has left them."""
        stop = bisect_left(self._keys, key)
        for gone in self._keys[:stop]:
            del self._levels[gone]
        del self._keys[:stop]

    def behind(self, key: int, n: int) -> tuple[RawLevel, ...]:
        """The `n` best levels strictly behind `key`."""
        start = bisect_right(self._keys, key)
        return tuple(self._levels[k] for k in self._keys[start : start + n])

    def clear(self) -> None:
        self._keys.clear()
        self._levels.clear()


class LocalBook:
    """The book of one instrument, from differences and the best quote."""

    def __init__(self) -> None:
        self._bids, self._asks = _Side(-1), _Side(1)
        self._top: tuple[int, RawLevel, int, RawLevel] | None = None
        self._difference_id = 0

    def snapshot(self, data: dict[str, Any]) -> None:
        """Start again from a REST snapshot."""
        self._clear()
        self._difference_id = int(data["lastUpdateId"])
        self._put(data["bids"], data["asks"])

    def difference(self, data: dict[str, Any]) -> None:
        """Apply one depth difference; after a gap in its ids the old levels are not known any more and go."""
        first, last = int(data["U"]), int(data["u"])
        if last <= self._difference_id:
            return
        if self._difference_id and first > self._difference_id + 1:
            self._clear()
        self._difference_id = last
        self._put(data["b"], data["a"])

    def best(self, data: dict[str, Any]) -> None:
        """Take the bookTicker's quote as the top; ValueError when it is crossed or empty."""
        bid, ask = (data["b"], data["B"]), (data["a"], data["A"])
        bid_key, ask_key = self._bids.key(data["b"]), self._asks.key(data["a"])
        if not 0 < -bid_key < ask_key or _units(data["B"]) == 0 or _units(data["A"]) == 0:
            raise ValueError("not a quote")
        # A quote older than the last difference is the top by rule, but tells the levels nothing new.
        if int(data["u"]) > self._difference_id:
            self._bids.put(*bid)
            self._asks.put(*ask)
            self._bids.prune(bid_key)
            self._asks.prune(ask_key)
        self._top = bid_key, bid, ask_key, ask

    def levels(self) -> tuple[tuple[RawLevel, ...], tuple[RawLevel, ...]] | None:
        """(bids, asks), best first; None before the first bookTicker."""
        if self._top is None:
            return None
        bid_key, bid, ask_key, ask = self._top
        return (bid, *self._bids.behind(bid_key, DEPTH - 1)), (ask, *self._asks.behind(ask_key, DEPTH - 1))

    def _put(self, bids: list[list[str]], asks: list[list[str]]) -> None:
        for price, size in bids:
            self._bids.put(price, size)
        for price, size in asks:
            self._asks.put(price, size)

    def _clear(self) -> None:
        self._bids.clear()
        self._asks.clear()


def instrument(path: Path) -> str:
    """The symbol of the recording, from its first line with one; SourceError when there is none."""
    for line, text in _lines(path):
        _, _, data = _record(path.name, line, text)
        if "s" in data:
            return str(data["s"])
    raise SourceError(f'{path} holds no Binance stream; expected lines like `1723161600001692584 {{"stream": ...}}`')


def read(path: Path) -> Iterator[RawBook | RawTrade]:
    """The records of one recording in file order; SourceError with the line of a malformed one."""
    symbol = instrument(path)
    book, seq, last_ns = LocalBook(), count(), 0
    books = 0
    for line, text in _lines(path):
        ts_ns, stream, data = _record(path.name, line, text)
        last_ns = ts_ns = max(ts_ns, last_ns)
        if data.get("s", symbol) != symbol:
            raise MalformedLineError(path.name, line, f"the instrument {symbol} of the lines above")
        try:
            if stream == "trade":
                yield _trade(symbol, next(seq), ts_ns, data)
                continue
            if stream == "bookTicker":
                book.best(data)
            elif stream == "depth":
                book.difference(data)
            elif stream == "snapshot":
                book.snapshot(data)
            else:
                continue
        except (ValueError, KeyError, TypeError, AttributeError):
            raise MalformedLineError(path.name, line, f"the fields of a Binance {stream} message") from None
        if (levels := book.levels()) is not None:
            books += 1
            yield RawBook(
                source="binance",
                instrument=symbol,
                seq=next(seq),
                ts_event_ns=ts_ns,
                ts_ingest_ns=ts_ns,
                bids=levels[0],
                asks=levels[1],
            )
    if not books:
        raise SourceError(f"{path} holds no bookTicker stream, which gives the best quote; record it beside depth")


def _trade(symbol: str, seq: int, ts_ns: int, data: dict[str, Any]) -> RawTrade:
    """A trade print; `m` says that the buyer was the maker, so the aggressor sold."""
    if not isinstance(data["m"], bool) or _units(data["p"]) == 0 or _units(data["q"]) == 0:
        raise ValueError(data)
    return RawTrade(
        source="binance",
        instrument=symbol,
        seq=seq,
        ts_event_ns=ts_ns,
        ts_ingest_ns=ts_ns,
        price=data["p"],
        size=data["q"],
        side="SELL" if data["m"] else "BUY",
    )


def _record(name: str, line: int, text: str) -> tuple[int, str, dict[str, Any]]:
    """(local ns, kind of stream, its data) of one line."""
    stamp, _, body = text.partition(" ")
    try:
        message = json.loads(body)
        ts_ns = int(stamp)
        if ts_ns < 0 or ts_ns >= 2**63 or not isinstance(message, dict):
            raise ValueError(text)
    except ValueError:
        raise MalformedLineError(name, line, "a nanosecond time stamp, a space and a JSON object") from None
    if "lastUpdateId" in message:
        return ts_ns, "snapshot", message
    data = message.get("data")
    stream = str(message.get("stream", "")).partition("@")[2].partition("@")[0]
    if not isinstance(data, dict) or not stream:
        raise MalformedLineError(name, line, 'an object with "stream" and "data"')
    return ts_ns, stream, data


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of the gzip, unpacked as they are read."""
    try:
        with gzip.open(path) as packed, io.TextIOWrapper(packed, encoding="ascii", errors="replace") as text:
            yield from enumerate(text, start=1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"{path} is damaged ({error}); download it again") from None
