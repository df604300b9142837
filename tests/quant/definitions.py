"""The functions of `quant` that are short enough to be their own definition, each said once more in other words.

Fractions where the arithmetic is exact, libraries where they have it, whole histories where the function keeps a state.
The rows join those of `oracles` in the table of docs/reference/quant.md.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import cvxpy as cp
import numpy as np
import pandas as pd
import scipy.optimize
import scipy.stats
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA

from quant import (
    alpha,
    bars,
    covariance,
    fits,
    impact,
    limits,
    microstructure,
    ofi,
    performance,
    portfolio,
    regime,
    signals,
    zscore,
)
from quant.limits import Limits
from tests.quant.oracles import (
    bars_of,
    gap,
    levels_of,
    mids,
    random_books,
    returns,
    rng,
    scores,
    series,
    streamed,
)

Array = NDArray[np.float64]


# --- books and bars --------------------------------------------------------------------------------------------------


def compare_bar() -> float:
    """One bar of 300 random books and trades: every sum from the whole list, time weights by numpy."""
    generator, state, levels = rng(), bars.init(3), 3
    books = [tuple(tuple(side[:levels]) for side in levels_of(book)) for book in random_books(300)]
    ts = np.cumsum(generator.integers(1, 1_000, len(books)))
    trades = generator.integers(-50, 50, 40)
    for t, (bids, asks) in zip(ts.tolist(), books, strict=True):
        state = bars.add_book(state, t, bids, asks)
    for lots in trades.tolist():
        state = bars.add_trade(state, abs(lots), int(np.sign(lots)))
    end = int(ts[-1]) + 700
    _, bar = bars.close(state, end)
    best = [(*(b[0] if b else (ofi.NO_BID, 0)), *(a[0] if a else (ofi.NO_ASK, 0))) for b, a in books]
    changed = [True] + [x != y for x, y in pairwise(best)]
    queues = np.array([row[1] + row[3] for row in best], dtype=float)
    held = np.diff(np.append(ts, end)).astype(float)
    two = np.array([bool(b and a) for b, a in books])
    imbalance = np.array(
        [(row[1] - row[3]) / (row[1] + row[3]) if ok else 0.0 for row, ok in zip(best, two, strict=True)]
    )
    columns = np.array(best, dtype=np.int64)
    expected = [
        float(ofi.level1_batch(*columns.T).sum()),
        queues[np.array(changed)].mean() / 2,
        np.mean([sum(size for side in book for _, size in side) for book in books]) / (2 * levels),
        float((imbalance * held)[two].sum() / held[two].sum()),
        float(trades.sum()),
        float(np.abs(trades).sum()),
    ]
    return gap([bar.ofi[0], bar.depth, bar.book_depth, bar.queue_imb, bar.signed_volume, bar.volume], expected)


def compare_quote() -> float:
    """Mid, imbalance, its bucket and the micro-price as fractions."""
    table, worst = microstructure.MicroPrice(((-0.4, -0.1, 0.0, 0.1, 0.4), (-0.8, -0.2, 0.0, 0.2, 0.8))), 0.0
    for bid, spread, qb, qa in rng().integers(1, 60, size=(2_000, 4)).tolist():
        ask, share = bid + spread, Fraction(qb, qb + qa)
        middle = Fraction(bid + ask, 2)
        # Buckets cut from both ends towards the middle, so that a mirrored book falls into the mirrored bucket.
        bucket = math.floor(5 * share) if qb < qa else 4 - math.floor(5 * (1 - share))
        micro = middle + Fraction(table.adjustment[min(spread, 2) - 1][bucket])
        worst = max(
            worst,
            abs(microstructure.mid(bid, ask) - float(middle)),
            abs(microstructure.queue_imbalance(qb, qa) - float(2 * share - 1)),
            abs(microstructure.imbalance_bucket(qb, qa, 5) - bucket),
            abs(microstructure.microprice(table, bid, qb, ask, qa) - float(micro)),
        )
    return worst


def compare_lee_ready() -> float:
    """Side of the mid; at the mid the last change of price, carried over trades that changed nothing."""
    generator = rng()
    price = 100 + np.cumsum(generator.integers(-1, 2, 3_000))
    bid = price - generator.integers(0, 3, 3_000)
    ask = bid + generator.integers(0, 4, 3_000)
    tick = pd.Series(np.sign(np.diff(price, prepend=price[0]))).replace(0, np.nan)
    quote = np.sign(2 * price - bid - ask)
    signs = [0]
    for k in range(len(price)):
        before = int(price[k - 1]) if k else 0
        signs.append(microstructure.lee_ready(int(price[k]), int(bid[k]), int(ask[k]), before, signs[-1]))
    # The sign of a trade that ticks is its tick; one that does not has the sign of the trade before, quoted or ticked.
    expected = pd.Series(np.where(quote != 0, quote, tick)).ffill().fillna(0)
    return gap(signs[1:], expected)


def compare_depth() -> float:
    queues, state = rng().integers(0, 900, size=(500, 2)), microstructure.DepthState()
    for qb, qa in queues.tolist():
        state = microstructure.add_depth(state, qb, qa)
    average = microstructure.depth(state)
    assert average is not None
    return abs(average - float(queues.mean()))


def compare_power_law() -> float:
    depth = rng().uniform(50, 900, 60)
    slope = 0.45 / depth**0.98 * np.exp(0.1 * rng().normal(size=60))
    law, oracle = fits.power_law(depth, slope), scipy.stats.linregress(np.log(depth), np.log(slope))
    assert law is not None
    return gap([law.c, law.exponent, law.error], [math.exp(oracle.intercept), -oracle.slope, oracle.stderr])


def compare_integrate() -> float:
    """Four intervals, each weighted with the first component of the one before, by scikit-learn."""
    generator, intervals, depth = rng(), np.repeat(np.arange(4), 90), np.array([100.0, 130.0, 90.0, 110.0])
    flows = 300 * (generator.normal(size=(360, 1)) + 0.5 * generator.normal(size=(360, 4)))
    got, _ = fits.integrate(flows, depth, intervals)
    scaled = flows / depth[intervals][:, None]
    expected = []
    for k in range(4):
        before = scaled[intervals == max(k - 1, 0)]
        first = PCA(n_components=1, svd_solver="full").fit(before).components_[0]
        expected.append(scaled[intervals == k] @ first / first.sum())
    return gap(got, np.concatenate(expected))


# --- signals ---------------------------------------------------------------------------------------------------------


def compare_batch_scores() -> float:
    state, streamed_scores = zscore.init(40.0), []
    for x in series()[:800].tolist():
        state, z = zscore.update(state, x)
        streamed_scores.append(math.nan if z is None else z)
    at_once = [math.nan if z is None else z for z in zscore.batch(series()[:800], 40.0)]
    assert np.isnan(at_once).sum() == np.isnan(streamed_scores).sum() == 40
    return gap(at_once[40:], streamed_scores[40:])


def compare_absorb() -> float:
    state, x = zscore.init(40.0), pd.Series(series())
    for value in x.tolist():
        state = zscore.absorb(state, value)
    ewm = x.ewm(halflife=40)
    return gap([state.mean, state.variance], [ewm.mean().iloc[-1], ewm.var(bias=True).iloc[-1]])


def compare_batch_signals() -> float:
    state, rows, bars_seen = signals.SignalState(), [], bars_of(mids()[:600])
    for bar in bars_seen:
        state, readings = signals.update(state, bar, signals.Settings())
        rows.append([math.nan if r.value is None else r.value for r in readings.values()])
    at_once = np.array(list(signals.batch(bars_seen, signals.Settings()).values())).T
    assert (np.isnan(at_once) == np.isnan(rows)).all()
    return gap(np.nan_to_num(at_once), np.nan_to_num(rows))


def compare_response() -> float:
    """u exp(-u^2/4) by the normal density, and the peak where the derivative says, at sqrt(2)."""
    u = np.linspace(-4, 4, 801)
    peak = scipy.optimize.minimize_scalar(lambda v: -signals.response(v), bounds=(0.5, 3.0), options={"xatol": 1e-12})
    expected = u * scipy.stats.norm.pdf(u / math.sqrt(2)) / scipy.stats.norm.pdf(0) / 0.89
    return max(gap([signals.response(float(v)) for v in u], expected), abs(float(peak.x) - math.sqrt(2)) * 1e-8)


def compare_information() -> float:
    """Correlation of lagged orthogonal scores with returns, from a memory of 1e13 bars: plain sums."""
    z, ret = scores(400)
    state, orthogonal = alpha.init(4, 1e13), list[Array]()
    for row, r in zip(z, ret, strict=True):
        state, _ = alpha.update(state, tuple(row.tolist()), float(r), 0.002)
        second = z[: len(orthogonal) + 1].T @ z[: len(orthogonal) + 1]
        c = second / np.sqrt(np.outer(np.diag(second), np.diag(second)))
        orthogonal.append(np.asarray(row @ alpha.loewdin(c), dtype=np.float64))
    u = np.clip(ret[1:] / 0.002, -5, 5)
    raw = np.array(orthogonal[:-1]).T @ u / math.sqrt(len(u) * float(u @ u))
    return gap(alpha.information_coefficients(state), raw / (1 + 1 / (len(u) * alpha.IC_PRIOR**2)))


# --- covariance and regime -------------------------------------------------------------------------------------------


def compare_shrinkage() -> float:
    x = returns(120, 20)
    intensity = covariance.shrinkage(streamed(x, covariance.decay(math.inf)))
    oracle = float(ledoit_wolf(x, assume_centered=True)[1])
    return abs(intensity - oracle) + abs(covariance.decay(21.0) ** 21 - 0.5)


def compare_correlation() -> float:
    x = returns(200, 8)
    return gap(covariance.correlation(np.cov(x.T)), np.corrcoef(x.T))


def compare_previous_tick() -> float:
    """Prices with holes: filled forward, and differences of what is filled."""
    generator = rng()
    log_price, present = np.cumsum(generator.normal(size=(300, 4)), axis=0), generator.random((300, 4)) < 0.7
    last, moves = np.full(4, np.nan), []
    for row, there in zip(log_price, present, strict=True):
        move, last = covariance.previous_tick(last, row, there)
        moves.append(move)
    return gap(moves, pd.DataFrame(np.where(present, log_price, np.nan)).ffill().diff().fillna(0.0))


def compare_psd() -> float:
    """Share of random symmetric matrices on which the eigenvalues disagree."""
    generator, wrong = rng(), 0
    for _ in range(400):
        a = generator.normal(size=(4, 4))
        s = a @ a.T - generator.uniform(0.0, 1.0) * np.eye(4)
        try:
            covariance.assert_psd(s)
            accepted = True
        except ValueError:
            accepted = False
        wrong += accepted != bool(np.linalg.eigvalsh(s)[0] >= 0.0)
    return wrong / 400


def compare_matrix_codec() -> float:
    s = np.cov(returns(60, 20).T)
    text = covariance.encode_matrix(s)
    assert len(text) == 4 * math.ceil(20 * 21 / 2 * 8 / 3)
    return gap(covariance.decode_matrix(text), s)


def compare_regime() -> float:
    """Steps of a random walk through the regimes, against the rule read from the whole history at each bar."""
    generator, state, regimes, wrong = rng(), regime.RegimeState(), [1], 0
    vol = 0.18 * np.exp(np.cumsum(0.2 * generator.normal(size=2_000)).clip(-1.5, 1.5))
    mean, tail = generator.uniform(0.3, 0.9, size=(2, 2_000))

    def level(t: int, factor: float) -> int:
        high = bool(mean[t] >= factor * 0.60 and tail[t] >= factor * 0.70)
        return min(2, int(np.searchsorted([0.12 * factor, 0.28 * factor], vol[t], side="right")) + high)

    since = 0
    for t in range(2_000):
        now = regimes[-1]
        quiet = t - since + 1 >= 5 and all(level(k, 0.85) < now for k in range(t - 4, t + 1))
        after = level(t, 1.0) if level(t, 1.0) > now else now - quiet
        since = t + 1 if after != now else since
        regimes.append(after)
        state, name = regime.step(state, float(vol[t]), float(mean[t]), float(tail[t]))
        wrong += regime.ORDER.index(name) != after
    assert set(regimes) == {0, 1, 2}
    return wrong / 2_000


def compare_measures() -> float:
    x = returns(300, 6)
    s, r = np.cov(x.T), np.asarray(np.corrcoef(x.T))
    held = x.mean(axis=1)
    beyond = np.array([regime.is_tail(s, row) for row in x])
    return max(
        abs(regime.mean_correlation(s) - float(r[np.triu_indices(6, 1)].mean())),
        abs(regime.market_vol_annual(s, 252.0) - float(held.std(ddof=1)) * math.sqrt(252.0)),
        gap(beyond, np.abs(held) > 1.5 * held.std(ddof=1)),
    )


# --- limits and factors ----------------------------------------------------------------------------------------------


def compare_violation() -> float:
    """cvxpy's own measure of how far a constraint is broken."""
    generator, worst = rng(), 0.0
    for _ in range(100):
        w0, w, caps = generator.normal(size=4) * 0.3, generator.normal(size=4) * 0.3, generator.uniform(0, 0.3, 4)
        x = cp.Variable(4)
        x.value = w
        constraints = [
            cp.norm_inf(x) <= 0.25,
            cp.norm1(x) <= 0.8,
            cp.abs(cp.sum(x)) <= 0.3,
            cp.max(cp.abs(x - w0) - caps) <= 0.0,
        ]
        broken = max(float(np.max(c.violation())) for c in constraints)
        worst = max(worst, abs(limits.violation(w, w0, Limits(0.25, 0.8, 0.3, 1.0, 1.0, trade=caps)) - broken))
    return worst


