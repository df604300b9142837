"""From weights to quantities that can be traded, still inside the limits.

Rounding each weight on its own can break net, gross or turnover by many lots at once, and lift the volatility: a hedge
rounded away leaves its long alone. Here each trade is first rounded towards doing nothing, which breaks no position
limit that the weights and the present positions did not; then single steps repair what is left, first the position
limits, then the volatility; where they cannot, a part of the trade is done, or none.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from quant.limits import Limits, violation

Array = NDArray[np.float64]
Lots = NDArray[np.int64]

SHARES: Final = 32
"""Where single steps do not suffice, the largest n/32 of the trade that is no worse than the present positions."""


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
    `cov_annual` (N, N) per year. The result meets box, gross, net, turnover, trade caps and the volatility target
    whenever the weights do and a step or two allows it. Otherwise it breaks no position limit further than the present
    positions do, and is more volatile than the target and they are only where they break a position limit: that comes
    first. ValueError on a price or net asset value that is not positive and finite, or a covariance that is not finite.
    """
    if not (np.isfinite(price).all() and (price > 0.0).all() and np.isfinite(nav) and nav > 0.0):
        raise ValueError("rounding to lots needs positive finite prices and net asset value")
    if not np.isfinite(weights).all() or (lot_step <= 0).any():
        raise ValueError("rounding to lots needs finite weights and lot steps of at least 1")
    if cov_annual.shape != (len(weights), len(weights)) or not np.isfinite(cov_annual).all():
        raise ValueError("rounding to lots needs a finite covariance of the same instruments")
    unit = price / nav
    w0 = current_lots * unit
    steps = (weights / unit - current_lots) / lot_step
    # The margin keeps 2.9999999999 (a solver's 3) from losing a step; what it adds is below the tolerance.
    toward_current = current_lots + np.trunc(steps + np.sign(steps) * 1e-6).astype(np.int64) * lot_step
    lots = _calm(_repair(toward_current, unit, lot_step, w0, limits), unit, lot_step, w0, limits, cov_annual)
    for share in range(SHARES, 0, -1):
        trade = (lots - current_lots) // lot_step * share
        less = current_lots + np.trunc(trade / SHARES).astype(np.int64) * lot_step
        if _no_worse(less * unit, w0, limits, cov_annual):
            return less
    return current_lots.copy()


def _no_worse(weights: Array, w0: Array, limits: Limits, cov_annual: Array) -> bool:
    """Whether weights meet all limits or break none further than w0; where w0 is outside, volatility comes second."""
    excess_now = max(_excess(w0, w0, limits), 0.0)
    if _excess(weights, w0, limits) > excess_now + 1e-9:
        return False
    allowed = max(_variance_max(limits), _variance(w0, cov_annual))
    return excess_now > 1e-9 or _variance(weights, cov_annual) <= allowed


def _variance(weights: Array, cov_annual: Array) -> float:
    return float(weights @ cov_annual @ weights)


def _variance_max(limits: Limits) -> float:
    """Square of the volatility target, with a margin for rounding errors."""
    return limits.vol_target_annual**2 * (1.0 + 1e-9)


def _excess(weights: Array, w0: Array, limits: Limits) -> float:
    return max(violation(weights, w0, limits), float(np.abs(weights - w0).sum()) - limits.turnover)


def _repair(lots: Lots, unit: Array, lot_step: Lots, w0: Array, limits: Limits) -> Lots:
    """Single steps, each the one that lowers the sum of all breaches most; at most 4 N of them.

    The sum and not the largest: where two names are over their box, no one step lowers the largest.
    """
    for _ in range(4 * len(lots)):
        now, down, up = (_breaches(lots, sign * lot_step, unit, w0, limits) for sign in (0, -1, 1))
        sign, after = (-1, down) if down.min() < up.min() else (1, up)
        best = int(np.argmin(after))
        if after[best] >= now[0] - 1e-15:
            break
        lots = lots.copy()
        lots[best] += sign * lot_step[best]
    return lots


def _calm(lots: Lots, unit: Array, lot_step: Lots, w0: Array, limits: Limits, cov_annual: Array) -> Lots:
    """Single steps that lower the variance most and raise no breach, until the target is met; at most 4 N of them."""
    for _ in range(4 * len(lots)):
        w = lots * unit
        pull = cov_annual @ w
        if float(w @ pull) <= _variance_max(limits):
            break
        moved, change = np.zeros(len(lots), dtype=np.int64), 0.0
        breach = _breaches(lots, 0 * lot_step, unit, w0, limits)[0]
        for sign in (-1, 1):
            # (w + d)'S(w + d) - w'Sw for a step d in one name, for each name at once.
            step = sign * lot_step * unit
            changes = 2.0 * step * pull + step**2 * np.diag(cov_annual)
            allowed = _breaches(lots, sign * lot_step, unit, w0, limits) <= breach + 1e-12
            best = int(np.argmin(np.where(allowed, changes, np.inf)))
            if allowed[best] and changes[best] < change:
                moved, change = np.zeros(len(lots), dtype=np.int64), float(changes[best])
                moved[best] = sign * lot_step[best]
        if change == 0.0:
            break
        lots = lots + moved
    return lots


def _breaches(lots: Lots, move: Lots, unit: Array, w0: Array, limits: Limits) -> Array:
    """Sum of all breaches (N,) after moving one name: element i is that of moving name i by `move`_i."""
    w, moved = lots * unit, (lots + move) * unit

    def total(before: Array, after: Array) -> Array:
        """Sum over names with name i exchanged."""
        exchanged: Array = before.sum() - before + after
        return exchanged

    breach = total(np.maximum(np.abs(w) - limits.box, 0.0), np.maximum(np.abs(moved) - limits.box, 0.0))
    breach = breach + np.maximum(total(np.abs(w), np.abs(moved)) - limits.gross, 0.0)
    breach = breach + np.maximum(np.abs(total(w, moved)) - limits.net, 0.0)
    breach = breach + np.maximum(total(np.abs(w - w0), np.abs(moved - w0)) - limits.turnover, 0.0)
    if limits.trade is not None:
        over = np.maximum(np.abs(w - w0) - limits.trade, 0.0)
        breach = breach + total(over, np.maximum(np.abs(moved - w0) - limits.trade, 0.0))
    return breach
