"""From forecasts to weights: one convex problem, built once and solved again for each cross-section.

    maximise    alpha'w - gamma/2 w'Sw - kappa |w - w0|_1
    subject to  |w_i| <= box,  |w|_1 <= gross,  |1'w| <= net,  |w - w0|_1 <= turnover,  |w_i - w0_i| <= trade_i,
                sqrt(w'Sw x bars per year) <= vol_target_annual

Weights are fractions of net asset value. Sources: Boyd et al. 2017, Multi-Period Trading via Convex Optimization; Boyd,
Johansson, Kahn, Schiele & Schmelzer 2024, Markowitz Portfolio Construction at Seventy.

The risk term is sum_squares(L'w) with gamma in L, because a quadratic form of a parameter is not DPP and cvxpy would
compile it anew each time. Above `DENSE_MAX` names S = F F' + diag(d), which a dense L would take seconds to compile.
The solver has an iteration limit and no time limit: a replay must stop where the live run stopped.

**The feasibility ladder.** Rung 0 is the problem above. Rung 1 gives way on turnover and volatility, at a price, as far
as the position limits (box, gross, net) and what can be traded (trade_i) need. Rung 2 asks no solver: it scales w0
towards 0 as far as needed and allowed. Rung 3 holds w0; somebody has to look. `solve` never raises, and its answer
breaks no position limit by more than `TOLERANCE` that w0 did not break already, and none further than w0 did.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Final

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from quant.limits import TOLERANCE, Limits, participation, reduce_only, violation
from quant.lots import to_lots

__all__ = ["Limits", "Problem", "Solution", "participation", "to_lots"]

Array = NDArray[np.float64]

DENSE_MAX: Final = 100
FACTORS_MAX: Final = 20
TIGHTEN_MAX: Final = 2
"""Solves more, at most, where the factors understate the volatility."""

HELD: Final = 3
"""The last rung: nothing is to be traded."""

ITERATIONS_MAX: Final = 100
"""Clarabel takes 8 to 25 iterations on these problems."""

TOLERANCES: Final = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
"""Two digits beyond Clarabel's own, for one or two iterations more: weights then agree with closed forms to 1e-6."""

SOFT_PRICE: Final = 100.0
"""Price of one unit of turnover or of relative volatility above its limit, in units of the scaled objective, whose
largest coefficient is 1: above it, giving way is worth it only where nothing else helps."""


@dataclass(frozen=True, slots=True)
class Solution:
    """`weights` (N,), how they came about, and what they amount to.

    `status` optimal | soft | reduced | held | invalid (then `reason` says why); `rung` 0..3; `objective` in units of
    alpha; `max_violation` the largest breach of box, gross, net and trade; `turnover` |w - w0|_1; `vol_annual`.
    """

    weights: Array
    status: str
    rung: int
    iterations: int
    objective: float
    max_violation: float
    turnover: float
    vol_annual: float
    reason: str = ""


