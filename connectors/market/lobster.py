"""LOBSTER: reconstructed Nasdaq books as a pair of CSV files in one zip (Huang & Polak 2011, lobsterdata.com).

Row k of the order book file is the book after message k. A message that is an execution gives a trade first and then
the book that shows its effect; hidden executions (type 5) trade too and leave the book unchanged. The file marks the
resting order's side, so the aggressor is the other one. Prices are dollars x 10,000 and may lie between ticks where a
hidden order executed; they come out as the file has them.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from itertools import count, zip_longest
from pathlib import Path
from zoneinfo import ZoneInfo

from connectors.market.errors import MalformedLineError, SourceError
from contracts.market import RawBook, RawHalt, RawLevel, RawTrade

NS_PER_S = 1_000_000_000
DEPTH = 5
"""Levels a record carries at most; a file may hold more."""

_MEMBER = re.compile(
    r"(?P<stem>(?P<instrument>[A-Z0-9.]+)_(?P<date>\d{4}-\d{2}-\d{2})_\d+_\d+)_(?P<kind>message|orderbook)_(?P<levels>\d+)\.csv"
)
_VISIBLE_EXECUTION, _HIDDEN_EXECUTION, _HALT = 4, 5, 7
_EMPTY = {9_999_999_999, -9_999_999_999}
_HALT_LIFTED = 1
"""Price of a halt message when trading resumes; -1 is the halt itself and 0 only the return of quotes."""


@dataclass(frozen=True, slots=True)
class LobsterDay:
    """The two members of one zip: one instrument, one day, `levels` book levels."""

    path: Path
    instrument: str
    day: date
    levels: int
    message: str
    orderbook: str


def open_day(path: Path) -> LobsterDay:
    """Find the message and order book members; SourceError when the zip does not hold exactly one pair."""
    with zipfile.ZipFile(path) as archive:
        found = [match for name in archive.namelist() if (match := _MEMBER.fullmatch(Path(name).name))]
        names = {Path(name).name: name for name in archive.namelist()}
    kinds = sorted(match["kind"] for match in found)
    same = {(match["stem"], match["levels"]) for match in found}
    if kinds != ["message", "orderbook"] or len(same) != 1:
        raise SourceError(
            f"{path} is a zip without one pair of LOBSTER members; expected "
            "TICKER_YYYY-MM-DD_START_END_message_LEVELS.csv and its orderbook twin"
        )
    try:
        day = date.fromisoformat(found[0]["date"])
    except ValueError:
        raise SourceError(f"{path} names the date {found[0]['date']}, which is no day; rename its members") from None
    members = {match["kind"]: names[match.group()] for match in found}
    return LobsterDay(
        path, found[0]["instrument"], day, int(found[0]["levels"]), members["message"], members["orderbook"]
    )


def read(day: LobsterDay) -> Iterator[RawBook | RawTrade | RawHalt]:
    """The records of one day in file order, streamed from the zip; SourceError with the line of a malformed row."""
    midnight_ns = _midnight_ns(day.day)
    seq = count()
    last_ns = 0
    for line, (message, row) in enumerate(_rows(day), start=1):
        try:
            time, kind, price, size, direction = _message(message)
        except ValueError:
            raise MalformedLineError(day.message, line, "time,type,order id,size,price,direction") from None
        ts_ns = midnight_ns + time
        if ts_ns < last_ns:
            raise MalformedLineError(day.message, line, "a time that is not before the line above")
        last_ns = ts_ns
        if kind in (_VISIBLE_EXECUTION, _HIDDEN_EXECUTION):
            yield RawTrade(
                source="lobster",
                instrument=day.instrument,
                seq=next(seq),
                ts_event_ns=ts_ns,
                ts_ingest_ns=ts_ns,
                price=_price(price),
                size=str(size),
                side="SELL" if direction == 1 else "BUY",
            )
        elif kind == _HALT:
            yield RawHalt(
                source="lobster",
                instrument=day.instrument,
                seq=next(seq),
                ts_event_ns=ts_ns,
                ts_ingest_ns=ts_ns,
                halted=price != _HALT_LIFTED,
            )
        try:
            bids, asks = _book(row, day.levels)
        except ValueError:
            expected = f"{4 * day.levels} integers: ask price, ask size, bid price, bid size per level"
            raise MalformedLineError(day.orderbook, line, expected) from None
        yield RawBook(
            source="lobster",
            instrument=day.instrument,
            seq=next(seq),
            ts_event_ns=ts_ns,
            ts_ingest_ns=ts_ns,
            bids=bids,
            asks=asks,
        )


def _rows(day: LobsterDay) -> Iterator[tuple[str, str]]:
    """Pairs of lines of the two members, unpacked as they are read."""
    with ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(day.path))
        # A byte that is not ASCII becomes a replacement character, and the parser then names its line.
        messages, books = (
            io.TextIOWrapper(stack.enter_context(archive.open(name)), encoding="ascii", errors="replace")
            for name in (day.message, day.orderbook)
        )
        try:
            for line, (message, row) in enumerate(zip_longest(messages, books), start=1):
                if message is None or row is None:
                    short = day.message if message is None else day.orderbook
                    raise MalformedLineError(short, line, "as many lines as in its twin, but it ends here")
                yield message, row
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise SourceError(f"{day.path} is damaged ({error}); download it again") from None


def _midnight_ns(day: date) -> int:
    """UTC nanoseconds from which LOBSTER counts that day's seconds.

    Taken from noon, so that the count agrees with the session's clock on the days when clocks change.
    """
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo("America/New_York"))
    return (int(noon.timestamp()) - 12 * 3600) * NS_PER_S


def _message(line: str) -> tuple[int, int, int, int, int]:
    """(ns after midnight, type, price, size, direction); ValueError when a field is out of its range."""
    time, kind, _, size, price, direction = line.split(",")
    parsed = _nanoseconds(time), int(kind), int(price), int(size), int(direction)
    if not 1 <= parsed[1] <= _HALT or parsed[3] < 0 or parsed[4] not in (1, -1):
        raise ValueError(line)
    if parsed[1] != _HALT and parsed[2] <= 0:
        raise ValueError(line)
    return parsed


def _nanoseconds(text: str) -> int:
    """Exact nanoseconds of decimal seconds, half up: some rows carry more than nine digits of float noise."""
    seconds, _, fraction = text.partition(".")
    if not seconds.isdecimal() or (fraction and not fraction.isdecimal()):
        raise ValueError(text)
    digits = fraction.ljust(10, "0")
    return int(seconds) * NS_PER_S + int(digits[:9]) + (digits[9] >= "5")


def _book(line: str, levels: int) -> tuple[tuple[RawLevel, ...], tuple[RawLevel, ...]]:
    """(bids, asks), best first, without empty levels."""
    cells = [int(cell) for cell in line.split(",")]
    if len(cells) != 4 * levels:
        raise ValueError(line)
    stop = 4 * min(levels, DEPTH)
    asks = tuple(
        (_price(price), str(size))
        for price, size in zip(cells[0:stop:4], cells[1:stop:4], strict=True)
        if size and price not in _EMPTY
    )
    bids = tuple(
        (_price(price), str(size))
        for price, size in zip(cells[2:stop:4], cells[3:stop:4], strict=True)
        if size and price not in _EMPTY
    )
    return bids, asks


@lru_cache(maxsize=65_536)
def _price(price: int) -> str:
    """Dollars with two decimals, more where the price needs them: 2239500 → 223.95, 2239550 → 223.955."""
    if price <= 0:
        raise ValueError(price)
    dollars, rest = divmod(price, 10_000)
    digits = f"{rest:04d}"
    return f"{dollars}.{digits[:2]}{digits[2:].rstrip('0')}"
