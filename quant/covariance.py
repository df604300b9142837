"""Covariance of N instruments, one cross-section at a time.

**EWMA with exact Ledoit-Wolf shrinkage in O(N^2) an update.** With weights w_i = lam^(t-i) keep

    A = sum w x x'    B = sum w^2 x x'    sw = sum w    sw2 = sum w^2    q4 = sum w^2 |x|^4

which fade by lam and lam^2. Then

    S = A / sw                                       the EWMA covariance (zero mean, as for returns of short bars)
    b2 = (q4 - 2 <B, S> + sw2 |S|^2) / sw^2          estimated error of S: sum w^2 |x x' - S|^2 / sw^2, multiplied out
    d2 = |S - mu I|_F^2,  mu = tr S / N              distance to the target
    rho = min(b2, d2) / d2,   estimate = (1 - rho) S + rho mu I

Source: Ledoit & Wolf 2004 (J. Multivariate Analysis 88(2), 365-411), with weights. At lam = 1 it equals
`sklearn.covariance.ledoit_wolf(assume_centered=True)`.

**Volatilities times shrunk correlation.** One identity target does not suit names whose volatilities differ sixfold
(equities and bonds): `VolCorrState` scales each return by its own EWMA volatility, shrinks the correlation of those,
and puts the volatilities back, with a shorter memory for volatility than for correlation (21 and 63 bars are a fair
start).

**A missing or late instrument.** Every x is complete and finite; `previous_tick` makes it so. An instrument without a
price in this cross-section (halted, late, silent) keeps its last one: its return is 0 now, and the bar in which it
returns carries the whole move since. Nothing is lost or counted twice, and every estimate stays positive semi-definite,
which pairwise deletion would not promise. The price is that correlation is understated while an instrument is stale
(Epps 1979), so an instrument that is silent most of the time belongs out of the universe.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PSD_TOLERANCE: Final = 1e-10
"""Negative eigenvalue taken for rounding, over N times the largest element; rounding at N = 500 is about 1e-13."""

LOG_RETURN_MAX: Final = 10.0
"""Largest log return of one bar: a price 22,000 times the one before is an error of the feed."""

SIZE_MAX: Final = 1e60
"""Largest number `update` takes, which may be in deviations (10.03 among 18 ETFs): the sums of x^4 stay finite."""


@dataclass(frozen=True, slots=True, eq=False)
class CovState:
    """Fading sums of N-vectors: `a` and `b` (N, N) in x^2, `sw`, `sw2`, `q4` in x^4, `n` cross-sections seen."""

    a: Array
    b: Array
    sw: float = 0.0
    sw2: float = 0.0
    q4: float = 0.0
    n: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class VolCorrState:
    """`var` (N,) is the fading sum of x^2 with total weight `sw`; `scaled` holds the vol-scaled returns."""

    var: Array
    sw: float
    scaled: CovState


def init(n: int) -> CovState:
    """Nothing seen yet of `n` instruments."""
    return CovState(np.zeros((n, n)), np.zeros((n, n)))


def decay(half_life: float) -> float:
    """lam = 2^(-1/half_life), half-life in bars."""
    return float(0.5 ** (1.0 / half_life))


def update(state: CovState, x: Array, lam: float) -> CovState:
    """Fold one cross-section x (N,) of returns, or of returns over volatility, O(N^2).

    ValueError when x is not N finite numbers (`previous_tick`) up to `SIZE_MAX`.
    """
    x = _cross_section(x, len(state.a), SIZE_MAX)
    outer = np.outer(x, x)
    square = float(x @ x)
    lam2 = lam * lam
    return CovState(
        lam * state.a + outer,
        lam2 * state.b + outer,
        lam * state.sw + 1.0,
        lam2 * state.sw2 + 1.0,
        lam2 * state.q4 + square * square,
        state.n + 1,
    )


def ewma(state: CovState) -> Array:
    """S = A / sw (N, N), unshrunk. Equals `skfolio.moments.EWCovariance` over (1 - lam^n)."""
    if state.n == 0:
        raise ValueError("no covariance before the first cross-section")
    return state.a / state.sw


def shrinkage(state: CovState) -> float:
    """Ledoit-Wolf intensity rho in [0, 1]; 0 where S is its own target (one instrument, or constant prices)."""
    s = ewma(state)
    n = len(s)
    d2 = float(np.sum(s * s)) - float(np.trace(s)) ** 2 / n
    if d2 <= 0.0:
        return 0.0
    b2 = (state.q4 - 2.0 * float(np.sum(state.b * s)) + state.sw2 * float(np.sum(s * s))) / state.sw**2
    return min(max(b2, 0.0), d2) / d2


def estimate(state: CovState) -> Array:
    """Shrunk covariance (N, N) per bar, positive semi-definite. ValueError before the first cross-section."""
    s, rho = ewma(state), shrinkage(state)
    shrunk = (1.0 - rho) * s
    shrunk.flat[:: len(s) + 1] += rho * float(np.trace(s)) / len(s)
    return assert_psd(shrunk)


def init_vol_corr(n: int) -> VolCorrState:
    """Nothing seen yet of `n` instruments."""
    return VolCorrState(np.zeros(n), 0.0, init(n))


def update_vol_corr(state: VolCorrState, x: Array, vol_lam: float, corr_lam: float) -> VolCorrState:
    """Fold one cross-section x (N,) of log returns; ValueError when they are not N finite ones up to `LOG_RETURN_MAX`.

    x is scaled by the volatility that includes x itself, so a scaled return is at most 1 / sqrt(1 - vol_lam): one jump
    cannot rule the correlation. An instrument that has never moved scales to 0.
    """
    x = _cross_section(x, len(state.var), LOG_RETURN_MAX)
    var, sw = vol_lam * state.var + x * x, vol_lam * state.sw + 1.0
    vol = np.sqrt(var / sw)
    scaled = np.divide(x, vol, out=np.zeros_like(x), where=vol > 0.0)
    return VolCorrState(var, sw, update(state.scaled, scaled, corr_lam))


def estimate_vol_corr(state: VolCorrState) -> Array:
    """D R D (N, N) per bar: EWMA volatilities D, R the Ledoit-Wolf-shrunk correlation of the scaled returns."""
    vol = np.sqrt(state.var / state.sw) if state.scaled.n else state.var
    return assert_psd(correlation(estimate(state.scaled)) * np.outer(vol, vol))


def correlation(s: Array) -> Array:
    """Correlation matrix of a covariance; an instrument without variance correlates with nothing but itself."""
    scale = np.sqrt(np.diag(s))
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0.0)
    r: Array = s * np.outer(inverse, inverse)
    np.fill_diagonal(r, 1.0)
    return r


def previous_tick(last: Array, log_price: Array, present: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Returns (N,) of one cross-section and the new last log prices (N,). See the head of the module.

    `last` holds the last log price of each instrument, NaN before its first; `log_price` is read where `present`.
    ValueError when a present price is not finite.
    """
    if not np.isfinite(log_price[present]).all():
        raise ValueError("a present instrument needs a finite log price: mark it absent instead")
    now = np.where(present, log_price, last)
    moved = now - last
    return np.where(np.isfinite(moved), moved, 0.0), now


