"""Requests about the past, and what streams in bars."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from connectors.gateway import frames
from connectors.gateway.market_requests import cancel, claim, read_contract
from connectors.gateway.requests import Refused, parse_time
from connectors.gateway.tape import Bar, Tape
from connectors.gateway.tick_requests import half_ticks, validation
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
BARS_MAX = 10_000


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
    tape = session.gateway.tapes[spec.instrument]
    price = tape.last(stream.kind)
    if price is None:
        return
    for bar in tape.bars(stream.kind, 5, last, begin) or [Bar(begin - 5, price, price, price, price)]:
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
}
