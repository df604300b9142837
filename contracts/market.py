"""Market messages: raw records as a source saw them, and the normalised events the desk computes on.

`market_raw` carries the venue's own decimals as strings; `market_events` carries ticks and lots, checked.
A book record shows the best levels after one change, best first. A source sends the records of one instrument in the
order of `seq`, counted without gaps, and a heartbeat to every partition for each second of event time, so that windows
close for silent instruments too.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, model_validator

from contracts.base import Count, DurationNs, Instrument, Lots, Message, Ticks, TimeNs

Source = Literal["synthetic", "lobster", "binance", "ibkr"]
"""Where an event comes from; OFI of different sources are different variables and never mix in one row."""

Side = Literal["BUY", "SELL"]

TickKind = Literal["BID", "ASK", "LAST"]
"""What a tick updates: the best bid, the best ask, or the last trade."""

RawNumber = Annotated[str, Field(max_length=32)]
"""A decimal as the venue wrote it."""

RawLevel = tuple[RawNumber, RawNumber]
"""(price, size) in the venue's decimals."""

Level = tuple[Ticks, Lots]
"""(price in ticks, size in lots)."""

Seq = Annotated[int, Field(ge=0, lt=2**63)]


class MarketMessage(Message):
    """What every record of one instrument says: who saw it, its number there, when it happened, when it reached us."""

    source: Source
    instrument: Instrument
    seq: Seq
    ts_event_ns: TimeNs
    ts_ingest_ns: TimeNs


class RawBook(MarketMessage):
    """The best levels of a book after a change, best first, as the venue wrote them."""

    type: Literal["raw_book"] = "raw_book"
    bids: tuple[RawLevel, ...]
    asks: tuple[RawLevel, ...]


class RawTick(MarketMessage):
    """One field of a quote, or the last trade, as IB's level-1 data sends them."""

    type: Literal["raw_tick"] = "raw_tick"
    kind: TickKind
    price: RawNumber
    size: RawNumber


class RawTrade(MarketMessage):
    """A trade print; `side` is the aggressor's."""

    type: Literal["raw_trade"] = "raw_trade"
    price: RawNumber
    size: RawNumber
    side: Side


class RawBar(MarketMessage):
    """Open, high, low, close and volume of the `bar_ns` that end at `ts_event_ns`."""

    type: Literal["raw_bar"] = "raw_bar"
    bar_ns: DurationNs
    open: RawNumber
    high: RawNumber
    low: RawNumber
    close: RawNumber
    volume: RawNumber
    trades: Count


class RawHalt(MarketMessage):
    """Trading in one instrument halted or resumed."""

    type: Literal["raw_halt"] = "raw_halt"
    halted: bool


class Heartbeat(Message):
    """Event time has reached `ts_event_ns` in one market partition, with or without events."""

    type: Literal["heartbeat"] = "heartbeat"
    partition: Count
    ts_event_ns: TimeNs
    ts_ingest_ns: TimeNs


Raw = RawBook | RawTick | RawTrade | RawBar | RawHalt
RawRecord = Annotated[Raw | Heartbeat, Field(discriminator="type")]
RAW_RECORD: TypeAdapter[Raw | Heartbeat] = TypeAdapter(RawRecord)


class Quote(MarketMessage):
    """Best bid and offer of one instrument, in ticks and lots; never crossed."""

    type: Literal["quote"] = "quote"
    bid_ticks: Ticks
    bid_lots: Lots
    ask_ticks: Ticks
    ask_lots: Lots


class Tick(MarketMessage):
    """One field of a quote, or the last trade, in ticks and lots."""

    type: Literal["tick"] = "tick"
    kind: TickKind
    price_ticks: Ticks
    size_lots: Lots


class DepthUpdate(MarketMessage):
    """The best levels of a book, best first, in ticks and lots; never empty, never crossed."""

    type: Literal["depth"] = "depth"
    bids: Annotated[tuple[Level, ...], Field(min_length=1)]
    asks: Annotated[tuple[Level, ...], Field(min_length=1)]


class Trade(MarketMessage):
    """A trade print, in ticks and lots; `side` is the aggressor's."""

    type: Literal["trade"] = "trade"
    price_ticks: Ticks
    size_lots: Lots
    side: Side


class Bar(MarketMessage):
    """Open, high, low and close in ticks, volume in lots, of the `bar_ns` that end at `ts_event_ns`."""

    type: Literal["bar"] = "bar"
    bar_ns: DurationNs
    open_ticks: Ticks
    high_ticks: Ticks
    low_ticks: Ticks
    close_ticks: Ticks
    volume_lots: Count
    trades: Count

    @model_validator(mode="after")
    def _low_to_high(self) -> Bar:
        ends = (self.open_ticks, self.close_ticks)
        if not self.low_ticks <= min(ends) <= max(ends) <= self.high_ticks:
            raise ValueError("open and close lie outside low and high")
        return self


class Halt(MarketMessage):
    """Trading in one instrument halted (`halted`) or resumed."""

    type: Literal["halt"] = "halt"
    halted: bool


Market = Quote | Tick | DepthUpdate | Trade | Bar | Halt
MarketEvent = Annotated[Market | Heartbeat, Field(discriminator="type")]
