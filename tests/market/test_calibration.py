"""The synthetic market is inside the ranges that Cont, Kukanov & Stoikov 2014 publish, on seeds it was not tuned on.

Their tables average 21 days for each stock; here an hour of each of two seeds has to do, so an instrument is averaged
over both: one hour of storm has an R2 on OFI of 0.85, a calm one 0.5.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.book_statistics import (
    CLAIMS,
    ELSEWHERE,
    SIGN_EXPONENT_PUBLISHED,
    SLOPE_C_PUBLISHED,
    SLOPE_LAMBDA_PUBLISHED,
    BookStatistics,
    Claim,
    correlation,
    measure,
    sign_exponent,
    slope_law,
)
from benchmarks.synthetic import PAGE
from connectors.market import synthetic

pytestmark = pytest.mark.slow

SEEDS = (11, 12)
HALF_HOURS = 2

Market = dict[str, list[BookStatistics]]


@pytest.fixture(scope="module")
def market() -> Market:
    """Statistics by instrument, one for each seed."""
    print(f"seeds {SEEDS}")  # noqa: T201
    found: Market = {}
    for seed in SEEDS:
        run = measure(synthetic.generate(seed=seed), start_ns=synthetic.START_NS, half_hours=HALF_HOURS)
        for name, statistics in run.items():
            found.setdefault(name, []).append(statistics)
    return found


def by_instrument(market: Market, claim: Claim) -> dict[str, float]:
    return {name: float(np.mean([claim.value(one) for one in runs])) for name, runs in market.items()}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_each_instrument_is_inside_the_published_range_over_stocks(claim: Claim, market: Market) -> None:
    found = by_instrument(market, claim)
    assert all(claim.holds(value) for value in found.values()), found


@pytest.mark.parametrize("claim", CLAIMS[:3], ids=lambda claim: claim.name)
def test_what_flow_and_trades_explain_is_near_the_published_mean(claim: Claim, market: Market) -> None:
    assert np.mean(list(by_instrument(market, claim).values())) == pytest.approx(claim.mean, abs=0.10)


def test_trades_add_next_to_nothing_to_what_ofi_explains_and_curvature_neither(market: Market) -> None:
    """Published: 2 points of R2 for trades (table 4), 3 for OFI |OFI| (section 3.2)."""
    runs = [one for runs in market.values() for one in runs]
    assert np.mean([one.mean("r2_both") - one.mean("r2_ofi") for one in runs]) < 0.04
    assert np.mean([one.mean("r2_square") - one.mean("r2_ofi") for one in runs]) < 0.04


def test_the_slope_falls_as_depth_rises(market: Market) -> None:
    halves = [half for runs in market.values() for one in runs for half in one.half_hours]
    c, exponent = slope_law(halves)
    assert exponent == pytest.approx(SLOPE_LAMBDA_PUBLISHED[1], abs=0.15)
    assert SLOPE_C_PUBLISHED[0] <= c <= SLOPE_C_PUBLISHED[2]
    # c is read at AD = 1 share, far from the data, and moves with the exponent: compare b AD, which is c at lambda 1.
    assert np.mean([half.slope * half.depth for half in halves]) == pytest.approx(SLOPE_C_PUBLISHED[1], abs=0.10)


def test_trade_signs_have_the_long_memory_that_is_published(market: Market) -> None:
    exponent = sign_exponent(one for runs in market.values() for one in runs)
    assert SIGN_EXPONENT_PUBLISHED[0] <= exponent <= SIGN_EXPONENT_PUBLISHED[2]


def test_the_page_shows_every_published_statistic_and_all_are_inside() -> None:
    rows = [line.split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    inside = {row[0].removeprefix("| "): row[4] for row in rows if len(row) == 6}
    for claim in CLAIMS:
        assert inside[claim.name] == "yes", claim.name
    assert list(inside.values()).count("no") == len(ELSEWHERE)


def test_depth_orders_the_instruments_as_listed(market: Market) -> None:
    by_listing = sorted(market, key=lambda name: synthetic.LISTINGS[name].order_shares)
    assert sorted(market, key=lambda name: market[name][0].mean("depth")) == by_listing


def test_ofi_hardly_predicts_the_next_interval(market: Market) -> None:
    """A few percent at 10 s, gone at a minute; the standard error of a mean of eight hours is 0.02 and 0.05."""
    runs = [one for runs in market.values() for one in runs]
    assert abs(np.mean([one.next_interval_correlation for one in runs])) < 0.12
    assert abs(np.mean([one.next_minute_correlation for one in runs])) < 0.15


def test_the_instruments_move_together(market: Market) -> None:
    for seed in range(len(SEEDS)):
        changes = [runs[seed].change for runs in market.values()]
        pairs = [correlation(a, b) for i, a in enumerate(changes) for b in changes[:i]]
        assert min(pairs) > 0.30
        assert max(pairs) < synthetic.FACTOR_LOADING**2 + 0.10
