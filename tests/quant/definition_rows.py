"""The lines of the table whose oracles are in `definitions`."""

from __future__ import annotations

import numpy as np

from quant import (
    alpha,
    bars,
    covariance,
    fits,
    impact,
    limits,
    microstructure,
    performance,
    portfolio,
    regime,
    signals,
    zscore,
)
from quant.limits import Limits
from tests.quant.definitions import (
    compare_absorb,
    compare_bar,
    compare_batch_scores,
    compare_batch_signals,
    compare_correlation,
    compare_costs,
    compare_depth,
    compare_expected_max,
    compare_factors,
    compare_information,
    compare_integrate,
    compare_lee_ready,
    compare_matrix_codec,
    compare_measures,
    compare_participation,
    compare_pnl,
    compare_power_law,
    compare_previous_tick,
    compare_psd,
    compare_quote,
    compare_reduce_only,
    compare_regime,
    compare_response,
    compare_shrinkage,
    compare_violation,
)
from tests.quant.oracles import Row, bars_of, mids, returns, rng, series, streamed


def book_rows() -> list[Row]:
    state = bars.add_book(bars.init(3), 1, ((99, 5), (98, 7)), ((101, 4), (102, 9)))
    table, state_of_depth = microstructure.MicroPrice(((-0.4, 0.0, 0.4),)), microstructure.DepthState(900, 4)
    depth, slope = rng().uniform(50, 900, 60), rng().uniform(1e-4, 1e-2, 60)
    intervals, flows = np.repeat(np.arange(4), 90), rng().normal(size=(360, 4))
    x, cks = np.full(4, 100.0), "Cont, Kukanov & Stoikov 2014"
    return [
        Row(
            "bars.init, add_book, add_trade, close", "sums over a bar, imbalance weighted by time", "definition",
            "whole lists, numpy", 1e-12, compare_bar, lambda: bars.close(state, 2),
        ),
        Row(
            "microstructure.mid, queue_imbalance, imbalance_bucket, microprice",
            "(Pb + Pa)/2, (qb - qa)/(qb + qa), mid + adjustment", "Gould & Bonart 2016; Stoikov 2018", "fractions",
            1e-12, compare_quote, lambda: microstructure.microprice(table, 99, 5, 101, 4),
        ),
        Row(
            "microstructure.lee_ready", "side of the mid, at the mid the last tick", "Lee & Ready 1991",
            "pandas, by whole columns", 0.0, compare_lee_ready, lambda: microstructure.lee_ready(100, 99, 101, 99, 1),
        ),
        Row(
            "microstructure.add_depth, depth", "mean of (qb + qa)/2", cks, "numpy mean", 1e-12, compare_depth,
            lambda: microstructure.add_depth(state_of_depth, 5, 4),
        ),
        Row(
            "fits.power_law", "b = c / AD^lambda by logarithms (60 points)", cks, "scipy.stats.linregress", 1e-12,
            compare_power_law, lambda: fits.power_law(depth, slope),
        ),
        Row(
            "fits.integrate", "weights of the interval before (4 intervals of 90)", "Cont, Cucuringu & Zhang 2023",
            "sklearn PCA", 1e-12, compare_integrate, lambda: fits.integrate(flows, x, intervals),
        ),
    ]  # fmt: skip


def score_rows() -> list[Row]:
    z, bar, a = zscore.init(40.0), bars_of(mids()[:50]), alpha.init(8, 50.0)
    return [
        Row(
            "zscore.init, absorb", "fading mean and variance", "West 1979", "pandas ewm mean and var", 1e-11,
            compare_absorb, lambda: zscore.absorb(z, 0.3),
        ),
        Row(
            "zscore.batch", "zscore.update over a column (800 values)", "definition", "zscore.update, one by one",
            1e-12, compare_batch_scores, lambda: zscore.batch(series()[:800], 40.0),
        ),
        Row(
            "signals.update, batch", "all eight signals by columns (50 bars)", "as listed below",
            "signals.update, bar by bar", 1e-12, compare_batch_signals,
            lambda: signals.batch(bar, signals.Settings()),
        ),
        Row(
            "signals.response", "u exp(-u^2/4) / 0.89", "Baz et al. 2015", "scipy.stats.norm, scipy.optimize", 1e-12,
            compare_response, lambda: signals.response(0.7),
        ),
        Row(
            "alpha.init, information_coefficients", "corr(lagged z, return) / (1 + 1/(n prior^2)) (8 signals)",
            "Grinold & Kahn 1999", "plain sums", 1e-10, compare_information,
            lambda: alpha.information_coefficients(a),
        ),
    ]  # fmt: skip


