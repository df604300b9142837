"""Reads the changelogs of all tables and the topics of the page into the view, without a group: nothing is committed.

A worker makes its changelog when it starts, which may be after the page: the topics are looked up again every second.
"""

from __future__ import annotations

import asyncio
import logging
import time

from aiokafka import AIOKafkaClient, AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from app.web.view import EVENTS_MAX, View

log = logging.getLogger(__name__)

DISCOVER_S = 1.0
BATCH_RECORDS_MAX = 2_000
"""Records folded before the loop goes round: about 5 ms of work, so that the page's requests never wait for more."""


class Reader:
    """Keeps its own positions, because a new assignment forgets those of the consumer."""

    def __init__(self, bootstrap: str, view: View) -> None:
        self._bootstrap = bootstrap
        self._view = view
        self._next: dict[TopicPartition, int] = {}

    async def run(self) -> None:
        """Read until cancelled; a broker that is away is tried again every second."""
        while True:
            try:
                await self._read()
            except KafkaError as error:
                log.warning("the page cannot read Kafka at %s: %s", self._bootstrap, error)
                await asyncio.sleep(DISCOVER_S)

    async def _read(self) -> None:
        client = AIOKafkaClient(bootstrap_servers=self._bootstrap)
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, auto_offset_reset="earliest")
        try:
            await client.bootstrap()
            await consumer.start()
            assigned: set[TopicPartition] = set()
            look_s = 0.0
            while True:
                if time.monotonic() >= look_s:
                    wanted = await self._discover(client)
                    if wanted != assigned:
                        await self._assign(consumer, wanted)
                        assigned = wanted
                    look_s = time.monotonic() + DISCOVER_S
                if assigned:
                    await self._take(consumer)
                else:
                    await asyncio.sleep(DISCOVER_S)
        finally:
            await consumer.stop()
            await client.close()

    async def _discover(self, client: AIOKafkaClient) -> set[TopicPartition]:
        cluster = await client.fetch_all_metadata()
        return {
            TopicPartition(topic, partition)
            for topic in cluster.topics()
            if self._view.wants(topic)
            for partition in cluster.partitions_for_topic(topic) or ()
        }

    async def _assign(self, consumer: AIOKafkaConsumer, partitions: set[TopicPartition]) -> None:
        """Tables are read from the start; of an event topic only the messages that are kept."""
        consumer.assign(list(partitions))
        fresh = [tp for tp in partitions if tp not in self._next]
        for tp, end in (await consumer.end_offsets(fresh)).items():
            self._next[tp] = max(0, end - EVENTS_MAX[tp.topic]) if tp.topic in EVENTS_MAX else 0
        for tp in partitions:
            consumer.seek(tp, self._next[tp])

    async def _take(self, consumer: AIOKafkaConsumer) -> None:
        batches = await consumer.getmany(timeout_ms=200, max_records=BATCH_RECORDS_MAX)
        now_s = time.monotonic()
        for tp, records in batches.items():
            for record in records:
                self._view.fold(tp.topic, record.key, record.value, now_s)
            self._next[tp] = records[-1].offset + 1
        await asyncio.sleep(0)
