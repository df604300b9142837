"""The state of the book: mid, queue imbalance, depth, micro-price; and which side a trade came from.

Ticks and lots are whole numbers (`quant.ofi` says why); the functions return float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def mid(bid: int, ask: int) -> float:
    """Mid price in ticks, (Pb + Pa) / 2: exact, since half ticks are binary fractions."""
    return (bid + ask) / 2


def queue_imbalance(bid_size: int, ask_size: int) -> float:
    """(qb - qa) / (qb + qa), from -1 to 1; 0 when both queues are empty. Gould & Bonart 2016 (arXiv 1512.03492)."""
    total = bid_size + ask_size
    return (bid_size - ask_size) / total if total else 0.0


def lee_ready(price: int, bid: int, ask: int, prev_price: int = 0, prev_sign: int = 0) -> int:
    """Sign of the aggressor: 1 bought, -1 sold, 0 unknown. Lee & Ready 1991 (J. Finance 46(2)).

    Against the mid of the quote that stood *before* the trade; at the mid by the tick test against the price before,
    and on a zero tick the sign before (`prev_price` 0: there was none). A locked book's mid is the locked price, so
    the tick test decides there. In a one-sided book (`quant.ofi.NO_BID` or `NO_ASK`) the trade can only have met the
    side that is there, and the far-off mid says so.
    """
    twice = 2 * price - bid - ask
    if twice:
        return 1 if twice > 0 else -1
    if prev_price == 0 or price == prev_price:
        return prev_sign
    return 1 if price > prev_price else -1


@dataclass(frozen=True, slots=True)
class DepthState:
    """Sum of qb + qa in lots over `n` best-quote changes."""

    total: int = 0
    n: int = 0


def add_depth(state: DepthState, bid_size: int, ask_size: int) -> DepthState:
    """Count the queues after one best-quote change."""
    return DepthState(state.total + bid_size + ask_size, state.n + 1)


def depth(state: DepthState) -> float | None:
    """Average depth AD in lots, mean of (qb + qa) / 2 over best-quote changes; None before the first.

    Cont, Kukanov & Stoikov 2014, eq. 11. The price impact of OFI is near c / AD^lambda with c 0.45, lambda 0.98.
    """
    return state.total / (2 * state.n) if state.n else None


@dataclass(frozen=True, slots=True)
class MicroPrice:
    """A fitted micro-price: `adjustment[s][b]` in ticks, spread of s + 1 ticks (the last: and wider), bucket b."""

    adjustment: tuple[tuple[float, ...], ...]

    @property
    def spreads(self) -> int:
        return len(self.adjustment)

    @property
    def buckets(self) -> int:
        return len(self.adjustment[0])


def imbalance_bucket(bid_size: int, ask_size: int, buckets: int) -> int:
    """Bucket 0..buckets-1 of qb / (qb + qa), cut so that swapping the queues mirrors the bucket exactly."""
    total = bid_size + ask_size
    if total == 0:
        return buckets // 2
    if bid_size >= ask_size:
        return buckets - 1 - ask_size * buckets // total
    return bid_size * buckets // total


def microprice(table: MicroPrice, bid: int, bid_size: int, ask: int, ask_size: int) -> float:
    """Micro-price in ticks: the mid plus the adjustment of this imbalance and spread.

    A locked or crossed book has no spread to look up, an empty queue no imbalance: both give the mid.
    """
    if ask <= bid or bid_size == 0 or ask_size == 0:
        return mid(bid, ask)
    row = table.adjustment[min(ask - bid, table.spreads) - 1]
    return mid(bid, ask) + row[imbalance_bucket(bid_size, ask_size, table.buckets)]


def fit_microprice(
    bid: Ints, bid_size: Ints, ask: Ints, ask_size: Ints, *, buckets: int = 9, spreads: int = 2
) -> MicroPrice:
    """Micro-price of consecutive best quotes, four (T,) columns. Stoikov 2018 (Quant. Finance 18(12), 1959-1966).

    The states are (spread, imbalance bucket). With Q the transitions that leave the mid alone, R2 those that move it
    and r = E[mid change] of a state, G1 = (I - Q)^-1 r, B = (I - Q)^-1 R2, adjustment = sum over j of B^j G1. The
    counts are symmetrised with the mirrored sample (queues swapped, changes negated): r is then antisymmetric, which
    makes the sum converge and the adjustment antisymmetric. The paper clips mid changes to one tick; r takes them as
    they are, so wide-spread names fit too. Locked, crossed and one-sided rows are left out.
    ValueError when `buckets` is even (a balanced book would have no bucket of its own) or when the mid never moves.
    """
    if buckets % 2 == 0 or buckets < 1 or spreads < 1:
        raise ValueError(f"the micro-price needs an odd number of buckets and a spread, got {buckets} and {spreads}")
    state = _states(bid, bid_size, ask, ask_size, buckets, spreads)
    change = np.diff((bid + ask).astype(np.float64)) / 2
    known = (state[:-1] >= 0) & (state[1:] >= 0)
    first, last, change = state[:-1][known], state[1:][known], change[known]
    size = buckets * spreads
    mirror = np.arange(size).reshape(spreads, buckets)[:, ::-1].ravel()
    moved = change != 0.0
    stay = _counts(first[~moved], last[~moved], size)
    move = _counts(first[moved], last[moved], size)
    drift = np.bincount(first, weights=change, minlength=size)
    stay, move, drift = stay + stay[mirror][:, mirror], move + move[mirror][:, mirror], drift - drift[mirror]
    visits = stay.sum(axis=1) + move.sum(axis=1)
    if not moved.any():
        raise ValueError("the micro-price needs a sample in which the mid moves")
    scale = np.divide(1.0, visits, out=np.zeros(size), where=visits > 0)
    return MicroPrice(_limit(stay * scale[:, None], move * scale[:, None], drift * scale, (spreads, buckets)))


def _states(bid: Ints, bid_size: Ints, ask: Ints, ask_size: Ints, buckets: int, spreads: int) -> Ints:
    """State number of each row, -1 where the book has none."""
    spread, total = ask - bid, bid_size + ask_size
    valid = (spread > 0) & (bid_size > 0) & (ask_size > 0)
    total = np.where(valid, total, 1)
    bucket = np.where(bid_size >= ask_size, buckets - 1 - ask_size * buckets // total, bid_size * buckets // total)
    return np.where(valid, (np.minimum(spread, spreads) - 1) * buckets + bucket, -1)


def _counts(first: Ints, last: Ints, size: int) -> NDArray[np.float64]:
    return np.bincount(first * size + last, minlength=size * size).reshape(size, size).astype(np.float64)


def _limit(
    stay: NDArray[np.float64], move: NDArray[np.float64], drift: NDArray[np.float64], shape: tuple[int, int]
) -> tuple[tuple[float, ...], ...]:
    """Sum of B^j G1 by doubling: S_2k = S_k + B^k S_k, so 60 squarings stand for 2^60 terms."""
    leave = np.eye(len(drift)) - stay
    total = np.linalg.lstsq(leave, drift, rcond=None)[0]
    power = np.linalg.lstsq(leave, move, rcond=None)[0]
    for _ in range(60):
        step = power @ total
        total = total + step
        # Antisymmetry is exact in theory; rounding would let the all-ones vector of B (eigenvalue 1) grow.
        table = total.reshape(shape)
        total = ((table - table[:, ::-1]) / 2).ravel()
        if np.abs(step).max() <= 1e-14 * max(1.0, float(np.abs(total).max())):
            break
        power = power @ power
    return tuple(tuple(float(v) for v in row) for row in total.reshape(shape))
