"""Records as aiokafka's parser made them.

aiokafka copies each parsed record into an object of its own, which costs three times the parsing. A parsed record has
the offset, the value and the headers, and the batch it is in says the topic and the partition: that is all we read.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka.consumer.fetcher import FetchResult

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
    """Have what was fetched and not yet handed over not copied."""
    for tp, fetched in fetcher._records.items():
        if isinstance(fetched, FetchResult) and fetched._partition_records is not None and not is_tables(tp.topic):
            fetched._partition_records._consumer_record = _as_parsed


def _as_parsed(_tp: Any, record: Any) -> Any:
    return record


def is_tables(topic: str) -> bool:
    """Whether a topic is Faust's own, whose records it reads one by one."""
    return topic.endswith("-changelog") or "__assignor" in topic