def compare_reduce_only() -> float:
    """The largest share of w0 that meets every limit, by bisection."""
    generator, worst = rng(), 0.0
    bounds = Limits(0.25, 0.8, 0.3, 1.0, 0.10)
    for _ in range(100):
        w0, vol = generator.normal(size=4) * 0.4, float(generator.uniform(0.01, 0.4))
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            fits_in = limits.violation(middle * w0, w0, bounds) == 0.0 and middle * vol <= 0.10
            low, high = (middle, high) if fits_in else (low, middle)
        share = 1.0 if limits.violation(w0, w0, bounds) == 0.0 and vol <= 0.10 else low
        worst = max(worst, gap(limits.reduce_only(w0, bounds, vol), share * w0))
    return worst


def compare_participation() -> float:
    adv, bar = rng().uniform(1e6, 1e9, 20), rng().uniform(1e4, 1e7, 20)
    expected = [float(min(Fraction(8, 100) * Fraction(b), Fraction(10, 100) * Fraction(a)) / 10**6) for a, b in
                zip(adv, bar, strict=True)]  # fmt: skip
    return gap(limits.participation(1e6, adv, bar), expected)


def compare_factors() -> float:
    """A covariance that has five factors and nothing else has them all among ten."""
    x = returns(5, 30)
    s = x.T @ x
    loadings, residual = portfolio.factor_form(s, 10)
    return float(np.abs(loadings.T @ loadings + np.diag(residual) - s).max() / np.abs(s).max())


