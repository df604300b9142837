"""One broker, the input on it, and one contestant at a time."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError

from app.processes import Child, ChildDiedError, Children
from benchmarks.ofi_job import workload
from benchmarks.ofi_job.contestants import Contestant
from benchmarks.ofi_job.job import Place
from connectors.kafka.broker import EmbeddedBroker
from connectors.kafka.jars import Progress
from contracts.topics import MARKET_EVENTS, MARKET_PARTITIONS, OFI_EVENTS, TOPICS

ROOT = Path(__file__).resolve().parents[2]
STALLED_S = 60.0
"""A contestant that publishes nothing for so long has stopped; the slowest starts in 10 s on a busy machine."""

WARM_UP_FRAC = 0.25
"""Share of the outputs that are not timed: connections, first fetches, and the JVM's compiler get warm on them."""

PART = "_part"
"""Suffix of the topic with the first part of the same events, for contestants that would take minutes for all."""


class RaceError(RuntimeError):
    """A contestant did not do the job; the message says which and how."""


@dataclass(frozen=True)
class Result:
    """One run. `cpu_us` is processor time per event, `changelog` the number of state records it wrote to Kafka."""

    events: int
    outputs: int
    events_per_s: float
    cpu_us: float
    rss_mib: float
    changelog: int


@dataclass(frozen=True)
class Course:
    """An input topic, the number of its events, and the outputs that belong to it."""

    topic: str
    events: int
    expected: list[str]


