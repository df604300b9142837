"""A short slice of the campaign at the crash points; `make chaos` runs the long one."""

from __future__ import annotations

import asyncio
import os
import random

import pytest

from connectors.crash import POINTS
from tests.chaos.crash_points import campaign

SEED = int(os.environ.get("FLOWGATE_SEED", "5"))
POINTS_OF_THE_SLICE = 5


@pytest.mark.stack
def test_an_execution_worker_killed_at_its_crash_points_loses_and_doubles_nothing() -> None:
    rng = random.Random(SEED)
    points = rng.sample(sorted(POINTS), POINTS_OF_THE_SLICE)
    print(f"seed {SEED}: {points}")  # noqa: T201
    tallies = asyncio.run(campaign({point: [rng.choice(POINTS[point])] for point in points}, SEED))
    assert {point: tally.runs for point, tally in tallies.items()} == dict.fromkeys(points, 1), "a point was not hit"
    assert {point: dict(tally.broken) for point, tally in tallies.items() if tally.broken} == {}