def risk_rows() -> list[Row]:
    s, state, r = np.cov(returns(300, 20).T), streamed(returns(100, 20), 0.97), regime.RegimeState()
    x, none, text = returns(1, 20)[0], np.full(20, np.nan), covariance.encode_matrix(np.cov(returns(300, 20).T))
    lw = "Ledoit & Wolf 2004"
    return [
        Row(
            "covariance.decay, shrinkage", "2^(-1/h); rho = min(b2, d2)/d2 (N 20)", lw, "sklearn ledoit_wolf", 1e-12,
            compare_shrinkage, lambda: covariance.shrinkage(state),
        ),
        Row(
            "covariance.correlation", "S_ij / sqrt(S_ii S_jj) (N 20)", "definition", "numpy corrcoef", 1e-12,
            compare_correlation, lambda: covariance.correlation(s),
        ),
        Row(
            "covariance.previous_tick", "a missing price is the last one (N 20)", "definition", "pandas ffill, diff",
            0.0, compare_previous_tick, lambda: covariance.previous_tick(none, x, x == x),
        ),
        Row(
            "covariance.assert_psd", "Cholesky of S + margin (N 20)", "definition",
            "share of matrices on which eigenvalues disagree", 0.0, compare_psd, lambda: covariance.assert_psd(s),
        ),
        Row(
            "covariance.encode_matrix, decode_matrix", "base64 of a float64 triangle (N 20)", "-", "round trip, length",
            0.0, compare_matrix_codec, lambda: covariance.decode_matrix(text),
        ),
        Row(
            "regime.step", "up at once, down a step after five bars below 0.85 of the way up", "-",
            "share of bars on which the rule read from the whole history differs", 0.0, compare_regime,
            lambda: regime.step(r, 0.2, 0.4, 0.5),
        ),
        Row(
            "regime.mean_correlation, market_vol_annual, is_tail",
            "mean of R_ij; sqrt(1'S1/N^2 x bars per year) (N 20)",
            "definition", "numpy corrcoef, std of the portfolio", 1e-12, compare_measures,
            lambda: regime.mean_correlation(s),
        ),
    ]  # fmt: skip


def limit_rows() -> list[Row]:
    s, bounds = np.cov(returns(300, 20).T), Limits(0.25, 0.8, 0.3, 1.0, 0.10)
    w0, x, held = np.full(20, 0.1), np.full(20, 1e6), performance.Pnl(1, -3)
    return [
        Row(
            "limits.participation", "min(POV x bar volume, ADV x daily volume) / NAV (N 20)", "Boyd et al. 2017",
            "fractions", 1e-12, compare_participation, lambda: limits.participation(1e6, x, x),
        ),
        Row(
            "limits.violation", "largest breach of box, gross, net, trade (N 20)", "definition",
            "cvxpy constraint.violation", 1e-12, compare_violation, lambda: limits.violation(w0, w0, bounds),
        ),
        Row(
            "limits.reduce_only", "w0 scaled by the largest share within limits (N 20)", "-", "bisection", 1e-12,
            compare_reduce_only, lambda: limits.reduce_only(w0, bounds, 0.2),
        ),
        Row(
            "portfolio.factor_form", "S near F F' + diag(d), Nystroem (N 20)", "Halko, Martinsson & Tropp 2011",
            "a covariance with five factors", 1e-10, compare_factors, lambda: portfolio.factor_form(s, 10),
        ),
        Row(
            "performance.fill, pnl", "cash + position x mark", "definition", "fractions", 0.0, compare_pnl,
            lambda: performance.pnl(held, 201),
        ),
        Row(
            "performance.expected_max_sr", "sqrt(V) ((1 - e) Z(1 - 1/N) + e Z(1 - 1/(N e')))",
            "Bailey & Lopez de Prado 2014", "scipy quantiles", 1e-12, compare_expected_max,
            lambda: performance.expected_max_sr(0.002, 100),
        ),
        Row(
            "impact.slippage_bp, square_root_cost", "side (P - arrival)/arrival; c sigma sqrt(q/V)",
            "definition; Barra", "fractions", 1e-12, compare_costs,
            lambda: impact.square_root_cost(0.02, 4e3, 1e6, 0.7),
        ),
    ]  # fmt: skip


def definition_rows() -> list[Row]:
    """The rest of the table, in the order of the desk."""
    return [*book_rows(), *score_rows(), *risk_rows(), *limit_rows()]
