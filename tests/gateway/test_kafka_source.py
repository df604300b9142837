"""The Kafka source on a real broker: books known from the tail of the topic, and followed live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError

from connectors.kafka.broker import EmbeddedBroker
from tests.gateway.gateway_harness import STK, Market, RawClient, start_gateway

pytestmark = pytest.mark.stack
BROKER_S = 60.0


@pytest.fixture
async def bootstrap(tmp_path: Path) -> AsyncIterator[str]:
    broker = await asyncio.to_thread(EmbeddedBroker.prepare, tmp_path / "kafka", lambda line: None)
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*broker.command, stdout=quiet, stderr=quiet)
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    try:
        async with asyncio.timeout(BROKER_S):
            while True:
                try:
                    await admin.start()
                    break
                except KafkaConnectionError:
                    await asyncio.sleep(0.1)
        yield broker.bootstrap
    finally:
        await admin.close()
        process.terminate()
        await asyncio.wait_for(process.wait(), 30)


async def create_topic(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("market_raw", num_partitions=2, replication_factor=1)])
    await admin.close()


async def test_a_topic_that_comes_later_is_waited_for(bootstrap: str) -> None:
    process, match = start_gateway("--source", f"kafka://{bootstrap}/market_raw")
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    try:
        raw = await RawClient.started(int(match[1]), 5)
        raw.send(1, 11, 7, *STK, 0, "", 0, 0, "")
        await create_topic(bootstrap)
        await producer.start()
        values: list[bytes] = []
        Market(lambda r: values.append(r.model_dump_json().encode())).book()
        await producer.send_and_wait("market_raw", values[0], partition=1)
        await raw.expect(1, 6, 7, 1, 100, 500)
    finally:
        process.terminate()
        assert process.wait(15) == 0
        await producer.stop()


async def test_books_are_known_from_the_tail_of_the_topic_and_follow_it_live(bootstrap: str) -> None:
    await create_topic(bootstrap)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    pending: list[tuple[int, bytes]] = []
    market = Market(lambda r: pending.append((int(r.instrument == "QQQ"), r.model_dump_json().encode())))

    async def flush() -> None:
        while pending:
            partition, value = pending.pop(0)
            await producer.send_and_wait("market_raw", value, partition=partition)

    for size in range(1, 300):
        market.book([("100.00", size)], [("100.01", 500)])
    market.book([("200.00", 5)], [("200.01", 5)], instrument="QQQ")
    await flush()
    await producer.send_and_wait("market_raw", b"not a record", partition=0)
    process, match = start_gateway("--source", f"kafka://{bootstrap}/market_raw")
    try:
        raw = await RawClient.started(int(match[1]), 5)
        raw.send(1, 11, 7, *STK, 0, "", 0, 0, "")
        raw.send(1, 11, 8, 320227571, *STK[1:], 0, "", 0, 0, "")
        await raw.expect(1, 6, 8, 1, 200, 5)
        market.book([("100.05", 299)], [("100.06", 500)])
        await flush()
        await raw.expect(1, 6, 7, 1, "100.05", 299)
        assert process.poll() is None
    finally:
        process.terminate()
        assert process.wait(15) == 0
        await producer.stop()
