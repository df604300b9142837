"""Every function of `quant` that has an equation, against an oracle that shares no code with it.

A row computes the largest difference from its oracle and offers one call to time. `test_reference` checks the
differences against `allowed` and keeps docs/reference/quant.md fresh.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cvxpy as cp
import numpy as np
import pandas as pd
import scipy.linalg
import scipy.stats
import skfolio.measures
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA

from quant import alpha, covariance, fits, ic, impact, microstructure, ofi, performance, portfolio, signals, zscore
from quant.limits import Limits

SEED = 20120621
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One line of the table: `compare` gives the largest difference from the oracle, `call` one call to time."""

    function: str
    equation: str
    source: str
    oracle: str
    allowed: float
    compare: Callable[[], float]
    call: Callable[[], Any]


def rng() -> np.random.Generator:
    return np.random.default_rng(SEED)


def gap(a: Any, b: Any) -> float:
    return float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).max())


# --- books -----------------------------------------------------------------------------------------------------------

Side = dict[int, int]


def random_books(n: int) -> list[tuple[Side, Side]]:
    """Books as price -> size, changed one order at a time; they lock, cross and run empty now and then."""
    generator, bids, asks = rng(), {99: 5, 98: 7}, {101: 4, 102: 9}
    books = [(dict(bids), dict(asks))]
    for _ in range(n):
        side = bids if generator.random() < 0.5 else asks
        price = int(generator.integers(95, 106))
        if generator.random() < 0.55 and side:
            price = (max if side is bids else min)(side)
        side[price] = int(generator.integers(1, 20)) if generator.random() < 0.6 else 0
        if side[price] == 0:
            del side[price]
        books.append((dict(bids), dict(asks)))
    return books