def drift(s: Array, s_ref: Array) -> float:
    """|S - S_ref|_F / |S_ref|_F, how far the covariance has moved from the one limits were set on; limit 0.10.

    ValueError when the reference is zero: nothing can be measured against it.
    """
    norm = float(np.linalg.norm(s_ref))
    if not norm > 0.0:
        raise ValueError("covariance drift needs a reference that is not zero")
    return float(np.linalg.norm(s - s_ref)) / norm


def assert_psd(s: Array) -> Array:
    """The matrix itself, if it is finite, symmetric and positive semi-definite to rounding; else ValueError."""
    if not np.isfinite(s).all():
        raise ValueError("a covariance must be finite")
    size = float(np.abs(s).max())
    if float(np.abs(s - s.T).max()) > PSD_TOLERANCE * size:
        raise ValueError("a covariance must be symmetric")
    margin = PSD_TOLERANCE * size * len(s)
    try:
        # Cholesky succeeds only if every eigenvalue of S + margin I is positive; ten times cheaper than eigenvalues.
        np.linalg.cholesky(s + max(margin, 1e-300) * np.eye(len(s)))
    except np.linalg.LinAlgError:
        lowest = float(np.linalg.eigvalsh(s)[0])
        raise ValueError(f"a covariance must be positive semi-definite, an eigenvalue is {lowest:.3g}") from None
    return s


