"""A worker comes back from a compacted changelog, and from local files that are damaged."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from app.health import examine
from app.stack import PREFIX
from tests.chaos.campaign import undisturbed
from tests.chaos.desk import GROUPS, Desk, Market, Result, collect, differences, finished, read, recording, send

SEED = 7
CHANGELOG = "flowgate-signals-ofi-changelog"
COMPACTED_S = 60.0
RESTORING_S = 30.0


async def run_restart(market: Market, store: str, meanwhile: Callable[[Desk], Awaitable[None]]) -> tuple[Result, str]:
    """Kill the signals worker in the middle, do something to its state, start it again; what is left, and its log."""
    desk = Desk(Path(tempfile.mkdtemp(prefix="flowgate-chaos-")), store=store)
    try:
        await desk.start_broker()
        await desk.start_workers(GROUPS)
        half = len(market) // 2
        await send(desk.bootstrap, market[:half], 1_000.0)
        await finished(desk)
        worker = desk.workers["signals"]
        worker.process.kill()
        worker.process.wait()
        desk.children.forget(worker)
        worker.log.rename(worker.log.with_suffix(".1.log"))
        await meanwhile(desk)
        again = await desk.ready(desk.start_worker("signals"))
        await send(desk.bootstrap, market[half:], 1_000.0)
        return await collect(desk), again.log.read_text()
    finally:
        desk.stop()


async def compact(desk: Desk) -> None:
    """Let Kafka compact the changelog now, and wait until records are gone from it."""
    before = len(await read(desk.bootstrap, CHANGELOG))
    admin = AIOKafkaAdminClient(bootstrap_servers=desk.bootstrap)
    await admin.start()
    try:
        eager = {
            "cleanup.policy": "compact",
            "segment.ms": "100",
            "min.cleanable.dirty.ratio": "0.001",
            "max.compaction.lag.ms": "1",
        }
        cleaner = {"log.cleaner.backoff.ms": "200"}
        await admin.alter_configs(
            [
                ConfigResource(ConfigResourceType.TOPIC, CHANGELOG, eager),
                ConfigResource(ConfigResourceType.BROKER, "1", cleaner),
            ]
        )
    finally:
        await admin.close()
    # Kafka closes a segment when something is appended to it: the newest rows once more, as they are.
    newest = {(record.partition, record.key): record.value for record in await read(desk.bootstrap, CHANGELOG)}
    producer = AIOKafkaProducer(bootstrap_servers=desk.bootstrap)
    await producer.start()
    for (partition, key), value in newest.items():
        await producer.send_and_wait(CHANGELOG, value, key=key, partition=partition)
    await producer.stop()
    deadline = time.monotonic() + COMPACTED_S
    while len(await read(desk.bootstrap, CHANGELOG)) > before / 2:
        assert time.monotonic() < deadline, f"{CHANGELOG} was not compacted within {COMPACTED_S:.0f} s"
        await asyncio.sleep(0.2)


async def restoring_seen(records: int) -> tuple[int, int]:
    """(read, to read) as the health of the desk has it, while a worker reads a changelog of so many records."""
    desk = Desk(Path(tempfile.mkdtemp(prefix="flowgate-chaos-")))
    try:
        await desk.start_broker()
        await desk.start_workers(("gates",))
        await asyncio.to_thread(desk.end, desk.workers["gates"])
        producer = AIOKafkaProducer(bootstrap_servers=desk.bootstrap, linger_ms=5)
        await producer.start()
        row = b'{"partition":0,"seen":{},"state":null}'
        for number in range(records):
            await producer.send("flowgate-gates-gates-changelog", row, key=str(number % 8).encode(), partition=0)
        await producer.stop()
        desk.start_worker("gates")
        deadline = time.monotonic() + RESTORING_S
        while time.monotonic() < deadline:
            health = await examine(desk.administrator, 1, PREFIX)
            for worker in health.workers:
                if worker.restoring is not None and worker.restoring[1] >= records:
                    return worker.restoring
        raise TimeoutError(f"no worker was seen restoring within {RESTORING_S:.0f} s")
    finally:
        desk.stop()


async def damage(desk: Desk) -> None:
    """Cut the files of one partition short."""
    folder = next((desk.folder / "faust").glob("flowgate-signals-*/**/ofi-2.db"))
    for file in folder.iterdir():
        if file.is_file() and file.stat().st_size > 1:
            with file.open("r+b") as opened:
                opened.truncate(file.stat().st_size // 2)


async def leave_alone(_desk: Desk) -> None:
    """Nothing happens to its state."""


@pytest.fixture(scope="module")
def market() -> Market:
    return recording(SEED, 3_000)


@pytest.fixture(scope="module")
def calm(market: Market) -> Result:
    return asyncio.run(undisturbed(market))


@pytest.mark.stack
def test_a_compacted_changelog_gives_the_same_rows(market: Market, calm: Result) -> None:
    result, _ = asyncio.run(run_restart(market, "memory", compact))
    assert differences(calm, result) == []


@pytest.mark.stack
def test_rocksdb_gives_the_same_and_reads_only_what_is_new(market: Market, calm: Result) -> None:
    result, log = asyncio.run(run_restart(market, "rocksdb", leave_alone))
    assert differences(calm, result) == []
    assert "tables restored: 0 changelog records" in log


@pytest.mark.stack
def test_damaged_local_files_are_made_anew_from_the_changelog(market: Market, calm: Result) -> None:
    result, log = asyncio.run(run_restart(market, "rocksdb", damage))
    assert differences(calm, result) == []
    assert "is damaged" in log


@pytest.mark.stack
def test_a_worker_that_restores_its_tables_says_how_far_it_is() -> None:
    read_so_far, total = asyncio.run(restoring_seen(800_000))
    print(f"{read_so_far} of {total}")  # noqa: T201
    assert 0 <= read_so_far < total
