"""The reader and the sender against a real broker that goes away and comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaClient, AIOKafkaProducer
from aiokafka.errors import KafkaError

from app.web import Sender
from app.web.reader import Reader
from app.web.view import View
from connectors.kafka.access import Access
from connectors.kafka.admin import create_missing
from connectors.kafka.broker import EmbeddedBroker
from contracts.controls import KillCommand
from contracts.topics import CONTROL, Topic

pytestmark = pytest.mark.stack

DEADLINE_S = 60.0

SWITCH, RISK = "flowgate-risk-switch-changelog", "flowgate-risk-risk-changelog"


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            held = holds()
            if held if isinstance(held, bool) else await held:
                return
            await asyncio.sleep(0.05)


@asynccontextmanager
async def running(broker: EmbeddedBroker) -> AsyncIterator[None]:
    """The broker's process, ended with SIGKILL."""

    async def answers() -> bool:
        client = AIOKafkaClient(bootstrap_servers=broker.bootstrap)
        try:
            await client.bootstrap()
        except KafkaError:
            return False
        finally:
            await client.close()
        return True

    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*broker.command, stdout=quiet, stderr=quiet)
    try:
        await until(answers)
        yield
    finally:
        process.kill()
        await process.wait()


def topic(name: str) -> Topic:
    return Topic(name, Any, "desk", cleanup="compact")


async def put(broker: EmbeddedBroker, name: str, state: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap)
    await producer.start()
    try:
        value = json.dumps({"partition": 0, "seen": {}, "state": {"state": state}}).encode()
        await producer.send_and_wait(name, value, b"desk")
    finally:
        await producer.stop()


def shown(view: View, table: str) -> str:
    rows = view.rows(table) if table in view.tables else {}
    return str(rows.get("desk", {}).get("state"))


async def test_the_page_outlives_its_broker_and_goes_on_where_it_was(tmp_path: Path) -> None:
    broker = await asyncio.to_thread(EmbeddedBroker.prepare, tmp_path / "kafka", print)
    access = Access(broker.bootstrap)
    view = View("flowgate", ["risk"])
    # It starts before there is a broker, and the tables' topics come one after the other.
    reader = asyncio.create_task(Reader(access, view).run())
    sender = Sender(access)
    command = KillCommand(operator="Ada", reason="a test", ts_ns=1)
    with pytest.raises(OSError, match="bootstrap"):
        await sender.send(command)
    async with running(broker):
        await create_missing(access, [topic(SWITCH), CONTROL], replication=1)
        await put(broker, SWITCH, "ACTIVE")
        await until(lambda: shown(view, "switch") == "ACTIVE")
        await create_missing(access, [topic(RISK)], replication=1)
        await put(broker, RISK, "one")
        await until(lambda: shown(view, "risk") == "one")
        offset = await sender.send(command)
        await until(lambda: bool(view.changes(0)["events"].get("control")))
    assert not reader.done()
    read = view.version
    async with running(broker):
        await put(broker, SWITCH, "HALTED")
        await until(lambda: shown(view, "switch") == "HALTED")
        assert view.version == read + 1, "records were read twice"
        assert await sender.send(command) == offset + 1
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await sender.stop()