def nearest_correlation(g: Array, tolerance: float = 1e-10, iterations: int = 1000) -> Array:
    """The correlation matrix nearest to symmetric g (N, N) in the Frobenius norm.

    Higham 2002 (IMA J. Numerical Analysis 22(3), 329-343), alg. 3.3: alternating projections onto the positive
    semi-definite matrices and onto unit diagonals, with Dykstra's correction on the first. Without the correction, or
    with one eigenvalue clipping, the result is a correlation matrix but not the nearest.
    ValueError when g is not finite and symmetric, or has not converged after `iterations`.
    """
    if not np.isfinite(g).all() or not np.allclose(g, g.T, rtol=0.0, atol=1e-12):
        raise ValueError("the nearest correlation is that of a finite symmetric matrix")
    y, correction = np.array(g, dtype=np.float64), np.zeros_like(g)
    for _ in range(iterations):
        r = y - correction
        values, vectors = np.linalg.eigh(r)
        x = (vectors * np.maximum(values, 0.0)) @ vectors.T
        correction = x - r
        before = y
        y = (x + x.T) / 2.0
        np.fill_diagonal(y, 1.0)
        if max(np.abs(y - before).max(), np.abs(y - x).max()) <= tolerance:
            return assert_psd(y)
    raise ValueError(f"the nearest correlation did not converge in {iterations} iterations")


def encode_matrix(s: Array) -> str:
    """Lower triangle of a symmetric matrix (N, N) as base64 of little-endian float64: N = 200 takes 214 kB.

    Nested JSON of the same is 880 kB, near Kafka's message limit of 1 MiB, and this keeps every bit.
    """
    return base64.b64encode(_triangle(s).astype("<f8").tobytes()).decode("ascii")


def decode_matrix(text: str) -> Array:
    """Inverse of `encode_matrix`, to the last bit. ValueError when the text is not such a triangle."""
    return _square(_floats(text))


def encode(state: CovState | VolCorrState) -> str:
    """A state as base64 of little-endian float64: scalars, `var` (vol form only), triangles of A and B."""
    if isinstance(state, VolCorrState):
        head, cov = [float(len(state.var)), 1.0, state.sw, *state.var], state.scaled
    else:
        head, cov = [float(len(state.a)), 0.0], state
    scalars = [cov.sw, cov.sw2, cov.q4, float(cov.n)]
    packed = np.concatenate([head, scalars, _triangle(cov.a), _triangle(cov.b)])
    return base64.b64encode(packed.astype("<f8").tobytes()).decode("ascii")


def decode(text: str) -> CovState | VolCorrState:
    """Inverse of `encode`, to the last bit. ValueError when the text is not an encoded state."""
    packed = _floats(text)
    if len(packed) < 2 or packed[1] not in (0.0, 1.0) or not 1.0 <= packed[0] <= len(packed):
        raise ValueError("not an encoded covariance state: its header is damaged")
    n, scaled = int(packed[0]), packed[1] == 1.0
    start = 3 + n if scaled else 2
    triangle = n * (n + 1) // 2
    if len(packed) != start + 4 + 2 * triangle:
        raise ValueError(f"not an encoded covariance state: {len(packed)} numbers do not fit {n} instruments")
    sw, sw2, q4, count = packed[start : start + 4].tolist()
    a, b = packed[start + 4 : start + 4 + triangle], packed[start + 4 + triangle :]
    cov = CovState(_square(a), _square(b), sw, sw2, q4, int(count))
    return VolCorrState(packed[3:start].copy(), float(packed[2]), cov) if scaled else cov


def _triangle(s: Array) -> Array:
    return s[np.tril_indices(len(s))]


def _square(triangle: Array) -> Array:
    n = round((np.sqrt(8 * len(triangle) + 1) - 1) / 2)
    if n * (n + 1) // 2 != len(triangle):
        raise ValueError(f"{len(triangle)} numbers are not the triangle of a square matrix")
    s = np.zeros((n, n))
    rows, columns = np.tril_indices(n)
    s[rows, columns] = triangle
    s[columns, rows] = triangle
    return s


def _floats(text: str) -> Array:
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), dtype="<f8").astype(np.float64)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64 of float64 numbers: the row is damaged") from error


def _cross_section(x: Array, n: int, size_max: float) -> Array:
    x = np.asarray(x, dtype=np.float64)
    if x.shape != (n,) or not np.isfinite(x).all():
        raise ValueError(f"a cross-section is {n} finite returns: complete missing ones with previous_tick")
    size = float(np.abs(x).max(initial=0.0))
    if size > size_max:
        raise ValueError(f"a return of {size:.3g} in one bar is above {size_max:g}: mend the price it comes from")
    return x
