"""The portfolio problem: optimal where it can be, within limits always, and never an exception."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quant.limits import TOLERANCE, violation
from quant.portfolio import DENSE_MAX, FACTORS_MAX, Limits, Problem, Solution, factor_form, participation
from tests.quant.oracles import problem, returns

Array = NDArray[np.float64]
LIMITS = Limits(box=0.25, gross=2.0, net=0.8, turnover=0.5, vol_target_annual=0.10)
GAMMA, KAPPA = 5.0, 1e-4


def covariance(n: int) -> Array:
    return np.atleast_2d(np.cov(returns(400, n).T))


def solve(alpha: Array, w0: Array, limits: Limits = LIMITS, cov: Array | None = None) -> Solution:
    n = len(alpha)
    return problem(n, GAMMA, KAPPA).solve(alpha, covariance(n) if cov is None else cov, w0, limits)


def within(solution: Solution, w0: Array, limits: Limits = LIMITS) -> bool:
    return violation(solution.weights, w0, limits) <= TOLERANCE


def alphas(seed: int, n: int) -> Array:
    return np.random.default_rng(seed).normal(size=n) * 1e-3


@pytest.mark.parametrize("n", [1, 2, 5, 20, 100])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_forecast_becomes_weights_within_every_limit(n: int, seed: int) -> None:
    solution = solve(alphas(seed, n), np.zeros(n))
    assert (solution.status, solution.rung) == ("optimal", 0)
    assert within(solution, np.zeros(n))
    assert solution.turnover <= 0.5 + TOLERANCE
    assert solution.vol_annual <= 0.10 + TOLERANCE
    assert np.abs(solution.weights).sum() > 1e-3


def test_a_gross_limit_that_binds_at_a_hundred_names_is_not_broken_by_a_solver_that_stops_early() -> None:
    """The accident, with a first-order solver at its default tolerance: 6e-4 above the limit."""
    tight = replace(LIMITS, gross=0.3, turnover=2.0)
    solution = solve(alphas(5, 100), np.zeros(100), tight)
    assert solution.rung == 0
    assert float(np.abs(solution.weights).sum()) == pytest.approx(0.3, abs=TOLERANCE)


def test_one_asset_is_clipped_to_its_box() -> None:
    solution = problem(1, GAMMA, KAPPA).solve(np.array([1.0]), np.array([[1e-6]]), np.zeros(1), LIMITS)
    assert solution.weights[0] == pytest.approx(0.25, abs=1e-6)


def test_a_large_cost_keeps_the_weights_where_they_are() -> None:
    w0 = np.array([0.1, -0.05, 0.02])
    solution = problem(3, GAMMA, 10.0).solve(alphas(3, 3), covariance(3), w0, LIMITS)
    np.testing.assert_allclose(solution.weights, w0, atol=1e-6)


def test_permuting_the_instruments_permutes_the_weights() -> None:
    a, s, order = alphas(4, 6), covariance(6), np.array([3, 0, 5, 1, 4, 2])
    straight = solve(a, np.zeros(6), cov=s).weights
    np.testing.assert_allclose(
        solve(a[order], np.zeros(6), cov=s[np.ix_(order, order)]).weights, straight[order], atol=2e-5
    )


@pytest.mark.parametrize("name", ["box", "gross", "net", "turnover", "vol_target_annual"])
def test_a_wider_limit_never_lowers_the_objective(name: str) -> None:
    tight = replace(LIMITS, gross=0.5, net=0.2)
    wide = replace(tight, **{name: 1.5 * getattr(tight, name)})
    for seed in range(5):
        a = alphas(seed, 6)
        assert solve(a, np.zeros(6), wide).objective >= solve(a, np.zeros(6), tight).objective - 1e-9


def test_a_feasible_change_of_weights_never_beats_the_optimum() -> None:
    a, s, generator = alphas(6, 5), covariance(5), np.random.default_rng(6)
    best = solve(a, np.zeros(5), cov=s)
    tried = 0
    for _ in range(5_000):
        w = best.weights + generator.normal(size=5) * 0.01
        vol = float(np.sqrt(w @ s @ w * 252.0))
        if violation(w, np.zeros(5), LIMITS) > 0 or np.abs(w).sum() > LIMITS.turnover or vol > 0.10:
            continue
        tried += 1
        assert a @ w - GAMMA / 2 * w @ s @ w - KAPPA * np.abs(w).sum() <= best.objective + 1e-9
    assert tried > 100


def test_stationarity_holds_with_the_duals_of_the_solver() -> None:
    """KKT where only box and net bind: a - g S w - k sign(w - w0) is the multipliers' sum, zero inside the box."""
    a, s = np.array([2e-3, -1.5e-3, 1e-3, 5e-5]), np.diag([0.01, 0.012, 0.015, 0.011]) ** 2
    loose = Limits(box=0.25, gross=10.0, net=10.0, turnover=10.0, vol_target_annual=10.0)
    w = solve(a, np.zeros(4), loose, s).weights
    gradient = a - GAMMA * s @ w
    inside = (np.abs(w) < 0.25 - 1e-6) & (np.abs(w) > 1e-6)
    np.testing.assert_allclose(gradient[inside], KAPPA * np.sign(w[inside]), atol=1e-8)
    at_box, idle = np.abs(w) >= 0.25 - 1e-6, np.abs(w) <= 1e-6
    assert (gradient[at_box] * np.sign(w[at_box]) >= KAPPA - 1e-8).all()
    assert (np.abs(gradient[idle]) <= KAPPA + 1e-8).all()
    assert at_box.any()
    assert idle.any()


