"""Records as aiokafka's parser made them, a batch of the broker's at a time.

aiokafka copies each parsed record into an object of its own, and hands it through two generators, which costs five
times the parsing. A parsed record has the offset, the value and the headers, and the batch it is in says the topic and
the partition: that is all we read.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import CorruptRecordException

from app.membership import ConsumerThread


class BatchThread(ConsumerThread):
    """Consumer thread that hands over the records of streams as they were parsed, and those of tables as Faust's."""

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Any,
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's signature
        max_records: int | None = None,
    ) -> Any:
        fetcher = consumer._fetcher
        keep_as_parsed(fetcher)
        records = await super()._fetch_records(consumer, active_partitions, 0, max_records)
        if records or not timeout or not self.consumer.flow_active:
            return records
        waiter = fetcher._create_fetch_waiter()
        await asyncio.wait([waiter], timeout=timeout)
        if not waiter.done():
            waiter.cancel()
            return {}
        waiter.result()  # raises what the broker refused
        keep_as_parsed(fetcher)
        return await super()._fetch_records(consumer, active_partitions, 0, max_records)


def keep_as_parsed(fetcher: Any) -> None:
    """Have what was fetched for streams, and not yet handed over, taken as it was parsed."""
    for tp, fetched in fetcher._records.items():
        if isinstance(fetched, FetchResult) and not is_tables(tp.topic) and "getall" not in vars(fetched):
            fetched.getall = Parsed(fetched).take


class Parsed:
    """What one fetch brought of a partition: batches of the broker's, and what is left of the last one opened."""

    def __init__(self, fetched: FetchResult) -> None:
        self._fetched = fetched
        self._left: list[Any] = []
        self._begin = self._end = fetched._partition_records.next_fetch_offset
        # aiokafka's own generator, and below we ourselves: circles that would keep what was fetched in memory.
        fetched._partition_records._records_iterator = None

    def take(self, max_records: int) -> list[Any]:
        """The next records; none where the partition was taken away, paused or sought in the meantime."""
        fetched = self._fetched
        if not fetched.check_assignment(fetched._topic_partition) or not fetched.has_more():
            return []
        parsed, batches, found = fetched._partition_records, fetched._partition_records._records, self._left
        while batches.has_next() and len(found) < max_records:
            batch = batches.next_batch()
            if not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {fetched._topic_partition}")
            if not batch.is_control_batch:
                # A fetch begins with the batch that has the wanted offset, which need not be its first.
                begin = self._begin
                found += batch if batch.base_offset >= begin else [one for one in batch if one.offset >= begin]
            self._end = batch.next_offset
        self._left = found[max_records:]
        parsed.next_fetch_offset = self._left[0].offset if self._left else self._end
        fetched._update_position()
        if not self._left and not batches.has_next():
            fetched._partition_records = None
            del fetched.getall
        return found[:max_records]


def is_tables(topic: str) -> bool:
    """Whether a topic is Faust's own, whose records it reads one by one."""
    return topic.endswith("-changelog") or "__assignor" in topic
