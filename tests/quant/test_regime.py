"""Regime: up at once, down slowly, and the limits that go with each."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from pydantic import TypeAdapter

from quant import covariance, regime
from quant.regime import RegimeState


def test_a_storm_takes_effect_at_once_even_from_calm() -> None:
    assert regime.step(RegimeState("calm"), 0.5, 0.3, 0.3) == (RegimeState("storm"), "storm")


def test_the_way_down_takes_five_bars_a_step() -> None:
    state, seen = RegimeState("storm"), []
    for _ in range(12):
        state, now = regime.step(state, 0.05, 0.2, 0.2)
        seen.append(now)
    assert seen == ["storm"] * 4 + ["normal"] * 5 + ["calm"] * 3


def test_one_bar_back_above_starts_the_count_anew() -> None:
    state = RegimeState("storm")
    for vol in (0.05, 0.05, 0.05, 0.05, 0.27, 0.05):
        state, now = regime.step(state, vol, 0.2, 0.2)
    assert (now, state.below) == ("storm", 1)


def test_a_volatility_that_trembles_at_the_threshold_does_not_flip_the_regime() -> None:
    state, seen = RegimeState("normal"), set()
    for k in range(100):
        state, now = regime.step(state, 0.28 + (0.001 if k % 2 else -0.001), 0.2, 0.2)
        seen.add(now)
        if k > 1:
            assert now == "storm"
    assert seen == {"normal", "storm"}


def test_correlation_raises_by_one_step_and_only_when_mean_and_tail_agree() -> None:
    assert regime.step(RegimeState("calm"), 0.05, 0.7, 0.8)[1] == "normal"
    assert regime.step(RegimeState("calm"), 0.2, 0.7, 0.8)[1] == "storm"
    assert regime.step(RegimeState("calm"), 0.05, 0.7, 0.3)[1] == "calm"
    assert regime.step(RegimeState("calm"), 0.05, 0.3, 0.9)[1] == "calm"


def test_each_regime_has_tighter_limits_than_the_one_before() -> None:
    limits = [regime.LIMITS[name] for name in regime.ORDER]
    assert [(x.gross, x.net) for x in limits] == [(2.5, 1.0), (2.0, 0.8), (1.0, 0.4)]


@pytest.mark.parametrize("measures", [(float("nan"), 0.1, 0.1), (0.1, float("inf"), 0.1), (-0.1, 0.1, 0.1)])
def test_a_regime_that_nobody_measured_is_refused(measures: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        regime.step(RegimeState(), *measures)


def test_measures_by_hand() -> None:
    s = np.array([[0.04, 0.01], [0.01, 0.01]]) / 252
    assert regime.mean_correlation(s) == pytest.approx(0.5)
    assert regime.market_vol_annual(s, 252.0) == pytest.approx(np.sqrt(0.07) / 2)
    assert regime.mean_correlation(np.array([[0.04]])) == 0.0
    assert regime.is_tail(s, np.array([0.03, 0.0]))
    assert not regime.is_tail(s, np.array([0.03, -0.02]))


def test_assets_that_cancel_have_a_market_volatility_of_zero_and_not_of_nan() -> None:
    """Returns (x, -x): the sum of their covariance is 0 in exact arithmetic and came out at -2e-19."""
    state, negative = covariance.init_vol_corr(2), 0
    for i in range(200):
        x = 0.02 * (-1) ** i * np.array([1.0, -1.0])
        state = covariance.update_vol_corr(state, x, covariance.decay(30), covariance.decay(90))
        s = covariance.estimate_vol_corr(state)
        negative += bool(s.sum() < 0.0)
        vol = regime.market_vol_annual(s, 252.0)
        assert 0.0 <= vol < 1e-7
        assert not regime.is_tail(s, x)
        assert regime.is_tail(s, np.array([0.02, 0.02]))
        regime.step(RegimeState(), vol, regime.mean_correlation(s), 0.0)
    assert negative > 10  # or this proves nothing


def test_state_survives_json() -> None:
    adapter = TypeAdapter(RegimeState)
    state = RegimeState("storm", 3)
    assert adapter.validate_json(adapter.dump_json(state)) == state


def test_sixteen_years_of_etfs_have_two_storms_and_few_changes(etf: np.ndarray) -> None:
    state, cov, tail = RegimeState(), covariance.init_vol_corr(18), covariance.init(18)
    seen = []
    for x in etf:
        if cov.scaled.n >= 60:
            s = covariance.estimate_vol_corr(cov)
            if regime.is_tail(s, x):
                tail = covariance.update(tail, x / np.sqrt(np.diag(s)), covariance.decay(20))
            tail_corr = regime.mean_correlation(covariance.ewma(tail)) if tail.n else 0.0
            state, now = regime.step(state, regime.market_vol_annual(s, 252.0), regime.mean_correlation(s), tail_corr)
            seen.append(now)
        cov = covariance.update_vol_corr(cov, x, covariance.decay(21), covariance.decay(63))
    starts = [k for k in range(1, len(seen)) if seen[k] == "storm" != seen[k - 1]]
    changes = sum(a != b for a, b in pairwise(seen))
    assert len(starts) == 2  # October 2008 and March 2020
    assert changes < 30
    assert 0.03 < seen.count("storm") / len(seen) < 0.10
