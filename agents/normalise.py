"""Raw records to market events: whole ticks and lots, in order, or a dead letter with a reason."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from agents.spec import Out, Record
from contracts.controls import DeadLetter, DeadLetterReason, GateEvidence
from contracts.instruments import INSTRUMENTS
from contracts.market import DepthUpdate, Halt, Heartbeat, Market, Quote, RawBook, RawHalt, RawTrade, Trade
from contracts.topics import BROADCAST, DLQ_MARKET_EVENTS, GATE_EVIDENCE, MARKET_EVENTS
from tables.rows import TableSpec

EVIDENCE_EVERY_NS = 1_000_000_000
"""Evidence for the data gate goes out once a second of event time and instrument."""

UNKNOWN = "?"
"""Row of all instruments that are not in the catalogue: a flood of invented names does not grow the table."""


@dataclass(slots=True)
class SequenceState:
    """The last record taken of one instrument, and how many were taken and refused."""

    seq: int = -1
    ts_event_ns: int = 0
    accepted: int = 0
    refused: int = 0
    evidence_ns: int = 0


SEQUENCES = TableSpec("sequences", SequenceState, "last sequence number and counts of each instrument", partitions=4)


class RefusedError(Exception):
    """A record is refused for `reason`; `field` is the one to look at."""

    def __init__(self, reason: DeadLetterReason, field: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.field, self.detail = reason, field, detail


def key(message: Any) -> str:
    if isinstance(message, Heartbeat):
        return BROADCAST
    return str(message.instrument) if message.instrument in INSTRUMENTS else UNKNOWN


def step(state: SequenceState | None, record: Record) -> tuple[SequenceState, Sequence[Out]]:
    """One record of `market_raw`."""
    state = state or SequenceState()
    message = record.message
    if isinstance(message, Heartbeat):
        return _heartbeat(state, message)
    try:
        if message.seq <= state.seq:
            reason = DeadLetterReason.DUPLICATE if message.seq == state.seq else DeadLetterReason.OUT_OF_ORDER
            raise RefusedError(reason, "seq", f"seq {message.seq} after {state.seq}")
        if message.ts_event_ns < state.ts_event_ns:
            detail = f"{message.ts_event_ns} after {state.ts_event_ns}"
            raise RefusedError(DeadLetterReason.OUT_OF_ORDER, "ts_event_ns", detail)
        event = normalise(message)
    except RefusedError as refused:
        state.refused += 1
        return state, [
            Out(DLQ_MARKET_EVENTS, f"{record.topic}/{record.partition}/{record.offset}", _letter(record, refused))
        ]
    state.seq, state.ts_event_ns = message.seq, message.ts_event_ns
    state.accepted += 1
    return state, [Out(MARKET_EVENTS, message.instrument, event)]


def _heartbeat(state: SequenceState, message: Heartbeat) -> tuple[SequenceState, Sequence[Out]]:
    total = state.accepted + state.refused
    if total == 0 or message.ts_event_ns < state.evidence_ns + EVIDENCE_EVERY_NS:
        return state, ()
    state.evidence_ns = message.ts_event_ns
    evidence = GateEvidence(
        stage=1, name="data.refused_frac", value=state.refused / total, ts_event_ns=message.ts_event_ns
    )
    return state, [Out(GATE_EVIDENCE, "1", evidence)]


def normalise(message: RawBook | RawTrade | RawHalt) -> Market:
    """The market event of a raw record; RefusedError when it makes none."""
    if message.instrument not in INSTRUMENTS:
        raise RefusedError(
            DeadLetterReason.UNKNOWN_INSTRUMENT, "instrument", f"{message.instrument} is not in the catalogue"
        )
    common: dict[str, Any] = {
        "source": message.source,
        "instrument": message.instrument,
        "seq": message.seq,
        "ts_event_ns": message.ts_event_ns,
        "ts_ingest_ns": message.ts_ingest_ns,
    }
    if isinstance(message, RawHalt):
        return Halt(**common, halted=message.halted)
    if isinstance(message, RawTrade):
        return _trade(message, common)
    return _book(message, common)


def _trade(message: RawTrade, common: dict[str, Any]) -> Trade:
    # Hidden and midpoint executions print between ticks; what we keep is on the grid, rounded down.
    price = _number(message.price, "price")
    ticks = int(price / INSTRUMENTS[message.instrument].tick_size)
    lots = _lots(message.instrument, message.size, "size")
    if ticks <= 0 or lots <= 0:
        raise RefusedError(DeadLetterReason.OUT_OF_RANGE, "price", f"a trade of {message.size} at {message.price}")
    return Trade(**common, price_ticks=ticks, size_lots=lots, side=message.side)


def _book(message: RawBook, common: dict[str, Any]) -> Quote | DepthUpdate:
    bids, asks = _levels(message, "bids"), _levels(message, "asks")
    if not bids or not asks:
        raise RefusedError(DeadLetterReason.EMPTY_BOOK, "bids" if not bids else "asks", "one side has no level")
    if bids[0][0] >= asks[0][0]:
        raise RefusedError(DeadLetterReason.CROSSED_BOOK, "bids", f"bid {bids[0][0]} at or over ask {asks[0][0]} ticks")
    if len(bids) == 1 and len(asks) == 1:
        (bid, bid_lots), (ask, ask_lots) = bids[0], asks[0]
        return Quote(**common, bid_ticks=bid, bid_lots=bid_lots, ask_ticks=ask, ask_lots=ask_lots)
    return DepthUpdate(**common, bids=bids, asks=asks)


def _levels(message: RawBook, side: str) -> tuple[tuple[int, int], ...]:
    levels = tuple(
        (_ticks(message.instrument, price, side), _lots(message.instrument, size, side))
        for price, size in getattr(message, side)
    )
    prices = [price for price, _ in levels]
    if prices != sorted(set(prices), reverse=side == "bids"):
        raise RefusedError(DeadLetterReason.OUT_OF_RANGE, side, "levels are not best first")
    return levels


@lru_cache(maxsize=65_536)
def _ticks(instrument: str, text: str, field: str) -> int:
    try:
        ticks = INSTRUMENTS[instrument].ticks(_number(text, field))
    except ValueError as error:
        raise RefusedError(DeadLetterReason.OFF_TICK, field, str(error)) from error
    if not 0 < ticks < 2**53:
        raise RefusedError(DeadLetterReason.OUT_OF_RANGE, field, f"price {text}")
    return ticks


@lru_cache(maxsize=65_536)
def _lots(instrument: str, text: str, field: str) -> int:
    try:
        lots = INSTRUMENTS[instrument].lots(_number(text, field))
    except ValueError as error:
        raise RefusedError(DeadLetterReason.OFF_TICK, field, str(error)) from error
    if not 0 <= lots < 2**53:
        raise RefusedError(DeadLetterReason.OUT_OF_RANGE, field, f"size {text}")
    return lots


def _number(text: str, field: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise RefusedError(DeadLetterReason.OUT_OF_RANGE, field, f"{text!r} is not a number") from error
    if not number.is_finite():
        raise RefusedError(DeadLetterReason.OUT_OF_RANGE, field, f"{text!r} is not finite")
    return number


def _letter(record: Record, refused: RefusedError) -> DeadLetter:
    return DeadLetter(
        reason=refused.reason,
        field=refused.field,
        detail=refused.detail,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        contract_version=1,
        original=base64.b64encode(record.value).decode(),
    )
