"""Profit and loss, drawdown, and how much of a Sharpe ratio is luck.

Sharpe ratios are per observation (daily returns give a daily one; multiply by sqrt(252) for the year) and g4 is the
kurtosis, 3 for a normal distribution, not the excess.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, isfinite, sqrt
from statistics import NormalDist
from typing import Final

_NORMAL: Final = NormalDist()
_EULER: Final = 0.5772156649015329

PSR_OBSERVATIONS_MIN: Final = 30
"""Fewer returns than this give no PSR: its normal approximation has nothing to stand on."""


@dataclass(frozen=True, slots=True)
class Pnl:
    """Exact books of one instrument: `lots` held and `cash`, both signed; cash in ticks x lots, fees aside."""

    lots: int = 0
    cash: int = 0


def fill(state: Pnl, lots: int, price: int) -> Pnl:
    """Book a fill of signed `lots` (sold: negative) at `price` ticks."""
    return Pnl(state.lots + lots, state.cash - lots * price)


def pnl(state: Pnl, mark_twice: int) -> int:
    """Twice the profit in ticks x lots at a mark of `mark_twice` / 2 ticks (bid + ask: the mid without a fraction)."""
    return 2 * state.cash + state.lots * mark_twice


@dataclass(frozen=True, slots=True)
class Moments:
    """Streaming mean and central moment sums of returns (Pebay 2008, SAND2008-6212), exact to rounding."""

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0
    m3: float = 0.0
    m4: float = 0.0


def add_return(state: Moments, x: float) -> Moments:
    """Fold one return. ValueError when it is not finite."""
    if not isfinite(x):
        raise ValueError(f"a return must be finite, got {x}")
    n = state.n + 1
    delta = x - state.mean
    part = delta / n
    term = delta * part * state.n
    return Moments(
        n,
        state.mean + part,
        state.m2 + term,
        state.m3 + term * part * (n - 2) - 3.0 * part * state.m2,
        state.m4 + term * part * part * (n * n - 3 * n + 3) + 6.0 * part * part * state.m2 - 4.0 * part * state.m3,
    )


@dataclass(frozen=True, slots=True)
class SharpeStats:
    """Sharpe ratio `sr` per observation, skewness `g3`, kurtosis `g4` (3 for a normal) of `n` returns."""

    sr: float
    g3: float
    g4: float
    n: int


def sharpe_stats(state: Moments) -> SharpeStats | None:
    """Statistics of the returns seen; None when insufficient: fewer than 30, or constant. None is not a pass."""
    if state.n < PSR_OBSERVATIONS_MIN or state.m2 <= 1e-24 * state.n * max(state.mean**2, 1e-24):
        return None
    deviation = sqrt(state.m2 / (state.n - 1))
    variance = state.m2 / state.n
    return SharpeStats(
        state.mean / deviation, state.m3 / state.n / variance**1.5, state.m4 / state.n / variance**2, state.n
    )


def psr(stats: SharpeStats, sr_ref: float = 0.0) -> float:
    """Probability that the true Sharpe ratio exceeds `sr_ref`.

    Phi((SR - SR*) sqrt(n - 1) / sqrt(1 - g3 SR + (g4 - 1)/4 SR^2)). Bailey & Lopez de Prado 2012 (J. Risk 15(2)).
    """
    excess, spread = stats.sr - sr_ref, _spread(stats)
    if spread == 0.0:
        # The limit as the spread goes to 0: certain on either side, and one half at SR*, as for any other spread.
        return 0.5 if excess == 0.0 else float(excess > 0.0)
    return _NORMAL.cdf(excess * sqrt(stats.n - 1) / sqrt(spread))


def min_trl(stats: SharpeStats, sr_ref: float, confidence: float) -> float:
    """Minimum track record length in observations for PSR(`sr_ref`) >= `confidence`. Bailey & Lopez de Prado 2012.

    1 + (1 - g3 SR + (g4 - 1)/4 SR^2) (Z / (SR - SR*))^2. ValueError unless SR exceeds `sr_ref`: no length suffices.
    """
    if not stats.sr > sr_ref:
        raise ValueError(f"no track record shows a Sharpe ratio of {stats.sr:.4g} to exceed {sr_ref:.4g}")
    return 1.0 + _spread(stats) * (_NORMAL.inv_cdf(confidence) / (stats.sr - sr_ref)) ** 2


def expected_max_sr(variance: float, trials: int) -> float:
    """SR0, the Sharpe ratio that the best of `trials` worthless strategies is expected to show.

    sqrt(V) ((1 - e) Z^-1(1 - 1/N) + e Z^-1(1 - 1/(N e'))), e Euler-Mascheroni's constant, e' that of the logarithm, V
    the variance of the trials' Sharpe ratios, per observation. Bailey & Lopez de Prado 2014 (J. Portfolio Mgmt 40(5)).
    ValueError below two trials.
    """
    if trials < 2:
        raise ValueError(f"the deflated Sharpe ratio needs at least two trials, got {trials}")
    first, second = _NORMAL.inv_cdf(1.0 - 1.0 / trials), _NORMAL.inv_cdf(1.0 - 1.0 / (trials * exp(1.0)))
    return sqrt(variance) * ((1.0 - _EULER) * first + _EULER * second)


def dsr(stats: SharpeStats, variance: float, trials: int) -> float:
    """Deflated Sharpe ratio: PSR against `expected_max_sr`. Bailey & Lopez de Prado 2014."""
    return psr(stats, expected_max_sr(variance, trials))


def _spread(stats: SharpeStats) -> float:
    """Variance of sqrt(n - 1) times the SR estimate.

    Every sample has g4 >= g3^2 + 1 (Pearson 1916), so this is at least (1 - g3 SR / 2)^2: never negative but for
    rounding, and 0 only for returns of two values whose SR is 2 / g3.
    """
    return max(1.0 - stats.g3 * stats.sr + (stats.g4 - 1.0) / 4.0 * stats.sr**2, 0.0)


@dataclass(frozen=True, slots=True)
class Equity:
    """Net asset value now, at the start and at its highest, in account currency; the start is positive."""

    start: float
    now: float
    peak: float


def mark(state: Equity, nav: float) -> Equity:
    """Equity after a new valuation. ValueError when it is not finite."""
    if not isfinite(nav):
        raise ValueError(f"net asset value must be finite, got {nav}")
    return Equity(state.start, nav, max(state.peak, nav))


def drawdown(state: Equity) -> float:
    """Fall from the peak as a fraction of the peak, 0 at a new high, above 1 when the value is negative."""
    return (state.peak - state.now) / state.peak
