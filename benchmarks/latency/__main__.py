"""`python -m benchmarks.latency`: market event to order bytes over all hops of the desk, beside as many bare hops."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from app.processes import Child, ChildDiedError
from app.stack import ROOT, Stack
from benchmarks import page
from benchmarks.latency.door import Door
from benchmarks.latency.feed import BUCKET_NS
from benchmarks.latency.phases import WARM_UP_S, Phase, latencies_ms
from benchmarks.latency.report import RATES, WORKERS, LatencyError, Samples, breakdown, table, words
from benchmarks.ofi_job import java
from connectors.kafka.jars import JarsUnavailableError
from contracts.market import Heartbeat
from contracts.topics import BROADCAST, MARKET_PARTITIONS, MARKET_RAW, ORDER_COMMANDS, ORDER_INTENTS, TOPICS

READY_S = 60.0
QUIET_S = 3.0
"""Time for the last orders of a run to come by."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each rate")
    parser.add_argument("--only", choices=("bare", "desk"), help="one side alone; the page is not written")
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        asyncio.run(_main(options.seconds, options.only))
    except (LatencyError, ChildDiedError, JarsUnavailableError) as error:
        sys.stderr.write(f"benchmark: {error}\n")
        return 1
    return 0


async def _main(seconds: float, only: str | None) -> None:
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="latency-") as folder:
        stack = Stack(Path(folder), tell, desk())
        try:
            await stack.start_broker()
            bare = {} if only == "desk" else await measure_bare(stack, seconds)
            whole, where_to = ({}, "") if only == "bare" else await measure_desk(stack, seconds)
        finally:
            stack.stop()
    where = page.machine(java.version(), load_before)
    text = f"{table(bare, whole)}\n\n{where_to}"
    tell(f"\n{where}\n\n{text}")
    if only is None:
        page.write("Latency", f"{where}\n\n{text}\n\n{words(seconds)}")


def desk() -> dict[str, str]:
    """Settings of the desk: buckets short enough for many decisions, and slower than the gateway's pacing."""
    return {
        "FLOWGATE_DESK__MARKET__BUCKET_MS": str(BUCKET_NS // 1_000_000),
        "FLOWGATE_DESK__MARKET__BARS_PER_YEAR": str(252 * 23_400 * 10**9 / BUCKET_NS),
    }


async def measure_bare(stack: Stack, seconds: float) -> Samples:
    """Heartbeats through the bare hops: from the last of a bucket's four to the last arrival."""
    tell("bare hops")
    names = ["bare_market_raw", *(f"bare_{topic}" for topics in WORKERS.values() for topic in topics)]
    await _create(stack.bootstrap, names)
    children = []
    position = 0
    for group, topics in WORKERS.items():
        hops: list[str] = []
        for _ in topics:
            hops += ["all" if position == 0 else "heartbeats", names[position], names[position + 1]]
            position += 1
        command = [sys.executable, "-m", "benchmarks.latency.bare", stack.bootstrap, *hops]
        child = stack.children.start(f"bare-{group}", command, {"PYTHONPATH": str(ROOT)}, cwd=ROOT)
        children.append(child)
        await _until_logged(child, "ready", len(topics))
    last = names[-1]
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.bootstrap)
    await consumer.start()
    partitions = [TopicPartition(last, number) for number in range(MARKET_PARTITIONS)]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    caused: dict[str, int] = {}
    arrived: dict[str, int] = {}

    async def follow() -> None:
        async for raw in consumer:
            now_ns = time.time_ns()
            beat = Heartbeat.model_validate_json(raw.value)
            name = str(beat.ts_event_ns)
            caused[name] = max(caused.get(name, 0), beat.ts_ingest_ns)
            arrived[name] = now_ns

    following = asyncio.create_task(follow())
    try:
        phases = await _feed(stack, names[0], seconds)
    finally:
        following.cancel()
        await consumer.stop()
    for child in children:
        stack.children.stop(child)
        stack.children.forget(child)
    return {phase.rate: (phase, latencies_ms(phase, caused, arrived)) for phase in phases}


