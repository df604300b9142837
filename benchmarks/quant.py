"""Covariance update and portfolio re-solve against the plain way of doing each, side by side in one run.

    python -m benchmarks.quant            # about a minute

Plain covariance: keep a window of two N returns and fit scikit-learn's Ledoit-Wolf on it at each bar (needs the `dev`
extra). Plain portfolio: write the same problem with constants and let cvxpy parse it at each bar. The two ways take
turns, so that a busy machine slows both; ratios are of the medians.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

# A matrix of 100 names is too small to share: two threads that wait for each other take three times as long.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from quant import covariance
from quant.limits import Limits
from quant.portfolio import TOLERANCES, Problem

Array = NDArray[np.float64]
SEED = 7
SIZES = (5, 20, 50, 100, 500)
LIMITS = Limits(box=0.25, gross=2.0, net=0.8, turnover=0.5, vol_target_annual=0.10)
GAMMA, KAPPA, BARS_PER_YEAR = 5.0, 1e-4, 252.0
BUDGET_S = 8.0
"""Wall time for one size of one comparison, after which it stops with the samples it has (at least 3)."""


def take_turns(ours: Callable[[int], Any], plain: Callable[[int], Any], rounds: int) -> tuple[Array, Array]:
    """Milliseconds of each call, ours and plain alternating; ours five times per turn, since it is the shorter."""
    mine, theirs, started = [], [], time.perf_counter()
    for k in range(rounds):
        for j in range(5):
            begin = time.perf_counter()
            ours(5 * k + j)
            mine.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        plain(k)
        theirs.append(time.perf_counter() - begin)
        if k >= 2 and time.perf_counter() - started > BUDGET_S:
            break
    return 1e3 * np.array(mine), 1e3 * np.array(theirs)


def line(name: str, n: int, ours: Array, plain: Array) -> str:
    p50, p99 = np.percentile(ours, [50, 99])
    q50, q99 = np.percentile(plain, [50, 99])
    times = f"{p50:.3f} | {p99:.3f} | {q50:.3f} | {q99:.3f}"
    return f"| {name} | {n} | {times} | {q50 / p50:.1f} | {len(ours)}, {len(plain)} |"


def covariance_line(n: int, returns: Array, *, estimate: bool) -> str:
    from sklearn.covariance import ledoit_wolf

    window = 2 * n
    states = [covariance.init(n)]
    for x in returns[:window]:
        states[0] = covariance.update(states[0], x, 0.99)

    def update(k: int) -> None:
        states[0] = covariance.update(states[0], returns[window + k % n], 0.99)
        if estimate:
            covariance.estimate(states[0])

    def refit(k: int) -> None:
        ledoit_wolf(returns[k % n : window + k % n], assume_centered=True)

    name = "covariance update and estimate : refit" if estimate else "covariance update : refit"
    return line(name, n, *take_turns(update, refit, 200))


def portfolio_line(n: int, returns: Array) -> str:
    cov = np.cov(returns.T)
    alphas = np.random.default_rng(SEED + n).normal(size=(64, n)) * 1e-3
    problem = Problem(n, bars_per_year=BARS_PER_YEAR, gamma=GAMMA, kappa=KAPPA)
    held = [np.zeros(n)]

    def resolve(k: int) -> None:
        solution = problem.solve(alphas[k % 64], cov, held[0], LIMITS)
        assert solution.rung == 0, solution
        held[0] = solution.weights

    def parse(k: int) -> None:
        solve_afresh(alphas[k % 64], cov, np.zeros(n))

    form = "dense" if not problem.factors else f"{problem.factors} factors"
    return line(f"QP re-solve ({form}) : parse and solve", n, *take_turns(resolve, parse, 40))


def solve_afresh(alpha: Array, cov: Array, w0: Array) -> None:
    """The problem as one would write it first: constants, a dense quadratic form, parsed at each call."""
    w = cp.Variable(len(alpha))
    risk, trade = cp.quad_form(w, cp.psd_wrap(cov)), cp.norm1(w - w0)
    vol = cp.norm2(np.linalg.cholesky(cov).T @ w)
    constraints = [
        cp.abs(w) <= LIMITS.box,
        cp.norm1(w) <= LIMITS.gross,
        cp.abs(cp.sum(w)) <= LIMITS.net,
        trade <= LIMITS.turnover,
        vol <= LIMITS.vol_target_annual / np.sqrt(BARS_PER_YEAR),
    ]
    objective = cp.Maximize(1e3 * (alpha @ w - GAMMA / 2.0 * risk - KAPPA * trade))
    cp.Problem(objective, constraints).solve(solver=cp.CLARABEL, **TOLERANCES)


def main() -> int:
    print(
        f"seed {SEED}, numpy {np.__version__}, cvxpy {cp.__version__}, Python {sys.version.split()[0]}; times in ms\n"
    )
    print("| ours : plain | N | ours p50 | ours p99 | plain p50 | plain p99 | ratio | samples |")
    print("|---|---|---|---|---|---|---|---|")
    for compare in (partial(covariance_line, estimate=False), partial(covariance_line, estimate=True), portfolio_line):
        for n in SIZES:
            generator = np.random.default_rng(SEED)
            returns = 0.01 * (generator.normal(size=(3 * n + 60, n)) + 0.7 * generator.normal(size=(3 * n + 60, 1)))
            print(compare(n, returns), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
