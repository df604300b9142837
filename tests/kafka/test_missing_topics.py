"""A worker that is started before its topics says what to run, once, and goes on when they are there."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.processes import Child
from app.stack import WORKER_READY, Stack
from connectors.kafka.admin import create_missing
from connectors.kafka.broker import EmbeddedBroker
from contracts.topics import MARKET_RAW, TOPICS

pytestmark = pytest.mark.stack

SENTENCE = re.compile(
    r"flowgate: Kafka at \S+ has not, or hides from this user: (.+); run python -m app topics --apply"
)


@pytest.fixture
async def bare(tmp_path: Path) -> AsyncIterator[Stack]:
    """A broker without any topic of ours."""
    stack = Stack(tmp_path, print)
    try:
        stack.broker = await asyncio.to_thread(EmbeddedBroker.prepare, tmp_path / "kafka", print)
        stack.children.start("kafka", stack.broker.command, {})
        async with asyncio.timeout(60):
            while await stack.administrator.knock() is not None:
                stack.children.check()
                await asyncio.sleep(0.1)
        yield stack
    finally:
        stack.stop()


def told(child: Child) -> list[str]:
    return SENTENCE.findall(child.log.read_text(errors="replace"))


async def test_a_worker_without_its_topics_says_so_once_for_each_change_and_then_works(bare: Stack) -> None:
    worker = bare.start_worker("ingest")
    match = await bare.until_logged(worker, SENTENCE)
    assert {"market_raw", "market_events", "dlq_market_events"} <= set(match[1].split(", "))
    others = [topic for topic in TOPICS.values() if topic is not MARKET_RAW]
    await create_missing(bare.administrator, others, replication=1)
    async with asyncio.timeout(30):
        while told(worker)[-1] != "market_raw":
            await asyncio.sleep(0.1)
    assert not WORKER_READY.search(worker.log.read_text())
    await create_missing(bare.administrator, [MARKET_RAW], replication=1)
    await bare.until_logged(worker, WORKER_READY)
    assert told(worker)[-1] == "market_raw"
    assert len(told(worker)) <= 3, "the others may have come in two looks"


async def test_a_worker_that_waits_for_its_topics_can_be_stopped(bare: Stack) -> None:
    worker = bare.start_worker("gates")
    await bare.until_logged(worker, SENTENCE)
    began = time.monotonic()
    worker.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(worker.process.wait, 20)
    bare.children.forget(worker)
    assert time.monotonic() - began < 10
