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
    events: int = 0
    seq: int = -1


OFI = TableSpec("ofi", OfiState, "last quote and open bucket of order-flow imbalance, by instrument", partitions=4)


def key(message: Any) -> str:
    return BROADCAST if message.type == "heartbeat" else str(message.instrument)


def make(bucket_ns: int) -> Step:
    """The step for buckets of `bucket_ns`."""

    def step(state: OfiState | None, record: Record) -> tuple[OfiState | None, Sequence[Out]]:
        message = record.message
        kind, ts_event_ns = message.type, message.ts_event_ns
        # The bucket an event falls in; for a heartbeat the one that is open after it.
        bucket = ts_event_ns // bucket_ns + 1 if kind == "heartbeat" else -(-ts_event_ns // bucket_ns)
        outputs: Sequence[Out] = ()
        opened = bucket
        if state is not None:
            opened = state.bucket
            if bucket > opened:
                state, outputs = close(state, bucket, bucket_ns, message.ts_ingest_ns)
            if state is not None and superseded(state, message, kind, bucket):
                return state, UNCHANGED
        if kind == "quote":
            bid, bid_lots, ask, ask_lots = message.bid_ticks, message.bid_lots, message.ask_ticks, message.ask_lots
            return quote(state, message, bucket, bid, bid_lots, ask, ask_lots), outputs
        if kind == "depth":
            (bid, bid_lots), (ask, ask_lots) = message.bids[0], message.asks[0]
            return quote(state, message, bucket, bid, bid_lots, ask, ask_lots), outputs
        if kind == "heartbeat":
            return state, outputs if bucket > opened else UNCHANGED
        if kind == "halt":
            state = state or OfiState(message.source, message.instrument, bucket, NO_BID, 0, NO_ASK, 0, mid_open=0)
            state.halted = message.halted
        elif kind == "trade" and state is not None and message.source == state.source:
            state.trade += message.size_lots if message.side == "BUY" else -message.size_lots
            state.events += 1
        return state, outputs

    return step


def superseded(state: OfiState, message: Any, kind: str, bucket: int) -> bool:
    """Whether a replay comes too late to matter: a quote behind a newer quote, a trade behind its bucket's end."""
    if kind in ("quote", "depth"):
        return message.seq < state.seq and message.source == state.source  # type: ignore[no-any-return]
    return kind == "trade" and bucket < state.bucket


def quote(
    state: OfiState | None, message: Quote | DepthUpdate, bucket: int, bid: int, bid_lots: int, ask: int, ask_lots: int
) -> OfiState:
    """The state after a quote. One of another source starts anew, as their imbalances are different variables.

    A halt stays: only a message that trading resumes ends it.
    """
    if state is None or state.source != message.source or state.mid_open == 0:
        halted = state is not None and state.halted
        fresh = OfiState(message.source, message.instrument, bucket, bid, bid_lots, ask, ask_lots, bid + ask, halted)
        fresh.seq = message.seq
        return fresh
    old_bid, old_bid_lots, old_ask, old_ask_lots = state.bid, state.bid_lots, state.ask, state.ask_lots
    if bid != old_bid or bid_lots != old_bid_lots or ask != old_ask or ask_lots != old_ask_lots:
        state.ofi += level1(old_bid, old_bid_lots, old_ask, old_ask_lots, bid, bid_lots, ask, ask_lots)
        state.depth_sum += bid_lots + ask_lots
        state.changes += 1
        state.bid, state.bid_lots, state.ask, state.ask_lots = bid, bid_lots, ask, ask_lots
    state.seq = message.seq
    state.events += 1
    return state


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
            events=0,
        )
    return state, outputs
