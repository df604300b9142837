"""A desk to be disturbed: ingest and signals workers on real Kafka, the market they are fed, what they leave behind."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from app.decoding import origin
from app.demo import desk_settings
from app.processes import Child
from app.stack import ROOT, WORKER_READY, Stack
from connectors.market.source import describe, open_source
from contracts import topics as t
from contracts.market import Heartbeat
from contracts.topics import BROADCAST, MARKET_RAW, market_partition
from tables.rows import Row, any_row

GROUPS = ("ingest", "signals")
TABLES = {
    "ingest": ("sequences",),
    "signals": ("ofi", "signals"),
    "portfolio": ("covariance", "regime", "targets"),
    "gates": ("gates",),
}
OUTPUTS = {
    "ingest": (t.MARKET_EVENTS,),
    "signals": (t.OFI_EVENTS, t.SIGNAL_EVENTS),
    "portfolio": (t.COVARIANCE_EVENTS, t.CROSS_SECTIONS, t.PORTFOLIO_TARGETS, t.ORDER_INTENTS),
    "gates": (t.GATE_VERDICTS,),
}
SOURCES = {
    "ingest": (t.MARKET_RAW,),
    "signals": (t.MARKET_EVENTS, t.OFI_EVENTS),
    "portfolio": (t.SIGNAL_EVENTS, t.COVARIANCE_EVENTS, t.CROSS_SECTIONS),
    "gates": (t.GATE_EVIDENCE,),
}
"""In the order in which a record passes through them."""

FINISH_S = 120.0
TRANSPORTS = ("batched", "single")
TRANSPORT = os.environ.get("FLOWGATE_TRANSPORT", TRANSPORTS[0])
"""Of the tests that do not name one: `FLOWGATE_TRANSPORT=single make test` runs them all on Faust's own consumer."""

FREEZE_FILE = "freeze"

Market = Sequence[tuple[bytes, bytes, int]]
"""(key, value, partition) of records of `market_raw`."""


@dataclass
class Result:
    """What one run left behind.

    `tables` by name and key, `outputs` by topic, each once; `repeats` that a reader of them leaves out. `written_ms`
    are the stamps of the changelog records of each group by table and partition.
    """

    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    outputs: dict[str, list[tuple[bytes, bytes]]] = field(default_factory=dict)
    repeats: int = 0
    written_ms: dict[str, dict[tuple[str, int], list[int]]] = field(default_factory=dict)

    def back_s(self, group: str, killed_ms: float) -> float | None:
        """Seconds from a kill until every partition of the group was written again; None if the data ended first."""
        later = [
            next((stamp for stamp in stamps if stamp > killed_ms), None) for stamps in self.written_ms[group].values()
        ]
        found = [stamp for stamp in later if stamp is not None]
        return (max(found) - killed_ms) / 1_000 if len(found) == len(later) else None


def recording(seed: int, records: int) -> Market:
    """The first records of the synthetic market, and heartbeats that close its end."""
    market = list(islice(open_source("synthetic", seed=seed), records))
    last = max(record.ts_event_ns for record in market)
    market += [Heartbeat(partition=p, ts_event_ns=last + 10**10, ts_ingest_ns=last + 10**10) for p in range(4)]
    out = []
    for record in market:
        beat = isinstance(record, Heartbeat)
        key = BROADCAST if isinstance(record, Heartbeat) else record.instrument
        partition = record.partition if isinstance(record, Heartbeat) else market_partition(key)
        assert beat or partition >= 0
        out.append((key.encode(), record.model_dump_json().encode(), partition))
    return out


class Desk(Stack):
    """Workers that can be frozen at a place, lack a protection, or are many of one group."""

    def __init__(
        self, folder: Path, transport: str = TRANSPORT, session_s: float = 10.0, store: str = "memory"
    ) -> None:
        desk = {
            **desk_settings(describe("synthetic")),
            "FLOWGATE_TRANSPORT": transport,
            "FLOWGATE_STORE": store,
            "FLOWGATE_KAFKA__SESSION_S": str(session_s),
        }
        super().__init__(folder, lambda _line: None, desk)

    def start_special(self, group: str, instance: int = 0, without: str = "") -> Child:
        """A worker that freezes at the place that `freeze_at` names, and lacks the protection `without`."""
        module = ["tests.chaos.unprotected"] if without else ["faust", "-A", "app"]
        env = {
            **self.env_of(group),
            "AGENT_GROUP": group,
            "FLOWGATE_INSTANCE": f"dev-{instance}",
            "FLOWGATE_CRASH_FILE": str(self.folder / FREEZE_FILE),
            "FLOWGATE_CRASH_BY": "SIGSTOP",
            "FLOWGATE_WITHOUT": without,
        }
        command = [sys.executable, "-m", *module, "worker", "--without-web", "--loglevel", "info"]
        return self.children.start(f"worker-{group}-{instance}", command, env, cwd=ROOT)

    def freeze_at(self, place: str) -> None:
        """Freeze the special worker when it next comes to the place."""
        (self.folder / FREEZE_FILE).write_text(f"{place} 1")

    async def ready(self, worker: Child) -> Child:
        await self.until_logged(worker, WORKER_READY)
        return worker

    def end(self, worker: Child) -> None:
        """SIGTERM, and wait: a clean shutdown."""
        self.children.stop(worker)
        self.children.forget(worker)


