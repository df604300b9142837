"""regime: measures of the covariance, and what it says goes on with the cross-section it is about."""

from __future__ import annotations

import numpy as np

from agents import regime
from quant import covariance
from quant.regime import DWELL
from tests.agents.harness import covariance_event, fold, sent

BARS_PER_YEAR = 100.0
STEP = regime.make(BARS_PER_YEAR)


def matrix(vol_annual: float, correlation: float = 0.0) -> str:
    """Two instruments of which the equally weighted portfolio has this annual volatility."""
    variance = vol_annual**2 / BARS_PER_YEAR * 4 / (2 + 2 * correlation)
    return covariance.encode_matrix(variance * np.array([[1.0, correlation], [correlation, 1.0]]))


def regimes(*matrices: str | None) -> list[str]:
    _, outputs = fold(STEP, [covariance_event(i + 1, [], m) for i, m in enumerate(matrices)])
    return [section.regime for section in sent(outputs, "cross_sections")]


def test_each_covariance_event_goes_on_whole_with_its_regime() -> None:
    event = covariance_event(1, [], matrix(0.20, correlation=0.5))
    _, outputs = fold(STEP, [event])
    [section] = sent(outputs, "cross_sections")
    assert section.model == event
    assert section.regime == "normal"
    assert abs(section.vol_annual - 0.20) < 1e-12
    assert abs(section.mean_correlation - 0.5) < 1e-12


def test_before_there_is_a_covariance_the_regime_is_normal() -> None:
    assert regimes(None, None) == ["normal", "normal"]


def test_a_storm_takes_effect_at_once_and_goes_only_after_five_calmer_bars() -> None:
    storm, quiet = matrix(0.40), matrix(0.15)
    assert regimes(storm, *[quiet] * DWELL) == ["storm"] * DWELL + ["normal"]


def test_a_bar_without_covariance_keeps_the_regime() -> None:
    assert regimes(matrix(0.40), None, None) == ["storm"] * 3


def test_correlation_alone_raises_the_regime_by_one_step() -> None:
    assert regimes(matrix(0.20, correlation=0.9)) == ["storm"]
