"""From weights to quantities that can be traded, still inside the limits.

Rounding each weight on its own can break net, gross or turnover by many lots at once. Here each trade is first rounded
towards doing nothing, which breaks nothing that the weights and the present positions did not; then single steps repair
what is left, or, where they cannot, the present position stays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quant.limits import Limits, violation

Array = NDArray[np.float64]
Lots = NDArray[np.int64]


def to_lots(weights: Array, nav: float, price: Array, lot_step: Lots, current_lots: Lots, limits: Limits) -> Lots:
    """Target positions (N,) in lots for `weights` (N,); each trade is a multiple of `lot_step` (N,).

    `nav` in account currency, `price` (N,) in account currency per lot, `current_lots` (N,) may be odd lots. The result
    meets box, gross, net, turnover and trade caps whenever the weights do and a step or two allows it, and otherwise
    breaks none further than the present positions do. Volatility is not looked at: a step moves it by less than any
    estimate is good for. ValueError on a price or net asset value that is not positive and finite.
    """
    if not (np.isfinite(price).all() and (price > 0.0).all() and np.isfinite(nav) and nav > 0.0):
        raise ValueError("rounding to lots needs positive finite prices and net asset value")
    if not np.isfinite(weights).all() or (lot_step <= 0).any():
        raise ValueError("rounding to lots needs finite weights and lot steps of at least 1")
    unit = price / nav
    w0 = current_lots * unit
    steps = (weights / unit - current_lots) / lot_step
    # The margin keeps 2.9999999999 (a solver's 3) from losing a step; what it adds is below the tolerance.
    toward_current = current_lots + np.trunc(steps + np.sign(steps) * 1e-6).astype(np.int64) * lot_step
    lots = _repair(toward_current, unit, lot_step, w0, limits)
    allowed = max(_excess(w0, w0, limits), 0.0)
    return lots if _excess(lots * unit, w0, limits) <= allowed + 1e-9 else current_lots.copy()


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