async def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait for a condition; TimeoutError says what did not happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(0.02)


def frozen(worker: Child) -> bool:
    """Whether the kernel has stopped the process."""
    return Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def send(bootstrap: str, market: Market, rate: float) -> None:
    """Send the recording at an even pace, in records a second."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    await producer.start()
    try:
        began = time.monotonic()
        for number, (key, value, partition) in enumerate(market):
            await producer.send(MARKET_RAW.name, value, key=key, partition=partition)
            if number % 50 == 0:
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        await producer.flush()
    finally:
        await producer.stop()


async def until_written(desk: Desk, topic: str, records: int) -> None:
    """Wait until a topic has so many records."""
    while await lag(desk, "nobody", topic) < records:
        desk.children.check()
        await asyncio.sleep(0.1)


async def finished(desk: Desk, groups: Sequence[str] = GROUPS) -> None:
    """Wait until the groups have committed the end of all their sources, in the order of the flow."""
    deadline = time.monotonic() + FINISH_S
    for name, topic in [(group, topic.name) for group in groups for topic in SOURCES[group]]:
        while left_over := await lag(desk, f"flowgate-{name}", topic):
            desk.children.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} did not come to the end of {topic}: {left_over} records are left")
            await asyncio.sleep(0.1)


async def lag(desk: Desk, group: str, topic: str) -> int:
    """Records of a topic that a group has not committed."""
    committed = await offsets(desk, group, topic)
    consumer = AIOKafkaConsumer(bootstrap_servers=desk.bootstrap)
    await consumer.start()
    try:
        places = [TopicPartition(topic, partition) for partition in committed]
        ends: dict[TopicPartition, int] = await consumer.end_offsets(places)
        return sum(ends.values()) - sum(committed.values())
    finally:
        await consumer.stop()


async def offsets(desk: Desk, group: str, topic: str) -> dict[int, int]:
    """What a group has committed, by partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=desk.bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        places = [TopicPartition(topic, partition) for partition in range(t.TOPICS[topic].partitions)]
        consumer.assign(places)
        return {place.partition: await consumer.committed(place) or 0 for place in places}
    finally:
        await consumer.stop()


async def collect(desk: Desk, groups: Sequence[str] = GROUPS) -> Result:
    """Wait for the end, stop the workers, read tables and outputs."""
    await finished(desk, groups)
    for worker in [child for child in desk.children if child.name.startswith("worker-")]:
        await asyncio.to_thread(desk.end, worker)
    return await left(desk, groups)


async def left(desk: Desk, groups: Sequence[str] = GROUPS) -> Result:
    """Tables and outputs as they are now."""
    result = Result()
    for topic in [topic.name for group in groups for topic in OUTPUTS[group]]:
        records = await read(desk.bootstrap, topic)
        result.outputs[topic] = taken_once(records)
        result.repeats += len(records) - len(result.outputs[topic])
    for group in groups:
        stamps: dict[tuple[str, int], list[int]] = defaultdict(list)
        for name in TABLES[group]:
            changelog = await read(desk.bootstrap, f"flowgate-{group}-{name}-changelog")
            result.tables[name] = {record.key.decode(): any_row(record.value)["state"] for record in changelog}
            for record in changelog:
                stamps[name, record.partition].append(record.timestamp)
        result.written_ms[group] = dict(stamps)
    return result


def taken_once(records: Sequence[Any]) -> list[tuple[bytes, bytes]]:
    """Messages that are no repeats, by stream and key: the order in which streams meet in one partition is free."""
    readers: dict[tuple[bytes, str], Row[None]] = {}
    taken: list[tuple[str, bytes, bytes]] = []
    for record in records:
        stream, position = origin(record)
        row = readers.setdefault((record.key, stream), Row(0, {}))
        if not row.is_repeat(stream, position):
            row.seen[stream] = position
            taken.append((stream, record.key, record.value))
    return [(key, value) for _, key, value in sorted(taken, key=lambda item: item[:2])]


async def read(bootstrap: str, topic: str) -> list[Any]:
    """All records of a topic."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        await consumer.seek_to_beginning()
        records: list[Any] = []
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                records += batch
        return sorted(records, key=lambda record: (record.partition, record.offset))
    finally:
        await consumer.stop()


def differences(calm: Result, disturbed: Result) -> list[str]:
    """What differs, one line each."""
    lines = [f"table {name}" for name in calm.tables if calm.tables[name] != disturbed.tables[name]]
    for topic, records in calm.outputs.items():
        other = disturbed.outputs[topic]
        if records != other:
            lines.append(f"{topic}: {len(records)} outputs undisturbed, {len(other)} here")
    return lines
