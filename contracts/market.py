"""Market messages: raw records as a source saw them, and the normalised events the desk computes on.

`market_raw` carries the venue's own decimals as strings; `market_events` carries ticks and lots, checked.
A book record shows the best levels after one change, best first. A source sends the records of one instrument in the
order of `seq`, and a heartbeat to every partition for each second of event time, so that windows close for silent
instruments too.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from contracts.base import Instrument, Lots, Message, Ticks, TimeNs

Source = Literal["synthetic", "lobster", "binance", "ibkr"]
"""Where an event comes from; OFI of different sources are different variables and never mix in one row."""

Side = Literal["BUY", "SELL"]

RawLevel = tuple[Annotated[str, Field(max_length=32)], Annotated[str, Field(max_length=32)]]
"""(price, size) in the venue's decimals."""

Level = tuple[Ticks, Lots]
"""(price in ticks, size in lots)."""

Seq = Annotated[int, Field(ge=0, lt=2**63)]


class RawBook(Message):
    """The best levels of a book after a change, best first, as the venue wrote them."""

    type: Literal["raw_book"] = "raw_book"
    source: Source
    instrument: Instrument
    seq: Seq
    ts_event_ns: TimeNs
    ts_ingest_ns: TimeNs
    bids: tuple[RawLevel, ...]
    asks: tuple[RawLevel, ...]


class RawTrade(Message):
    """A trade print; `side` is the aggressor's."""

    type: Literal["raw_trade"] = "raw_trade"
    source: Source
    instrument: Instrument
    seq: Seq
    ts_event_ns: TimeNs
    ts_ingest_ns: TimeNs
    price: Annotated[str, Field(max_length=32)]
    size: Annotated[str, Field(max_length=32)]
    side: Side


class RawHalt(Message):
    """Trading in one instrument halted or resumed."""

    type: Literal["raw_halt"] = "raw_halt"
    source: Source
    instrument: Instrument
    seq: Seq
    ts_event_ns: TimeNs
    ts_ingest_ns: TimeNs
    halted: bool


class Heartbeat(Message):
    """Event time has reached `ts_event_ns` in one market partition, with or without events."""

    type: Literal["heartbeat"] = "heartbeat"
    partition: Annotated[int, Field(ge=0)]
    ts_event_ns: TimeNs
    ts_ingest_ns: TimeNs


RawRecord = Annotated[RawBook | RawTrade | RawHalt | Heartbeat, Field(discriminator="type")]
RAW_RECORD: TypeAdapter[RawBook | RawTrade | RawHalt | Heartbeat] = TypeAdapter(RawRecord)


class Quote(Message):
    """Best bid and offer of one instrument, in ticks and lots."""

    type: Literal["quote"] = "quote"
    source: Source
    instrument: Instrument
    seq: Seq
    ts_event_ns: TimeNs
    ts_ingest_ns: TimeNs
    bid_ticks: Ticks
    bid_lots: Lots
    ask_ticks: Ticks
    ask_lots: Lots


class DepthUpdate(Message):
    """The best levels of a book, best first, in ticks and lots; never empty, never crossed."""

    type: Literal["depth"] = "depth"
    source: Source
    instrument: Instrument
    seq: Seq
    ts_event_ns: TimeNs
    ts_ingest_ns: TimeNs
    bids: Annotated[tuple[Level, ...], Field(min_length=1)]
    asks: Annotated[tuple[Level, ...], Field(min_length=1)]


class Trade(Message):
    """A trade print, in ticks and lots; `side` is the aggressor's."""

    type: Literal["trade"] = "trade"
    source: Source
    instrument: Instrument
    seq: Seq
    ts_event_ns: TimeNs
    ts_ingest_ns: TimeNs
    price_ticks: Ticks
    size_lots: Lots
    side: Side


class Halt(Message):
    """Trading in one instrument halted (`halted`) or resumed."""

    type: Literal["halt"] = "halt"
    source: Source
    instrument: Instrument
    seq: Seq
    ts_event_ns: TimeNs
    ts_ingest_ns: TimeNs
    halted: bool


Raw = RawBook | RawTrade | RawHalt
Market = Quote | DepthUpdate | Trade | Halt