# --- performance and costs -------------------------------------------------------------------------------------------


def compare_pnl() -> float:
    fills, state, cash, position = rng().integers(-100, 100, size=(200, 2)), performance.Pnl(), Fraction(0), 0
    for lots, price in fills.tolist():
        state = performance.fill(state, lots, price + 500)
        cash -= Fraction(lots * (price + 500))
        position += lots
    mark = Fraction(1_003, 2)
    return abs(performance.pnl(state, 1_003) - float(2 * (cash + position * mark)))


def compare_expected_max() -> float:
    """The published formula with scipy's quantiles."""
    n, variance, euler = 100, 0.5 / 250, float(np.euler_gamma)
    first, second = (float(scipy.stats.norm.ppf(p)) for p in (1 - 1 / n, 1 - 1 / (n * math.e)))
    expected = math.sqrt(variance) * ((1 - euler) * first + euler * second)
    return float(abs(performance.expected_max_sr(variance, n) - expected))


def compare_costs() -> float:
    bought = float(Fraction(10_025 - 10_000, 10_000) * 10_000)
    found = [impact.slippage_bp(1, 100.0, 100.25), impact.slippage_bp(-1, 100.0, 100.25)]
    root = impact.square_root_cost(0.02, 4e3, 1e6, 0.7)
    return max(gap(found, [bought, -bought]), abs(root**2 - float(Fraction(14, 1000) ** 2 * Fraction(4, 1000))))