def levels_of(book: tuple[Side, Side]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    return sorted(book[0].items(), reverse=True), sorted(book[1].items())


def best(book: tuple[Side, Side]) -> tuple[int, int, int, int]:
    bids, asks = levels_of(book)
    return (*(bids[0] if bids else (ofi.NO_BID, 0)), *(asks[0] if asks else (ofi.NO_ASK, 0)))


def queue_change(old: Side, new: Side, better: Callable[[int, int], bool]) -> int:
    """Size standing at or above the better of the two best prices, after minus before: e of one side, no inequality."""
    if not old and not new:
        return 0
    edge = next(iter(old or new))
    for price in [*old, *new]:
        edge = price if better(price, edge) else edge
    return new.get(edge, 0) - old.get(edge, 0)


def compare_level1() -> float:
    return max(
        abs(
            ofi.level1(*best(old), *best(new))
            - queue_change(old[0], new[0], lambda a, b: a > b)
            + queue_change(old[1], new[1], lambda a, b: a < b)
        )
        for old, new in pairwise(random_books(20_000))
    )


def columns(n: int) -> NDArray[np.int64]:
    return np.array([best(book) for book in random_books(n)], dtype=np.int64)


def compare_level1_batch() -> float:
    book = columns(20_000)
    loop = [0] + [ofi.level1(*map(int, a), *map(int, b)) for a, b in pairwise(book)]
    return gap(ofi.level1_batch(book[:, 0], book[:, 1], book[:, 2], book[:, 3]), loop)


def compare_multilevel() -> float:
    """Level m of a book is level 1 of the book without its m - 1 best prices."""
    worst = 0
    for old, new in pairwise(random_books(4_000)):
        flows = ofi.multilevel(*levels_of(old), *levels_of(new), 4)
        for m in range(4):
            stripped = [tuple(dict(side[m:]) for side in levels_of(book)) for book in (old, new)]
            worst = max(worst, abs(flows[m] - ofi.level1(*best(stripped[0]), *best(stripped[1]))))  # type: ignore[arg-type]
    return worst


def flow_samples() -> Array:
    generator = rng()
    return generator.normal(size=(500, 1)) * [1.0, 0.9, 0.7, 0.6, 0.5] + 0.4 * generator.normal(size=(500, 5))


def compare_weights() -> float:
    first = PCA(n_components=1, svd_solver="full").fit(flow_samples()).components_[0]
    return gap(ofi.integration_weights(flow_samples()), first / first.sum() * abs(first.sum()) / np.abs(first).sum())


def compare_integrated() -> float:
    first = PCA(n_components=1, svd_solver="full").fit(flow_samples()).components_[0]
    first *= np.sign(first.sum())
    flows = rng().integers(-900, 900, 5).astype(float)
    expected = math.fsum(first * flows / 250.0) / math.fsum(np.abs(first))
    return abs(ofi.integrated(flows, 250.0, ofi.integration_weights(flow_samples())) - expected)


def quotes(n: int) -> NDArray[np.int64]:
    """Two-sided random quotes, in which a large bid queue goes before a rise."""
    generator, mid2, rows = rng(), 20_001, []
    for _ in range(n):
        bid_size, ask_size = (int(v) for v in generator.integers(1, 50, 2))
        rows.append((mid2 // 2, bid_size, mid2 // 2 + 1 + (mid2 % 2 == 0), ask_size))
        if generator.random() < 0.5:
            mid2 += 1 if generator.random() < bid_size / (bid_size + ask_size) else -1
    return np.array(rows, dtype=np.int64)


def compare_line() -> float:
    x, y = flow_samples()[:, 0], flow_samples()[:, 1]
    got, oracle = fits.line(x, y), scipy.stats.linregress(x, y)
    assert got is not None
    return gap(
        [got.slope, got.intercept, got.r2, got.slope_error],
        [oracle.slope, oracle.intercept, oracle.rvalue**2, oracle.stderr],
    )


def compare_microprice() -> float:
    """Count by dictionary, mirror each sample, and add up the expected mid changes of the chain, term by term."""
    rows, buckets, spreads = quotes(4_000), 5, 2
    size = buckets * spreads
    stay, move, drift = np.zeros((size, size)), np.zeros((size, size)), np.zeros(size)

    def state(bid: int, bid_size: int, ask: int, ask_size: int) -> int:
        return (min(ask - bid, spreads) - 1) * buckets + microstructure.imbalance_bucket(bid_size, ask_size, buckets)

    for old, new in pairwise(rows.tolist()):
        change = (new[0] + new[2] - old[0] - old[2]) / 2
        for sign in (1, -1):
            a, b = (q if sign == 1 else [q[0], q[3], q[2], q[1]] for q in (old, new))
            (move if change else stay)[state(*a), state(*b)] += 1
            drift[state(*a)] += sign * change
    visits = (stay + move).sum(axis=1)
    chain, step, total = np.linalg.inv(np.eye(size) - stay / visits[:, None]), np.zeros(size), np.zeros(size)
    np.testing.assert_allclose((chain @ (move / visits[:, None])).sum(axis=1), 1.0)  # the rows of B
    step = chain @ (drift / visits)
    for _ in range(5_000):
        total += step
        step = chain @ (move / visits[:, None]) @ step
    fitted = microstructure.fit_microprice(*rows.T, buckets=buckets, spreads=spreads)
    return gap(fitted.adjustment, total.reshape(spreads, buckets))


# --- scores and signals ----------------------------------------------------------------------------------------------


def series() -> Array:
    return np.cumsum(rng().normal(size=2_000)) * 0.05 + rng().normal(size=2_000)


def compare_zscore() -> float:
    x = pd.Series(series())
    ewm = x.ewm(halflife=40)
    expected = ((x - ewm.mean().shift()) / ewm.var(bias=True).shift() ** 0.5).to_numpy()
    assert np.nanmax(np.abs(expected[40:])) < zscore.WINSOR, (
        "the series must not be winsorised, pandas does not do that"
    )
    return gap(zscore.batch(x, 40.0)[40:], expected[40:])


def bars_of(mids: NDArray[np.int64]) -> list[signals.Bar]:
    return [signals.Bar((0,), 1.0, 1, int(m) - 1, 1, int(m) + 1, 1) for m in mids]


def mids() -> NDArray[np.int64]:
    return 20_000 + np.cumsum(rng().integers(-9, 10, 1_500))


def compare_trend() -> float:
    level = np.log(pd.Series(mids()))
    vol = (level.diff() ** 2).iloc[1:].ewm(halflife=63).mean() ** 0.5
    total = pd.Series(0.0, index=vol.index)
    for fast, slow in ((8, 24), (16, 48), (32, 96)):
        centred = level - level[0]
        y = (centred.ewm(alpha=1 / fast, adjust=False).mean() - centred.ewm(alpha=1 / slow, adjust=False).mean())[
            1:
        ] / vol
        u = y / (y**2).ewm(alpha=1 / 252).mean() ** 0.5
        total += u * np.exp(-(u**2) / 4) / 0.89 / 3
    return gap(signals.batch(bars_of(mids()), signals.Settings())["ts_trend"][95:], total[94:])


def compare_reversal() -> float:
    move = np.log(pd.Series(mids())).diff()
    vol = (move**2).iloc[1:].ewm(halflife=63).mean() ** 0.5
    expected = (-move / vol.shift()).to_numpy()
    return gap(signals.batch(bars_of(mids()), signals.Settings())["reversal"][11:], expected[11:])


def scores(n: int = 600, k: int = 4) -> tuple[Array, Array]:
    generator = rng()
    z = generator.normal(size=(n, k)) @ np.linalg.cholesky(0.6 * np.ones((k, k)) + 0.4 * np.eye(k)).T
    ret = 0.002 * generator.standard_t(5, size=n)
    ret[1:] += 0.001 * z[:-1, 0]
    return z, ret


def compare_loewdin() -> float:
    """The polar factor of X is the nearest matrix with orthonormal columns."""
    x, _ = scores()
    polar, _ = scipy.linalg.polar(x)
    return gap(x @ alpha.loewdin(x.T @ x, floor=0.0), polar)


def compare_alpha() -> float:
    """The same forecast from whole histories and explicit weights, one bar at a time, without any memory."""
    z, ret = scores(150)
    state, sigma, half_life, worst, orthogonal = alpha.init(4, 50.0), 0.002, 50.0, 0.0, []
    for t in range(len(z)):
        state, forecast = alpha.update(state, tuple(z[t].tolist()), float(ret[t]), sigma)
        w = 0.5 ** (np.arange(t, -1, -1) / half_life)
        second = np.cov(np.vstack([z[: t + 1], -z[: t + 1]]).T, aweights=np.hstack([w, w]), ddof=0)
        c = second / np.sqrt(np.outer(np.diag(second), np.diag(second)))
        values, vectors = np.linalg.eigh(c)
        orthogonal.append(z[t] @ vectors @ np.diag(np.maximum(values, alpha.EIGENVALUE_MIN) ** -0.5) @ vectors.T)
        if t == 0:
            continue
        lagged, r, w = np.array(orthogonal[:-1]), np.clip(ret[1 : t + 1] / sigma, -5, 5), w[1:]
        raw = (w * r) @ lagged / np.sqrt(w.sum() * (w @ r**2))
        n = w.sum() ** 2 / (w**2).sum()
        expected = sigma * (raw / (1 + 1 / (n * alpha.IC_PRIOR**2))) @ orthogonal[-1]
        worst = max(worst, abs(forecast.alpha - expected) / sigma)
    return worst


def compare_ic() -> float:
    """Ridge regression of u on z that starts from the prior, solved as least squares with extra rows."""
    z, ret = scores()
    state = ic.IcState()
    for before, u in zip(z[:-1, 0].tolist(), ret[1:].tolist(), strict=True):
        state = ic.update(state, before, u / 0.002)
    rows = np.append(z[:-1, 0], np.sqrt(40.0))[:, None]
    target = np.append(ret[1:] / 0.002, np.sqrt(40.0) * 0.02)
    raw = float(np.corrcoef(np.append(z[:-1, 0], -z[:-1, 0]), np.append(ret[1:], -ret[1:]))[0, 1] ** 2)
    expected = [float(np.linalg.lstsq(rows, target)[0][0]), raw]
    return gap([ic.coefficient(state, 0.02, 40.0), ic.r_squared(state)], expected)


# --- covariance ------------------------------------------------------------------------------------------------------


def returns(t: int, n: int) -> Array:
    generator = rng()
    scale = np.geomspace(0.002, 0.02, n)
    return (generator.standard_t(4, size=(t, n)) + 0.7 * generator.standard_t(4, size=(t, 1))) * scale


def streamed(x: Array, lam: float) -> covariance.CovState:
    state = covariance.init(x.shape[1])
    for row in x:
        state = covariance.update(state, row, lam)
    return state


def relative(a: Array, b: Array) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


def compare_ewma() -> float:
    from skfolio.moments import EWCovariance

    x, lam = returns(400, 8), 0.97
    model = EWCovariance(half_life=math.log(0.5) / math.log(lam), nearest=False).fit(x)
    return relative(covariance.ewma(streamed(x, lam)), model.covariance_)


def compare_ledoit_wolf() -> float:
    x = returns(120, 20)
    return relative(covariance.estimate(streamed(x, 1.0)), ledoit_wolf(x, assume_centered=True)[0])


def brute_ledoit_wolf(x: Array, lam: float) -> Array:
    """The weighted formula, observation by observation."""
    t, n = x.shape
    w = lam ** np.arange(t - 1, -1, -1.0)
    s = (x.T * w) @ x / w.sum()
    mu = np.trace(s) / n
    b2 = sum(w[i] ** 2 * np.linalg.norm(np.outer(x[i], x[i]) - s) ** 2 for i in range(t)) / w.sum() ** 2
    d2 = np.linalg.norm(s - mu * np.eye(n)) ** 2
    rho = min(b2, d2) / d2
    return np.asarray((1 - rho) * s + rho * mu * np.eye(n))


def compare_weighted_ledoit_wolf() -> float:
    x = returns(200, 20)
    return relative(covariance.estimate(streamed(x, 0.97)), brute_ledoit_wolf(x, 0.97))


def streamed_vol_corr(x: Array, vol_lam: float, corr_lam: float) -> covariance.VolCorrState:
    state = covariance.init_vol_corr(x.shape[1])
    for row in x:
        state = covariance.update_vol_corr(state, row, vol_lam, corr_lam)
    return state


def compare_vol_corr() -> float:
    x, vol_lam, corr_lam = returns(200, 12), covariance.decay(21), covariance.decay(63)
    vol = np.sqrt(pd.DataFrame(x**2).ewm(halflife=21).mean().to_numpy())
    shrunk = brute_ledoit_wolf(x / vol, corr_lam)
    d = np.diag(vol[-1] / np.sqrt(np.diag(shrunk)))
    return relative(covariance.estimate_vol_corr(streamed_vol_corr(x, vol_lam, corr_lam)), d @ shrunk @ d)


def compare_nearest() -> float:
    """The same projection as a semidefinite programme."""
    g = np.array([[1.0, 0.9, -0.4], [0.9, 1.0, 0.6], [-0.4, 0.6, 1.0]])
    x = cp.Variable((3, 3), PSD=True)
    programme = cp.Problem(cp.Minimize(cp.sum_squares(x - g)), [cp.diag(x) == 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the solver cannot quite reach 1e-12, which is why it is asked for that
        programme.solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    return gap(covariance.nearest_correlation(g), x.value)


def compare_codec() -> float:
    state = streamed_vol_corr(returns(50, 9), 0.97, 0.99)
    back = covariance.decode(covariance.encode(state))
    assert isinstance(back, covariance.VolCorrState)
    return max(gap(state.var, back.var), gap(state.scaled.a, back.scaled.a), gap(state.scaled.b, back.scaled.b))


# --- portfolio -------------------------------------------------------------------------------------------------------

LOOSE = Limits(box=1e3, gross=1e5, net=1e5, turnover=1e5, vol_target_annual=1e3)
PROBLEMS: dict[tuple[int, float, float, int], portfolio.Problem] = {}


def problem(n: int, gamma: float, kappa: float, factors: int = 0) -> portfolio.Problem:
    """Compiled once per shape, as in the desk."""
    key = (n, gamma, kappa, factors)
    if key not in PROBLEMS:
        PROBLEMS[key] = portfolio.Problem(n, bars_per_year=252.0, gamma=gamma, kappa=kappa, factors=factors or None)
    return PROBLEMS[key]


def compare_diagonal() -> float:
    """Diagonal S: each weight solves its own problem, a soft threshold around w0, clipped to the box."""
    generator, gamma, kappa, worst = rng(), 5.0, 2e-4, 0.0
    for _ in range(20):
        a, w0 = generator.normal(size=6) * 1e-3, generator.normal(size=6) * 0.05
        s2 = generator.uniform(0.01, 0.03, 6) ** 2
        limits = Limits(0.25, 1e5, 1e5, 1e5, 1e3)
        got = problem(6, gamma, kappa).solve(a, np.diag(s2), w0, limits).weights
        x = a / (gamma * s2) - w0
        t = kappa / (gamma * s2)
        worst = max(worst, gap(got, np.clip(w0 + np.sign(x) * np.maximum(np.abs(x) - t, 0), -0.25, 0.25)))
    return worst


def compare_unconstrained() -> float:
    s, a = np.cov(returns(300, 8).T), rng().normal(size=8) * 1e-4
    exact = np.asarray(np.linalg.solve(s, a) / 5.0, dtype=np.float64)
    return relative(problem(8, 5.0, 0.0).solve(a, s, np.zeros(8), LOOSE).weights, exact)


def compare_mean_risk() -> float:
    from skfolio.optimization import MeanRisk, ObjectiveFunction

    x = returns(300, 8) + 4e-4
    limits = Limits(box=0.25, gross=1.0, net=1.0, turnover=1e5, vol_target_annual=1e3)
    got = problem(8, 5.0, 0.0).solve(x.mean(axis=0), np.cov(x.T), np.zeros(8), limits).weights
    model = MeanRisk(
        objective_function=ObjectiveFunction.MAXIMIZE_UTILITY,
        risk_aversion=2.5,
        min_weights=-0.25,
        max_weights=0.25,
        budget=None,
        min_budget=-1.0,
        max_budget=1.0,
        scale_objective=1e3,
        add_constraints=lambda w: [cp.norm1(w) <= 1.0],
        solver_params={"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10},
    ).fit(x)
    return gap(got, model.weights_)


# --- performance and impact ------------------------------------------------------------------------------------------


def sample_returns() -> Array:
    return 0.0005 + 0.01 * rng().standard_t(4, size=700)


def moments_of(x: Array) -> performance.Moments:
    state = performance.Moments()
    for value in x.tolist():
        state = performance.add_return(state, value)
    return state


def stats_of(x: Array) -> performance.SharpeStats:
    stats = performance.sharpe_stats(moments_of(x))
    assert stats is not None
    return stats


def compare_moments() -> float:
    x, stats = sample_returns(), stats_of(sample_returns())
    kurtosis = scipy.stats.kurtosis(x, fisher=False)
    return gap([stats.sr, stats.g3, stats.g4], [x.mean() / x.std(ddof=1), scipy.stats.skew(x), kurtosis])


def compare_psr() -> float:
    x = sample_returns()
    return gap(performance.psr(stats_of(x), 0.02), skfolio.measures.probabilistic_sharpe_ratio(x, 0.02))


def compare_dsr() -> float:
    x, trials = sample_returns(), rng().normal(size=40) * 0.03
    expected = skfolio.measures.deflated_sharpe_ratio(x, trials)
    return gap(performance.dsr(stats_of(x), float(trials.var(ddof=1)), 40), expected)


def compare_min_trl() -> float:
    """A record of exactly that length has PSR equal to the confidence."""
    stats = stats_of(sample_returns())
    length = performance.min_trl(stats, 0.01, 0.95)
    z = (stats.sr - 0.01) * math.sqrt(length - 1)
    z /= math.sqrt(1 - stats.g3 * stats.sr + (stats.g4 - 1) / 4 * stats.sr**2)
    return abs(float(scipy.stats.norm.cdf(z)) - 0.95)


def compare_drawdown() -> float:
    x = sample_returns()
    nav = 1000.0 * np.cumprod(1 + x)
    equity, worst = performance.Equity(1000.0, 1000.0, 1000.0), 0.0
    for value in nav.tolist():
        equity = performance.mark(equity, value)
        worst = max(worst, performance.drawdown(equity))
    frame = pd.Series([1000.0, *nav])
    return abs(worst - float((1 - frame / frame.cummax()).max()))


def compare_impact() -> float:
    """Weighted ridge regression from all fills at once, with its standard error."""
    generator, forget = rng(), 0.99
    q, sigma = generator.uniform(1, 1e4, 80), generator.uniform(0.01, 0.03, 80)
    cost = sigma * (0.8 * np.sqrt(q / 1e5) + 0.1 * generator.normal(size=80))
    state = impact.init_impact(prior=1.0, p=100.0)
    for k in range(80):
        state = impact.update_impact(state, float(cost[k]), float(sigma[k]), float(q[k]), 1e5, forget)
    w = forget ** np.arange(79, -1, -1.0)
    u, y = np.sqrt(q / 1e5), cost / sigma
    prior = forget**80 / 100.0
    value = (prior * 1.0 + (w * u * y).sum()) / (prior + (w * u * u).sum())
    noise = (w * (y - value * u) ** 2).sum() + prior * (value - 1.0) ** 2
    error = math.sqrt(noise / (w.sum() * (1 - 1 / 80)) / (prior + (w * u * u).sum()))
    got = impact.impact(state)
    assert got.error is not None
    return gap([got.value, got.error], [value, error])


def compare_almgren() -> float:
    """Published costs in basis points, to the rounding of the paper: IBM and DRI, 10 % of a day's volume."""
    published = {(263.0, 0.0157): (32, 25, 18), (87.0, 0.0226): (43, 32, 23)}
    return max(
        abs(1e4 * impact.almgren_cost(sigma, 0.1, 1.0, theta, days) - bp)
        for (theta, sigma), costs in published.items()
        for days, bp in zip((0.1, 0.2, 0.5), costs, strict=True)
    )


def sharpe_rows() -> list[Row]:
    stats = stats_of(sample_returns())
    blp, dsr14 = "Bailey & Lopez de Prado 2012", "Bailey & Lopez de Prado 2014"
    psr_equation = "Phi((SR - SR*) sqrt(n - 1) / sqrt(1 - g3 SR + (g4 - 1)/4 SR^2))"
    trl_equation = "1 + (1 - g3 SR + (g4 - 1)/4 SR^2) (Z / (SR - SR*))^2"
    state = moments_of(sample_returns())
    return [
        Row(
            "performance.add_return, sharpe_stats", "streaming SR, skewness, kurtosis", "Pebay 2008",
            "numpy, scipy.stats", 1e-12, compare_moments, lambda: performance.add_return(state, 0.01),
        ),
        Row("performance.psr", psr_equation, blp, "skfolio.measures", 1e-12, compare_psr,
            lambda: performance.psr(stats)),
        Row(
            "performance.dsr", "PSR against the expected best of N trials", dsr14, "skfolio.measures", 1e-12,
            compare_dsr, lambda: performance.dsr(stats, 0.001, 40),
        ),
        Row(
            "performance.min_trl", trl_equation, blp, "PSR of a record that long, scipy.stats", 1e-12,
            compare_min_trl, lambda: performance.min_trl(stats, 0.01, 0.95),
        ),
        Row(
            "performance.mark, drawdown", "(peak - now) / peak", "definition", "pandas cummax", 1e-12,
            compare_drawdown, lambda: performance.drawdown(performance.Equity(1.0, 0.9, 1.1)),
        ),
    ]  # fmt: skip


def flow_rows() -> list[Row]:
    book, cks, two = columns(1_000), "Cont, Kukanov & Stoikov 2014", random_books(50)[-2:]
    old, new = levels_of(two[0]), levels_of(two[1])
    weights, flows, quote = np.full(5, 0.2), np.arange(5.0), quotes(1_000).T
    return [
        Row(
            "ofi.level1", "1[Pb>=Pb'] qb - 1[Pb<=Pb'] qb' - 1[Pa<=Pa'] qa + 1[Pa>=Pa'] qa'", cks,
            "size at the better of the two best prices, after minus before", 0.0,
            compare_level1, lambda: ofi.level1(99, 5, 101, 4, 99, 7, 101, 3),
        ),
        Row(
            "ofi.level1_batch", "the same by columns (1,000 rows a call)", cks, "loop over ofi.level1", 0.0,
            compare_level1_batch, lambda: ofi.level1_batch(book[:, 0], book[:, 1], book[:, 2], book[:, 3]),
        ),
        Row(
            "ofi.multilevel", "the same on the m-th occupied level", "Xu, Gould & Howison 2019",
            "level 1 of the book without its m - 1 best prices", 0.0,
            compare_multilevel, lambda: ofi.multilevel(*old, *new, 5),
        ),
        Row(
            "ofi.integration_weights", "w1 / abs(w1)_1, w1 first principal component", "Cont, Cucuringu & Zhang 2023",
            "sklearn PCA", 1e-12, compare_weights, lambda: ofi.integration_weights(flow_samples()),
        ),
        Row(
            "ofi.integrated", "w'(OFI^m / Q) / abs(w)_1", "Cont, Cucuringu & Zhang 2023", "sklearn PCA", 1e-12,
            compare_integrated, lambda: ofi.integrated(flows, 250.0, weights),
        ),
        Row(
            "fits.line", "y = a + b x, R^2, error of b (500 points)", cks, "scipy.stats.linregress", 1e-12,
            compare_line, lambda: fits.line(*flow_samples()[:, :2].T),
        ),
        Row(
            "microstructure.fit_microprice", "sum of B^j G1, G1 = (I-Q)^-1 R1 k, B = (I-Q)^-1 R2", "Stoikov 2018",
            "counts by dictionary, 5,000 terms one by one", 1e-9,
            compare_microprice, lambda: microstructure.fit_microprice(*quote, buckets=5, spreads=2),
        ),
    ]  # fmt: skip


def signal_rows() -> list[Row]:
    z_state = zscore.EwZ(40.0, 50.0, 0.1, 60.0, 100)
    state, bar = signals.SignalState(), bars_of(mids()[:1])[0]
    a_state, c = alpha.update(alpha.init(8, 50.0), (0.5,) * 8, 0.001, 0.002)[0], np.eye(8)
    return [
        Row(
            "zscore.update", "(x - mean) / sqrt(var), fading weights, history before x", "West 1979",
            "pandas ewm mean and var", 1e-11, compare_zscore, lambda: zscore.update(z_state, 0.3),
        ),
        Row(
            "signals ts_trend", "mean of u exp(-u^2/4) / 0.89 over three crossovers", "Baz et al. 2015",
            "pandas ewm", 1e-10, compare_trend, lambda: signals.update(state, bar, signals.Settings()),
        ),
        Row(
            "signals reversal", "-return / volatility before it", "Lehmann 1990; Nagel 2012", "pandas ewm", 1e-10,
            compare_reversal, lambda: signals.update(state, bar, signals.Settings()),
        ),
        Row(
            "ic.update, coefficient, r_squared", "(k0 ic0 + sum z u) / (k0 + sum z^2), lagged z", "Grinold & Kahn 1999",
            "numpy lstsq with the prior as rows, corrcoef", 1e-12, compare_ic,
            lambda: ic.coefficient(ic.IcState(1.0, 2.0, 3.0, 4), 0.02, 40.0),
        ),
        Row(
            "alpha.loewdin", "X C^(-1/2)", "Loewdin 1950", "scipy.linalg.polar, the nearest orthonormal set", 1e-12,
            compare_loewdin, lambda: alpha.loewdin(c),
        ),
        Row(
            "alpha.update", "sigma x IC x z, IC of lagged signals, shrunk (8 signals)", "Grinold & Kahn 1999",
            "whole histories, numpy corrcoef", 1e-12, compare_alpha,
            lambda: alpha.update(a_state, (0.5,) * 8, 0.001, 0.002),
        ),
    ]  # fmt: skip


def covariance_rows() -> list[Row]:
    state, x = streamed(returns(100, 20), 0.97), returns(1, 20)[0]
    vol_corr = streamed_vol_corr(returns(100, 20), 0.97, 0.99)
    s, g = covariance.estimate(state), np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    lw = "Ledoit & Wolf 2004"
    return [
        Row(
            "covariance.init, update, ewma", "S = A / sw, A = sum w x x' (N 20)", "RiskMetrics 1996",
            "skfolio EWCovariance", 1e-12, compare_ewma, lambda: covariance.update(state, x, 0.97),
        ),
        Row(
            "covariance.estimate at lam = 1", "(1 - rho) S + rho mu I (N 20)", lw, "sklearn ledoit_wolf", 1e-12,
            compare_ledoit_wolf, lambda: covariance.estimate(state),
        ),
        Row(
            "covariance.estimate at lam < 1", "b2 = (q4 - 2<B,S> + sw2 abs(S)^2) / sw^2 (N 20)", lw,
            "weighted formula, row by row", 1e-12, compare_weighted_ledoit_wolf, lambda: covariance.estimate(state),
        ),
        Row(
            "covariance.init_vol_corr, update_vol_corr, estimate_vol_corr",
            "D R D, R shrunk correlation of vol-scaled returns (N 20)", lw,
            "pandas ewm, weighted formula", 1e-12, compare_vol_corr, lambda: covariance.estimate_vol_corr(vol_corr),
        ),
        Row(
            "covariance.nearest_correlation", "alternating projections, Dykstra", "Higham 2002",
            "semidefinite programme, cvxpy", 1e-6, compare_nearest, lambda: covariance.nearest_correlation(g),
        ),
        Row(
            "covariance.encode, decode", "base64 of float64 triangles (N 20)", "-", "round trip", 0.0, compare_codec,
            lambda: covariance.decode(covariance.encode(state)),
        ),
        Row(
            "covariance.drift", "abs(S - S_ref)_F / abs(S_ref)_F (N 20)", "definition", "scaled reference: 0.25", 1e-12,
            lambda: abs(covariance.drift(1.25 * s, s) - 0.25), lambda: covariance.drift(s, s),
        ),
    ]  # fmt: skip


def portfolio_rows() -> list[Row]:
    boyd, n = "Boyd et al. 2017, 2024", 20
    s, a = np.cov(returns(300, n).T), rng().normal(size=n) * 1e-3
    limits = Limits(0.25, 2.0, 0.8, 0.5, 0.10)
    weights = problem(n, 5.0, 1e-4).solve(a, s, np.zeros(n), limits).weights
    price, ones, zero = np.full(n, 100.0), np.ones(n, dtype=np.int64), np.zeros(n, dtype=np.int64)

    def solve() -> Any:
        return problem(n, 5.0, 1e-4).solve(a, s, np.zeros(n), limits)

    return [
        Row(
            "portfolio.Problem.solve, diagonal S", "clip(w0 + soft(a/(g s^2) - w0, k/(g s^2))) (N 20)", boyd,
            "closed form", 1e-5, compare_diagonal, solve,
        ),
        Row(
            "portfolio.Problem.solve, no limits", "S^-1 a / gamma (N 20)", boyd, "numpy solve", 1e-5,
            compare_unconstrained, solve,
        ),
        Row(
            "portfolio.Problem.solve, box, gross, net", "max a'w - g/2 w'Sw - k abs(w - w0)_1 (N 20)", boyd,
            "skfolio MeanRisk", 1e-5, compare_mean_risk, solve,
        ),
        Row(
            "lots.to_lots", "trades rounded towards 0, then repaired (N 20)", "-",
            "share of limits broken over 300 random books", 0.0, compare_lots,
            lambda: portfolio.to_lots(weights, 1e6, price, ones, zero, limits, 252.0 * s),
        ),
    ]  # fmt: skip


def compare_lots() -> float:
    """Weights that meet the limits: how far, at worst, the rounded positions break them, volatility included."""
    generator, worst = rng(), 0.0
    for _ in range(300):
        n = int(generator.integers(2, 8))
        price, step = generator.uniform(5, 900, n), generator.integers(1, 11, n)
        nav, spread = 1e6, generator.normal(size=(n, n)) * 0.1
        w = generator.normal(size=n)
        w -= w.mean() * generator.uniform(0.5, 1)
        w *= min(0.25 / np.abs(w).max(), 0.6 / np.abs(w).sum(), 0.3 / max(abs(w.sum()), 1e-9))
        vol = float(np.sqrt(w @ spread @ spread.T @ w))
        limits = Limits(0.25, 1.0, 0.3, 0.6, vol)
        lots = portfolio.to_lots(w, nav, price, step, np.zeros(n, dtype=np.int64), limits, spread @ spread.T)
        got = lots * price / nav
        broken = (np.abs(got).max() - 0.25, np.abs(got).sum() - 0.6, abs(got.sum()) - 0.3)
        above = float(np.linalg.norm(spread.T @ got)) - vol * (1.0 + 1e-9)
        worst = max(worst, *broken, above, float(np.abs(lots % step).max()))
    return worst


def impact_rows() -> list[Row]:
    state = impact.init_impact()
    return [
        Row(
            "impact.init_impact, update_impact, impact",
            "recursive least squares of slippage/sigma on sqrt(q/V)", "Haykin, ch. 10",
            "weighted ridge regression", 1e-10, compare_impact,
            lambda: impact.update_impact(state, 0.001, 0.02, 100.0, 1e5),
        ),
        Row(
            "impact.almgren_cost", "gamma sigma/2 (X/V)(Theta/V)^1/4 + eta sigma (X/VT)^3/5", "Almgren et al. 2005",
            "the paper's table, whole bp", 0.5, compare_almgren,
            lambda: impact.almgren_cost(0.0157, 0.1, 1.0, 263.0, 0.2),
        ),
    ]  # fmt: skip


def rows() -> list[Row]:
    """The table, in the order of the desk: flow, signals, covariance, portfolio, statistics, impact."""
    return [*flow_rows(), *signal_rows(), *covariance_rows(), *portfolio_rows(), *sharpe_rows(), *impact_rows()]