class Problem:
    """The compiled problem of `n` instruments. Construction compiles and solves once (0.1 to 3 s): do it at start.

    `solve` may run in a thread of its own (`asyncio.to_thread`), one at a time for each problem. It keeps nothing
    between calls: the same input gives the same bytes.
    """

    def __init__(self, n: int, *, bars_per_year: float, gamma: float, kappa: float, factors: int | None = None) -> None:
        """`gamma` risk aversion and `kappa` cost per unit of turnover, in the units of alpha per bar.

        `factors` None chooses the dense form up to `DENSE_MAX` names and `FACTORS_MAX` factors above.
        """
        self.n, self.bars_per_year, self.gamma, self.kappa = n, bars_per_year, gamma, kappa
        self.factors = factors if factors is not None else (0 if n <= DENSE_MAX else FACTORS_MAX)
        self._declare()
        self._hard = self._compile(soft=False)
        self._soft = self._compile(soft=True)
        quiet = Limits(box=1.0, gross=1.0, net=1.0, turnover=1.0, vol_target_annual=1.0)
        for problem in (self._hard, self._soft):
            self._set(np.zeros(n), np.eye(n) / bars_per_year, np.zeros(n), quiet)
            self._run(problem)

    def solve(self, alpha: Array, cov: Array, w0: Array, limits: Limits) -> Solution:
        """Weights for forecasts `alpha` (N,) and covariance `cov` (N, N), both per bar, from weights `w0` (N,)."""
        reason = _invalid(self.n, alpha, cov, w0, limits)
        if reason:
            return self._solution(w0, w0, alpha, cov, limits, ("invalid", HELD, 0), reason)
        for rung, problem in enumerate((self._hard, self._soft)):
            try:
                self._set(alpha, cov, w0, limits)
                weights, iterations = self._run(problem)
            except (cp.error.SolverError, np.linalg.LinAlgError, ArithmeticError, ValueError) as error:
                reason = f"solver: {error}"
                continue
            if weights is None:
                continue
            weights = self._within_vol(weights, cov, w0, limits) if rung == 0 else weights
            if self._acceptable(weights, cov, w0, limits, rung):
                status = ("optimal", "soft")[rung]
                return self._solution(weights, w0, alpha, cov, limits, (status, rung, iterations), "")
        weights = reduce_only(w0, limits, self._vol(w0, cov))
        rung = HELD if np.array_equal(weights, w0) else 2
        reason = reason or "no weights meet the limits from here"
        return self._solution(weights, w0, alpha, cov, limits, (("reduced", "held")[rung - 2], rung, 0), reason)

    def _declare(self) -> None:
        """Variables, and parameters as few and as plain as can be: cvxpy checks each at every solve.

        The scalars are one vector, no sign is declared (`_invalid` has seen to it), and L' is a vector of its n (n + 1)
        / 2 numbers: a sparse parameter costs half a millisecond more, a full one compiles the zeros too.
        """
        n = self.n
        self._w, self._trade = cp.Variable(n), cp.Variable(n)
        self._alpha, self._w0, self._cap, self._scalars = (cp.Parameter(size) for size in (n, n, n, 6))
        if self.factors:
            self._loadings, self._residual = cp.Parameter((self.factors, n)), cp.Parameter(n)
            self._risk = cp.hstack([self._loadings @ self._w, cp.multiply(self._residual, self._w)])
        else:
            self._upper = cp.Parameter(n * (n + 1) // 2)
            self._risk = cp.vec_to_upper_tri(self._upper) @ self._w

    def _compile(self, *, soft: bool) -> cp.Problem:
        w, trade = self._w, self._trade
        # One variable each for |w|, |w - w0| and L'w: cvxpy would make one for every place in which they occur.
        size, traded, risk = cp.Variable(self.n), cp.Variable(self.n), cp.Variable(self._risk.shape[0])
        excess = cp.Variable(2, nonneg=True) if soft else np.zeros(2)
        cost, box, gross, net, turnover, vol_cap = (self._scalars[i] for i in range(6))
        constraints = [
            trade == w - self._w0,
            risk == self._risk,
            -size <= w,
            w <= size,
            size <= box,
            cp.sum(size) <= gross,
            cp.sum(w) <= net,
            -cp.sum(w) <= net,
            -traded <= trade,
            trade <= traded,
            traded <= self._cap,
            cp.sum(traded) <= turnover + excess[0],
            cp.norm2(risk) <= vol_cap + excess[1],
        ]
        utility = self._alpha @ w - cp.sum_squares(risk) - cost * cp.sum(traded)
        objective = utility - SOFT_PRICE * cp.sum(excess) if soft else utility
        problem = cp.Problem(cp.Maximize(objective), constraints)
        assert problem.is_dcp(dpp=True), "the portfolio problem must be DPP, or each solve compiles it anew"
        return problem

    def _set(self, alpha: Array, cov: Array, w0: Array, limits: Limits) -> None:
        """Scaled so that the largest linear coefficient is 1: bars of 10 s would be lost in the solver's tolerances."""
        risk = float(np.trace(cov)) / self.n * self.gamma * limits.box
        scale = max(float(np.abs(alpha).max()), self.kappa, risk, 1e-300)
        fold = np.sqrt(self.gamma / 2.0 / scale)
        self._alpha.value, self._w0.value = alpha / scale, w0
        # A limit that cannot bind is drawn near: numbers of 1e5 beside weights of 0.1 cost the solver four digits.
        reach = limits.box + np.abs(w0)
        self._cap.value = 2.0 * reach if limits.trade is None else np.minimum(limits.trade, 2.0 * reach)
        gross, net = min(limits.gross, 2.0 * self.n * limits.box), min(limits.net, 2.0 * self.n * limits.box)
        turnover = min(limits.turnover, 2.0 * float(reach.sum()))
        vol_most = 2.0 * limits.box * float(np.sqrt(np.maximum(np.diag(cov), 0.0)).sum())
        vol_cap = fold * min(limits.vol_target_annual / np.sqrt(self.bars_per_year), vol_most)
        self._scalars.value = np.array([self.kappa / scale, limits.box, gross, net, turnover, vol_cap])
        if self.factors:
            loadings, residual = factor_form(cov, self.factors)
            self._loadings.value, self._residual.value = fold * loadings, fold * np.sqrt(residual)
        else:
            self._upper.value = fold * _cholesky(cov).T[np.triu_indices(self.n)]

    def _run(self, problem: cp.Problem) -> tuple[Array | None, int]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "solution may be inaccurate" is what `_acceptable` checks
            problem.solve(solver=cp.CLARABEL, max_iter=ITERATIONS_MAX, **TOLERANCES)
        iterations = int(problem.solver_stats.num_iters or 0)
        if problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE) or self._w.value is None:
            return None, iterations
        return np.asarray(self._w.value, dtype=np.float64), iterations

    def _vol(self, weights: Array, cov: Array) -> float:
        return float(np.sqrt(max(float(weights @ cov @ weights), 0.0) * self.bars_per_year))

    def _within_vol(self, weights: Array, cov: Array, w0: Array, limits: Limits) -> Array:
        """The factor form knows S nearly: where the true volatility is above its target, solve for a little less.

        What then remains is taken off on the way from w0: between two portfolios within limits all are.
        """
        target = limits.vol_target_annual
        if not self.factors:
            return weights
        for _ in range(TIGHTEN_MAX):
            vol = self._vol(weights, cov)
            if vol <= target:
                return weights
            self._scalars.value = self._scalars.value * np.array([1.0, 1.0, 1.0, 1.0, 1.0, target / vol])
            tighter, _ = self._run(self._hard)
            if tighter is None:
                break
            weights = tighter
        trade = weights - w0
        a, b = float(trade @ cov @ trade), float(w0 @ cov @ trade)
        here = self._vol(w0, cov)
        reached = max(target, here)
        if self._vol(weights, cov) <= reached or here > target + TOLERANCE:
            return weights
        # A book at its target may be above it by a rounding error: there is a way on from there too.
        room = max(reached**2 / self.bars_per_year - float(w0 @ cov @ w0), 0.0)
        return np.asarray(w0 + (np.sqrt(b * b + a * room) - b) / a * trade)

    def _acceptable(self, weights: Array, cov: Array, w0: Array, limits: Limits, rung: int) -> bool:
        if not np.isfinite(weights).all() or violation(weights, w0, limits) > TOLERANCE:
            return False
        if rung > 0:
            return True
        turnover = float(np.abs(weights - w0).sum())
        return turnover <= limits.turnover + TOLERANCE and (
            self._vol(weights, cov) <= limits.vol_target_annual + TOLERANCE
        )

    def _solution(
        self, w: Array, w0: Array, alpha: Array, cov: Array, limits: Limits, how: tuple[str, int, int], reason: str
    ) -> Solution:
        turnover = float(np.abs(w - w0).sum())
        status, rung, iterations = how
        if status == "invalid":
            return Solution(w, status, rung, iterations, 0.0, 0.0, 0.0, 0.0, reason)
        objective = float(alpha @ w) - self.gamma / 2.0 * float(w @ cov @ w) - self.kappa * turnover
        breach, vol = violation(w, w0, limits), self._vol(w, cov)
        return Solution(w, status, rung, iterations, objective, breach, turnover, vol, reason)


