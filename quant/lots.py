"""From weights to quantities that can be traded, still inside the limits.

Rounding each weight on its own can break net, gross or turnover by many lots at once, and lift the volatility: a hedge
rounded away leaves its long alone. Here each trade is first rounded towards doing nothing, which breaks no box and no
trade cap that the weights and the present positions did not; then single steps repair what is left, first the position
limits, then the volatility; where they cannot, a part of the trade is done, or none. Each limit is held on its own: a
breach of one buys no breach of another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quant.limits import Limits

Array = NDArray[np.float64]
Lots = NDArray[np.int64]

SHARES: Final = 32
"""Where single steps do not suffice, the largest n/32 of the trade that is no worse than the present positions."""

ROUNDING: Final = 1e-9
"""Breach in units of weight that is a rounding error."""


def to_lots(
    weights: Array,
    nav: float,
    price: Array,
    lot_step: Lots,
    current_lots: Lots,
    limits: Limits,
    cov_annual: Array,
) -> Lots:
    """Target positions (N,) in lots for `weights` (N,); each trade is a multiple of `lot_step` (N,).

    `nav` in account currency, `price` (N,) in account currency per lot, `current_lots` (N,) may be odd lots,
    `cov_annual` (N, N) per year. No trade is larger than its cap: a name whose cap is 0 stays. Each of box (name by
    name), gross and net is met, or broken no further than the present positions break it; turnover is met, or no larger
    than that of the weights. The volatility is above its target and the present one only where the present positions
    break a position limit: that comes first. Present positions make nothing worse, so at worst nothing is traded.
    ValueError on a price or net asset value that is not positive and finite, or a covariance that is not finite.
    """
    if not (np.isfinite(price).all() and (price > 0.0).all() and np.isfinite(nav) and nav > 0.0):
        raise ValueError("rounding to lots needs positive finite prices and net asset value")
    if not np.isfinite(weights).all() or (lot_step <= 0).any():
        raise ValueError("rounding to lots needs finite weights and lot steps of at least 1")
    if cov_annual.shape != (len(weights), len(weights)) or not np.isfinite(cov_annual).all():
        raise ValueError("rounding to lots needs a finite covariance of the same instruments")
    unit = price / nav
    w0 = current_lots * unit
    # The soft rung of the optimiser gives way on turnover; what it asked for is not taken back here.
    limits = replace(limits, turnover=max(limits.turnover, float(np.abs(weights - w0).sum())))
    steps = (weights / unit - current_lots) / lot_step
    most = np.full(len(weights), np.inf) if limits.trade is None else _whole(limits.trade / (unit * lot_step))
    book = _Book(unit, lot_step, current_lots, most, limits, cov_annual)
    trade = _calm(book, _repair(book, np.clip(_whole(steps), -most, most).astype(np.int64)))
    for share in range(SHARES, 0, -1):
        part = np.trunc(trade * share / SHARES).astype(np.int64)
        if _no_worse(book, part):
            return current_lots + part * lot_step
    return current_lots.copy()


def _whole(steps: Array) -> Array:
    """Towards 0. The margin keeps 2.9999999999 (a solver's 3) from losing a step; what it adds is no breach."""
    return np.trunc(steps + np.sign(steps) * 1e-6)


@dataclass(frozen=True, slots=True, eq=False)
class _Book:
    """What trades are judged by; a trade is (N,) in steps, from the `current` lots, `most` (N,) each."""

    unit: Array
    lot_step: Lots
    current: Lots
    most: Array
    limits: Limits
    cov_annual: Array

    def weights(self, trade: Lots) -> Array:
        return (self.current + trade * self.lot_step) * self.unit

    def excess(self, trade: Lots, sign: int = 0) -> Array:
        """What box, gross, net and turnover (4, N) are exceeded by; column i: if name i takes a step of `sign` more."""
        before, after, w0 = self.weights(trade), self.weights(trade + sign), self.current * self.unit
        return np.array(
            [
                np.abs(after) - self.limits.box,
                _exchanged(np.abs(before), np.abs(after)) - self.limits.gross,
                np.abs(_exchanged(before, after)) - self.limits.net,
                _exchanged(np.abs(before - w0), np.abs(after - w0)) - self.limits.turnover,
            ]
        )

    def allowed(self) -> Array:
        """The breaches (4, N) of the present positions."""
        return np.maximum(self.excess(np.zeros_like(self.current)), 0.0)


def _exchanged(before: Array, after: Array) -> Array:
    """Sum over names with name i exchanged, (N,)."""
    total: Array = before.sum() - before + after
    return total


def _no_worse(book: _Book, trade: Lots) -> bool:
    """Whether no limit is broken further than by the present positions; only where those break one, more volatile."""
    allowed = book.allowed()
    if (book.excess(trade) > allowed + ROUNDING).any():
        return False
    calm = max(_variance_max(book.limits), _variance(book, np.zeros_like(trade)))
    return bool((allowed > ROUNDING).any()) or _variance(book, trade) <= calm


def _variance(book: _Book, trade: Lots) -> float:
    weights = book.weights(trade)
    return float(weights @ book.cov_annual @ weights)


def _variance_max(limits: Limits) -> float:
    """Square of the volatility target, with a margin for rounding errors."""
    return limits.vol_target_annual**2 * (1.0 + 1e-9)


def _repair(book: _Book, trade: Lots) -> Lots:
    """Single steps, each the one that lowers the sum of all breaches most; at most 4 N of them.

    The sum and not the largest: where two names are over their box, no one step lowers the largest. No step lifts a
    breach above the larger of what it is and what it is in the present positions.
    """
    allowed = book.allowed()
    for _ in range(4 * len(trade)):
        now = book.excess(trade)
        best, gain, step = 0, 1e-15, 0
        for sign in (-1, 1):
            after = book.excess(trade, sign)
            may = (np.abs(trade + sign) <= book.most) & (after <= np.maximum(now, allowed) + 1e-12).all(axis=0)
            gains = np.where(may, (np.maximum(now, 0.0) - np.maximum(after, 0.0)).sum(axis=0), 0.0)
            i = int(np.argmax(gains))
            if gains[i] > gain:
                best, gain, step = i, float(gains[i]), sign
        if step == 0:
            break
        trade = trade.copy()
        trade[best] += step
    return trade


def _calm(book: _Book, trade: Lots) -> Lots:
    """Single steps that lower the variance most and raise no breach, until the target is met; at most 4 N of them."""
    for _ in range(4 * len(trade)):
        w = book.weights(trade)
        pull = book.cov_annual @ w
        if float(w @ pull) <= _variance_max(book.limits):
            break
        now = np.maximum(book.excess(trade), 0.0)
        best, change, step = 0, 0.0, 0
        for sign in (-1, 1):
            # (w + d)'S(w + d) - w'Sw for a step d in one name, for each name at once.
            d = sign * book.lot_step * book.unit
            may = (np.abs(trade + sign) <= book.most) & (book.excess(trade, sign) <= now + 1e-12).all(axis=0)
            changes = np.where(may, 2.0 * d * pull + d**2 * np.diag(book.cov_annual), 0.0)
            i = int(np.argmin(changes))
            if changes[i] < change:
                best, change, step = i, float(changes[i]), sign
        if step == 0:
            break
        trade = trade.copy()
        trade[best] += step
    return trade