class Race:
    """The broker of one benchmark and the courses on it."""

    def __init__(self, folder: Path, tell: Progress) -> None:
        self.folder = folder
        self._tell = tell
        self.children = Children(folder / "logs")
        self.bootstrap = ""
        self.courses: dict[bool, Course] = {}
        self._runs = 0

    async def start(self, events: int, part_events: int, seed: int, instruments: int) -> None:
        """Start Kafka, make the input once and write it to it."""
        broker = await asyncio.to_thread(EmbeddedBroker.prepare, self.folder / "kafka", self._tell)
        properties = broker.folder / "server.properties"
        # The broker stamps each output with its own clock: the times of all contestants come from one place.
        # Several workers of a contestant come into their group together.
        extra = "log.message.timestamp.type=LogAppendTime\ngroup.initial.rebalance.delay.ms=3000\n"
        properties.write_text(properties.read_text() + extra)
        self.bootstrap = broker.bootstrap
        kafka = self.children.start("kafka", broker.command, {})
        await self._until_kafka_answers(kafka)
        for is_part, count in ((False, events), (True, part_events)):
            messages = workload.make(count, seed, instruments)
            course = Course(MARKET_EVENTS.name + PART * is_part, len(messages), workload.expected(messages))
            await self._create([course.topic])
            await workload.load(self.bootstrap, course.topic, messages)
            self.courses[is_part] = course
        others = [topic for topic in TOPICS.values() if topic.name not in (MARKET_EVENTS.name, OFI_EVENTS.name)]
        await self._create([topic.name for topic in others])

    async def run(self, contestant: Contestant, profile: Path | None = None) -> Result:
        """One run of one contestant; RaceError if it does not give the expected outputs, each once."""
        self._runs += 1
        name = f"{contestant.name}-{self._runs}"
        course = self.courses[contestant.part]
        await self._fresh_output()
        folder = self.folder / name
        folder.mkdir()
        place = Place(self.bootstrap, course.topic, OFI_EVENTS.name, f"job-{name}", str(folder))
        if contestant.changelog:
            await self._create([f"{place.group}-changelog"])
        environment = {"PYTHONPATH": str(ROOT), **place.environment}
        if profile is not None:
            environment["OFI_JOB_PROFILE"] = str(profile)
        workers = [
            self.children.start(
                f"{name}-{number}",
                contestant.command(place),
                environment | contestant.environment(place, number),
                cwd=ROOT,
            )
            for number in range(contestant.processes)
        ]
        try:
            cpu_s = await self._until_written(workers, len(course.expected))
            rss_mib = sum(peak_rss_mib(worker.process.pid) for worker in workers)
        finally:
            for worker in workers:
                self.children.stop(worker)
                self.children.forget(worker)
        outputs = await self._outputs()
        check(contestant.name, [value for _, value in outputs], course.expected)
        own = [topic for topic in await self._topics() if place.group in topic]
        state = sum((await self._ends([topic for topic in own if "changelog" in topic])).values())
        await self._delete(own)
        events_per_s = rate(course.events, [stamp for stamp, _ in outputs])
        return Result(course.events, len(outputs), events_per_s, 1e6 * cpu_s / course.events, rss_mib, state)

    def stop(self) -> None:
        self.children.stop_all(keep_last=("kafka",))

    async def _until_kafka_answers(self, kafka: Child) -> None:
        host, _, port = self.bootstrap.partition(":")
        deadline = time.monotonic() + STALLED_S
        while True:
            self.children.check()
            try:
                _reader, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                if time.monotonic() > deadline:
                    raise ChildDiedError(f"kafka does not answer; its last lines:\n{kafka.last_lines()}") from None
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return

    async def _until_written(self, workers: Sequence[Child], wanted: int) -> float:
        """Wait for so many outputs; returns the processor seconds they took, all of them at the rate after warm-up."""
        written, moved = 0, time.monotonic()
        warm, cpu_s_then = 0, 0.0
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
        await consumer.start()
        try:
            partitions = [TopicPartition(OFI_EVENTS.name, number) for number in range(MARKET_PARTITIONS)]
            while written < wanted:
                self.children.check()
                now = sum((await consumer.end_offsets(partitions)).values())
                if now > written:
                    written, moved = now, time.monotonic()
                    if not warm and written >= WARM_UP_FRAC * wanted:
                        warm, cpu_s_then = written, cpu_s(workers)
                elif time.monotonic() - moved > STALLED_S:
                    child, lines = workers[0], workers[0].last_lines()
                    raise RaceError(f"{child.name} stopped at {written} of {wanted} outputs; its last lines:\n{lines}")
                await asyncio.sleep(0.02)
            return (cpu_s(workers) - cpu_s_then) * wanted / max(1, wanted - warm)
        finally:
            await consumer.stop()

    async def _outputs(self) -> list[tuple[int, str]]:
        """(append time in ms, canonical output) of everything in the output topic."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            partitions = [TopicPartition(OFI_EVENTS.name, number) for number in range(MARKET_PARTITIONS)]
            consumer.assign(partitions)
            left = sum((await consumer.end_offsets(partitions)).values())
            outputs: list[tuple[int, str]] = []
            while len(outputs) < left:
                for batch in (await consumer.getmany(timeout_ms=1_000)).values():
                    outputs += [(raw.timestamp, workload.canonical(raw.value)) for raw in batch]
            return sorted(outputs)
        finally:
            await consumer.stop()

    async def _ends(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        if not topics:
            return {}
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
        await consumer.start()
        try:
            ends: dict[TopicPartition, int] = await consumer.end_offsets(
                [TopicPartition(topic, number) for topic in topics for number in range(MARKET_PARTITIONS)]
            )
            return ends
        finally:
            await consumer.stop()

    async def _fresh_output(self) -> None:
        await self._delete([OFI_EVENTS.name])
        await self._create([OFI_EVENTS.name])

    async def _topics(self) -> list[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            return list(await admin.list_topics())
        finally:
            await admin.close()

    async def _delete(self, topics: Sequence[str]) -> None:
        present = set(await self._topics()).intersection(topics)
        if not present:
            return
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            await admin.delete_topics(sorted(present))
            while present.intersection(await admin.list_topics()):
                await asyncio.sleep(0.05)
        finally:
            await admin.close()

    async def _create(self, topics: Sequence[str]) -> None:
        """Create topics; a deleted one of the same name may still be on its way out."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            missing = set(topics)
            while missing:
                new = [NewTopic(name, TOPICS.get(name, MARKET_EVENTS).partitions, 1) for name in sorted(missing)]
                try:
                    await admin.create_topics(new)
                except TopicAlreadyExistsError:
                    await asyncio.sleep(0.05)
                missing -= set(await admin.list_topics())
        finally:
            await admin.close()


def check(name: str, outputs: Sequence[str], expected: Sequence[str]) -> None:
    """RaceError unless the outputs are exactly the expected ones, each once."""
    got = sorted(outputs)
    if got == list(expected):
        return
    missing, surplus = set(expected) - set(got), set(got) - set(expected)
    repeated = len(got) - len(set(got))
    example = min(surplus or missing or {"a repeat"})
    raise RaceError(
        f"{name} gives other results: {len(missing)} outputs missing, {len(surplus)} wrong, {repeated} repeated of "
        f"{len(expected)}; for example {example}"
    )


def rate(events: int, stamps_ms: Sequence[int]) -> float:
    """Events per second between the output that ends the warm-up and the last one.

    Outputs are spread evenly over the events, so a share of the outputs is that share of the events, in whatever order
    a contestant takes the partitions.
    """
    warm = round(len(stamps_ms) * WARM_UP_FRAC)
    share = 1 - warm / len(stamps_ms)
    return share * events / (max(1, stamps_ms[-1] - stamps_ms[warm - 1]) / 1_000)


def peak_rss_mib(pid: int) -> float:
    """Largest resident memory of a process so far; 0 where the kernel does not say."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(match[1]) / 1024 if match else 0.0


def cpu_s(workers: Sequence[Child]) -> float:
    """Processor seconds of all threads of some processes so far; 0 where the kernel does not say."""
    ticks = 0
    for worker in workers:
        try:
            fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
