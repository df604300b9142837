"""Market events to order-flow imbalance, one event per instrument and bucket of event time.

Buckets are (t - b, t], as the sources' heartbeats are: the one of t follows every record up to and including t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from agents.spec import UNCHANGED, Out, Record, Step
from contracts.market import DepthUpdate, Quote, Source
from contracts.signals import OfiEvent
from contracts.topics import BROADCAST, OFI_EVENTS
from quant.ofi import NO_ASK, NO_BID, level1
from tables.rows import TableSpec

SILENT_BUCKETS_MAX = 1_000
"""A silence longer than this many buckets (a night) starts a fresh row instead of a row of empty buckets."""


@dataclass(slots=True)
class OfiState:
    """The last quote (ticks, lots, `seq`) and the sums of the open bucket, which ends at `bucket` times its length.

    A `mid_open` of 0 says that a halt came before any quote: there is nothing to publish yet.
    """

    source: Source
    instrument: str
    bucket: int
    bid: int
    bid_lots: int
    ask: int
    ask_lots: int
    mid_open: int
    halted: bool = False
    ofi: int = 0
    depth_sum: int = 0
    changes: int = 0
    trade: int = 0
    volume: int = 0
    events: int = 0
    seq: int = -1


OFI = TableSpec("ofi", OfiState, "last quote and open bucket of order-flow imbalance, by instrument", partitions=4)


def key(message: Any) -> str:
    return BROADCAST if message.type == "heartbeat" else message.instrument


def make(bucket_ns: int) -> Step:
    """The step for buckets of `bucket_ns`."""

    def step(state: OfiState | None, record: Record) -> tuple[OfiState | None, Sequence[Out]]:
        message = record.message
        kind = message.type
        outputs: Sequence[Out] = ()
        # Most events fall into the open bucket, and to see that costs less than to divide.
        if state is None or kind == "heartbeat" or message.ts_event_ns > state.bucket * bucket_ns:
            bucket = bucket_of(message, kind, bucket_ns)
            if state is not None and bucket > state.bucket:
                state, outputs = close(state, bucket, bucket_ns, message.ts_ingest_ns)
            elif kind == "heartbeat":
                return state, UNCHANGED
        if kind == "quote":
            bid, bid_lots, ask, ask_lots = message.bid_ticks, message.bid_lots, message.ask_ticks, message.ask_lots
        elif kind == "depth":
            (bid, bid_lots), (ask, ask_lots) = message.bids[0], message.asks[0]
        else:
            return other(state, message, kind, bucket_ns, outputs)
        if state is None or state.source != message.source or state.mid_open == 0:
            return fresh(state, message, bucket_of(message, kind, bucket_ns), bid, bid_lots, ask, ask_lots), outputs
        if message.seq < state.seq:
            return state, outputs or UNCHANGED  # a replay that comes too late, behind a newer quote
        quote(state, bid, bid_lots, ask, ask_lots)
        state.seq = message.seq
        return state, outputs

    return step


def bucket_of(message: Any, kind: str, bucket_ns: int) -> int:
    """The bucket an event falls in; for a heartbeat the one that is open after it."""
    ts_event_ns: int = message.ts_event_ns
    return ts_event_ns // bucket_ns + 1 if kind == "heartbeat" else -(-ts_event_ns // bucket_ns)


def other(
    state: OfiState | None, message: Any, kind: str, bucket_ns: int, outputs: Sequence[Out]
) -> tuple[OfiState | None, Sequence[Out]]:
    """The state after what is no quote: a halt, a trade, a heartbeat that closed a bucket, or what has no meaning here.

    A trade behind its bucket's end is a replay that comes too late.
    """
    if kind == "halt":
        bucket = bucket_of(message, kind, bucket_ns)
        state = state or OfiState(message.source, message.instrument, bucket, NO_BID, 0, NO_ASK, 0, mid_open=0)
        state.halted = message.halted
    elif kind == "trade" and state is not None:
        if bucket_of(message, kind, bucket_ns) < state.bucket:
            return state, UNCHANGED
        if message.source == state.source:
            state.trade += message.size_lots if message.side == "BUY" else -message.size_lots
            state.volume += message.size_lots
            state.events += 1
    return state, outputs


def fresh(
    state: OfiState | None, message: Quote | DepthUpdate, bucket: int, bid: int, bid_lots: int, ask: int, ask_lots: int
) -> OfiState:
    """The state after a first quote, and after the first of another source: their imbalances are different variables.

    A halt stays: only a message that trading resumes ends it.
    """
    halted = state is not None and state.halted
    first = OfiState(message.source, message.instrument, bucket, bid, bid_lots, ask, ask_lots, bid + ask, halted)
    first.seq = message.seq
    return first


def quote(state: OfiState, bid: int, bid_lots: int, ask: int, ask_lots: int) -> None:
    """Take the best quotes after a change into the open bucket."""
    old_bid, old_bid_lots, old_ask, old_ask_lots = state.bid, state.bid_lots, state.ask, state.ask_lots
    if bid != old_bid or bid_lots != old_bid_lots or ask != old_ask or ask_lots != old_ask_lots:
        state.ofi += level1(old_bid, old_bid_lots, old_ask, old_ask_lots, bid, bid_lots, ask, ask_lots)
        state.depth_sum += bid_lots + ask_lots
        state.changes += 1
        state.bid, state.bid_lots, state.ask, state.ask_lots = bid, bid_lots, ask, ask_lots
    state.events += 1


def close(state: OfiState, bucket: int, bucket_ns: int, ts_ingest_ns: int) -> tuple[OfiState | None, list[Out]]:
    """Events of the open bucket and of the silent ones up to `bucket`, and the state in `bucket`."""
    if bucket - state.bucket > SILENT_BUCKETS_MAX:
        return None, []
    if state.mid_open == 0:
        return replace(state, bucket=bucket), []
    outputs = []
    while state.bucket < bucket:
        depth = state.depth_sum / state.changes / 2 if state.changes else (state.bid_lots + state.ask_lots) / 2
        event = OfiEvent(
            source=state.source,
            instrument=state.instrument,
            ts_event_ns=state.bucket * bucket_ns,
            ts_ingest_ns=ts_ingest_ns,
            bucket_ns=bucket_ns,
            ofi_lots=state.ofi,
            depth_lots=depth,
            trade_lots=state.trade,
            volume_lots=state.volume,
            events=state.events,
            mid_open_half_ticks=state.mid_open,
            mid_close_half_ticks=state.bid + state.ask,
            bid_ticks=state.bid,
            ask_ticks=state.ask,
            halted=state.halted,
        )
        outputs.append(Out(OFI_EVENTS, event.instrument, event))
        state = replace(
            state,
            bucket=state.bucket + 1,
            mid_open=state.bid + state.ask,
            ofi=0,
            depth_sum=0,
            changes=0,
            trade=0,
            volume=0,
            events=0,
        )
    return state, outputs
