"""Short slices of the campaign; `make chaos` runs the long one."""

from __future__ import annotations

import asyncio
import functools
import os

import pytest

from app.membership import LOST_PLACE_STATUS
from tests.chaos.campaign import run, run_scaling, run_stock, undisturbed
from tests.chaos.desk import TRANSPORTS, Market, Result, differences, recording
from tests.chaos.zombie import PLACES, run_zombie

SEED = int(os.environ.get("FLOWGATE_SEED", "5"))


@pytest.fixture(scope="module")
def market() -> Market:
    return recording(SEED, 4_000)


@functools.cache
def calm() -> Result:
    """What the market leaves behind when nothing happens."""
    print(f"seed {SEED}")  # noqa: T201
    result = asyncio.run(undisturbed(recording(SEED, 4_000)))
    assert result.repeats == 0
    assert sum(len(records) for records in result.outputs.values()) > 100
    return result


@pytest.mark.stack
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_workers_killed_under_load_leave_tables_and_outputs_as_if_undisturbed(market: Market, transport: str) -> None:
    disturbed, done = asyncio.run(run(market, 3, SEED, 400.0, transport))
    assert done.kills
    assert differences(calm(), disturbed) == []


@pytest.mark.stack
def test_the_same_kills_are_seen_when_rows_forget_what_they_have_applied(market: Market) -> None:
    disturbed, done = asyncio.run(run(market, 3, SEED, 400.0, without="positions"))
    assert done.kills
    assert differences(calm(), disturbed) != []


@pytest.mark.stack
def test_the_same_kills_make_a_stock_worker_count_wrong(market: Market) -> None:
    counted = asyncio.run(run_stock(market, 2, SEED, 600.0))
    assert counted != len(market)


@pytest.mark.stack
@pytest.mark.parametrize(("place", "transport"), list(zip(PLACES, TRANSPORTS, strict=True)))
def test_a_worker_that_wakes_after_another_took_over_ends_before_it_writes(
    market: Market, place: str, transport: str
) -> None:
    awake = asyncio.run(run_zombie(calm(), market, place, transport))
    assert awake.status == LOST_PLACE_STATUS
    assert differences(calm(), awake.result) == []


@pytest.mark.stack
def test_without_that_it_writes_old_rows_over_new_ones(market: Market) -> None:
    for _ in range(3):  # a row that nobody changed in between is old for nobody
        awake = asyncio.run(run_zombie(calm(), market, PLACES[1], without="membership"))
        if "table ofi" in differences(calm(), awake.result):
            return
    pytest.fail("three workers woke without the protection and left no trace: the tests above would not see one")


@pytest.mark.stack
def test_one_to_four_workers_and_back_while_data_flows_gives_the_same_results(market: Market) -> None:
    scaled = asyncio.run(run_scaling(market, 100.0))
    assert differences(calm(), scaled) == []
