"""From weights to lots, and the way back into limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quant.limits import Limits, reduce_only, violation
from quant.lots import to_lots
from quant.portfolio import HELD, Problem

NAV = 1e6
LIMITS = Limits(box=0.25, gross=1.0, net=0.3, turnover=0.6, vol_target_annual=1.0)


def lots(weights: list[float], price: list[float], step: int = 1, current: list[int] | None = None) -> list[int]:
    n = len(weights)
    now = np.array(current if current is not None else [0] * n, dtype=np.int64)
    steps = np.full(n, step, dtype=np.int64)
    return [int(v) for v in to_lots(np.array(weights), NAV, np.array(price), steps, now, LIMITS, np.zeros((n, n)))]


def test_a_weight_becomes_the_whole_lots_that_fit_it() -> None:
    assert lots([0.1, -0.1], [333.0, 70.0]) == [300, -1428]


def test_trades_are_multiples_of_the_step_even_from_odd_lots() -> None:
    got = lots([0.1, 0.0], [333.0, 70.0], step=100, current=[17, 0])
    assert got == [217, 0]


def test_a_solvers_almost_three_is_three() -> None:
    assert lots([300 * 333.0 / NAV - 1e-12], [333.0]) == [300]


def test_a_weight_smaller_than_a_lot_is_no_position() -> None:
    assert lots([0.001, -0.001], [5_000.0, 5_000.0]) == [0, 0]


def test_holding_the_current_weights_trades_nothing() -> None:
    assert lots([100 * 333.0 / NAV, -50 * 70.0 / NAV], [333.0, 70.0], current=[100, -50]) == [100, -50]


def test_a_net_limit_that_naive_rounding_breaks_is_met() -> None:
    """Long 0.25 in lots of 9 %, short 0.25 in small ones: rounding each down leaves a net of -0.07 more."""
    limits = Limits(box=0.25, gross=1.0, net=0.0, turnover=1.0, vol_target_annual=1.0)
    price = np.array([90_000.0, 45_000.0])
    one, zero = np.ones(2, dtype=np.int64), np.zeros(2, dtype=np.int64)
    got = to_lots(np.array([0.24, -0.24]), NAV, price, one, zero, limits, np.zeros((2, 2)))
    assert violation(got * price / NAV, np.zeros(2), limits) <= 1e-9
    assert np.abs(got).sum() > 0


def breaches(w: NDArray[np.float64], limits: Limits) -> NDArray[np.float64]:
    """How far each position limit is broken: the box of each name, gross, net."""
    return np.maximum([*(np.abs(w) - limits.box), np.abs(w).sum() - limits.gross, abs(w.sum()) - limits.net], 0.0)


@pytest.mark.parametrize("seed", range(6))
def test_rounding_breaks_no_single_limit_further_than_the_positions_do_and_trades_no_halted_name(seed: int) -> None:
    """The accident: a book over its net was allowed a new breach of a box, or a trade in a halted name, as large."""
    generator, traded, broken = np.random.default_rng(seed), 0, 0
    for k in range(300):
        n = int(generator.integers(1, 7))
        nav, price, step = 10 ** generator.uniform(4, 7), generator.uniform(1, 500, n), generator.choice([1, 1, 10], n)
        current = np.rint(generator.normal(size=n) * generator.choice([0.05, 0.25]) * nav / price).astype(np.int64)
        unit, w0 = price / nav, current * price / nav
        spread = generator.normal(size=(n, n)) * generator.choice([0.0, 0.1])
        trade = generator.choice([0.0, 0.01, 0.2], n)
        gross, net, turnover = (
            generator.choice([0.3, 1.0]),
            generator.choice([0.0, 0.1, 0.5]),
            generator.uniform(0, 0.5),
        )
        limits = Limits(0.25, gross, net, turnover, 0.10, trade=None if generator.random() < 0.2 else trade)
        change = generator.normal(size=n) * 0.1
        # What an optimiser asks for; what is left of it without short coins, which heeds no cap; the way back.
        weights = [w0 + np.clip(change, -trade, trade), w0 + change, reduce_only(w0, limits, 0.0)][k % 3]
        got = to_lots(weights, nav, price, step, current, limits, spread @ spread.T)
        w, asked = got * unit, float(np.abs(weights - w0).sum())
        told = f"seed {seed}, positions {current}, weights {weights}, price {price}, nav {nav}, {limits}"
        assert ((got - current) % step == 0).all(), told
        assert (breaches(w, limits) <= breaches(w0, limits) + 1e-6).all(), told
        assert np.abs(w - w0).sum() <= max(turnover, asked) + 1e-6, told
        if limits.trade is not None:
            assert (np.abs(w - w0) <= trade + 1e-6).all(), told
            assert (got == current)[trade == 0.0].all(), told
        traded += bool((got != current).any())
        broken += bool(breaches(w0, limits).any())
    assert min(traded, broken, 300 - broken) > 50


@pytest.mark.parametrize("seed", range(3))
def test_what_the_optimiser_asks_for_in_a_storm_is_rounded_within_each_limit_and_hardly_smaller(seed: int) -> None:
    """Books of which half are over a box, a fourth of the names halted, limits just cut: optimal, soft and reduced."""
    generator, problem = np.random.default_rng(seed), Problem(4, bars_per_year=600_000.0, gamma=5.0, kappa=1e-5)
    asked = missed = 0.0
    for _ in range(100):
        spread = generator.normal(size=(4, 6)) * 1e-5
        nav, price = 10 ** generator.uniform(4.5, 6.5), generator.uniform(50, 500, 4)
        w0 = np.clip(generator.normal(size=4) * 0.25, -0.25, 0.25) * generator.choice([1.0, 1.05])
        current = np.rint(w0 * nav / price).astype(np.int64)
        unit, w0 = price / nav, current * price / nav
        gross, net = generator.choice([0.5, 1.0]), generator.choice([0.2, 0.4])
        limits = Limits(0.25, gross, net, 0.2, 0.10, trade=np.where(generator.random(4) < 0.25, 0.0, 0.2))
        cov = spread @ spread.T
        solution = problem.solve(generator.normal(size=4) * 1e-5, cov, w0, limits)
        if solution.rung == HELD:
            continue
        got = to_lots(solution.weights, nav, price, np.ones(4, dtype=np.int64), current, limits, cov * 600_000.0)
        told = f"seed {seed}, {solution.status}: {got} from {current}, price {price}, nav {nav}, {limits}"
        assert (breaches(got * unit, limits) <= breaches(w0, limits) + 1e-6).all(), told
        assert (got == current)[limits.trade == 0.0].all(), told
        asked += float(np.abs(solution.weights - w0).sum())
        missed += float(np.abs(solution.weights - got * unit).sum())
    assert missed < 0.1 * asked  # within limits, and not because nothing is traded


def test_a_book_over_its_net_is_not_allowed_a_new_breach_of_the_box() -> None:
    weights = np.array([0.18439978708235352, -0.2500000000183546, 0.16503253344746055, 0.10056767949440652])
    price = np.array([64.75686897765279, 283.01224914955833, 368.4004338643025, 237.46102700092592])
    current, nav = np.array([11_996, -2_262, 1_392, 1_316]), 3_107_347.3409815347
    limits = Limits(0.25, 1.0, 0.2, 0.2, 0.10, trade=np.array([0.2, 0.2, 0.0, 0.0]))
    got = to_lots(weights, nav, price, np.ones(4, dtype=np.int64), current, limits, np.eye(4) * 1e-6)
    assert violation(got * price / nav, current * price / nav, limits) <= 1e-9
    assert got[2:].tolist() == [1_392, 1_316]
    assert np.abs((got * price / nav - weights)[:2]).max() < 1e-3


def test_a_halted_name_does_not_move_to_mend_a_limit() -> None:
    weights = np.array([-0.17488695079552136, -0.10128107149776003, 0.03816542358472539, -0.2513462533579174])
    price = np.array([327.3906987321511, 111.67074894156275, 488.13417867011117, 362.97529488598593])
    current, nav = np.array([-27, -58, 5, -35]), 50_544.359230685666
    limits = Limits(0.25, 0.5, 0.4, 0.2, 0.10, trade=np.array([0.0, 0.2, 0.2, 0.0]))
    got = to_lots(weights, nav, price, np.ones(4, dtype=np.int64), current, limits, np.eye(4) * 1e-6)
    assert (got[0], got[3]) == (-27, -35)
    assert (breaches(got * price / nav, limits) <= breaches(current * price / nav, limits)).all()


def test_a_hedge_that_rounds_to_nothing_takes_its_long_with_it() -> None:
    """The accident: the short is less than a lot, so the long stood alone at twice the volatility that was allowed."""
    cov = np.array([[0.04, 0.0396], [0.0396, 0.04]])  # two names that move as one, 20 % a year each
    weights, price = np.array([0.2, -0.19]), np.array([100.0, 195_000.0])
    limits = Limits(box=0.25, gross=1.0, net=0.3, turnover=1.0, vol_target_annual=0.02)
    one, zero = np.ones(2, dtype=np.int64), np.zeros(2, dtype=np.int64)
    assert np.sqrt(weights @ cov @ weights) < 0.02
    got = to_lots(weights, NAV, price, one, zero, limits, cov)
    w = got * price / NAV
    assert np.sqrt(w @ cov @ w) <= 0.02 + 1e-9
    assert np.abs(w).sum() > 0.05  # smaller, and not just given up


def random_book(seed: int, n: int) -> tuple[NDArray[np.float64], tuple[Any, ...]]:
    """Weights within limits, with their covariance, prices, steps and present positions, from one seed."""
    generator = np.random.default_rng(seed)
    price, step = generator.uniform(1, 20_000, n), generator.integers(1, 20, n)
    spread = generator.normal(size=(n, n)) * 0.1
    cov = spread @ spread.T + 0.3 * np.outer(generator.uniform(0.1, 0.5, n), generator.uniform(0.1, 0.5, n)).mean()
    current = generator.integers(-20, 20, n)
    return np.clip(generator.normal(size=n) * 0.1, -0.2, 0.2), (cov, price, step, current)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.floats(0.5, 1.5))
def test_rounding_never_lifts_volatility_above_its_target_and_the_present_one(seed: int, n: int, room: float) -> None:
    """From positions within position limits; where those are broken, mending them comes first."""
    weights, (cov, price, step, current) = random_book(seed, n)
    w0 = current * price / NAV
    target = room * float(np.sqrt(weights @ cov @ weights))
    limits = Limits(2.0, 10.0, 10.0, 10.0, target)
    got = to_lots(weights, NAV, price, step.astype(np.int64), current.astype(np.int64), limits, cov)
    w = got * price / NAV
    before, after = (float(np.sqrt(v @ cov @ v)) for v in (w0, w))
    assert after <= max(target, before) + 1e-9


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_weights_within_every_limit_round_from_nothing_to_lots_within_every_limit(seed: int, n: int) -> None:
    weights, (cov, price, step, _) = random_book(seed, n)
    size, net = float(np.abs(weights).sum()), abs(float(weights.sum()))
    target = float(np.sqrt(weights @ cov @ weights))
    limits = Limits(float(np.abs(weights).max()), size, net, size, target)
    got = to_lots(weights, NAV, price, step.astype(np.int64), np.zeros(n, dtype=np.int64), limits, cov)
    w = got * price / NAV
    assert violation(w, np.zeros(n), limits) <= 1e-9
    assert np.abs(w).sum() <= size + 1e-9
    assert np.sqrt(w @ cov @ w) <= target + 1e-9


@pytest.mark.parametrize("seed", [130, 922, 1134, 1286, 1298])
def test_steps_that_lower_the_volatility_spare_the_limits_or_most_of_the_trade_would_be_given_up(seed: int) -> None:
    """Steps that break a limit would be refused with the rest: of these books 15 to 42 % were left then."""
    weights, (cov, price, step, _) = random_book(seed, 3)
    size, target = float(np.abs(weights).sum()), float(np.sqrt(weights @ cov @ weights))
    limits = Limits(float(np.abs(weights).max()), size, abs(float(weights.sum())), size, target)
    got = to_lots(weights, NAV, price, step.astype(np.int64), np.zeros(3, dtype=np.int64), limits, cov)
    assert np.abs(got * price / NAV).sum() > 0.6 * size


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
def test_a_price_that_is_none_is_refused(price: float) -> None:
    with pytest.raises(ValueError, match="positive finite prices"):
        lots([0.1], [price])


def test_a_weight_that_is_not_finite_or_a_step_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="finite weights and lot steps"):
        lots([float("nan")], [100.0])
    with pytest.raises(ValueError, match="finite weights and lot steps"):
        lots([0.1], [100.0], step=0)


@pytest.mark.parametrize("cov", [np.full((1, 1), np.nan), np.eye(2)])
def test_a_covariance_that_is_not_finite_or_of_other_instruments_is_refused(cov: NDArray[np.float64]) -> None:
    one, zero = np.ones(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    with pytest.raises(ValueError, match="finite covariance of the same instruments"):
        to_lots(np.array([0.1]), NAV, np.array([100.0]), one, zero, LIMITS, cov)


def test_reducing_scales_towards_zero_until_limits_hold_and_no_further() -> None:
    w0 = np.array([0.5, -0.5, 0.25])
    np.testing.assert_allclose(reduce_only(w0, LIMITS, 0.0), 0.5 * w0)
    np.testing.assert_array_equal(reduce_only(0.4 * w0, LIMITS, 0.0), 0.4 * w0)


def test_reducing_brings_volatility_to_its_target() -> None:
    np.testing.assert_allclose(reduce_only(np.array([0.1, 0.1]), LIMITS, 2.0), [0.05, 0.05])


def test_a_capped_short_does_not_let_a_reduced_long_raise_the_net() -> None:
    limits = Limits(box=0.25, gross=0.5, net=0.1, turnover=1.0, vol_target_annual=1.0, trade=np.array([1.0, 0.0]))
    w0 = np.array([0.4, -0.4])
    reduced = reduce_only(w0, limits, 0.0)
    assert abs(reduced.sum()) <= limits.net
    np.testing.assert_array_equal(reduced, w0)


@given(st.integers(0, 2**32 - 1))
def test_reducing_raises_no_breach_and_flips_no_position(seed: int) -> None:
    generator = np.random.default_rng(seed)
    w0: NDArray[np.float64] = generator.normal(size=4) * 0.5
    trade = generator.choice([0.0, 0.05, 1.0], 4)
    limits = Limits(0.25, 0.8, 0.3, 1.0, 0.1, trade=trade)
    w = reduce_only(w0, limits, float(generator.uniform(0, 0.5)))
    assert (w * w0 >= 0.0).all()
    assert (np.abs(w) <= np.abs(w0) + 1e-15).all()
    assert abs(w.sum()) <= max(abs(w0.sum()), limits.net) + 1e-12
    assert (np.abs(w - w0) <= trade + 1e-12).all()


def test_two_names_over_their_box_are_both_brought_back() -> None:
    """Their breaches are equal, so no single step lowers the worst of them."""
    current = [2_600, 2_600]
    limits = Limits(box=0.25, gross=1.0, net=0.6, turnover=0.6, vol_target_annual=1.0)
    args = (NAV, np.full(2, 100.0), np.full(2, 300, dtype=np.int64), np.array(current, dtype=np.int64), limits)
    assert to_lots(np.array([0.25, 0.25]), *args, np.zeros((2, 2))).tolist() == [2_300, 2_300]


def test_five_hundred_names_are_rounded_before_the_next_bar() -> None:
    generator = np.random.default_rng(8)
    price, zero = generator.uniform(5, 900, 500), np.zeros(500, dtype=np.int64)
    weights = generator.normal(size=500)
    weights -= weights.mean()
    weights *= 1.0 / np.abs(weights).sum()
    limits = Limits(box=0.05, gross=1.0, net=0.001, turnover=1.0, vol_target_annual=1.0)
    cov = 0.04 * (0.3 + 0.7 * np.eye(500))
    exact = float(np.sqrt(weights @ cov @ weights))
    limits = replace(limits, vol_target_annual=exact)
    got = to_lots(weights, NAV, price, np.full(500, 10, dtype=np.int64), zero, limits, cov) * price / NAV
    assert violation(got, np.zeros(500), limits) <= 1e-9
    assert np.sqrt(got @ cov @ got) <= exact + 1e-9
    assert np.abs(got).sum() > 0.2
