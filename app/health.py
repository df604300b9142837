"""Is Kafka well, and does everybody keep up? One object, for the doctor, the page and the metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from agents.spec import AgentSpec
from app.topics import unreachable
from connectors.kafka.access import Access
from connectors.kafka.admin import administrator, differences
from contracts.topics import TOPICS, Topic

ANSWER_S = 5.0
"""A broker that takes longer than this to say which topics it has is away: it takes milliseconds."""

LAG_MAX = 10_000
"""Records behind which a group is called slow: some seconds of a busy market, and less than a second of work."""


@dataclass(frozen=True)
class Health:
    """What was seen at one moment.

    `answer_ms` is None when the broker did not answer, and `problem` says so in a sentence. `lag` is records behind
    the end by (group, topic, partition), for partitions the group has read from; `queued` batches a producer holds.
    """

    problem: str = ""
    answer_ms: float | None = None
    topics: tuple[str, ...] = ()
    lag: dict[tuple[str, str, int], int] = field(default_factory=dict)
    queued: int | None = None

    @property
    def well(self) -> bool:
        """Broker there, topics as declared, nobody far behind."""
        return not self.problem and not self.topics and all(lag <= LAG_MAX for lag in self.lag.values())

    def lines(self) -> list[str]:
        """The same for a person, one finding a line."""
        if self.answer_ms is None:
            return [f"broker   {self.problem}"]
        lines = [f"broker   answered in {self.answer_ms:.0f} ms"]
        lines += [f"topics   {difference}" for difference in self.topics] or ["topics   all are as declared"]
        if self.queued is not None:
            lines.append(f"queue    {self.queued} batches wait to be sent")
        groups = sorted({group for group, _, _ in self.lag})
        lines += [self._group_line(group) for group in groups]
        return lines if groups else [*lines, "lag      no group has read anything yet"]

    def _group_line(self, group: str) -> str:
        lags = {f"{topic}/{partition}": lag for (name, topic, partition), lag in self.lag.items() if name == group}
        worst = max(lags, key=lambda place: lags[place])
        verdict = "  SLOW" if lags[worst] > LAG_MAX else ""
        return f"lag      {group:<20} {sum(lags.values()):>8,} records, most at {worst}: {lags[worst]:,}{verdict}"


async def examine(
    access: Access, replication: int, prefix: str, specs: Iterable[AgentSpec], producer: AIOKafkaProducer | None = None
) -> Health:
    """Look once; never raises for a broker that is away. `producer` is the one whose queue is wanted."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(ANSWER_S):
            found = await differences(access, list(TOPICS.values()), replication)
            answer_ms = (time.monotonic() - began) * 1_000
            lag = await _lag(access, prefix, specs)
    except (KafkaError, OSError, TimeoutError) as error:
        problem = unreachable(access.bootstrap, error)
        return Health(problem)
    return Health("", answer_ms, tuple(found), lag, queued(producer) if producer is not None else None)


async def _lag(access: Access, prefix: str, specs: Iterable[AgentSpec]) -> dict[tuple[str, str, int], int]:
    sources: dict[str, set[Topic]] = {}
    for spec in specs:
        sources.setdefault(spec.group, set()).update(spec.sources)
    committed: dict[tuple[str, str, int], int] = {}
    async with administrator(access) as admin:
        for group in sources:
            offsets = await admin.list_consumer_group_offsets(f"{prefix}-{group}")
            for place, found in offsets.items():
                if found.offset >= 0 and place.topic in TOPICS:
                    committed[(group, place.topic, place.partition)] = found.offset
    places = {TopicPartition(topic, partition) for _, topic, partition in committed}
    ends = await _ends(access, list(places)) if places else {}
    return {key: max(0, ends[TopicPartition(key[1], key[2])] - offset) for key, offset in sorted(committed.items())}


async def _ends(access: Access, places: list[TopicPartition]) -> dict[TopicPartition, int]:
    consumer = AIOKafkaConsumer(**access.options())
    await consumer.start()
    try:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(places)
        return ends
    finally:
        await consumer.stop()


def queued(producer: AIOKafkaProducer) -> int:
    """Batches that a producer holds and Kafka has not acknowledged: it grows while the broker is away."""
    batches: dict[TopicPartition, list[object]] = producer._message_accumulator._batches
    return sum(len(waiting) for waiting in batches.values())
