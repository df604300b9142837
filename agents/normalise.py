"""Raw records to market events: whole ticks and lots, in order, or a dead letter with a reason."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from agents.sequence import RefusedError, SequenceState, check_heartbeat, check_order, take
from agents.spec import UNCHANGED, Out, Record
from contracts.controls import DATA_AGE, DeadLetter, DeadLetterReason, GateEvidence
from contracts.instruments import INSTRUMENTS
from contracts.market import (
    Bar,
    DepthUpdate,
    Halt,
    Heartbeat,
    Market,
    Quote,
    Raw,
    RawBar,
    RawBook,
    RawTick,
    RawTrade,
    Tick,
    Trade,
)
from contracts.topics import BROADCAST, DLQ_MARKET_EVENTS, GATE_EVIDENCE, MARKET_EVENTS

OHLC = ("open", "high", "low", "close")

EXPONENT_MAX = 18
"""Largest power of ten in a number; "1e999999" is a number too, and an integer of a megabyte."""

EVIDENCE_EVERY_NS = 1_000_000_000
"""Evidence for the data gate goes out once a second of event time and instrument."""

HALF_LIFE_NS = 60_000_000_000
"""Records fade out of the share that was refused: after a good morning, a source that fails must show in a minute."""

RECENT_MIN = 20
"""Of fewer records one that is refused says nothing about the source."""

UNKNOWN = "?"
"""Row of all instruments that are not in the catalogue: a flood of invented names does not grow the table."""


def key(message: Any) -> str:
    if message.type == "heartbeat":
        return BROADCAST
    return str(message.instrument) if message.instrument in INSTRUMENTS else UNKNOWN


def step(state: SequenceState | None, record: Record) -> tuple[SequenceState, Sequence[Out]]:
    """One record of `market_raw`."""
    state = state or SequenceState()
    message = record.message
    if message.type == "heartbeat":
        return _heartbeat(state, message)
    if not state.instrument:
        state.instrument = key(message)
    state.recent += 1.0
    try:
        check_order(state, message, replayed=record.replayed)
        event = normalise(message)
    except RefusedError as refused:
        state.refused += 1
        state.recent_refused += 1.0
        return state, [_letter(record, refused)]
    take(state, message)
    state.accepted += 1
    return state, [Out(MARKET_EVENTS, message.instrument, event)]


def refuse(states: Sequence[SequenceState], record: Record) -> Out | None:
    """The dead letter of a heartbeat that no market explains: it would close all windows of its partition for good.

    One that a person has replayed is believed: the way out after an outage that was longer.
    """
    if record.replayed:
        return None
    try:
        check_heartbeat(states, record.message)
    except RefusedError as refused:
        return _letter(record, refused)
    return None


def _heartbeat(state: SequenceState, message: Heartbeat) -> tuple[SequenceState, Sequence[Out]]:
    """What share of an instrument's records was refused lately, and how old the last good one is.

    Of names that we do not trade there is no data to judge: they are all refused, each with a dead letter, and must not
    stop what we do trade.
    """
    if (
        state.accepted + state.refused == 0
        or state.instrument == UNKNOWN
        or message.ts_event_ns < state.evidence_ns + EVIDENCE_EVERY_NS
    ):
        return state, UNCHANGED
    numbers = {"data.refused_frac": state.recent_refused / max(state.recent, RECENT_MIN)}
    fade = 0.5 ** ((message.ts_event_ns - state.evidence_ns) / HALF_LIFE_NS) if state.evidence_ns else 1.0
    state.evidence_ns = message.ts_event_ns
    state.recent, state.recent_refused = state.recent * fade, state.recent_refused * fade
    if state.accepted:
        numbers[DATA_AGE] = max(0.0, (message.ts_event_ns - state.ts_event_ns) / 1e9)
    facts = [
        GateEvidence(stage=1, name=name, value=value, ts_event_ns=message.ts_event_ns, instrument=state.instrument)
        for name, value in numbers.items()
    ]
    return state, [Out(GATE_EVIDENCE, "1", fact) for fact in facts]


def normalise(message: Raw) -> Market:
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
    if message.type == "raw_halt":
        return Halt(**common, halted=message.halted)
    if message.type == "raw_trade":
        return _trade(message, common)
    if message.type == "raw_tick":
        return _tick(message, common)
    if message.type == "raw_bar":
        return _bar(message, common)
    return _book(message, common)


def _trade(message: RawTrade, common: dict[str, Any]) -> Trade:
    ticks = _print(message.instrument, message.price, "price")
    lots = _lots(message.instrument, message.size, "size")
    if lots == 0:
        raise RefusedError(DeadLetterReason.OUT_OF_RANGE, "size", f"a trade of {message.size} at {message.price}")
    return Trade(**common, price_ticks=ticks, size_lots=lots, side=message.side)


def _tick(message: RawTick, common: dict[str, Any]) -> Tick:
    ticks = (_print if message.kind == "LAST" else _ticks)(message.instrument, message.price, "price")
    lots = _lots(message.instrument, message.size, "size")
    return Tick(**common, kind=message.kind, price_ticks=ticks, size_lots=lots)


def _bar(message: RawBar, common: dict[str, Any]) -> Bar:
    prices = {name: _print(message.instrument, getattr(message, name), name) for name in OHLC}
    ends = (prices["open"], prices["close"])
    if not prices["low"] <= min(ends) <= max(ends) <= prices["high"]:
        raise RefusedError(DeadLetterReason.OUT_OF_RANGE, "high", "open and close lie outside low and high")
    lots = _lots(message.instrument, message.volume, "volume")
    return Bar(
        **common,
        bar_ns=message.bar_ns,
        open_ticks=prices["open"],
        high_ticks=prices["high"],
        low_ticks=prices["low"],
        close_ticks=prices["close"],
        volume_lots=lots,
        trades=message.trades,
    )


def _print(instrument: str, text: str, field: str) -> int:
    """Ticks of a trade's price. Hidden and midpoint executions print between ticks: rounded down to the grid."""
    ticks = int(_number(text, field) / INSTRUMENTS[instrument].tick_size)
    if not 0 < ticks < 2**53:
        raise RefusedError(DeadLetterReason.OUT_OF_RANGE, field, f"price {text}")
    return ticks


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
    if not number.is_finite() or number.adjusted() > EXPONENT_MAX:
        raise RefusedError(DeadLetterReason.OUT_OF_RANGE, field, f"{text!r} is not finite, or larger than any price")
    return number


def _letter(record: Record, refused: RefusedError) -> Out:
    letter = DeadLetter(
        reason=refused.reason,
        field=refused.field,
        detail=refused.detail,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        contract_version=record.message.schema_version,
        original=base64.b64encode(record.value).decode(),
    )
    return Out(DLQ_MARKET_EVENTS, letter.source, letter)
