"""From books and trades to the closed bars that `quant.signals` reads, one event at a time.

Everything is a sum of whole numbers, except the time-weighted imbalance, which is summed in the order of events; so the
same events give the same bar bit for bit, in one go or in several, live or replayed. A bar ends when the caller says so
(`close`): event time passes in heartbeats, also where nothing trades.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from quant import microstructure, ofi
from quant.signals import Bar

Side = tuple[tuple[int, int], ...]
"""(price in ticks, size in lots), best first, sizes above 0."""


@dataclass(frozen=True, slots=True)
class BarState:
    """The book now and what the open bar has added up. `since_ns` is the time up to which imbalance is counted.

    `flows` (M,) lots; `depth_sum` qb + qa over `depth_n` changes of the best quotes; `book_sum` sizes over M levels of
    both sides over `book_n` books; `imbalance_ns` the integral of queue imbalance over `two_sided_ns` nanoseconds.
    """

    flows: tuple[int, ...]
    bids: Side | None = None
    asks: Side | None = None
    since_ns: int = 0
    depth_sum: int = 0
    depth_n: int = 0
    book_sum: int = 0
    book_n: int = 0
    imbalance_ns: float = 0.0
    two_sided_ns: int = 0
    signed_volume: int = 0
    volume: int = 0
    trade_feed: bool = False


def init(levels: int) -> BarState:
    """No book seen yet; flows on `levels` levels. ValueError below 1."""
    if levels < 1:
        raise ValueError(f"a bar needs at least one level, got {levels}")
    return BarState((0,) * levels)


def add_book(state: BarState, ts_ns: int, bids: Side, asks: Side) -> BarState:
    """The book after one change, at event time `ts_ns`. The first book starts the record and is no flow."""
    levels = len(state.flows)
    bids, asks = bids[:levels], asks[:levels]
    state = _pass_time(state, ts_ns)
    flows, changed = state.flows, True
    if state.bids is not None and state.asks is not None:
        added = ofi.multilevel(state.bids, state.asks, bids, asks, levels)
        flows = tuple(a + b for a, b in zip(flows, added, strict=True))
        changed = (state.bids[:1], state.asks[:1]) != (bids[:1], asks[:1])
    best = sum(size for side in (bids, asks) for _, size in side[:1])
    return replace(
        state,
        flows=flows,
        bids=bids,
        asks=asks,
        depth_sum=state.depth_sum + (best if changed else 0),
        depth_n=state.depth_n + changed,
        book_sum=state.book_sum + sum(size for side in (bids, asks) for _, size in side),
        book_n=state.book_n + 1,
    )


def add_trade(state: BarState, lots: int, sign: int) -> BarState:
    """A trade of `lots`; `sign` 1 the buyer was the aggressor, -1 the seller, 0 unknown (counts as volume alone)."""
    return replace(state, signed_volume=state.signed_volume + sign * lots, volume=state.volume + lots, trade_feed=True)


def close(
    state: BarState, end_ns: int, implied_vol: float | None = None, realised_vol: float | None = None
) -> tuple[BarState, Bar]:
    """The bar that ends at `end_ns` and the state of the next, which starts with the same book.

    Volumes are None until the first trade ever: a feed that never printed one may not be subscribed.
    """
    state = _pass_time(state, end_ns)
    levels = len(state.flows)
    bid, bid_size = state.bids[0] if state.bids else (ofi.NO_BID, 0)
    ask, ask_size = state.asks[0] if state.asks else (ofi.NO_ASK, 0)
    bar = Bar(
        ofi=state.flows,
        depth=state.depth_sum / (2 * state.depth_n) if state.depth_n else 0.0,
        depth_n=state.depth_n,
        bid=bid,
        bid_size=bid_size,
        ask=ask,
        ask_size=ask_size,
        book_depth=state.book_sum / (2 * levels * state.book_n) if state.book_n else None,
        signed_volume=state.signed_volume if state.trade_feed else None,
        volume=state.volume if state.trade_feed else None,
        queue_imb=state.imbalance_ns / state.two_sided_ns if state.two_sided_ns else None,
        implied_vol=implied_vol,
        realised_vol=realised_vol,
    )
    fresh = BarState((0,) * levels, state.bids, state.asks, state.since_ns, trade_feed=state.trade_feed)
    return fresh, bar


def _pass_time(state: BarState, ts_ns: int) -> BarState:
    """Count the imbalance of the book that stood until `ts_ns`. ValueError when time runs backwards."""
    if ts_ns < state.since_ns:
        raise ValueError(f"an event at {ts_ns} ns comes after one at {state.since_ns} ns: sort the feed by event time")
    if not state.bids or not state.asks:
        return replace(state, since_ns=ts_ns)
    elapsed = ts_ns - state.since_ns
    imbalance = microstructure.queue_imbalance(state.bids[0][1], state.asks[0][1])
    return replace(
        state,
        since_ns=ts_ns,
        imbalance_ns=state.imbalance_ns + imbalance * elapsed,
        two_sided_ns=state.two_sided_ns + elapsed,
    )
