"""Minimum-variance portfolios of 18 ETFs, 2007 to 2022: the covariance that keeps its promise is the one to use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from quant import covariance
from tests.quant.page import shown

pytestmark = pytest.mark.slow


Array = NDArray[np.float64]
START = 252
"""The first year trains every estimator; the windows of the batch ones are as long."""


NAMES = {
    "sample": "sample, 252 days",
    "ledoit_wolf": "Ledoit-Wolf, 252 days (scikit-learn)",
    "ewma": "EWMA, half-life 63 days (`covariance.ewma`)",
    "ours": "volatility x shrunk correlation, 21 and 63 days (`covariance.estimate_vol_corr`)",
}


def minimum_variance(s: Array) -> Array:
    w = np.linalg.solve(s, np.ones(len(s)))
    return np.asarray(w / w.sum())


def realised_vol(etf: Array, estimate_at: Callable[[int], Array]) -> float:
    """Annual volatility of the portfolio held over day t with the covariance known before it."""
    held = [etf[t] @ minimum_variance(estimate_at(t)) for t in range(START, len(etf))]
    return float(np.std(held) * np.sqrt(252))


def streaming(etf: Array, corr_half_life: float, kind: str) -> Callable[[int], Array]:
    """Estimates before each day from one pass."""
    lam, vol_lam, n = covariance.decay(corr_half_life), covariance.decay(21), etf.shape[1]
    state, vol_corr, estimates = covariance.init(n), covariance.init_vol_corr(n), {}
    for t, x in enumerate(etf):
        if t >= START:
            estimates[t] = covariance.estimate_vol_corr(vol_corr) if kind == "ours" else covariance.ewma(state)
        state = covariance.update(state, x, lam)
        vol_corr = covariance.update_vol_corr(vol_corr, x, vol_lam, lam)
    return estimates.__getitem__


@pytest.fixture(scope="module")
def vols(etf: Array) -> dict[str, float]:
    return {
        "sample": realised_vol(etf, lambda t: np.cov(etf[t - START : t].T)),
        "ledoit_wolf": realised_vol(etf, lambda t: ledoit_wolf(etf[t - START : t], assume_centered=True)[0]),
        "ewma": realised_vol(etf, streaming(etf, 63, "ewma")),
        "ours": realised_vol(etf, streaming(etf, 63, "ours")),
    }


def test_our_covariance_has_the_lowest_realised_volatility(vols: dict[str, float]) -> None:
    others = min(vol for name, vol in vols.items() if name != "ours")
    assert vols["ours"] < 0.97 * others


def test_it_is_the_lowest_for_any_sensible_memory_and_not_by_choice_of_one(etf: Array) -> None:
    for half_life in (42, 126):
        ours, ewma = (realised_vol(etf, streaming(etf, half_life, kind)) for kind in ("ours", "ewma"))
        assert ours < ewma


def test_the_reference_page_shows_these_volatilities(vols: dict[str, float]) -> None:
    table = [f"| {NAMES[name]} | {100 * vol:.2f} % |" for name, vol in vols.items()]
    assert shown("volatilities", ["| covariance | realised volatility, per year |", "|---|---|", *table]) == table


def test_the_identity_target_on_raw_covariance_hurts_where_volatilities_differ(vols: dict[str, float]) -> None:
    assert vols["ledoit_wolf"] > vols["sample"]
