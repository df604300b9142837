"""Covariance update and portfolio re-solve against the plain way of doing each, side by side in one run.

    python -m benchmarks.quant            # about two minutes; writes its tables into docs/reference/quant.md

Plain covariance: keep a window of two N returns and fit scikit-learn's Ledoit-Wolf on it at each bar (needs the `dev`
extra). Plain portfolio: write the same problem with constants and let cvxpy parse it at each bar. The two ways take
turns, and times are of the processor, so that a busy machine slows both; ratios are of the medians.

The heartbeat: a task that sleeps a millisecond, over and over, on the event loop of a process that also solves
portfolios. How late it wakes says what a solve does to everything else on the loop.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
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
PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "quant.md"
BUDGET_S = 8.0
"""Wall time for one size of one comparison, after which it stops with the samples it has (at least 3)."""


def take_turns(ours: Callable[[int], Any], plain: Callable[[int], Any], rounds: int) -> tuple[Array, Array]:
    """Processor milliseconds of each call, ours and plain in turns; ours five times a turn, as it is the shorter."""
    mine, theirs, started = [], [], time.perf_counter()
    for k in range(rounds):
        for j in range(5):
            begin = time.process_time()
            ours(5 * k + j)
            mine.append(time.process_time() - begin)
        begin = time.process_time()
        plain(k)
        theirs.append(time.process_time() - begin)
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


def portfolio(n: int, returns: Array) -> tuple[Problem, Callable[[int], None]]:
    """The compiled problem of n names, and a call that solves it for the next of 64 forecasts from where it is."""
    cov = np.cov(returns.T)
    alphas = np.random.default_rng(SEED + n).normal(size=(64, n)) * 1e-3
    problem = Problem(n, bars_per_year=BARS_PER_YEAR, gamma=GAMMA, kappa=KAPPA)
    held = [np.zeros(n)]

    def resolve(k: int) -> None:
        solution = problem.solve(alphas[k % 64], cov, held[0], LIMITS)
        assert solution.rung == 0, solution
        held[0] = solution.weights

    return problem, resolve


def portfolio_line(n: int, returns: Array) -> str:
    problem, resolve = portfolio(n, returns)
    cov, alphas = np.cov(returns.T), np.random.default_rng(SEED + n).normal(size=(64, n)) * 1e-3

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


async def beats(resolve: Callable[[int], None], solves: int, *, thread: bool) -> Array:
    """Milliseconds by which a heartbeat of 1 ms was late while `solves` portfolios were solved, 5 ms apart."""
    late: list[float] = []

    async def heart() -> None:
        while True:
            begin = time.perf_counter()
            await asyncio.sleep(1e-3)
            late.append(1e3 * (time.perf_counter() - begin) - 1.0)

    task = asyncio.create_task(heart())
    for k in range(solves):
        await asyncio.sleep(5e-3)
        if thread:
            await asyncio.to_thread(resolve, k)
        else:
            resolve(k)
    task.cancel()
    return np.array(late)


def heartbeat_line(n: int) -> str:
    _, resolve = portfolio(n, sample(n))
    idle = asyncio.run(beats(_idle, 40, thread=False))
    on_loop, in_thread = (asyncio.run(beats(resolve, 60, thread=thread)) for thread in (False, True))
    cells = " | ".join(f"{np.percentile(x, 99):.1f} | {x.max():.1f}" for x in (idle, on_loop, in_thread))
    return f"| {n} | {cells} |"


def _idle(_: int) -> None:
    """What the loop solves when it solves nothing."""


def sample(n: int) -> Array:
    generator = np.random.default_rng(SEED)
    return 0.01 * (generator.normal(size=(3 * n + 60, n)) + 0.7 * generator.normal(size=(3 * n + 60, 1)))


def tables() -> Iterator[str]:
    """Lines of the page, as they are found."""
    yield f"Seed {SEED}, numpy {np.__version__}, cvxpy {cp.__version__}, Python {sys.version.split()[0]}. Milliseconds"
    yield "of processor time, one thread, both ways in turns in one run."
    yield ""
    yield "| ours : plain | N | ours p50 | ours p99 | plain p50 | plain p99 | ratio | samples |"
    yield "|---|---|---|---|---|---|---|---|"
    for compare in (partial(covariance_line, estimate=False), partial(covariance_line, estimate=True), portfolio_line):
        for n in SIZES:
            yield compare(n, sample(n))
    yield ""
    yield "How late a heartbeat of 1 ms wakes on the event loop while portfolios are solved, milliseconds of wall time:"
    yield ""
    yield "| N | idle p99 | idle worst | on the loop p99 | worst | in a thread p99 | worst |"
    yield "|---|---|---|---|---|---|---|"
    for n in SIZES:
        yield heartbeat_line(n)


def main() -> int:
    found = []
    for text in tables():
        print(text, flush=True)
        found.append(text)
    start, end, page = "<!-- benchmarks -->", "<!-- end of benchmarks -->", PAGE.read_text(encoding="utf-8")
    before, after = page[: page.index(start)], page[page.index(end) :]
    PAGE.write_text("\n".join([before + start, *found, after]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
