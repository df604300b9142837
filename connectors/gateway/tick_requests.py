"""Requests for single ticks: the stream of them, and those of the past."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from connectors.gateway import frames
from connectors.gateway.book import Book
from connectors.gateway.market_data import Send
from connectors.gateway.market_requests import cancel, claim, count, read_contract
from connectors.gateway.requests import Refused, parse_time
from connectors.gateway.wire import Fields, Value
from contracts.instruments import InstrumentSpec

if TYPE_CHECKING:
    from connectors.gateway.session import Session

TICKS_MAX, TICK_STREAMS_MAX = 1_000, 5
TICK_TYPES: Final = {"Last": 1, "AllLast": 2, "BidAsk": 3, "MidPoint": 4}


def validation(text: str) -> Refused:
    return Refused(321, f"Error validating request.-'bM' : cause - {text}")


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


HANDLERS: dict[int, Callable[[Session, Fields], None]] = {
    96: historical_ticks,
    97: tick_by_tick,
    98: cancel("ticks", (300, "Can't find EId with tickerId:")),
}