def test_a_turnover_too_small_to_get_inside_gives_way_and_position_limits_do_not() -> None:
    w0 = np.array([0.25, 0.25, 0.25, 0.25, -0.25, -0.25])
    storm = Limits(box=0.25, gross=0.6, net=0.4, turnover=0.05, vol_target_annual=0.10)
    solution = solve(alphas(7, 6), w0, storm)
    assert (solution.status, solution.rung) == ("soft", 1)
    assert within(solution, w0, storm)
    assert solution.turnover == pytest.approx(1.5 - 0.6, abs=1e-4)  # as far as needed, and no further


def test_caps_too_small_to_get_inside_reduce_towards_zero() -> None:
    w0 = np.array([0.25, 0.25, 0.25, -0.25])
    limits = Limits(box=0.25, gross=0.5, net=0.4, turnover=1.0, vol_target_annual=0.10, trade=np.full(4, 0.01))
    solution = solve(alphas(8, 4), w0, limits)
    assert (solution.status, solution.rung) == ("reduced", 2)
    np.testing.assert_allclose(solution.weights, w0 - 0.01 * np.sign(w0))
    assert violation(solution.weights, w0, limits) < violation(w0, w0, limits)


def test_when_nothing_can_trade_it_holds_and_says_so() -> None:
    w0 = np.array([0.3, 0.3, 0.3])
    solution = solve(alphas(9, 3), w0, replace(LIMITS, trade=np.zeros(3)))
    assert (solution.status, solution.rung) == ("held", 3)
    assert solution.reason == "no weights meet the limits from here"
    np.testing.assert_array_equal(solution.weights, w0)
    assert solution.max_violation == pytest.approx(0.1)


def test_a_halted_instrument_is_not_traded_and_the_others_are() -> None:
    w0 = np.array([0.1, 0.0, 0.0])
    caps = participation(1e6, np.array([1e8, 1e8, 1e8]), np.array([0.0, 1e7, 1e7]))
    solution = solve(np.array([-1e-2, 1e-3, 1e-3]), w0, replace(LIMITS, trade=caps))
    assert solution.weights[0] == pytest.approx(0.1, abs=TOLERANCE)
    assert np.abs(solution.weights[1:]).max() > 0.01


def test_participation_takes_the_smaller_of_the_two_caps() -> None:
    caps = participation(1e6, np.array([1e6, 1e8]), np.array([1e7, 1e6]))
    np.testing.assert_allclose(caps, [0.1, 0.08])


def test_a_volatility_target_scales_down_and_never_up() -> None:
    a = np.full(4, 1e-2)
    wide = solve(a, np.zeros(4), Limits(0.25, 2.0, 2.0, 2.0, 0.30))
    tight = solve(a, np.zeros(4), Limits(0.25, 2.0, 2.0, 2.0, 0.02))
    assert tight.vol_annual == pytest.approx(0.02, abs=1e-6)
    assert wide.vol_annual < 0.30
    assert np.abs(wide.weights).max() <= 0.25 + TOLERANCE


