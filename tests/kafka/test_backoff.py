"""A broker that is away is tried less and less often, and found again when it is back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from app.processes import Child, Children
from connectors.kafka.access import Access
from connectors.kafka.admin import create_missing
from connectors.kafka.backoff import LAST_S, back_off, back_off_retries
from connectors.kafka.broker import EmbeddedBroker
from contracts.topics import ALERTS

pytestmark = pytest.mark.stack

AWAY_S = 8.0


class Desk:
    """A broker, and a consumer and a producer that outlive it."""

    def __init__(self, folder: Path) -> None:
        self.children = Children(folder / "logs")
        self.broker = EmbeddedBroker.prepare(folder / "kafka", print)
        self.kafka: Child | None = None
        self.consumer: AIOKafkaConsumer | None = None
        self.producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        await self.run_broker()
        access = Access(self.broker.bootstrap)
        await create_missing(access, [ALERTS], replication=1)
        self.consumer = AIOKafkaConsumer(
            ALERTS.name, **access.options(), group_id="patient", auto_offset_reset="earliest"
        )
        self.producer = AIOKafkaProducer(**access.options(), enable_idempotence=True)
        for client in (self.consumer, self.producer):
            await client.start()
        back_off(self.consumer._client)
        back_off(self.producer.client)

    async def run_broker(self) -> None:
        self.kafka = self.children.start("kafka", self.broker.command, {})
        async with asyncio.timeout(60):
            while await Access(self.broker.bootstrap).knock() is not None:
                self.children.check()
                await asyncio.sleep(0.1)

    def kill_broker(self) -> None:
        assert self.kafka is not None
        self.kafka.process.kill()
        self.kafka.process.wait()
        self.children.forget(self.kafka)

    async def stop(self) -> None:
        for client in (self.consumer, self.producer):
            # Without its broker, as after a failed test, a client waits long for its last words to arrive.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    if client is not None:
                        await client.stop()
        self.children.stop_all()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    running = await asyncio.to_thread(Desk, tmp_path)
    try:
        await running.start()
        yield running
    finally:
        await running.stop()


async def test_tries_become_rare_while_the_broker_is_away_and_what_waited_arrives(desk: Desk) -> None:
    assert desk.producer is not None
    assert desk.consumer is not None
    await desk.producer.send_and_wait(ALERTS.name, b"before")
    assert (await desk.consumer.getone()).value == b"before"
    desk.kill_broker()
    tries: list[float] = []

    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tries.append(time.monotonic())
        writer.close()

    began = time.monotonic()
    async with await asyncio.start_server(refuse, "127.0.0.1", desk.broker.port):
        waiting = await desk.producer.send(ALERTS.name, b"while it was away")
        reading = asyncio.create_task(desk.consumer.getone())
        await asyncio.sleep(AWAY_S)
    early = [at for at in tries if at - began < AWAY_S / 2]
    late = [at for at in tries if at - began >= AWAY_S / 2]
    assert len(late) < len(early) < 30, "two clients, each after 0.1, 0.2, 0.4, 0.8, 1.6 s"
    assert len(late) <= 6
    await desk.run_broker()
    async with asyncio.timeout(LAST_S + 20):
        await waiting
        assert (await reading).value == b"while it was away"


async def test_who_asks_for_metadata_again_and_again_waits_while_the_only_broker_is_away(desk: Desk) -> None:
    assert desk.producer is not None
    desk.kill_broker()
    client = desk.producer.client
    answers = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(AWAY_S):
            while True:
                await asyncio.shield(client.force_metadata_update())
                answers += 1
    assert answers < 40, "a consumer whose partitions have no leader asks as fast as it is answered"


class Refusing:
    """The part of aiokafka's sender that a retry goes through: it notes what it would wait."""

    _retry_backoff = 0.1

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def _send_produce_req(self, _node_id: int, _batches: Any) -> None:
        self.waits.append(self._retry_backoff)


async def test_a_batch_that_is_refused_again_and_again_waits_longer_each_time() -> None:
    sender = Refusing()
    back_off_retries(sender)
    for tries in range(1, 9):
        await sender._send_produce_req(1, {"place": SimpleNamespace(retry_count=tries)})
    await sender._send_produce_req(1, {"place": SimpleNamespace(retry_count=1)})
    full = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, LAST_S, LAST_S, 0.1]
    assert all(0.8 * most <= wait <= most for wait, most in zip(sender.waits, full, strict=True)), sender.waits
