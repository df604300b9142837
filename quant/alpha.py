"""From z-scores to a forecast: alpha = sigma x IC x z (Grinold & Kahn 1999, Active Portfolio Management, ch. 11).

K signals overlap. Symmetric (Loewdin) orthogonalisation removes the overlap without favouring one of them:

    Z = X C^(-1/2),  C the exponentially weighted correlation of X, eigenvalues floored

has cov(Z) = I and is, of all sets with that property, the nearest to X (Loewdin 1950, J. Chem. Phys. 18; in finance
Klein & Chow 2013, Q. Rev. Economics and Finance 53(2)). The weight of each is its information coefficient: the
exponentially weighted correlation of the signal of the bar *before* with the return of this bar, so nothing is known
before its time, shrunk towards zero by how little the data say. As the Z are uncorrelated, these are also the
coefficients of the regression on all of them.

Online: a state of tuples for one instrument, one `update` a bar.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EIGENVALUE_MIN: Final = 0.05
"""Floor on the eigenvalues of C, whose mean is 1: two signals that say the same are not amplified beyond sqrt(20)."""

IC_PRIOR: Final = 0.03
"""Standard deviation of true information coefficients we believe in: 0.05 is a good signal (Grinold & Kahn)."""


@dataclass(frozen=True, slots=True)
class AlphaState:
    """Fading sums for K signals, weights fading by 2^(-1/half_life) per bar.

    `xx` K rows of sum x x'; `zr` (K,) sum of z(t-1) r(t), `rr` sum of r(t)^2, `weight` and `weight2` the sums of the
    weights and of their squares; `z` (K,) the orthogonal signals of the last bar.
    """

    half_life: float
    xx: tuple[tuple[float, ...], ...]
    zr: tuple[float, ...]
    rr: float = 0.0
    weight: float = 0.0
    weight2: float = 0.0
    z: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Forecast:
    """Expected return of the next bar, the orthogonal signals `z` (K,) and their shrunk information coefficients."""

    alpha: float
    z: tuple[float, ...]
    ic: tuple[float, ...]


def init(k: int, half_life: float) -> AlphaState:
    """Nothing learned of `k` signals yet; `half_life` in bars."""
    if k < 1 or not (isfinite(half_life) and half_life > 0.0):
        raise ValueError(f"alpha needs a signal and a positive half-life, got {k} and {half_life}")
    return AlphaState(half_life, ((0.0,) * k,) * k, (0.0,) * k)


def update(
    state: AlphaState, scores: tuple[float | None, ...], ret: float, sigma: float
) -> tuple[AlphaState, Forecast]:
    """Fold one bar: learn from its return `ret`, then forecast the next with this bar's z-scores (K,).

    `sigma` is the volatility per bar that was known before it; the return is learned as ret / sigma, and winsorised at
    5 of them. A score of None (missing, warming up) is 0, its own mean: it says nothing, and teaches nothing.
    ValueError on a number that is not finite, or when the number of scores is not K.
    """
    if len(scores) != len(state.zr):
        raise ValueError(f"alpha was set up for {len(state.zr)} signals, got {len(scores)}")
    x = np.array([0.0 if score is None else score for score in scores])
    if not (np.isfinite(x).all() and isfinite(ret) and isfinite(sigma) and sigma >= 0.0):
        raise ValueError("alpha takes finite scores, return and volatility: pass None for a missing score")
    fade = 0.5 ** (1.0 / state.half_life)
    learned = _learn(state, ret, sigma, fade)
    xx = fade * np.array(state.xx) + np.outer(x, x)
    z = tuple((x @ loewdin(_correlation(xx))).tolist())
    new = AlphaState(
        state.half_life,
        tuple(tuple(row) for row in xx.tolist()),
        learned.zr,
        learned.rr,
        learned.weight,
        learned.weight2,
        z,
    )
    ic = information_coefficients(new)
    return new, Forecast(sigma * sum(c * v for c, v in zip(ic, z, strict=True)), z, ic)


def _learn(state: AlphaState, ret: float, sigma: float, fade: float) -> AlphaState:
    """What the return of this bar says about the signals of the bar before."""
    if not state.z or sigma == 0.0:
        return state
    r = max(-5.0, min(5.0, ret / sigma))
    return AlphaState(
        state.half_life,
        state.xx,
        tuple(fade * total + z * r for total, z in zip(state.zr, state.z, strict=True)),
        fade * state.rr + r * r,
        fade * state.weight + 1.0,
        fade * fade * state.weight2 + 1.0,
        state.z,
    )


def information_coefficients(state: AlphaState) -> tuple[float, ...]:
    """IC (K,) of each orthogonal signal, shrunk: raw x IC_PRIOR^2 / (IC_PRIOR^2 + 1/n), n the effective observations.

    The posterior mean when true ICs are N(0, IC_PRIOR^2) and the raw one is off by 1/sqrt(n): after 1,000 bars half of
    a raw IC counts, so a young signal cannot trade on luck. n = (sum w)^2 / sum w^2.
    """
    if state.rr == 0.0:
        return (0.0,) * len(state.zr)
    n = state.weight**2 / state.weight2
    shrink = IC_PRIOR**2 / (IC_PRIOR**2 + 1.0 / n)
    # The z count with the unit variance they were made to have, not with their own: of two signals that say the same,
    # each z has half of it, and dividing by that would count the message twice.
    scale = (state.weight * state.rr) ** 0.5
    return tuple(shrink * zr / scale for zr in state.zr)


def loewdin(c: Array, floor: float = EIGENVALUE_MIN) -> Array:
    """C^(-1/2) (K, K) of a correlation matrix, symmetric, eigenvalues floored. ValueError when C is not finite."""
    if not np.isfinite(c).all():
        raise ValueError("orthogonalisation needs a finite correlation matrix")
    values, vectors = np.linalg.eigh(c)
    inverse: Array = (vectors / np.sqrt(np.maximum(values, floor))) @ vectors.T
    return inverse


def _correlation(xx: Array) -> Array:
    """Correlation from sums of products; a signal never seen correlates with nothing but itself."""
    scale = np.sqrt(np.diag(xx))
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0.0)
    c: Array = xx * np.outer(inverse, inverse)
    np.fill_diagonal(c, 1.0)
    return c