@pytest.mark.parametrize("cov", [np.zeros((4, 4)), np.full((4, 4), 1e-4)], ids=["zero", "singular"])
def test_a_singular_covariance_is_solved_like_any_other(cov: Array) -> None:
    solution = solve(alphas(10, 4), np.zeros(4), cov=cov)
    assert solution.rung == 0
    assert within(solution, np.zeros(4))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"alpha": np.array([np.nan, 0.0, 0.0])}, "alpha has a number that is not finite"),
        ({"cov": np.full((3, 3), np.inf)}, "cov has a number that is not finite"),
        ({"w0": np.array([0.0, np.nan, 0.0])}, "w0 has a number that is not finite"),
        ({"alpha": np.zeros(4)}, "alpha has shape (4,) where (3,) is needed"),
        ({"limits": replace(LIMITS, gross=-1.0)}, "a limit is negative or not finite"),
        ({"limits": replace(LIMITS, trade=np.array([1.0, np.nan, 1.0]))}, "trade caps"),
    ],
)
def test_bad_input_holds_with_one_sentence_and_no_exception(change: dict[str, object], reason: str) -> None:
    arguments: dict[str, object] = {"alpha": np.zeros(3), "cov": covariance(3), "w0": np.full(3, 0.1), "limits": LIMITS}
    solution = problem(3, GAMMA, KAPPA).solve(**{**arguments, **change})  # type: ignore[arg-type]
    assert (solution.status, solution.rung) == ("invalid", 3)
    assert reason in solution.reason
    np.testing.assert_array_equal(solution.weights, {**arguments, **change}["w0"])


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.floats(0.0, 0.6),
    scale=st.sampled_from([1e-12, 1e-8, 1e-4, 1.0]),
    limits=st.builds(
        Limits,
        box=st.sampled_from([0.0, 0.05, 0.25]),
        gross=st.sampled_from([0.0, 0.3, 2.5]),
        net=st.sampled_from([0.0, 0.1, 1.0]),
        turnover=st.sampled_from([0.0, 0.05, 2.0]),
        vol_target_annual=st.sampled_from([0.0, 0.01, 0.3]),
    ),
    capped=st.booleans(),
)
def test_no_input_raises_or_leaves_a_limit_worse_than_it_found_it(
    seed: int, size: float, scale: float, limits: Limits, capped: bool
) -> None:
    generator = np.random.default_rng(seed)
    w0 = generator.normal(size=4) * size
    if capped:
        limits = replace(limits, trade=generator.choice([0.0, 0.02, 1.0], 4))
    cov = np.cov(generator.normal(size=(4, 30))) * scale
    solution = solve(generator.normal(size=4) * np.sqrt(scale), w0, limits, cov)
    assert np.isfinite(solution.weights).all()
    assert violation(solution.weights, w0, limits) <= max(violation(w0, w0, limits), 0.0) + TOLERANCE
    if solution.rung == 0:
        assert solution.turnover <= limits.turnover + TOLERANCE
        assert solution.vol_annual <= limits.vol_target_annual + TOLERANCE


