"""Market regime calm, normal or storm, and the limits that go with it.

Volatility decides; correlation raises the answer by one step when the mean and the tail correlation are both high,
because then the diversification on which the limits rest is gone. A step up takes effect at once. A step down needs
`DWELL` bars in a row under thresholds that lie lower than those of the way up (hysteresis), one step at a time. Fixed
thresholds rather than a hidden Markov model: a refitted one permutes its states, and its "storm" of yesterday is
today's "calm".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from quant.covariance import correlation

Regime = Literal["calm", "normal", "storm"]

ORDER: Final[tuple[Regime, ...]] = ("calm", "normal", "storm")

VOL_UP: Final = (0.12, 0.28)
"""Annual volatility of the universe at which calm becomes normal, and normal storm. Of 18 ETFs from 2006 to 2022,
equally weighted, 40 % of the days lie above the first and 6 % above the second: autumn 2008 and spring 2020."""

CORR_UP: Final = (0.60, 0.70)
"""Mean and tail correlation that together raise the regime by one step."""

EXIT: Final = 0.85
"""The way down uses the thresholds of the way up times this."""

DWELL: Final = 5
"""Bars in a row below before a step down."""


@dataclass(frozen=True, slots=True)
class RegimeState:
    """The regime in force and for how many bars in a row the measures have been below it."""

    regime: Regime = "normal"
    below: int = 0


@dataclass(frozen=True, slots=True)
class RegimeLimits:
    """Gross and net exposure allowed, as fractions of net asset value."""

    gross: float
    net: float


LIMITS: Final[dict[Regime, RegimeLimits]] = {
    "calm": RegimeLimits(gross=2.5, net=1.0),
    "normal": RegimeLimits(gross=2.0, net=0.8),
    "storm": RegimeLimits(gross=1.0, net=0.4),
}


def step(state: RegimeState, vol_annual: float, mean_corr: float, tail_corr: float) -> tuple[RegimeState, Regime]:
    """Regime after one bar. `vol_annual` as a fraction, correlations in [-1, 1]; with one instrument pass 0 for both.

    ValueError when a measure is not finite: a regime that nobody measured is no regime.
    """
    if not (isfinite(vol_annual) and isfinite(mean_corr) and isfinite(tail_corr) and vol_annual >= 0.0):
        raise ValueError(f"regime measures must be finite, got vol {vol_annual}, corr {mean_corr}, {tail_corr}")
    current = ORDER.index(state.regime)
    enter = _level(vol_annual, mean_corr, tail_corr, 1.0)
    if enter > current:
        return RegimeState(ORDER[enter]), ORDER[enter]
    if _level(vol_annual, mean_corr, tail_corr, EXIT) >= current:
        return RegimeState(state.regime), state.regime
    if state.below + 1 < DWELL:
        return RegimeState(state.regime, state.below + 1), state.regime
    return RegimeState(ORDER[current - 1]), ORDER[current - 1]


def _level(vol_annual: float, mean_corr: float, tail_corr: float, factor: float) -> int:
    level = sum(vol_annual >= factor * threshold for threshold in VOL_UP)
    raised = mean_corr >= factor * CORR_UP[0] and tail_corr >= factor * CORR_UP[1]
    return min(level + raised, len(ORDER) - 1)


def mean_correlation(cov: NDArray[np.float64]) -> float:
    """Mean off-diagonal correlation of a covariance (N, N); 0 for one instrument."""
    n = len(cov)
    return float((correlation(cov).sum() - n) / (n * (n - 1))) if n > 1 else 0.0


def market_vol_annual(cov: NDArray[np.float64], bars_per_year: float) -> float:
    """Annual volatility of the equally weighted portfolio, sqrt(1'S1 / N^2 x bars per year), S per bar."""
    return _sum_vol(cov) / len(cov) * float(np.sqrt(bars_per_year))


def is_tail(cov: NDArray[np.float64], x: NDArray[np.float64], deviations: float = 1.5) -> bool:
    """Whether the equally weighted return of cross-section x (N,) lies beyond `deviations` of its own volatility.

    No move is never a tail, and any move is one where that volatility is 0.
    The tail correlation is `mean_correlation` of a `CovState` that is updated in such bars alone.
    """
    return abs(float(x.sum())) > deviations * _sum_vol(cov)


def _sum_vol(cov: NDArray[np.float64]) -> float:
    """sqrt(1'S1); the sum is never negative, but for rounding where the assets cancel."""
    return float(np.sqrt(max(float(cov.sum()), 0.0)))
