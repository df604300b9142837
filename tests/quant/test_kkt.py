"""With the duals of the solver, the Karush-Kuhn-Tucker conditions of the *stated* problem hold.

The conditions are written out by hand from alpha, S, kappa and the limits, without the matrices that cvxpy made of
them, so an objective or a constraint that was built wrong has no duals that could satisfy them:

    alpha - gamma S w (1 + v / sigma_w) = (up - down) + (net+ - net-) 1 + (bought - sold)
    up + down = box + gross 1,    bought + sold = kappa 1 + cap + turnover 1,    every multiplier >= 0,
    multiplier x slack = 0

where up, down >= 0 price w <= s and -w <= s (s = |w|), bought and sold the same of |w - w0|, and v the volatility cap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quant.limits import Limits
from quant.portfolio import Problem
from tests.quant.oracles import problem

Array = NDArray[np.float64]
GAMMA, KAPPA, BARS = 5.0, 1e-4, 252.0
ALLOWED = {"stationarity": 5e-5, "slackness": 1e-7, "primal": 1e-7, "dual": 1e-7}
"""Stationarity, slackness and sign relative to the largest of alpha and kappa, feasibility in units of weight. Over
1,500 random problems the worst were 1.1e-5, 2.4e-9, 2.6e-10 and 0."""

NAMES = (
    "trade", "risk", "down", "up", "box", "gross", "net_long", "net_short", "sold", "bought", "cap", "turnover", "vol",
)  # fmt: skip
"""The constraints in the order in which `quant.portfolio` writes them."""

BINDING = ("box", "gross", "net_long", "net_short", "cap", "turnover", "vol")


@dataclass(frozen=True)
class Case:
    """One problem of the portfolio."""

    alpha: Array
    cov: Array
    w0: Array
    limits: Limits


def random_case(seed: int, n: int, limits: Limits, *, capped: bool) -> Case:
    generator = np.random.default_rng(seed)
    returns = 0.01 * (generator.normal(size=(3 * n + 20, n)) + 0.7 * generator.normal(size=(3 * n + 20, 1)))
    w0 = generator.normal(size=n)
    w0 *= generator.choice([0.0, 0.3]) * min(limits.gross, limits.net, limits.box) / np.abs(w0).sum()
    caps = generator.choice([0.0, 0.02, 1.0], n) if capped else None
    cov = np.atleast_2d(np.cov(returns.T))
    return Case(generator.normal(size=n) * 2e-3, cov, w0, replace(limits, trade=caps))


def multipliers(model: Problem, case: Case) -> dict[str, Array]:
    """Duals of the last solve in units of alpha; that of the volatility cap per unit of volatility of a bar."""
    scale = KAPPA / float(model._scalars.value[0])
    found = {
        name: scale * np.asarray(constraint.dual_value, dtype=np.float64)
        for name, constraint in zip(NAMES, model._hard.constraints, strict=True)
    }
    return found | {"vol": found["vol"] * np.sqrt(GAMMA / 2.0 / scale)}


def residuals(case: Case, w: Array, dual: dict[str, Array], gamma: float = GAMMA) -> dict[str, float]:
    """Largest violation of each condition: stationarity relative to its largest term, the others in units of weight."""
    limits, trade = case.limits, w - case.w0
    sigma = max(float(np.sqrt(w @ case.cov @ w)), 1e-12)
    left = case.alpha - gamma * case.cov @ w - dual["vol"] * (case.cov @ w) / sigma
    right = dual["up"] - dual["down"] + dual["net_long"] - dual["net_short"] + dual["bought"] - dual["sold"]
    on_size = dual["up"] + dual["down"] - dual["box"] - dual["gross"]
    on_trade = dual["bought"] + dual["sold"] - KAPPA - dual["cap"] - dual["turnover"]
    size = max(float(np.abs(case.alpha).max()), KAPPA)
    slack = {
        "box": limits.box - np.abs(w),
        "gross": limits.gross - np.abs(w).sum(),
        "net_long": limits.net - w.sum(),
        "net_short": limits.net + w.sum(),
        "turnover": limits.turnover - np.abs(trade).sum(),
        "vol": limits.vol_target_annual / np.sqrt(BARS) - sigma,
        "up": np.abs(w) - w,
        "down": np.abs(w) + w,
        "bought": np.abs(trade) - trade,
        "sold": np.abs(trade) + trade,
    }
    if limits.trade is not None:
        slack["cap"] = limits.trade - np.abs(trade)
    return {
        "stationarity": max(float(np.abs(v).max()) for v in (left - right, on_size, on_trade)) / size,
        "slackness": max(float(np.abs(dual[name] * value).max()) for name, value in slack.items()) / size,
        "primal": max(0.0, *(-float(np.min(value)) for value in slack.values())),
        "dual": max(0.0, *(-float(np.min(dual[name])) for name in slack)) / size,
    }


LIMITS = st.builds(
    Limits,
    box=st.sampled_from([0.05, 0.25]),
    gross=st.sampled_from([0.3, 2.0]),
    net=st.sampled_from([0.05, 0.8]),
    turnover=st.sampled_from([0.1, 2.0]),
    vol_target_annual=st.sampled_from([0.02, 0.10, 1.0]),
)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 5, 12]), LIMITS, st.booleans())
def test_every_optimum_meets_the_conditions_with_the_duals_of_the_solver(
    seed: int, n: int, limits: Limits, capped: bool
) -> None:
    case, model = random_case(seed, n, limits, capped=capped), problem(n, GAMMA, KAPPA)
    solution = model.solve(case.alpha, case.cov, case.w0, case.limits)
    assume(solution.rung == 0)
    found = residuals(case, solution.weights, multipliers(model, case))
    assert all(found[name] <= ALLOWED[name] for name in ALLOWED), found


BINDS = {
    "box": Limits(0.05, 2.0, 0.8, 2.0, 1.0),
    "gross": Limits(0.25, 0.3, 0.8, 2.0, 1.0),
    "net_long": Limits(0.25, 2.0, 0.01, 2.0, 1.0),
    "net_short": Limits(0.25, 2.0, 0.01, 2.0, 1.0),
    "cap": Limits(0.25, 2.0, 0.8, 2.0, 1.0, trade=np.full(5, 0.03)),
    "turnover": Limits(0.25, 2.0, 0.8, 0.1, 1.0),
    "vol": Limits(0.25, 2.0, 0.8, 2.0, 0.02),
}


def binding_case(name: str) -> tuple[Case, Array, dict[str, Array]]:
    """A problem in which the limit `name` binds, with its solution and its duals."""
    tilt = -1.0 if name == "net_short" else 1.0
    case = random_case(3, 5, BINDS[name], capped=False)
    alpha = tilt * np.abs(case.alpha) if name.startswith("net") else case.alpha
    case = Case(alpha, case.cov, np.zeros(5), BINDS[name])
    model = problem(5, GAMMA, KAPPA)
    solution = model.solve(case.alpha, case.cov, case.w0, case.limits)
    assert solution.rung == 0
    return case, solution.weights, multipliers(model, case)


@pytest.mark.parametrize("name", BINDING)
def test_each_limit_binds_somewhere_and_then_has_a_price(name: str) -> None:
    case, weights, dual = binding_case(name)
    assert float(dual[name].max()) > 1e-5
    found = residuals(case, weights, dual)
    assert all(found[name] <= ALLOWED[name] for name in ALLOWED), found


@pytest.mark.parametrize("name", BINDING)
def test_a_price_that_is_wrong_by_a_tenth_is_noticed(name: str) -> None:
    case, weights, dual = binding_case(name)
    found = residuals(case, weights, dual | {name: 1.1 * dual[name]})
    assert found["stationarity"] > 10 * ALLOWED["stationarity"], found


def test_another_objective_is_noticed() -> None:
    case, weights, dual = binding_case("gross")
    assert residuals(case, weights, dual, gamma=1.1 * GAMMA)["stationarity"] > 10 * ALLOWED["stationarity"]


def test_weights_a_little_off_the_optimum_are_noticed() -> None:
    case, weights, dual = binding_case("vol")
    found = residuals(case, weights + 1e-3 * np.eye(5)[0], dual)
    assert max(found["slackness"], found["primal"]) > 10 * ALLOWED["slackness"], found