async def measure_desk(stack: Stack, seconds: float) -> tuple[Samples, str]:
    """Orders through the whole desk, from the event that closed their bucket to the door; and where the time went."""
    tell("the desk")
    door = Door()
    await stack.start_gateway()
    await door.open(stack.gateway_port)
    stack.gateway_port = door.port
    await stack.start_workers(("ingest", "signals", "portfolio", "execution", "risk", "gates"))
    try:
        phases = await _feed(stack, MARKET_RAW.name, seconds)
    finally:
        await door.close()
    caused: dict[str, int] = {}
    written: dict[str, dict[int, list[float]]] = {}
    for topic in (name for names in WORKERS.values() for name in names):
        began, ended = await _stages(stack.bootstrap, topic)
        if topic == ORDER_INTENTS.name:
            caused = {intent_of(name): cause_ns for name, cause_ns in began.items()}
        elif topic == ORDER_COMMANDS.name:
            # Later children of a large order wait for the next buckets on purpose.
            began = {name: cause_ns for name, cause_ns in began.items() if intent_of(name) in caused}
        written[topic] = {phase.rate: latencies_ms(phase, began, ended) for phase in phases}
    samples = {phase.rate: (phase, latencies_ms(phase, caused, door.arrived)) for phase in phases}
    return samples, breakdown(written, samples)


def intent_of(name: str) -> str:
    """The intent id in the name of a message, empty when it has none."""
    return name.rpartition("/")[2]


async def _feed(stack: Stack, topic: str, seconds: float) -> list[Phase]:
    """Run the feed to its end; its phases."""
    rates = [str(rate) for rate in RATES]
    command = [sys.executable, "-m", "benchmarks.latency.feed", stack.bootstrap, topic, str(seconds), *rates]
    child = stack.children.start(f"feed-{topic}", command, {"PYTHONPATH": str(ROOT)}, cwd=ROOT)
    deadline = time.monotonic() + WARM_UP_S + len(RATES) * seconds + READY_S
    while child.process.poll() is None:
        stack.children.check()
        if time.monotonic() > deadline:
            raise LatencyError(f"the feed did not end; its last lines:\n{child.last_lines()}")
        await asyncio.sleep(0.1)
    stack.children.forget(child)
    if child.process.returncode != 0:
        raise ChildDiedError(f"the feed ended with {child.process.returncode}:\n{child.last_lines()}")
    await asyncio.sleep(QUIET_S)
    lines = [line.split() for line in child.log.read_text().splitlines() if line.startswith("phase ")]
    return [Phase(*(int(number) for number in line[1:])) for line in lines]


async def _stages(bootstrap: str, topic: str) -> tuple[dict[str, int], dict[str, int]]:
    """Of every message that closed a bucket or came of one: when its cause was stamped, and when it was written."""
    began: dict[str, int] = {}
    ended: dict[str, int] = {}
    async for raw in _everything(bootstrap, topic):
        message = json.loads(raw.value)
        # Quotes are on their way all the time; behind the cross-section each message belongs to a bucket.
        if raw.key == BROADCAST.encode() or TOPICS[topic].partitions == 1:
            name = f"{raw.partition}/{raw.offset}/{message.get('intent_id', '')}"
            began[name] = message.get("model", message).get("ts_ingest_ns", 0)
            ended[name] = raw.timestamp * 1_000_000
    return began, ended


async def _everything(bootstrap: str, topic: str) -> AsyncIterator[Any]:
    """All records of a topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(TOPICS[topic].partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        left = sum((await consumer.end_offsets(partitions)).values())
        while left > 0:
            for batch in (await consumer.getmany(timeout_ms=1_000)).values():
                for raw in batch:
                    yield raw
                left -= len(batch)
    finally:
        await consumer.stop()


async def _create(bootstrap: str, names: list[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, MARKET_PARTITIONS, 1) for name in names])
    finally:
        await admin.close()


async def _until_logged(child: Child, word: str, times: int) -> None:
    deadline = time.monotonic() + READY_S
    while child.log.read_text().count(word) < times:
        if child.process.poll() is not None or time.monotonic() > deadline:
            raise ChildDiedError(f"{child.name} was not ready; its last lines:\n{child.last_lines()}")
        await asyncio.sleep(0.05)


def tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
