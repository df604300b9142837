"""What a worker does with a backlog, and with one record at a time."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from app.stack import Stack
from app.transport import Producer, SingleTransport, Transport
from app.worker import CHANGELOG
from contracts.topics import MARKET_EVENTS, market_partition
from tests.chaos.desk import Desk, Market, finished, read, recording, send

SEED = 8
SMALL = market_partition("QQQ")
FEW, SINGLE = 100, 5
ROWS = "flowgate-ingest-sequences-changelog"


@dataclass
class Written:
    """Records of `market_events` and of the changelog after the backlog, and of the changelog at the end."""

    records_max: int
    events: Sequence[Any]
    changelog: int
    changelog_at_the_end: int


async def run(market: Market, transport: str) -> Written:
    """A backlog on all partitions, small and last on one of them, and then records one at a time."""
    small = [record for record in market if record[2] == SMALL]
    backlog = [record for record in market if record[2] != SMALL] + small[:FEW]
    desk = Desk(Path(tempfile.mkdtemp(prefix="flowgate-batches-")), transport)
    try:
        await desk.start_broker()
        await send(desk.bootstrap, backlog, 1e9)
        await desk.start_workers(("ingest",))
        await finished(desk, ("ingest",))
        events, changelog = await read(desk.bootstrap, MARKET_EVENTS.name), await read(desk.bootstrap, ROWS)
        for record in small[FEW : FEW + SINGLE]:
            await send(desk.bootstrap, [record], 1e9)
            await finished(desk, ("ingest",))
        records_max = (Transport if transport == "batched" else SingleTransport).records_max
        return Written(records_max, events, len(changelog), len(await read(desk.bootstrap, ROWS)))
    finally:
        desk.stop()


@pytest.fixture(scope="module", params=["batched", "single"])
def written(request: pytest.FixtureRequest) -> Written:
    print(f"seed {SEED}")  # noqa: T201
    return asyncio.run(run(recording(SEED, 30_000 if request.param == "batched" else 6_000), request.param))


@pytest.mark.stack
def test_a_partition_with_little_does_not_wait_for_one_with_much(written: Written) -> None:
    stamps = [event.timestamp for event in written.events if event.partition == SMALL]
    others = [event.timestamp for event in written.events if event.partition != SMALL]
    assert len(stamps) >= FEW
    waited_for = sum(stamp < max(stamps) for stamp in others)
    print(f"{waited_for} of {len(others)} went before it")  # noqa: T201
    turns = MARKET_EVENTS.partitions * max(written.records_max, len(stamps))
    assert turns < len(others)
    assert waited_for <= turns


@pytest.mark.stack
def test_a_record_alone_is_a_batch_of_its_own(written: Written) -> None:
    assert written.changelog_at_the_end - written.changelog == SINGLE


@pytest.mark.stack
@pytest.mark.parametrize("written", ["batched"], indirect=True)
def test_a_row_is_written_once_for_all_records_of_its_key_in_a_batch(written: Written) -> None:
    print(f"{written.changelog} rows for {len(written.events)} events")  # noqa: T201
    assert written.changelog < len(written.events) / 20


@pytest.mark.stack
@pytest.mark.parametrize(
    ("row_bytes", "whole", "batches"), [(3, True, 1), (700_000, True, 1), (3, False, 3), (700_000, False, 3)]
)
async def test_rows_that_belong_together_reach_kafka_as_one_batch(
    stack: Stack, row_bytes: int, whole: bool, batches: int
) -> None:
    """Kafka keeps all of a batch or nothing, so a crash cannot cut a call in two."""
    topic = f"rows-{uuid.uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=CHANGELOG)])
    await admin.close()
    client = AIOKafkaProducer(bootstrap_servers=stack.bootstrap, enable_idempotence=True)
    await client.start()
    try:
        producer: Any = object.__new__(Producer)
        producer._ensure_producer = lambda: client
        sent = await producer.hand_over([(topic, 0, b"key", b"x" * row_bytes, []) for _ in range(3)], whole=whole)
        await asyncio.gather(*sent)
        assert len(sent) == batches
        assert [len(record.value) for record in await read(stack.bootstrap, topic)] == [row_bytes] * 3
    finally:
        await client.stop()
