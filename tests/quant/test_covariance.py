"""Covariance: odd universes, missing instruments, matrices that are none, and rows that must survive a table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.base import LOG_RETURN_MAX
from quant import covariance
from tests.quant.oracles import brute_ledoit_wolf, returns, streamed, streamed_vol_corr


def test_one_asset_has_its_variance_and_nothing_to_shrink() -> None:
    x = returns(40, 1)
    state = streamed(x, 1.0)
    assert covariance.shrinkage(state) == 0.0
    assert covariance.estimate(state)[0, 0] == pytest.approx(float((x**2).mean()), rel=1e-12)
    assert covariance.estimate_vol_corr(streamed_vol_corr(x, 0.97, 0.99)).shape == (1, 1)


@pytest.mark.parametrize("lam", [0.5, 0.94, 1.0])
@pytest.mark.parametrize(("t", "n"), [(1, 3), (2, 30), (300, 2)])
def test_streaming_shrinkage_equals_the_formula_row_by_row(lam: float, t: int, n: int) -> None:
    x = returns(t, n)
    expected = brute_ledoit_wolf(x, lam)
    np.testing.assert_allclose(covariance.estimate(streamed(x, lam)), expected, atol=1e-13 * np.abs(expected).max())


def test_more_names_than_bars_still_invert_after_shrinkage() -> None:
    state = streamed(returns(15, 40), 1.0)
    assert np.linalg.matrix_rank(covariance.ewma(state)) < 40
    assert np.linalg.cond(covariance.estimate(state)) < 1e4


def test_constant_prices_give_a_covariance_of_zero_and_no_division_by_it() -> None:
    state = streamed(np.zeros((20, 4)), 0.97)
    assert (covariance.estimate(state) == 0.0).all()
    assert (covariance.estimate_vol_corr(streamed_vol_corr(np.zeros((20, 4)), 0.97, 0.99)) == 0.0).all()


def test_a_constant_series_among_others_has_no_variance_and_no_correlation() -> None:
    x = returns(60, 4)
    x[:, 2] = 0.0
    s = covariance.estimate_vol_corr(streamed_vol_corr(x, 0.97, 0.99))
    assert (s[2] == 0.0).all()
    np.testing.assert_array_equal(covariance.correlation(s)[2], [0.0, 0.0, 1.0, 0.0])


def test_two_identical_instruments_make_a_singular_matrix_that_is_still_a_covariance() -> None:
    x = np.repeat(returns(60, 1), 2, axis=1)
    s = covariance.assert_psd(covariance.ewma(streamed(x, 0.97)))
    assert np.linalg.det(s) == pytest.approx(0.0, abs=1e-20)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_return_that_is_not_finite_is_refused_at_the_door(bad: float) -> None:
    with pytest.raises(ValueError, match="3 finite returns"):
        covariance.update(covariance.init(3), np.array([0.0, bad, 0.0]), 0.97)
    with pytest.raises(ValueError, match="3 finite returns"):
        covariance.update_vol_corr(covariance.init_vol_corr(3), np.array([0.0, bad, 0.0]), 0.97, 0.97)


@pytest.mark.parametrize("size", [10.1, -10.1, 1e160])
def test_a_return_no_price_makes_is_refused_and_never_becomes_an_infinite_state(size: float) -> None:
    with pytest.raises(ValueError, match=r"a return of .* is above 10: mend the price"):
        covariance.update_vol_corr(covariance.init_vol_corr(2), np.array([size, 0.0]), 0.97, 0.97)
    covariance.update_vol_corr(covariance.init_vol_corr(2), np.array([10.0, -10.0]), 0.97, 0.97)


def test_the_largest_deviation_that_is_taken_leaves_a_finite_estimate() -> None:
    with pytest.raises(ValueError, match=r"a return of 1e\+160 in one bar is above 1e\+60"):
        covariance.update(covariance.init(2), np.array([1e160, 0.0]), 0.9)
    state = covariance.update(covariance.init(200), np.full(200, covariance.SIZE_MAX), 0.9)
    assert np.isfinite(state.q4)
    assert np.isfinite(covariance.estimate(state)).all()


def test_what_a_message_may_call_a_return_is_what_the_covariance_takes() -> None:
    assert covariance.LOG_RETURN_MAX == LOG_RETURN_MAX


def test_a_cross_section_of_another_universe_is_refused() -> None:
    with pytest.raises(ValueError, match="3 finite returns"):
        covariance.update(covariance.init(3), np.zeros(4), 0.97)


def test_there_is_no_covariance_before_the_first_cross_section() -> None:
    with pytest.raises(ValueError, match="before the first"):
        covariance.estimate(covariance.init(2))
    with pytest.raises(ValueError, match="before the first"):
        covariance.estimate_vol_corr(covariance.init_vol_corr(2))


def test_an_update_leaves_the_state_it_came_from_alone() -> None:
    state = streamed(returns(5, 3), 0.97)
    before = covariance.encode(state)
    covariance.update(state, np.ones(3), 0.97)
    assert covariance.encode(state) == before


def test_a_halted_instrument_returns_nothing_and_then_the_whole_move() -> None:
    prices = np.log([[100.0, 50.0], [101.0, 51.0], [102.0, 52.0], [103.0, 53.0]])
    last, seen = np.full(2, np.nan), []
    for t, present in enumerate([[True, True], [True, False], [True, False], [True, True]]):
        x, last = covariance.previous_tick(last, prices[t], np.array(present))
        seen.append(x)
    got = np.array(seen)
    assert (got[0] == 0.0).all()
    assert (got[1:3, 1] == 0.0).all()
    np.testing.assert_allclose(got.sum(axis=0), prices[3] - prices[0], rtol=1e-12)


def test_an_instrument_that_joins_late_starts_at_its_first_price() -> None:
    last = np.array([np.log(100.0), np.nan])
    x, last = covariance.previous_tick(last, np.array([np.log(110.0), np.nan]), np.array([True, False]))
    assert x.tolist() == [pytest.approx(np.log(1.1)), 0.0]
    x, _ = covariance.previous_tick(last, np.array([np.log(110.0), np.log(7.0)]), np.array([True, True]))
    assert x.tolist() == [0.0, 0.0]


def test_a_present_price_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="mark it absent"):
        covariance.previous_tick(np.zeros(1), np.array([np.nan]), np.array([True]))


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.floats(0.0, 0.9))
def test_every_estimate_is_positive_semi_definite_however_many_prices_are_missing(
    seed: int, n: int, missing: float
) -> None:
    generator, last = np.random.default_rng(seed), np.full(n, np.nan)
    state, vol_corr = covariance.init(n), covariance.init_vol_corr(n)
    log_price = np.zeros(n)
    for _ in range(15):
        log_price = log_price + generator.normal(size=n) * 0.01
        x, last = covariance.previous_tick(last, log_price, generator.random(n) >= missing)
        state, vol_corr = covariance.update(state, x, 0.9), covariance.update_vol_corr(vol_corr, x, 0.9, 0.95)
    for s in (covariance.estimate(state), covariance.estimate_vol_corr(vol_corr)):
        assert np.linalg.eigvalsh(s)[0] >= -1e-12 * max(np.abs(s).max(), 1e-300)


@pytest.mark.parametrize(
    ("matrix", "what"),
    [
        ([[1.0, 0.5], [0.4, 1.0]], "symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], "positive semi-definite"),
        ([[1.0, float("nan")], [float("nan"), 1.0]], "finite"),
        ([[-1.0]], "positive semi-definite"),
    ],
)
def test_a_matrix_that_is_no_covariance_is_refused_where_it_is_born(matrix: list[list[float]], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        covariance.assert_psd(np.array(matrix))


def test_highams_example_has_the_published_nearest_correlation() -> None:
    g = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    nearest = covariance.nearest_correlation(g)
    assert nearest[0, 1] == pytest.approx(0.7607, abs=5e-5)
    assert nearest[0, 2] == pytest.approx(0.1573, abs=5e-5)
    assert nearest[1, 2] == pytest.approx(0.7607, abs=5e-5)
    assert np.linalg.norm(nearest - g) == pytest.approx(0.5278, abs=5e-5)


def test_clipping_eigenvalues_is_not_the_nearest() -> None:
    g = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    values, vectors = np.linalg.eigh(g)
    clipped = covariance.correlation((vectors * np.maximum(values, 0.0)) @ vectors.T)
    assert np.linalg.norm(covariance.nearest_correlation(g) - g) < np.linalg.norm(clipped - g) - 1e-3


def test_a_correlation_is_its_own_nearest() -> None:
    r = covariance.correlation(covariance.estimate(streamed(returns(100, 6), 1.0)))
    np.testing.assert_allclose(covariance.nearest_correlation(r), r, atol=1e-9)


def test_drift_of_a_matrix_from_itself_is_zero_and_from_zero_is_refused() -> None:
    s = covariance.estimate(streamed(returns(100, 6), 1.0))
    assert covariance.drift(s, s) == 0.0
    with pytest.raises(ValueError, match="not zero"):
        covariance.drift(s, np.zeros_like(s))


@pytest.mark.parametrize("n", [1, 2, 20])
def test_a_state_survives_its_table_and_goes_on_as_if_nothing_had_happened(n: int) -> None:
    x = returns(60, n)
    state = streamed(x[:30], 0.97)
    back = covariance.decode(covariance.encode(state))
    assert isinstance(back, covariance.CovState)
    for row in x[30:]:
        state, back = covariance.update(state, row, 0.97), covariance.update(back, row, 0.97)
    assert covariance.encode(state) == covariance.encode(back)
    vol_corr = covariance.decode(covariance.encode(streamed_vol_corr(x, 0.97, 0.99)))
    assert isinstance(vol_corr, covariance.VolCorrState)
    assert (vol_corr.scaled.n, vol_corr.sw) == (60, streamed_vol_corr(x, 0.97, 0.99).sw)


def test_two_hundred_names_fit_a_message_with_room_to_spare() -> None:
    state = covariance.update_vol_corr(covariance.init_vol_corr(200), np.ones(200), 0.97, 0.99)
    assert len(covariance.encode(state)) < 450_000
    assert len(covariance.encode_matrix(state.scaled.a)) < 220_000


def test_a_matrix_survives_its_codec_to_the_last_bit() -> None:
    s = covariance.estimate(streamed(returns(50, 7), 0.97))
    np.testing.assert_array_equal(covariance.decode_matrix(covariance.encode_matrix(s)), s)


@pytest.mark.parametrize("text", ["", "!!", "AAAA", "AAAAAAAAAAA=", covariance.encode_matrix(np.eye(3))])
def test_a_damaged_row_is_refused_and_not_taken_for_a_state(text: str) -> None:
    with pytest.raises(ValueError, match="not "):
        covariance.decode(text)


def test_a_triangle_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="triangle"):
        covariance.decode_matrix("AAAAAAAAAAAAAAAAAAAAAA==")
