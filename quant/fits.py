"""How well flow explains price: straight lines, interval by interval, as in Cont, Kukanov & Stoikov 2014, sec. 3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quant import ofi

Array = NDArray[np.float64]

OBSERVATIONS_MIN: Final = 20
"""Buckets below which a slope is not estimated."""


@dataclass(frozen=True, slots=True)
class Line:
    """Least squares y = intercept + slope x with its R^2 and the slope's standard error, over `n` points."""

    slope: float
    intercept: float
    r2: float
    slope_error: float
    n: int


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """y = c / x^lambda, `error` the standard error of `exponent` lambda."""

    c: float
    exponent: float
    error: float


def line(x: Array, y: Array) -> Line | None:
    """Fit of y (T,) on x (T,); None below `OBSERVATIONS_MIN` points or when either is flat."""
    return _least_squares(x, y) if len(x) >= OBSERVATIONS_MIN else None


def power_law(x: Array, y: Array) -> PowerLaw | None:
    """y = c / x^lambda by a line through the logarithms of the positive pairs; None with fewer than 5 of them.

    For slopes of OFI against depth Cont, Kukanov & Stoikov 2014 find c 0.45 and lambda 0.98 (table 3).
    """
    positive = (x > 0.0) & (y > 0.0)
    fit = _least_squares(np.log(x[positive]), np.log(y[positive])) if int(positive.sum()) >= 5 else None
    return PowerLaw(float(np.exp(fit.intercept)), -fit.slope, fit.slope_error) if fit else None


def _least_squares(x: Array, y: Array) -> Line | None:
    n = len(x)
    dx, dy = x - x.mean(), y - y.mean()
    sxx, sxy, syy = float(dx @ dx), float(dx @ dy), float(dy @ dy)
    if sxx <= 0.0 or syy <= 0.0:
        return None
    slope, r2 = sxy / sxx, sxy * sxy / (sxx * syy)
    error = float(np.sqrt(max(1.0 - r2, 0.0) * syy / (sxx * (n - 2))))
    return Line(slope, float(y.mean() - slope * x.mean()), r2, error, n)


def integrate(flows: Array, depth: Array, intervals: NDArray[np.int64]) -> tuple[Array, Array]:
    """Integrated OFI (T,) of flows (T, M), and the weights (K, M) of the K intervals.

    `depth` (K,) is the mean depth over levels of each interval, `intervals` (T,) the interval of each bucket, ascending
    from 0. A bucket is weighted with the first principal component of the interval *before* its own (the first
    interval, which has none, with its own), so nothing is fitted to what it then explains.
    """
    count = int(intervals[-1]) + 1
    scaled = flows / depth[intervals][:, None]
    weights = np.array([_weights(scaled[intervals == k]) for k in range(count)])
    used = weights[np.maximum(np.arange(count) - 1, 0)]
    return np.einsum("tm,tm->t", scaled, used[intervals]), used


def _weights(samples: Array) -> Array:
    """Weights of one interval; equal ones where it is too quiet to have any."""
    levels = samples.shape[1]
    if len(samples) < 2 or not (samples.std(axis=0) > 0.0).any():
        return np.full(levels, 1.0 / levels)
    return ofi.integration_weights(samples)
