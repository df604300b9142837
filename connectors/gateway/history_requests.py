"""Requests about the past, and what streams in bars and single ticks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from connectors.gateway import frames
from connectors.gateway.book import Book
from connectors.gateway.market_data import Send
from connectors.gateway.market_requests import cancel, claim, count, read_contract
from connectors.gateway.requests import Refused, parse_time
from connectors.gateway.tape import Bar, Tape
from connectors.gateway.wire import Fields, Value
from contracts.instruments import InstrumentSpec

if TYPE_CHECKING:
    from connectors.gateway.server import Gateway
    from connectors.gateway.session import Session

BAR_SIZES: Final = {
    "1 secs": 1, "1 sec": 1, "5 secs": 5, "10 secs": 10, "15 secs": 15, "30 secs": 30, "1 min": 60, "2 mins": 120,
    "3 mins": 180, "5 mins": 300, "10 mins": 600, "15 mins": 900, "20 mins": 1200, "30 mins": 1800, "1 hour": 3600,
    "2 hours": 7200, "3 hours": 10800, "4 hours": 14400, "8 hours": 28800, "1 day": 86400, "1 week": 604800,
    "1 month": 2592000, "1W": 604800, "1M": 2592000,
}  # fmt: skip
DURATION_S: Final = {"S": 1, "D": 86400, "W": 604800, "M": 2592000, "Y": 31536000}
SHOWN: Final = {
    "TRADES": "TRADES", "AGGTRADES": "TRADES", "ADJUSTED_LAST": "TRADES", "MIDPOINT": "MIDPOINT", "BID": "BID",
    "ASK": "ASK", "BID_ASK": "BID_ASK",
}  # fmt: skip
BARS_MAX, TICKS_MAX, TICK_STREAMS_MAX = 10_000, 1_000, 5
TICK_TYPES: Final = {"Last": 1, "AllLast": 2, "BidAsk": 3, "MidPoint": 4}


def validation(text: str) -> Refused:
    return Refused(321, f"Error validating request.-'bM' : cause - {text}")


def no_data(text: str) -> Refused:
    return Refused(162, f"Historical Market Data Service error message:{text}")


@dataclass(slots=True)
class BarStream:
    """Five-second bars (reqRealTimeBars), or a historical request kept up to date."""

    spec: InstrumentSpec
    kind: str
    size_s: int
    epoch: bool
    sent: tuple[int, int, int] = (0, 0, 0)


@dataclass(slots=True)
class TickLine:
    """A tick-by-tick subscription."""

    spec: InstrumentSpec
    req_id: int
    version: int
    send: Send
    kind: str
    ignore_size: bool
    prints: int = 0
    quote: tuple[int, ...] = field(default=())

    def start(self, book: Book) -> None:
        self.prints = book.prints

    def update(self, book: Book) -> None:
        now_s = int(time.time())
        if self.kind in ("Last", "AllLast"):
            if book.prints != self.prints and book.last is not None:
                self.prints = book.prints
                ticks, lots = book.last
                body = [self.spec.price(ticks), frames.sized(lots, self.spec, self.version), 0, venue(self.spec), ""]
                self.send([99, self.req_id, TICK_TYPES[self.kind], now_s, *body])
            return
        if not book.bids or not book.asks:
            return
        (bid, bid_lots), (ask, ask_lots) = book.bids[0], book.asks[0]
        quote = (bid, ask) if self.ignore_size or self.kind == "MidPoint" else (bid, ask, bid_lots, ask_lots)
        if quote == self.quote:
            return
        self.quote = quote
        if self.kind == "MidPoint":
            self.send([99, self.req_id, 4, now_s, half_ticks(self.spec, bid + ask)])
            return
        sizes = [frames.sized(lots, self.spec, self.version) for lots in (bid_lots, ask_lots)]
        self.send([99, self.req_id, 3, now_s, self.spec.price(bid), self.spec.price(ask), *sizes, 0])


def venue(spec: InstrumentSpec) -> str:
    return spec.primary_exchange or spec.exchange


def half_ticks(spec: InstrumentSpec, amount: float) -> Value:
    """A price from half ticks, 8 decimals at most."""
    return round(Decimal(amount) * spec.tick_size / 2, 8)


def historical_data(session: Session, fields: Fields) -> None:
    gateway, req_id = session.gateway, fields.integer()
    request = fields.ahead()
    spec = read_contract(fields)
    fields.skip(1)  # includeExpired
    end, bar_size, duration = fields.text(), fields.text(), fields.text()
    fields.skip(1)  # useRTH
    shown, epoch = fields.text(), fields.integer() == 2
    keep = fields.flag()
    kind, size_s = SHOWN.get(shown.upper()), BAR_SIZES.get(bar_size)
    if kind is None or size_s is None:
        raise validation(f"Invalid bar size or what-to-show: {bar_size[:20]} {shown[:20]}")
    if keep and end:
        raise validation("End Date/Time is not supported with keep up to date")
    end_s = parse_time(end) // 1_000_000_000 if end else gateway.now_ns() // 1_000_000_000 + 1
    start_s = end_s - _duration(duration)
    if (end_s - start_s) // size_s > BARS_MAX:
        raise validation(f"Historical data bar size setting is invalid for a duration of {duration[:20]}")
    claim(session, "history", req_id)
    cost = 2 if kind == "BID_ASK" else 1
    if gateway.settings.pacing and not keep and _too_fast(gateway, spec, kind, request, cost):
        raise no_data("Historical data request pacing violation")
    bars = _bars(gateway.tapes[spec.instrument], kind, size_s, start_s, end_s)
    if not bars and not keep:
        raise no_data(f"HMDS query returned no data: {spec.symbol}@{spec.exchange} {shown}")
    values: list[Value] = [17, req_id, frames.clock(start_s * 10**9), frames.clock(end_s * 10**9), len(bars)]
    for bar in bars:
        values += _bar_fields(spec, bar, epoch=epoch, size_s=size_s, version=session.version)
    session.send(values)
    if keep:
        session.subscriptions["history", req_id] = BarStream(spec, kind, size_s, epoch)


def _too_fast(gateway: Gateway, spec: InstrumentSpec, kind: str, request: str, cost: int) -> bool:
    broken = gateway.history_pacing.violation(time.monotonic(), f"{spec.instrument}/{kind}", request, cost)
    gateway.panel.hits["G11"] += broken
    return broken


def _duration(raw: str) -> int:
    """Seconds of `N S|D|W|M|Y`."""
    number, _, unit = raw.partition(" ")
    if not number.isdigit() or unit.upper() not in DURATION_S or not 0 < int(number) <= 100_000:
        raise validation(f"Historical data query duration is invalid: {raw[:20]!r}; it reads like '1 D'")
    return int(number) * DURATION_S[unit.upper()]


def _bars(tape: Tape, kind: str, size_s: int, start_s: int, end_s: int) -> list[Bar]:
    if kind != "BID_ASK":
        return tape.bars(kind, size_s, start_s, end_s)
    asks = {bar.start_s: bar for bar in tape.bars("ASK", size_s, start_s, end_s)}
    pairs = [(bid, asks[bid.start_s]) for bid in tape.bars("BID", size_s, start_s, end_s) if bid.start_s in asks]
    return [Bar(bid.start_s, bid.open, ask.high, bid.low, ask.close) for bid, ask in pairs]


def _bar_fields(spec: InstrumentSpec, bar: Bar, *, epoch: bool, size_s: int, version: int) -> list[Value]:
    """date, open, high, low, close, volume, average, count."""
    if size_s >= 86400:
        date = datetime.fromtimestamp(bar.start_s, UTC).strftime("%Y%m%d")
    else:
        date = str(bar.start_s) if epoch else frames.clock(bar.start_s * 10**9)
    prices = [half_ticks(spec, price) for price in (bar.open, bar.high, bar.low, bar.close)]
    volume = frames.sized(bar.volume, spec, version) if bar.volume else -1
    return [date, *prices, volume, half_ticks(spec, bar.average), bar.count if bar.volume else -1]


def historical_ticks(session: Session, fields: Fields) -> None:
    req_id = fields.integer()
    spec = read_contract(fields)
    fields.skip(1)
    start, end, wanted, shown = fields.text(), fields.text(), fields.integer(), fields.text().upper()
    if bool(start) == bool(end):
        raise validation("Specify one of start time or end time")
    if not 0 < wanted <= TICKS_MAX or shown not in ("TRADES", "BID_ASK", "MIDPOINT"):
        raise validation(f"Invalid number of ticks or what-to-show: {wanted} {shown[:20]}")
    send_ticks(
        session, req_id, spec, shown, wanted, parse_time(start) if start else None, parse_time(end) if end else None
    )


def send_ticks(
    session: Session,
    req_id: int,
    spec: InstrumentSpec,
    shown: str,
    wanted: int,
    start_ns: int | None,
    end_ns: int | None,
) -> None:
    """Historical ticks: the first `wanted` from start_ns on, or the last `wanted` before end_ns."""
    tape = session.gateway.tapes[spec.instrument]
    source: list[tuple[int, ...]] = list(tape.trades if shown == "TRADES" else tape.quotes)
    rows = [row for row in source if (start_ns is None or row[0] >= start_ns) and (end_ns is None or row[0] < end_ns)]
    rows = rows[:wanted] if start_ns is not None else rows[-wanted:]
    code = {"MIDPOINT": 96, "BID_ASK": 97, "TRADES": 98}[shown]
    values: list[Value] = [code, req_id, len(rows)]
    for row in rows:
        values.append(row[0] // 1_000_000_000)
        if shown == "TRADES":
            values += [0, spec.price(row[1]), frames.sized(row[2], spec, session.version), venue(spec), ""]
        elif shown == "MIDPOINT":
            values += [0, half_ticks(spec, row[1] + row[3]), 0]
        else:
            sizes = [frames.sized(lots, spec, session.version) for lots in (row[2], row[4])]
            values += [0, spec.price(row[1]), spec.price(row[3]), *sizes]
    session.send([*values, 1])


def tick_by_tick(session: Session, fields: Fields) -> None:
    req_id = fields.integer()
    spec = read_contract(fields)
    kind, wanted, ignore_size = fields.text(), fields.integer(), fields.flag()
    if kind not in TICK_TYPES:
        raise validation(f"Invalid tick-by-tick type {kind[:20]}")
    claim(session, "ticks", req_id)
    if session.gateway.settings.pacing and count(session, "ticks") >= TICK_STREAMS_MAX:
        raise Refused(10190, "Max number of tick-by-tick requests has been reached.")
    if wanted > 0:
        shown = {"BidAsk": "BID_ASK", "MidPoint": "MIDPOINT"}.get(kind, "TRADES")
        send_ticks(session, req_id, spec, shown, min(wanted, TICKS_MAX), None, session.gateway.now_ns())
    line = TickLine(spec, req_id, session.version, session.send_data, kind, ignore_size)
    line.start(session.gateway.broker.books[spec.instrument])
    session.subscriptions["ticks", req_id] = line
    session.gateway.hub.add(line)


def real_time_bars(session: Session, fields: Fields) -> None:
    fields.skip(1)
    req_id = fields.integer()
    spec = read_contract(fields)
    size_s, shown = fields.integer(), fields.text().upper()
    if size_s != 5 or shown not in ("TRADES", "MIDPOINT", "BID", "ASK"):
        raise validation(f"Real time bars come in 5 seconds of TRADES, MIDPOINT, BID or ASK, not {size_s} {shown[:20]}")
    claim(session, "bars", req_id)
    now_s = session.gateway.now_ns() // 1_000_000_000
    session.subscriptions["bars", req_id] = BarStream(spec, shown, 5, True, (now_s - now_s % 5, 0, 0))


def head_timestamp(session: Session, fields: Fields) -> None:
    req_id = fields.integer()
    spec = read_contract(fields)
    fields.skip(3)
    epoch = fields.integer() == 2
    first = session.gateway.tapes[spec.instrument].first
    if first is None:
        raise no_data("No head time stamp")
    start_s = first[0] - DURATION_S["Y"]
    session.send(
        [88, req_id, str(start_s) if epoch else datetime.fromtimestamp(start_s, UTC).strftime("%Y%m%d-%H:%M:%S")]
    )


def histogram(session: Session, fields: Fields) -> None:
    req_id = fields.integer()
    spec = read_contract(fields)
    counts: dict[int, int] = {}
    for _, ticks, lots in session.gateway.tapes[spec.instrument].trades:
        counts[ticks] = counts.get(ticks, 0) + lots
    values: list[Value] = [89, req_id, len(counts)]
    for ticks, lots in sorted(counts.items()):
        values += [spec.price(ticks), int(lots * spec.lot_size)]
    session.send(values)


def ignore(_: Session, __: Fields) -> None:
    """Cancel of a request that is answered at once: nothing is left to cancel."""


def refresh(session: Session, now_s: int) -> None:
    """Once a second: five-second bars that are complete, historical bars that are kept up to date."""
    for (kind, req_id), stream in list(session.subscriptions.items()):
        if kind == "bars":
            _send_real_time(session, req_id, stream, now_s)
        elif kind == "history":
            _send_update(session, req_id, stream, now_s)


def _send_real_time(session: Session, req_id: int, stream: BarStream, now_s: int) -> None:
    begin = now_s - now_s % 5
    if begin <= stream.sent[0]:
        return
    spec = stream.spec
    last = stream.sent[0]
    stream.sent = (begin, 0, 0)
    for bar in session.gateway.tapes[spec.instrument].bars(stream.kind, 5, last, begin):
        prices = [half_ticks(spec, price) for price in (bar.open, bar.high, bar.low, bar.close)]
        volume = frames.sized(bar.volume, spec, session.version)
        session.send_data([50, 3, req_id, bar.start_s, *prices, volume, half_ticks(spec, bar.average), bar.count])


def _send_update(session: Session, req_id: int, stream: BarStream, now_s: int) -> None:
    spec = stream.spec
    begin = now_s - now_s % stream.size_s
    bars = _bars(session.gateway.tapes[spec.instrument], stream.kind, stream.size_s, begin, begin + stream.size_s)
    if not bars or stream.sent == (bars[-1].start_s, bars[-1].count, bars[-1].close):
        return
    bar = bars[-1]
    stream.sent = (bar.start_s, bar.count, bar.close)
    date, open_, high, low, close, volume, average, number = _bar_fields(
        spec, bar, epoch=stream.epoch, size_s=stream.size_s, version=session.version
    )
    session.send_data([90, req_id, number, date, open_, close, high, low, average, volume])


HANDLERS: dict[int, Callable[[Session, Fields], None]] = {
    20: historical_data,
    25: cancel("history", (366, "No historical data query found for ticker id:")),
    50: real_time_bars,
    51: cancel("bars", (300, "Can't find EId with tickerId:")),
    87: head_timestamp,
    88: histogram,
    89: ignore,
    90: ignore,
    96: historical_ticks,
    97: tick_by_tick,
    98: cancel("ticks", (300, "Can't find EId with tickerId:")),
}
