"""From scores to a forecast: no look-ahead, no amplified noise, no trading on luck."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter

from quant import alpha
from tests.quant.oracles import scores

SIGMA = 0.002


def run(z: np.ndarray, ret: np.ndarray, half_life: float = 500.0) -> tuple[alpha.AlphaState, list[alpha.Forecast]]:
    state, forecasts = alpha.init(z.shape[1], half_life), []
    for row, r in zip(z, ret, strict=True):
        state, forecast = alpha.update(state, tuple(row.tolist()), float(r), SIGMA)
        forecasts.append(forecast)
    return state, forecasts


def test_a_forecast_does_not_change_when_the_future_does() -> None:
    z, ret = scores(200)
    other = ret.copy()
    other[101:] *= -7.0
    assert run(z, ret)[1][:101] == run(z, other)[1][:101]
    assert run(z, ret)[1][101] != run(z, other)[1][101]


def test_a_signal_that_equals_the_return_of_its_own_bar_earns_no_weight() -> None:
    """The accident of whole-sample ICs: explaining the present is not forecasting the next bar."""
    generator = np.random.default_rng(21)
    ret = SIGMA * generator.normal(size=4_000)
    state, _ = run((ret / SIGMA)[:, None], ret)
    assert abs(alpha.information_coefficients(state)[0]) < 0.03


def test_a_signal_that_leads_earns_a_positive_weight_and_a_contrary_one_a_negative() -> None:
    generator = np.random.default_rng(22)
    z = generator.normal(size=(4_000, 2))
    ret = SIGMA * generator.normal(size=4_000)
    ret[1:] += SIGMA * (0.15 * z[:-1, 0] - 0.15 * z[:-1, 1])
    ic = alpha.information_coefficients(run(z, ret, 1e4)[0])
    assert ic[0] == pytest.approx(0.12, abs=0.04)
    assert ic[1] == pytest.approx(-0.12, abs=0.04)


def test_a_young_signal_is_shrunk_almost_to_nothing() -> None:
    """Thirty lucky bars: the raw IC is 1, the weight below 3 %."""
    z = np.random.default_rng(23).normal(size=(31, 1))
    ret = np.zeros(31)
    ret[1:] = SIGMA * z[:-1, 0]
    assert alpha.information_coefficients(run(z, ret)[0])[0] == pytest.approx(0.0263, abs=0.002)


def test_two_copies_of_a_signal_forecast_about_what_one_does() -> None:
    generator = np.random.default_rng(24)
    z = generator.normal(size=(3_000, 1))
    ret = SIGMA * generator.normal(size=3_000)
    ret[1:] += 0.1 * SIGMA * z[:-1, 0]
    one = np.array([f.alpha for f in run(z, ret, 1e4)[1][500:]])
    two = np.array([f.alpha for f in run(np.repeat(z, 2, axis=1), ret, 1e4)[1][500:]])
    # Two equal columns have a polar factor of z / sqrt(2) each, so their weighted sum is one forecast again.
    np.testing.assert_allclose(two.std() / one.std(), 1.0, rtol=0.1)


def test_orthogonal_signals_are_uncorrelated_and_the_nearest_such_set() -> None:
    z, _ = scores(3_000)
    c = z.T @ z / len(z)
    orthogonal = z @ alpha.loewdin(c, floor=0.0)
    np.testing.assert_allclose(orthogonal.T @ orthogonal / len(z), np.eye(4), atol=1e-12)
    triangular = z @ np.linalg.inv(np.linalg.cholesky(c)).T
    assert np.linalg.norm(orthogonal - z) < np.linalg.norm(triangular - z)


def test_a_singular_correlation_is_floored_and_not_inverted() -> None:
    inverse = alpha.loewdin(np.ones((3, 3)))
    assert np.abs(inverse).max() < 1.0 / np.sqrt(alpha.EIGENVALUE_MIN)


def test_a_missing_score_teaches_nothing_and_says_nothing() -> None:
    z, ret = scores(300, 2)
    state = alpha.init(3, 500.0)
    for row, r in zip(z, ret, strict=True):
        state, forecast = alpha.update(state, (*row.tolist(), None), float(r), SIGMA)
    assert (forecast.z[2], forecast.ic[2]) == (0.0, 0.0)
    assert forecast.alpha == pytest.approx(run(z, ret)[1][-1].alpha, rel=1e-12)


def test_one_signal_is_its_own_orthogonal_set() -> None:
    z, ret = scores(50, 1)
    assert run(z, ret)[1][-1].z[0] == pytest.approx(float(z[-1, 0]), rel=1e-12)


def test_without_volatility_there_is_no_forecast_and_no_division() -> None:
    state, forecast = alpha.update(alpha.init(1, 50.0), (1.0,), 0.0, 0.0)
    state, forecast = alpha.update(state, (1.0,), 0.0, 0.0)
    assert forecast.alpha == 0.0


@pytest.mark.parametrize(
    ("bad", "ret", "sigma"),
    [((float("nan"),), 0.0, 0.1), ((1.0,), float("nan"), 0.1), ((1.0,), 0.0, -1.0), ((1.0,), 0.0, float("inf"))],
)
def test_numbers_that_are_not_finite_are_refused(bad: tuple[float, ...], ret: float, sigma: float) -> None:
    with pytest.raises(ValueError, match="pass None for a missing score"):
        alpha.update(alpha.init(1, 50.0), bad, ret, sigma)


def test_the_number_of_scores_is_fixed_at_the_start() -> None:
    with pytest.raises(ValueError, match="set up for 2 signals, got 3"):
        alpha.update(alpha.init(2, 50.0), (0.0, 0.0, 0.0), 0.0, 0.1)
    with pytest.raises(ValueError, match="positive half-life"):
        alpha.init(2, 0.0)


def test_state_survives_json_to_the_last_bit() -> None:
    z, ret = scores(40)
    state, _ = run(z, ret)
    adapter = TypeAdapter(alpha.AlphaState)
    assert adapter.validate_json(adapter.dump_json(state)) == state