def factor_form(cov: Array, factors: int) -> tuple[Array, Array]:
    """Loadings F' (K, N) and residual variances d (N,) with S near F F' + diag(d), the diagonal of S kept exactly.

    Nystroem on a basis from two rounds of subspace iteration: O(K N^2), where eigenvectors would take O(N^3). F F' is
    at most S, so d is not negative. The start is fixed: the same S gives the same factors.
    """
    basis: Array = cov[:, np.argsort(-np.diag(cov), kind="stable")[:factors]]
    for _ in range(2):
        basis = np.asarray(np.linalg.qr(cov @ basis).Q, dtype=np.float64)
    image = cov @ basis
    loadings: Array = solve_triangular(_cholesky(basis.T @ image), image.T, lower=True)
    return loadings, np.maximum(np.diag(cov) - (loadings**2).sum(axis=0), 0.0)


def _cholesky(s: Array) -> Array:
    """Lower triangle of a positive semi-definite matrix; a trace of noise lets a singular one have it too."""
    noise = 1e-13 * max(float(np.trace(s)), 1e-300)
    return np.asarray(np.linalg.cholesky(s + noise * np.eye(len(s))), dtype=np.float64)


def _invalid(n: int, alpha: Array, cov: Array, w0: Array, limits: Limits) -> str:
    """One sentence on what is wrong with the input, empty when nothing is."""
    for name, value, shape in (("alpha", alpha, (n,)), ("w0", w0, (n,)), ("cov", cov, (n, n))):
        if value.shape != shape:
            return f"{name} has shape {value.shape} where {shape} is needed"
        if not np.isfinite(value).all():
            return f"{name} has a number that is not finite"
    numbers = (limits.box, limits.gross, limits.net, limits.turnover, limits.vol_target_annual)
    if not all(np.isfinite(v) and v >= 0.0 for v in numbers):
        return "a limit is negative or not finite"
    if limits.trade is not None and (
        limits.trade.shape != (n,) or not np.isfinite(limits.trade).all() or (limits.trade < 0.0).any()
    ):
        return "the trade caps are not n finite numbers of at least 0"
    return ""
