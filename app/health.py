"""Is Kafka well, and does everybody keep up? One object, for the doctor, the page and the metrics."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from agents.catalogue import GROUPS
from app import workers
from app.topics import unreachable
from app.workers import Worker
from connectors.kafka.access import Access
from connectors.kafka.admin import administrator, differences
from contracts.topics import TOPICS

ANSWER_S: Final = 5.0
"""A broker that takes longer than this to say which topics it has is away: it takes milliseconds."""

LAG_MAX: Final = 10_000
"""Records behind which a group is called slow: some seconds of a busy market, and less than a second of work."""

ALL: Final = "all"
"""The group of a single worker that runs every agent."""

Lag = dict[tuple[str, str, int], int]
"""Records behind the end by (group, topic, partition), for partitions the group has read from."""

DeadLetters = Mapping[tuple[str, str], int]
"""How many by (topic they come from, reason)."""


@dataclass(frozen=True)
class Health:
    """What was seen at one moment, `seen_ns`.

    `answer_ms` is None when the broker did not answer, and `problem` says so in a sentence. `topics` has a line for
    each that is not as declared. The workers are those of the last time the broker answered, asked now.
    """

    seen_ns: int
    problem: str = ""
    answer_ms: float | None = None
    topics: tuple[str, ...] = ()
    lag: Lag = field(default_factory=dict)
    workers: tuple[Worker, ...] = ()
    dead_letters: DeadLetters = field(default_factory=dict)

    @property
    def well(self) -> bool:
        """Broker there, topics as declared, nobody far behind, and every worker answers."""
        answered = all(worker.queued is not None for worker in self.workers)
        return not self.problem and not self.topics and answered and all(lag <= LAG_MAX for lag in self.lag.values())

    @property
    def groups(self) -> list[str]:
        """Groups that have a worker or have ever read, in the order of the flow."""
        there = {group for group, _, _ in self.lag} | {worker.group for worker in self.workers}
        return [group for group in (*GROUPS, ALL) if group in there]

    @property
    def members(self) -> Counter[str]:
        """Workers in each group."""
        return Counter(worker.group for worker in self.workers)

    def lag_of(self, group: str) -> dict[str, int]:
        """Records behind, by `topic/partition`."""
        return {f"{topic}/{partition}": lag for (name, topic, partition), lag in self.lag.items() if name == group}

    def lines(self) -> list[str]:
        """The same for a person, one finding a line."""
        lines = [f"broker   {self.problem}"] if self.problem else []
        if self.answer_ms is not None:
            lines.append(f"broker   answered in {self.answer_ms:.0f} ms")
            lines += [f"topics   {difference}" for difference in self.topics] or ["topics   all are as declared"]
            lines += [self._group_line(group) for group in self.groups] or ["lag      no group has read anything yet"]
        for worker in self.workers:
            queue = f"{worker.queued} batches" if worker.queued is not None else "DOES NOT ANSWER at"
            where = "" if worker.queued is not None else f" {worker.host}:{worker.port}"
            lines.append(f"queue    {worker.instance:<20} {queue}{where}")
            if worker.restoring is not None:
                read, total = worker.restoring
                lines.append(f"tables   {worker.instance:<20} restoring: {read:,} of {total:,} changelog records")
        lines += [
            f"letters  {count:>8,}  {topic:<20} {reason}"
            for (topic, reason), count in sorted(self.dead_letters.items())
        ]
        return lines

    def _group_line(self, group: str) -> str:
        count, lags = self.members[group], self.lag_of(group)
        head = f"lag      {group:<10} {count or 'no'} worker{'' if count == 1 else 's'}"
        if not lags:
            return f"{head}, nothing read yet"
        worst = max(lags, key=lambda place: lags[place])
        verdict = "  SLOW" if lags[worst] > LAG_MAX else ""
        return f"{head}, {sum(lags.values()):,} records behind, most at {worst}: {lags[worst]:,}{verdict}"

    def document(self) -> dict[str, Any]:
        """The same as JSON, for the page and for scripts."""
        return {
            "well": self.well,
            "seen_ns": str(self.seen_ns),
            "problem": self.problem,
            "answer_ms": self.answer_ms,
            "topics": list(self.topics),
            "groups": [
                {"group": group, "workers": self.members[group], "lag_records": self.lag_of(group)}
                for group in self.groups
            ],
            "lag_records_max": LAG_MAX,
            "workers": [
                {
                    "group": w.group,
                    "instance": w.instance,
                    "producer_queue_batches": w.queued,
                    "restoring_records": list(w.restoring) if w.restoring is not None else None,
                }
                for w in self.workers
            ],
            "dead_letters": [
                {"topic": topic, "reason": reason, "count": count}
                for (topic, reason), count in sorted(self.dead_letters.items())
            ],
        }


async def examine(access: Access, replication: int, prefix: str, before: Health | None = None) -> Health:
    """Look once; never raises for a broker that is away: then the workers of `before` are asked all the same."""
    began, seen_ns = time.monotonic(), time.time_ns()
    try:
        async with asyncio.timeout(ANSWER_S):
            topics = tuple(await differences(access, list(TOPICS.values()), replication))
            answer_ms = (time.monotonic() - began) * 1_000
            async with administrator(access) as admin:
                members = await workers.members(admin, prefix, (*GROUPS, ALL))
                committed = await _committed(admin, prefix)
            lag = await _lag(access, committed)
    except (KafkaError, OSError, TimeoutError) as error:
        known = before.workers if before is not None else ()
        return Health(seen_ns, await unreachable(access, error), workers=await workers.ask(known))
    return Health(seen_ns, "", answer_ms, topics, lag, await workers.ask(members))


async def _committed(admin: AIOKafkaAdminClient, prefix: str) -> Lag:
    """The next offset of each group in each partition of a topic of ours that it has read from."""
    committed: Lag = {}
    for group in (*GROUPS, ALL):
        offsets = await admin.list_consumer_group_offsets(f"{prefix}-{group}")
        for place, found in offsets.items():
            if found.offset >= 0 and place.topic in TOPICS:
                committed[(group, place.topic, place.partition)] = found.offset
    return committed


async def _lag(access: Access, committed: Lag) -> Lag:
    places = {TopicPartition(topic, partition) for _, topic, partition in committed}
    if not places:
        return {}
    consumer = AIOKafkaConsumer(**access.options())
    # All topics are looked up at once this way, and one after the other, a tenth of a second each, without it.
    consumer.assign(list(places))
    consumer.pause(*places)
    await consumer.start()
    try:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(list(places))
    finally:
        await consumer.stop()
    return {key: max(0, ends[TopicPartition(*key[1:])] - offset) for key, offset in sorted(committed.items())}
