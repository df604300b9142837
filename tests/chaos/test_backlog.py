"""What waits for a worker that was away is taken, however much it is."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Final

import pytest

from app.watcher import until
from contracts.topics import ORDER_INTENTS
from tests.chaos.floor import QUIET_S, READY_S, UNIVERSE, Floor

WAITING: Final = 3_000
"""Their decisions are more bytes than Kafka takes as one record, or as one batch of ours."""


async def decided_after(floor: Floor) -> int:
    """Decisions on intents that came while the execution worker was away."""
    await floor.start()
    floor.worker.process.kill()
    floor.worker.process.wait()
    waiting = set()
    for number in range(WAITING):
        intent = floor.intent(UNIVERSE[number % len(UNIVERSE)], time.time_ns())
        waiting.add(intent.intent_id)
        await floor.say(ORDER_INTENTS, intent.instrument, intent)
    died_ns = time.time_ns()
    floor.start_worker()
    assert await until(lambda: floor.tape.ready_ns > died_ns, READY_S), floor.worker.last_lines()
    await until(lambda: waiting <= floor.tape.decisions.keys(), QUIET_S)
    return len(waiting & floor.tape.decisions.keys())


@pytest.mark.stack
def test_every_intent_of_a_large_backlog_gets_its_decision() -> None:
    async def run() -> int:
        floor = Floor(Path(tempfile.mkdtemp(prefix="flowgate-backlog-")), lambda _line: None)
        try:
            return await decided_after(floor)
        finally:
            await floor.stop()

    assert asyncio.run(run()) == WAITING
