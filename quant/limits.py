"""Position limits as fractions of net asset value: what they are, how far weights break them, and the way back.

No solver is needed here, so the way back works when the solver does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TOLERANCE: Final = 1e-6
"""Largest breach, in units of weight, that counts as rounding: a dollar in a million."""


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """Limits as fractions of net asset value; `trade` (N,) caps |w_i - w0_i| (`participation`), None: no cap."""

    box: float
    gross: float
    net: float
    turnover: float
    vol_target_annual: float
    trade: Array | None = None


def participation(nav: float, adv_notional: Array, bar_notional: Array, pov: float = 0.08, adv: float = 0.10) -> Array:
    """Largest |w_i - w0_i| (N,): the smaller of `pov` of the volume expected in the bar and `adv` of the daily volume.

    Notionals in account currency. An instrument without volume (halted) gets 0 and is not traded.
    """
    return np.minimum(pov * bar_notional, adv * adv_notional) / nav


def violation(weights: Array, w0: Array, limits: Limits) -> float:
    """Largest breach of box, gross, net and trade in units of weight; 0 when all hold."""
    breaches = [
        float(np.abs(weights).max(initial=0.0)) - limits.box,
        float(np.abs(weights).sum()) - limits.gross,
        abs(float(weights.sum())) - limits.net,
    ]
    if limits.trade is not None:
        breaches.append(float((np.abs(weights - w0) - limits.trade).max(initial=0.0)))
    return max(0.0, *breaches)


def reduce_only(w0: Array, limits: Limits, vol_annual: float) -> Array:
    """w0 (N,) scaled towards 0 until box, gross, net and volatility hold, as far as `trade` allows. Closed form.

    Each weight moves as far as its own cap allows; where that would raise the net (a capped short against a reduced
    long), all shrink together by what the tightest cap allows: scaling by one number raises no breach.
    """
    net = abs(float(w0.sum()))
    sizes = [
        (float(np.abs(w0).max(initial=0.0)), limits.box),
        (float(np.abs(w0).sum()), limits.gross),
        (net, limits.net),
        (vol_annual, limits.vol_target_annual),
    ]
    scale = min([1.0, *(limit / size for size, limit in sizes if size > limit)])
    if limits.trade is None or scale == 1.0:
        return scale * w0
    each: Array = w0 - np.sign(w0) * np.minimum((1.0 - scale) * np.abs(w0), limits.trade)
    if abs(float(each.sum())) <= max(net, limits.net):
        return each
    allowed = np.divide(limits.trade, np.abs(w0), out=np.ones_like(w0), where=w0 != 0.0)
    return max(scale, 1.0 - float(allowed.min())) * w0
