"""Workers that are stopped in order, and a standby that takes over."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from agents.catalogue import catalogue
from app import settings
from app.decoding import origin
from contracts.topics import GATE_EVIDENCE, GATE_VERDICTS, MARKET_EVENTS, MARKET_RAW
from tables.rows import any_row
from tests.chaos.campaign import undisturbed
from tests.chaos.desk import (
    GROUPS,
    TRANSPORTS,
    Desk,
    Market,
    Result,
    collect,
    differences,
    offsets,
    read,
    recording,
    send,
    until_written,
)
from tests.chaos.replay import replay_aloud
from tests.chaos.standby import run_takeover, run_undisturbed

SEED = 6
RATE = 300.0
SESSION_S = 30.0
"""Long: who waits for a session to run out is seen."""


async def run_stop(market: Market) -> tuple[Result, float]:
    """Stop one of two signals workers for good, then restart all the others; what is left, and the first one's time."""
    desk = Desk(Path(tempfile.mkdtemp(prefix="flowgate-chaos-")), session_s=SESSION_S)
    try:
        await desk.start_broker()
        await desk.start_workers(GROUPS)
        second = await desk.ready(desk.start_worker("signals", 1))
        sending = asyncio.create_task(send(desk.bootstrap, market, RATE))
        await until_written(desk, MARKET_RAW.name, len(market) // 5)
        stopped_ms = time.time() * 1_000
        await asyncio.to_thread(desk.end, second)
        await until_written(desk, MARKET_RAW.name, len(market) // 2)
        for group in GROUPS:
            old = desk.workers[group]
            await asyncio.to_thread(desk.end, old)
            old.log.rename(old.log.with_suffix(".1.log"))
            await desk.ready(desk.start_worker(group))
        await sending
        result = await collect(desk)
        back_s = result.back_s("signals", stopped_ms)
        assert back_s is not None
        return result, back_s
    finally:
        desk.stop()


@pytest.mark.stack
def test_partitions_of_a_worker_that_is_stopped_go_on_at_once() -> None:
    print(f"seed {SEED}")  # noqa: T201
    market = recording(SEED, 5_000)
    calm = asyncio.run(undisturbed(market))
    result, back_s = asyncio.run(run_stop(market))
    assert differences(calm, result) == []
    assert back_s < SESSION_S / 2


async def run_one_stop(market: Market, transport: str) -> tuple[dict[str, int], dict[str, int]]:
    """Stop the ingest worker under load: the last record of each partition it has passed on, and what it committed."""
    desk = Desk(Path(tempfile.mkdtemp(prefix="flowgate-chaos-")), transport)
    try:
        await desk.start_broker()
        await desk.start_workers(("ingest",))
        sending = asyncio.create_task(send(desk.bootstrap, market, RATE))
        await until_written(desk, MARKET_RAW.name, len(market) // 2)
        await asyncio.to_thread(desk.end, desk.workers["ingest"])
        await sending
        passed_on: dict[str, int] = {}
        for record in await read(desk.bootstrap, MARKET_EVENTS.name):
            stream, position = origin(record)
            passed_on[stream] = max(position[0], passed_on.get(stream, 0))
        committed = await offsets(desk, "flowgate-ingest", MARKET_RAW.name)
        return passed_on, {f"normalise/{MARKET_RAW.name}/{partition}": at for partition, at in committed.items()}
    finally:
        desk.stop()


@pytest.mark.stack
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_worker_that_is_stopped_has_committed_all_it_has_passed_on(transport: str) -> None:
    print(f"seed {SEED}")  # noqa: T201
    passed_on, committed = asyncio.run(run_one_stop(recording(SEED, 2_000), transport))
    assert len(passed_on) == MARKET_RAW.partitions
    assert {stream: offset - 1 for stream, offset in committed.items()} == passed_on


@pytest.mark.stack
def test_the_standby_of_a_single_partition_group_takes_over_and_reads_only_the_rest() -> None:
    print(f"seed {SEED}")  # noqa: T201
    market = recording(SEED, 5_000)
    calm = asyncio.run(run_undisturbed(market, 1_000.0))
    takeover = asyncio.run(run_takeover(market, RATE, session_s=3.0))
    assert differences(calm, takeover.result) == []
    assert sum(map(len, calm.outputs.values())) > 0
    assert takeover.read < takeover.written / 2
    assert takeover.back_s < 10.0


@pytest.mark.stack
def test_the_standby_of_the_gates_takes_over_and_says_what_one_gate_alone_would_have_said() -> None:
    """Which evidence comes first is free, so the undisturbed gates read the same topic and not one of another run."""
    print(f"seed {SEED}")  # noqa: T201
    takeover = asyncio.run(run_takeover(recording(SEED, 5_000), RATE, 3.0, (*GROUPS, "gates")))
    evidence = takeover.sources[GATE_EVIDENCE.name]
    whole = [((GATE_EVIDENCE.name, 0, evidence[0].offset, evidence[-1].offset),)]
    states: dict[str, Any] = {}
    said: dict[bytes, list[bytes]] = {}
    for spec in catalogue("gates", settings.load().desk, ""):
        rows, heard = replay_aloud(spec, takeover.sources, whole)
        states |= {key.decode(): any_row(value)["state"] for key, value in rows.items()}
        said |= {key: list(values) for key, values in heard[GATE_VERDICTS.name].items()}
    verdicts: dict[bytes, list[bytes]] = defaultdict(list)
    for key, value in takeover.result.outputs[GATE_VERDICTS.name]:
        verdicts[key].append(value)
    assert takeover.result.tables["gates"] == states
    assert dict(verdicts) == said
    assert len(said) > 0
    assert takeover.read < takeover.written / 2
    assert takeover.back_s < 10.0
