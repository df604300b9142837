"""Risk statistics: the published numbers, and the samples from which nothing follows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant import performance
from quant.performance import Equity, Moments, Pnl, SharpeStats


def test_psr_of_bailey_and_lopez_de_prado_2012() -> None:
    assert performance.psr(SharpeStats(0.458, -2.448, 10.164, 24)) == pytest.approx(0.913, abs=5e-4)
    assert performance.psr(SharpeStats(0.458, 0.0, 3.0, 24)) == pytest.approx(0.982, abs=5e-4)


@pytest.mark.parametrize(("periods", "years"), [(252, 2.73), (52, 2.83), (12, 3.24)])
def test_minimum_track_record_of_two_against_one_at_95_percent(periods: int, years: float) -> None:
    stats = SharpeStats(2.0 / math.sqrt(periods), 0.0, 3.0, 0)
    length = performance.min_trl(stats, 1.0 / math.sqrt(periods), 0.95)
    assert length / periods == pytest.approx(years, abs=5e-3)


def test_deflated_sharpe_ratio_of_bailey_and_lopez_de_prado_2014() -> None:
    stats, variance = SharpeStats(2.5 / math.sqrt(250), -3.0, 10.0, 1250), 0.5 / 250
    assert performance.expected_max_sr(variance, 100) == pytest.approx(0.1132, abs=5e-5)
    assert performance.dsr(stats, variance, 100) == pytest.approx(0.9004, abs=5e-5)
    assert performance.dsr(stats, variance, 46) == pytest.approx(0.9505, abs=5e-5)


def test_a_track_record_that_does_not_exceed_the_reference_has_no_minimum_length() -> None:
    with pytest.raises(ValueError, match="no track record"):
        performance.min_trl(SharpeStats(0.1, 0.0, 3.0, 100), 0.1, 0.95)
    with pytest.raises(ValueError, match="two trials"):
        performance.expected_max_sr(0.5, 1)


def moments(xs: list[float]) -> Moments:
    state = Moments()
    for x in xs:
        state = performance.add_return(state, x)
    return state


def test_twenty_nine_returns_are_insufficient_and_thirty_are_not() -> None:
    xs = np.random.default_rng(5).normal(size=30).tolist()
    assert performance.sharpe_stats(moments(xs[:29])) is None
    assert performance.sharpe_stats(moments(xs)) is not None


@pytest.mark.parametrize("constant", [0.0, 0.01, -3.0])
def test_constant_returns_have_no_sharpe_ratio(constant: float) -> None:
    assert performance.sharpe_stats(moments([constant] * 50)) is None


@pytest.mark.parametrize(("n", "k"), [(100, 10), (50, 5), (40, 8), (200, 20), (36, 4), (90, 9), (60, 6), (128, 16)])
@pytest.mark.parametrize("scale", [1.0, 0.01, 0.007, 1e-4])
def test_two_valued_returns_whose_sharpe_ratio_is_two_over_their_skewness_are_certain(
    n: int, k: int, scale: float
) -> None:
    """k of n returns are larger by `scale`; the spread of the estimate is 0 and came out at -3e-16."""
    p = k / n
    skewness, deviation = (1 - 2 * p) / math.sqrt(p * (1 - p)), math.sqrt(p * (1 - p) * n / (n - 1))
    low = 2 / skewness * deviation - p
    stats = performance.sharpe_stats(moments([scale * low] * (n - k) + [scale * (low + 1)] * k))
    assert stats is not None
    assert stats.sr == pytest.approx(2 / stats.g3)
    assert performance.psr(stats, 0.0) == 1.0
    assert performance.psr(stats, 2 * stats.sr) == 0.0
    assert performance.psr(stats, stats.sr) == 0.5
    assert performance.dsr(stats, 0.01, 10) == 1.0
    assert performance.min_trl(stats, 0.0, 0.95) == pytest.approx(1.0)


def test_a_return_or_a_value_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="must be finite"):
        performance.add_return(Moments(), float("nan"))
    with pytest.raises(ValueError, match="must be finite"):
        performance.mark(Equity(1.0, 1.0, 1.0), float("nan"))


@given(st.lists(st.tuples(st.integers(-1000, 1000), st.integers(1, 10**6)), max_size=50), st.integers(2, 10**6))
def test_profit_is_what_closing_at_the_mark_would_leave(fills: list[tuple[int, int]], mark_twice: int) -> None:
    state = Pnl()
    for lots, price in fills:
        state = performance.fill(state, lots, price)
    by_fill = sum(lots * (mark_twice - 2 * price) for lots, price in fills)
    assert performance.pnl(state, mark_twice) == by_fill


def test_drawdown_is_measured_from_the_peak_and_gone_at_a_new_high() -> None:
    equity = Equity(100.0, 100.0, 100.0)
    seen = []
    for nav in (120.0, 90.0, 130.0, -13.0):
        equity = performance.mark(equity, nav)
        seen.append(performance.drawdown(equity))
    assert seen == [0.0, 0.25, 0.0, pytest.approx(1.1)]