@pytest.mark.parametrize("n", [60, 120])
def test_the_factor_form_keeps_every_limit_of_the_true_covariance(n: int) -> None:
    model = Problem(n, bars_per_year=252.0, gamma=GAMMA, kappa=KAPPA, factors=20)
    generator = np.random.default_rng(n)
    # Correlations that twenty factors do not hold: thirty groups of names.
    groups = np.kron(np.eye(n // 2), np.full((2, 2), 0.8)) + 0.2 * np.eye(n)
    cov = groups * 1e-4
    w0 = np.zeros(n)
    for _ in range(3):
        solution = model.solve(
            generator.normal(size=n) * 1e-3, cov, w0, replace(LIMITS, turnover=2.0, vol_target_annual=0.02)
        )
        assert solution.rung == 0
        assert within(solution, w0)
        assert solution.vol_annual <= 0.02 + TOLERANCE
        w0 = solution.weights


def test_a_book_at_its_volatility_target_keeps_finding_optima_in_the_factor_form() -> None:
    """The accident: few factors, the cap binds bar after bar, and each answer broke it by a little and was refused."""
    n, generator = 60, np.random.default_rng(7)
    cov = np.cov((generator.normal(size=(200, n)) + 0.7 * generator.normal(size=(200, 1))).T * 0.01)
    model, w0 = Problem(n, bars_per_year=252.0, gamma=GAMMA, kappa=KAPPA, factors=3), np.zeros(n)
    binding = 0
    for _ in range(12):
        solution = model.solve(generator.normal(size=n) * 1e-3, cov, w0, LIMITS)
        assert (solution.rung, solution.status) == (0, "optimal")
        binding += solution.vol_annual > 0.0999
        w0 = solution.weights
    assert binding >= 2


def test_a_book_above_its_target_by_a_rounding_error_has_a_way_on_in_the_factor_form() -> None:
    """The accident: 0.1000000001 counted as broken already, the way back was not taken, and turnover gave way."""
    n, generator = 60, np.random.default_rng(7)
    cov = np.cov((generator.normal(size=(200, n)) + 0.7 * generator.normal(size=(200, 1))).T * 0.01)
    model = Problem(n, bars_per_year=252.0, gamma=GAMMA, kappa=KAPPA, factors=10)
    binding = 0
    for seed in range(10):
        w0 = alphas(seed, n)
        w0 *= 0.1000005 / float(np.sqrt(w0 @ cov @ w0 * 252.0))
        solution = model.solve(2.0 * alphas(seed, n), cov, w0, replace(LIMITS, gross=10.0, net=10.0))
        assert (solution.rung, solution.status) == (0, "optimal")
        binding += solution.vol_annual > 0.1
    assert binding >= 2


@pytest.mark.parametrize("nonsense", [np.full(3, 9.0), np.full(3, np.nan), None])
def test_a_solver_that_answers_nonsense_is_not_believed(
    nonsense: Array | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Problem(3, bars_per_year=252.0, gamma=GAMMA, kappa=KAPPA)
    monkeypatch.setattr(model, "_run", lambda problem: (nonsense, 7))
    solution = model.solve(alphas(1, 3), covariance(3), np.full(3, 0.1), LIMITS)
    assert solution.status == "held"
    np.testing.assert_array_equal(solution.weights, np.full(3, 0.1))


def test_a_solver_that_raises_does_not_raise_into_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(problem: object) -> None:
        raise ArithmeticError("no pivot")

    model = Problem(3, bars_per_year=252.0, gamma=GAMMA, kappa=KAPPA)
    monkeypatch.setattr(model, "_run", broken)
    solution = model.solve(alphas(1, 3), covariance(3), np.array([0.5, 0.0, 0.0]), LIMITS)
    assert (solution.status, solution.reason) == ("reduced", "solver: no pivot")
    np.testing.assert_allclose(solution.weights, [0.25, 0.0, 0.0])


def test_a_covariance_that_is_none_is_held_and_named() -> None:
    solution = solve(alphas(1, 3), np.full(3, 0.1), cov=-np.eye(3))
    assert solution.status == "held"
    assert solution.reason.startswith("solver: ")


def test_the_factor_form_equals_the_dense_form_when_the_covariance_has_factors() -> None:
    generator = np.random.default_rng(31)
    f = generator.normal(size=(6, 3)) * 0.01
    cov = f @ f.T + np.diag(generator.uniform(0.005, 0.01, 6) ** 2)
    a = alphas(31, 6)
    dense = solve(a, np.zeros(6), cov=cov)
    factor = problem(6, GAMMA, KAPPA, factors=6).solve(a, cov, np.zeros(6), LIMITS)
    np.testing.assert_allclose(factor.weights, dense.weights, atol=1e-5)


def test_the_factor_form_is_chosen_where_the_dense_one_takes_seconds_to_compile() -> None:
    assert problem(5, GAMMA, KAPPA).factors == 0
    assert Problem(DENSE_MAX + 1, bars_per_year=252.0, gamma=GAMMA, kappa=KAPPA).factors == FACTORS_MAX


@pytest.mark.parametrize("rank", [1, 3, 40])
def test_factors_keep_the_diagonal_and_stay_below_the_covariance(rank: int) -> None:
    x = np.random.default_rng(rank).normal(size=(rank, 30)) * 0.01
    cov = x.T @ x
    loadings, residual = factor_form(cov, 10)
    np.testing.assert_allclose((loadings**2).sum(axis=0) + residual, np.diag(cov), rtol=1e-10)
    assert np.linalg.eigvalsh(cov - loadings.T @ loadings)[0] > -1e-12
    if rank <= 10:
        np.testing.assert_allclose(loadings.T @ loadings, cov, atol=1e-9 * cov.max())


def test_the_same_input_gives_the_same_bytes_whatever_was_solved_before() -> None:
    """Live is replay: a warm start that remembers would answer differently after a restart."""
    a, s = alphas(41, 5), covariance(5)
    fresh = Problem(5, bars_per_year=252.0, gamma=GAMMA, kappa=KAPPA).solve(a, s, np.zeros(5), LIMITS)
    used = Problem(5, bars_per_year=252.0, gamma=GAMMA, kappa=KAPPA)
    for seed in range(5):
        used.solve(alphas(seed, 5), s, np.full(5, 0.1), LIMITS)
    assert used.solve(a, s, np.zeros(5), LIMITS).weights.tobytes() == fresh.weights.tobytes()


def test_an_update_of_parameters_compiles_nothing_anew() -> None:
    model = problem(5, GAMMA, KAPPA)
    solve(alphas(1, 5), np.zeros(5))
    before = model._hard._cache.param_prog
    solve(alphas(2, 5), np.zeros(5))
    assert before is not None
    assert model._hard._cache.param_prog is before
