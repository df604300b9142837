"""A short slice of the campaign; `make chaos` runs the long one."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.chaos.campaign import differences, recording, run, run_scaling

SEED = int(os.environ.get("FLOWGATE_SEED", "5"))


@pytest.mark.stack
def test_workers_killed_under_load_leave_tables_and_outputs_as_if_undisturbed() -> None:
    print(f"seed {SEED}")  # noqa: T201
    market = recording(SEED, 4_000)
    calm = asyncio.run(run(market, 0, SEED, 2_000.0))
    assert calm.repeats == 0
    assert sum(len(records) for records in calm.outputs.values()) > 100
    disturbed = asyncio.run(run(market, 3, SEED, 400.0))
    assert disturbed.kills == 3
    assert differences(calm, disturbed) == []


@pytest.mark.stack
def test_one_to_four_workers_and_back_while_data_flows_gives_the_same_results() -> None:
    print(f"seed {SEED}")  # noqa: T201
    market = recording(SEED, 4_000)
    calm = asyncio.run(run(market, 0, SEED, 2_000.0))
    scaled = asyncio.run(run_scaling(market, 250.0))
    assert differences(calm, scaled) == []
