"""A worker that cannot keep up leaves the rest in Kafka, not in its memory."""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from pathlib import Path

import pytest

from app.stack import ROOT
from app.transport import SingleTransport, Transport
from contracts.topics import MARKET_EVENTS
from tests.chaos.desk import Desk, Market, finished, read, recording, send, until

SEED = 8
SAME = 20
"""So many looks in a row that find no more fetched: two seconds."""

QUEUED_MAX = 8 + 2
"""Batches in Faust's queue (`stream_buffer_maxsize`), one in work, and one that waits to be let in."""

FETCHED = re.compile(r"fetched (\d+)")


async def run(market: Market, transport: str) -> tuple[int, int]:
    """Records fetched by a worker that is stuck, and market events it has written once it goes on."""
    desk = Desk(Path(tempfile.mkdtemp(prefix="flowgate-pressure-")), transport)
    go = desk.folder / "go"
    try:
        await desk.start_broker()
        await send(desk.bootstrap, market, 1e9)
        env = {**desk.env_of("ingest"), "AGENT_GROUP": "ingest", "FLOWGATE_GO": str(go)}
        command = [sys.executable, "-m", "tests.shell.slow", "worker", "--without-web", "--loglevel", "info"]
        worker = desk.children.start("worker-ingest", command, env, cwd=ROOT)

        def looks() -> list[int]:
            return [int(found) for found in FETCHED.findall(worker.log.read_text())]

        await until(lambda: len(looks()) > SAME and 0 < looks()[-1] == looks()[-SAME], "no more is fetched")
        fetched = looks()[-1]
        go.touch()
        await finished(desk, ("ingest",))
        return fetched, len(await read(desk.bootstrap, MARKET_EVENTS.name))
    finally:
        desk.stop()


@pytest.mark.stack
@pytest.mark.parametrize(("transport", "records"), [("batched", 120_000), ("single", 3_000)])
def test_a_worker_that_is_stuck_stops_fetching_and_then_goes_on_with_the_rest(transport: str, records: int) -> None:
    print(f"seed {SEED}")  # noqa: T201
    market = recording(SEED, records)
    fetched, written = asyncio.run(run(market, transport))
    print(f"{fetched} of {len(market)} were fetched")  # noqa: T201
    # One by one, what was fetched waits in the consumer, and a queue has room for a record where it has it for a batch.
    single = QUEUED_MAX + SingleTransport.records_max
    assert fetched <= (QUEUED_MAX * Transport.records_max if transport == "batched" else single)
    assert written == len(market)
