"""Online z-score with exponentially fading memory, winsorised.

With weights w_i = lam^(t-i), lam = 2^(-1/half_life), over the values before x:

    mean = sum w_i x_i / sum w_i      var = sum w_i (x_i - mean)^2 / sum w_i      z = (x - mean) / sqrt(var)

Equal to pandas `ewm(halflife=h).mean().shift()` and `.var(bias=True).shift()`. The recursion is West's (1979, CACM
22(9)), which does not subtract large numbers. x is judged by what was known before it, so an outlier does not hide
itself; and it enters the memory winsorised at 5 deviations as well, so one bad print cannot blind the score for many
half-lives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, isfinite, sqrt
from typing import Final

WINSOR: Final = 5.0
"""Largest |z|; beyond five deviations the size of a surprise says more about the data than about the market."""

WARM_MIN: Final = 10
"""Values needed before the first z, however short the half-life: a deviation of fewer is mostly noise."""


@dataclass(frozen=True, slots=True)
class EwZ:
    """Fading mean and variance: `weight` = sum w, `mean`, `m2` = sum w (x - mean)^2, and `n` values seen."""

    half_life: float
    weight: float = 0.0
    mean: float = 0.0
    m2: float = 0.0
    n: int = 0

    @property
    def variance(self) -> float:
        """Weighted (biased) variance of the values seen; 0 before the first."""
        return self.m2 / self.weight if self.n else 0.0

    @property
    def warm(self) -> bool:
        """True after one half-life of values, at least `WARM_MIN`."""
        return self.n >= max(WARM_MIN, ceil(self.half_life))


def init(half_life: float) -> EwZ:
    """Empty memory; `half_life` in observations. ValueError unless it is positive and finite."""
    if not (isfinite(half_life) and half_life > 0.0):
        raise ValueError(f"a half-life is a positive number of observations, got {half_life}")
    return EwZ(half_life)


def absorb(state: EwZ, x: float) -> EwZ:
    """Memory with x in it, as it is (not winsorised)."""
    if not isfinite(x):
        raise ValueError(f"a z-score takes finite numbers, got {x}: leave a missing value out instead")
    fade = 0.5 ** (1.0 / state.half_life)
    weight = fade * state.weight + 1.0
    delta = x - state.mean
    return EwZ(
        state.half_life,
        weight,
        state.mean + delta / weight,
        fade * state.m2 + delta * delta * (fade * state.weight / weight),
        state.n + 1,
    )


def update(state: EwZ, x: float) -> tuple[EwZ, float | None]:
    """(new memory, z of x against the old one). z is None until warm, and when a constant series breaks: no scale yet.

    A constant series that stays constant has z = 0. ValueError when x is not finite; skip a missing x instead.
    """
    if not isfinite(x):
        raise ValueError(f"a z-score takes finite numbers, got {x}: leave a missing value out instead")
    if not state.warm:
        return absorb(state, x), None
    deviation = sqrt(state.variance)
    if deviation <= 1e-12 * abs(state.mean):
        # Rounding alone reaches this size: the series is constant as far as float64 can tell.
        return absorb(state, x), 0.0 if abs(x - state.mean) <= 1e-12 * abs(state.mean) else None
    z = max(-WINSOR, min(WINSOR, (x - state.mean) / deviation))
    winsorised = x if abs(z) < WINSOR else state.mean + z * deviation
    return absorb(state, winsorised), z


def batch(xs: Iterable[float], half_life: float) -> list[float | None]:
    """z of each value, by the same recursion: what a replay of `update` gives, to the last bit."""
    state, zs = init(half_life), []
    for x in xs:
        state, z = update(state, float(x))
        zs.append(z)
    return zs
