"""Reads the changelogs of all tables and the topics of the page into the view, without a group: nothing is committed.

A worker makes its changelog when it starts, which may be after the page: the topics are looked up again every second.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from aiokafka import AIOKafkaClient, AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from app.web.view import EVENTS_MAX, View
from connectors.kafka.access import Access
from connectors.kafka.backoff import back_off

log = logging.getLogger(__name__)

DISCOVER_S = 1.0
BATCH_RECORDS_MAX = 2_000
"""Records folded before the loop goes round: about 5 ms of work, so that the page's requests never wait for more."""

FETCH_WAIT_MS = 100
FETCH_BYTES_MIN = 1_000_000
"""The broker answers after FETCH_WAIT_MS or with this much, not with every record: the page paints at 4 Hz, and ten
fetches a second cost a fraction of a core less than hundreds."""


class Reader:
    """Keeps its own positions, because a new assignment forgets those of the consumer."""

    def __init__(self, access: Access, view: View) -> None:
        self._access = access
        self._view = view
        self._next: dict[TopicPartition, int] = {}
        self._assigned: set[TopicPartition] = set()

    async def run(self) -> None:
        """Read until cancelled. A broker that is away is tried again every second, from where we were."""
        client = AIOKafkaClient(**self._access.options())
        consumer = AIOKafkaConsumer(
            **self._access.options(),
            auto_offset_reset="earliest",
            fetch_min_bytes=FETCH_BYTES_MIN,
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        back_off(client)
        back_off(consumer._client)
        try:
            await self._patiently(client.bootstrap)
            await self._patiently(consumer.start)
            while True:
                await self._patiently(lambda: self._read_on(client, consumer))
        finally:
            await consumer.stop()
            await client.close()

    async def _patiently(self, action: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await action()
            except KafkaError as error:
                log.warning("the page cannot read Kafka at %s: %s", self._access.bootstrap, error)
                await asyncio.sleep(DISCOVER_S)

    async def _read_on(self, client: AIOKafkaClient, consumer: AIOKafkaConsumer) -> None:
        """Look the topics up, then read what they have for a second."""
        wanted = await self._discover(client)
        if wanted != self._assigned:
            await self._assign(consumer, wanted)
            self._assigned = wanted
        until_s = time.monotonic() + DISCOVER_S
        while (left_s := until_s - time.monotonic()) > 0:
            if wanted:
                await self._take(consumer, left_s)
            else:
                await asyncio.sleep(left_s)

    async def _discover(self, client: AIOKafkaClient) -> set[TopicPartition]:
        cluster = await client.fetch_all_metadata()
        return {
            TopicPartition(topic, partition)
            for topic in cluster.topics()
            if self._view.wants(topic)
            for partition in cluster.partitions_for_topic(topic) or ()
        }

    async def _assign(self, consumer: AIOKafkaConsumer, partitions: set[TopicPartition]) -> None:
        """Tables and dead letters are read from the start; of an event topic only the messages that are kept."""
        consumer.assign(list(partitions))
        fresh = [tp for tp in partitions if tp not in self._next]
        for tp, end in (await consumer.end_offsets(fresh)).items():
            self._next[tp] = max(0, end - EVENTS_MAX[tp.topic]) if tp.topic in EVENTS_MAX else 0
        for tp in partitions:
            consumer.seek(tp, self._next[tp])

    async def _take(self, consumer: AIOKafkaConsumer, wait_s: float) -> None:
        batches = await consumer.getmany(timeout_ms=int(wait_s * 1e3), max_records=BATCH_RECORDS_MAX)
        for tp, records in batches.items():
            for record in records:
                self._view.fold(tp.topic, record.key, record.value, record.timestamp)
            self._next[tp] = records[-1].offset + 1
        await asyncio.sleep(0)  # while there is a backlog nothing else gives the loop away
