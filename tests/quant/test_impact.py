"""What trading costs: signs, published costs, and a lambda that is learned with its uncertainty."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import TypeAdapter

from quant import impact


def test_paying_up_and_selling_down_both_cost() -> None:
    assert impact.slippage_bp(1, 100.0, 100.1) == pytest.approx(10.0)
    assert impact.slippage_bp(-1, 100.0, 99.9) == pytest.approx(10.0)
    assert impact.slippage_bp(1, 100.0, 99.9) == pytest.approx(-10.0)


@pytest.mark.parametrize("bad", [(0, 100.0, 100.0), (1, 0.0, 100.0), (1, 100.0, float("nan"))])
def test_slippage_refuses_a_side_or_a_price_that_is_none(bad: tuple[int, float, float]) -> None:
    with pytest.raises(ValueError, match="slippage needs"):
        impact.slippage_bp(*bad)


def test_four_times_the_size_costs_twice_by_the_square_root() -> None:
    one = impact.square_root_cost(0.02, 1_000, 1e6, 1.0)
    assert one == pytest.approx(0.02 * math.sqrt(1e-3))
    assert impact.square_root_cost(0.02, -4_000, 1e6, 1.0) == pytest.approx(2 * one)
    assert impact.square_root_cost(0.02, 0, 0, 1.0) == 0.0


def test_a_quantity_without_volume_has_no_cost_that_could_be_named() -> None:
    for cost in (impact.square_root_cost(0.02, 0.0, 0.0, 1.0), impact.almgren_cost(0.02, 0.0, 0.0, 1.0, 1.0)):
        assert cost == 0.0
    with pytest.raises(ValueError, match="positive volume"):
        impact.square_root_cost(0.02, 100.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="positive volume"):
        impact.almgren_cost(0.02, 100.0, 0.0, 1e6, 1.0)


@pytest.mark.parametrize(
    ("theta", "sigma", "days", "bp"),
    [
        (263, 0.0157, 0.1, 32),
        (263, 0.0157, 0.2, 25),
        (263, 0.0157, 0.5, 18),
        (87, 0.0226, 0.1, 43),
        (87, 0.0226, 0.2, 32),
        (87, 0.0226, 0.5, 23),
    ],
)
def test_costs_of_ibm_and_dri_in_almgren_et_al_2005(theta: float, sigma: float, days: float, bp: int) -> None:
    assert round(1e4 * impact.almgren_cost(sigma, 0.1, 1.0, theta, days)) == bp
    assert impact.almgren_cost(sigma, -0.1, 1.0, theta, days) == impact.almgren_cost(sigma, 0.1, 1.0, theta, days)


def learned(seed: int, fills: int, truth: float = 0.7, forget: float = 1.0) -> impact.ImpactState:
    generator, state = np.random.default_rng(seed), impact.init_impact()
    for _ in range(fills):
        q, sigma = float(generator.uniform(10, 5_000)), float(generator.uniform(0.01, 0.03))
        cost = sigma * (truth * math.sqrt(q / 1e5) + 0.05 * float(generator.normal()))
        state = impact.update_impact(state, cost, sigma, q, 1e5, forget)
    return state


def test_the_error_bar_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(200):
        got = impact.impact(learned(seed, 100))
        assert got.error is not None
        covered += abs(got.value - 0.7) <= 2.0 * got.error
    assert 180 <= covered <= 199  # 95.4 % of 200 is 191, three deviations are 9


def test_more_fills_shrink_the_error_with_the_square_root() -> None:
    few, many = (impact.impact(learned(3, n)).error for n in (100, 1_600))
    assert few is not None
    assert many is not None
    assert few / many == pytest.approx(4.0, rel=0.3)


def test_before_two_fills_nothing_is_known_of_the_error() -> None:
    assert impact.impact(impact.init_impact()) == impact.Impact(1.0, None)
    assert impact.impact(learned(1, 1)).error is None


@pytest.mark.parametrize("fill", [(0.001, 0.02, 0.0, 1e5), (0.001, 0.0, 10.0, 1e5), (0.001, 0.02, 10.0, 0.0)])
def test_a_fill_of_zero_size_or_without_volatility_or_volume_teaches_nothing(fill: tuple[float, ...]) -> None:
    state = learned(1, 10)
    assert impact.update_impact(state, *fill) is state


def test_a_fill_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite fills"):
        impact.update_impact(impact.init_impact(), float("nan"), 0.02, 10.0, 1e5)


def test_forgetting_follows_a_lambda_that_changes() -> None:
    state = learned(4, 300, truth=0.7, forget=0.98)
    generator = np.random.default_rng(9)
    for _ in range(300):
        q = float(generator.uniform(10, 5_000))
        state = impact.update_impact(state, 0.02 * 1.4 * math.sqrt(q / 1e5), 0.02, q, 1e5, 0.98)
    assert state.value == pytest.approx(1.4, abs=0.05)


def test_state_survives_json() -> None:
    adapter, state = TypeAdapter(impact.ImpactState), learned(2, 5)
    assert adapter.validate_json(adapter.dump_json(state)) == state
