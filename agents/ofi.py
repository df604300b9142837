"""Market events to order-flow imbalance, one event per instrument and bucket of event time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from agents.spec import Out, Record, Step
from contracts.market import DepthUpdate, Halt, Heartbeat, Quote, Source, Trade
from contracts.signals import OfiEvent
from contracts.topics import BROADCAST, OFI_EVENTS
from quant.ofi import level1
from tables.rows import TableSpec

SILENT_BUCKETS_MAX = 1_000
"""A silence longer than this many buckets (a night) starts a fresh row instead of a row of empty buckets."""


@dataclass(slots=True)
class OfiState:
    """The last quote (ticks, lots) and the sums of the open bucket; `bucket` is its number since the epoch."""

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


OFI = TableSpec("ofi", OfiState, "last quote and open bucket of order-flow imbalance, by instrument", partitions=4)


def key(message: Any) -> str:
    return BROADCAST if isinstance(message, Heartbeat) else str(message.instrument)


def make(bucket_ns: int) -> Step:
    """The step for buckets of `bucket_ns`."""

    def step(state: OfiState | None, record: Record) -> tuple[OfiState | None, Sequence[Out]]:
        message = record.message
        bucket = message.ts_event_ns // bucket_ns
        outputs: list[Out] = []
        if state is not None and bucket > state.bucket:
            state, outputs = close(state, bucket, bucket_ns, message.ts_ingest_ns)
        if isinstance(message, Quote):
            bid, bid_lots, ask, ask_lots = message.bid_ticks, message.bid_lots, message.ask_ticks, message.ask_lots
            return quote(state, message, bucket, bid, bid_lots, ask, ask_lots), outputs
        if isinstance(message, DepthUpdate):
            (bid, bid_lots), (ask, ask_lots) = message.bids[0], message.asks[0]
            return quote(state, message, bucket, bid, bid_lots, ask, ask_lots), outputs
        if state is not None and isinstance(message, Trade):
            state.trade += message.size_lots if message.side == "BUY" else -message.size_lots
            state.events += 1
        elif state is not None and isinstance(message, Halt):
            state.halted = message.halted
        return state, outputs

    return step


def quote(
    state: OfiState | None, message: Quote | DepthUpdate, bucket: int, bid: int, bid_lots: int, ask: int, ask_lots: int
) -> OfiState:
    """The state after a quote. A quote of another source starts anew: their imbalances are different variables."""
    if state is None or state.source != message.source:
        return OfiState(message.source, message.instrument, bucket, bid, bid_lots, ask, ask_lots, bid + ask)
    state.ofi += level1(state.bid, state.bid_lots, state.ask, state.ask_lots, bid, bid_lots, ask, ask_lots)
    if (bid, bid_lots, ask, ask_lots) != (state.bid, state.bid_lots, state.ask, state.ask_lots):
        state.depth_sum += bid_lots + ask_lots
        state.changes += 1
    state.bid, state.bid_lots, state.ask, state.ask_lots = bid, bid_lots, ask, ask_lots
    state.events += 1
    return state


def close(state: OfiState, bucket: int, bucket_ns: int, ts_ingest_ns: int) -> tuple[OfiState | None, list[Out]]:
    """Events of the open bucket and of the silent ones up to `bucket`, and the state in `bucket`."""
    if bucket - state.bucket > SILENT_BUCKETS_MAX:
        return None, []
    outputs = []
    while state.bucket < bucket:
        depth = state.depth_sum / state.changes / 2 if state.changes else (state.bid_lots + state.ask_lots) / 2
        event = OfiEvent(
            source=state.source,
            instrument=state.instrument,
            ts_event_ns=(state.bucket + 1) * bucket_ns,
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
