"""Order flow imbalance: what arrived at the bid minus what arrived at the ask, in lots.

For one change of the best quotes, primes being the state before it (Cont, Kukanov & Stoikov 2014, J. Financial
Econometrics 12(1), 47-88, eq. 4):

    e = 1[Pb >= Pb'] qb - 1[Pb <= Pb'] qb' - 1[Pa <= Pa'] qa + 1[Pa >= Pa'] qa'

and OFI of an interval is the sum of its e. A bid that rises adds all of its new size; one that falls takes away all
of its old size (the old size, not the new one); an unchanged price adds the change of its size; the ask mirrors it.

Prices are whole ticks and sizes whole lots, so sums are exact in any order: streaming, batch and replay agree bit for
bit. A side without orders is a price worse than any other with size 0 (`NO_BID`, `NO_ASK`): the formula then needs no
special case. A locked or crossed book is no special case either, since e looks at each side by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

NO_BID: Final = 0
"""Bid price in ticks of a side without orders; real prices are positive."""

NO_ASK: Final = 2**53
"""Ask price in ticks of a side without orders; real prices stay below (`contracts.base.Ticks`)."""

Levels = Sequence[tuple[int, int]]
"""(price in ticks, size in lots), best first."""


def level1(
    prev_bid: int,
    prev_bid_size: int,
    prev_ask: int,
    prev_ask_size: int,
    bid: int,
    bid_size: int,
    ask: int,
    ask_size: int,
) -> int:
    """Contribution e in lots of one best-quote update; 0 for an unchanged book. Cont, Kukanov & Stoikov 2014, eq. 4."""
    flow = 0
    if bid >= prev_bid:
        flow += bid_size
    if bid <= prev_bid:
        flow -= prev_bid_size
    if ask <= prev_ask:
        flow -= ask_size
    if ask >= prev_ask:
        flow += prev_ask_size
    return flow


def multilevel(prev_bids: Levels, prev_asks: Levels, bids: Levels, asks: Levels, levels: int) -> tuple[int, ...]:
    """Contributions e^m in lots, m = 1..levels, on the m-th occupied level of each side.

    Xu, Gould & Howison 2019 (arXiv 1907.06230), eqs. 5-7: `level1` on the pair of m-th levels. A level of size 0 is not
    occupied and is passed over; a level that the book does not have is `NO_BID` or `NO_ASK` with size 0, so an order
    that appears behind the last level counts with its full size. The first element equals `level1`.
    """
    flows = []
    for old_bid, old_ask, bid, ask in zip(
        _occupied(prev_bids, levels, NO_BID),
        _occupied(prev_asks, levels, NO_ASK),
        _occupied(bids, levels, NO_BID),
        _occupied(asks, levels, NO_ASK),
        strict=True,
    ):
        flows.append(level1(*old_bid, *old_ask, *bid, *ask))
    return tuple(flows)


def _occupied(side: Levels, levels: int, no_price: int) -> list[tuple[int, int]]:
    occupied = [level for level in side if level[1]][:levels]
    return occupied + [(no_price, 0)] * (levels - len(occupied))


def level1_batch(
    bid: NDArray[np.int64], bid_size: NDArray[np.int64], ask: NDArray[np.int64], ask_size: NDArray[np.int64]
) -> NDArray[np.int64]:
    """`level1` of each row against the row before it: four (T,) columns to (T,) lots, 0 in row 0.

    Columns of shape (T, M), padded as `multilevel` pads, give the (T, M) contributions of M levels. Equal to the loop
    over `level1` to the last bit. Pays above some 64 rows; one event at a time the plain loop is far faster.
    """
    flow = np.zeros(np.shape(bid), dtype=np.int64)
    flow[1:] = (
        np.where(bid[1:] >= bid[:-1], bid_size[1:], 0)
        - np.where(bid[1:] <= bid[:-1], bid_size[:-1], 0)
        - np.where(ask[1:] <= ask[:-1], ask_size[1:], 0)
        + np.where(ask[1:] >= ask[:-1], ask_size[:-1], 0)
    )
    return flow


def integration_weights(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """First principal component of the (T, M) interval flows, divided by its l1 norm: (M,), oriented to a positive sum.

    Cont, Cucuringu & Zhang 2023 (Quant. Finance 23(10); arXiv 2112.13213), sec. 2.2. Equals the first component of
    `sklearn.decomposition.PCA` up to its sign and scale. Samples are to be divided by depth, as for `integrated`.
    ValueError without two finite rows or when no level ever moves.
    """
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim != 2 or samples.shape[0] < 2 or not np.isfinite(samples).all():
        raise ValueError("integration weights need a (T, M) array of finite flows with T of at least 2")
    centred = samples - samples.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    if values[-1] <= 0.0:
        raise ValueError("integration weights need flows that vary: every row is the same")
    first = vectors[:, -1]
    sign = 1.0 if first.sum() >= 0.0 else -1.0
    weights: NDArray[np.float64] = sign * first / np.abs(first).sum()
    return weights


def integrated(flows: NDArray[np.float64], depth: NDArray[np.float64] | float, weights: NDArray[np.float64]) -> float:
    """Integrated OFI w'(flows / depth) / |w|_1 of one interval: a number near 1 is one average queue of buying.

    `flows` (M,) in lots, `depth` in lots: the mean of (qb + qa) / 2 over the M levels and the interval, one number in
    the paper, or one per level. Cont, Cucuringu & Zhang 2023, eq. 6. ValueError on a depth that is not positive.
    """
    depth = np.asarray(depth, dtype=np.float64)
    if not (depth > 0.0).all() or not np.isfinite(depth).all():
        raise ValueError(f"integrated OFI needs a positive depth, got {depth}: the book was empty")
    return float(np.dot(weights, np.asarray(flows, dtype=np.float64) / depth) / np.abs(weights).sum())
