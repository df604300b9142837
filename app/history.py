"""What a topic holds up to now, a batch at a time: nothing is kept, and a person who waits hears how far it is."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from app.topics import unreachable
from connectors.kafka.access import Access
from contracts.topics import Topic

SILENT_S: Final = 30.0
"""A broker that hands nothing over for so long does not answer."""

PROGRESS_S: Final = 3.0
"""A sentence on the way at least so far apart."""


class HistoryError(Exception):
    """One sentence for the person at the command line."""


class History:
    """Reads topics of one partition from their beginning to where they end when the reading begins."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._told_s = time.monotonic()

    async def batches(self, topic: Topic, since_ms: int = 0) -> AsyncIterator[list[Any]]:
        """Kafka's records, oldest first; with `since_ms`, from the first that was written then or later."""
        partition = TopicPartition(topic.name, 0)
        self._consumer.assign([partition])
        async with asyncio.timeout(SILENT_S):
            begin, end = await self._bounds(partition, since_ms)
        self._consumer.seek(partition, begin)
        position, heard_s = begin, time.monotonic()
        while position < end:
            fetched = (await self._consumer.getmany(partition, timeout_ms=500)).get(partition, [])
            position = await self._consumer.position(partition)
            if fetched:
                heard_s = time.monotonic()
                yield [record for record in fetched if record.offset < end]
                self._tell(topic, position - begin, end - begin)
            elif time.monotonic() - heard_s > SILENT_S:
                raise TimeoutError

    async def _bounds(self, partition: TopicPartition, since_ms: int) -> tuple[int, int]:
        """First offset wanted, and the one behind the last."""
        end: int = (await self._consumer.end_offsets([partition]))[partition]
        if not since_ms:
            return (await self._consumer.beginning_offsets([partition]))[partition], end
        found = (await self._consumer.offsets_for_times({partition: since_ms}))[partition]
        return (end if found is None else found.offset), end

    def _tell(self, topic: Topic, done: int, total: int) -> None:
        if time.monotonic() - self._told_s > PROGRESS_S:
            self._told_s = time.monotonic()
            sys.stderr.write(f"{topic.name}: {min(done, total):,} of {total:,} records read\n")


@asynccontextmanager
async def history(access: Access) -> AsyncIterator[History]:
    """A reader of this broker; HistoryError says in a sentence what stands in the way."""
    # A record that retention takes while we read is not made up for by going to the end.
    consumer = AIOKafkaConsumer(**access.options(), enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        async with asyncio.timeout(SILENT_S):
            await consumer.start()
        yield History(consumer)
    except (KafkaError, ConnectionError, TimeoutError) as error:
        raise HistoryError(await unreachable(access, error)) from error
    finally:
        await consumer.stop()
