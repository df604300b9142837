"""Faust's Kafka transport, a batch at a time.

Stock Faust hands over one message at a time through several asyncio objects, which costs more than the work itself.
Here `getmany` yields one message per partition whose value is the list of records; changelogs, which recovery reads,
stay one by one. A batch takes the offset of its last record.

Acknowledgement: Faust commits by runs of acknowledged offsets and books what lies between two messages as a gap. The
inside of a batch would be such a gap, so gaps are not booked (`_add_gap`), and the offset to commit is the last
acknowledged one plus one (`_new_offset`): right because one agent takes the batches of a partition in order.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from aiokafka.errors import KafkaConnectionError
from aiokafka.producer.message_accumulator import BatchBuilder
from faust.transport.drivers import aiokafka as stock
from faust.types.tuples import ConsumerMessage
from mode.utils.queues import FlowControlEvent

from app.fetching import BatchThread, is_tables
from app.membership import ConsumerThread
from connectors import crash
from connectors.kafka.backoff import back_off, back_off_retries

PACKED_MIN = 8
"""Fewer records than this go out one by one: packing pays when there is something to pack."""

WHOLE_BYTES_MAX = 8 * 2**20
"""Most that one call may write to a changelog: what a thousand open orders come to when a session begins."""

RECORD_BYTES = 64
"""More than Kafka adds to a record, or to a batch."""

Outgoing = tuple[str, int, bytes, bytes | None, list[tuple[str, bytes]]]
"""(topic, partition, key, value, headers)."""


class FlowControl(FlowControlEvent):  # type: ignore[misc]
    """Faust's gate before the streams' queues, which empties them when it opens, but not when it is open already.

    Faust opens it twice around a table's recovery: to read the changelog, and again after it has sought the streams to
    their committed offsets. The fetcher runs in between, so the second opening threw away batches that were fetched
    after the seek, and nobody read them again.
    """

    def resume(self) -> None:
        if not self.is_active():
            super().resume()


class Consumer(stock.Consumer):  # type: ignore[misc]
    """Consumer whose messages are batches."""

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[Any, Any]]:  # noqa: ASYNC109 - Faust's signature
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            return  # a rebalance goes on; the recovery that ends it seeks back to what is committed
        for tp, batch in records.items():
            if not self.flow_active or self.app.consumer_generation_id != generation:
                break
            if not batch or not (active is None or tp in active or tp in self._buffered_partitions):
                continue
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            if is_tables(tp.topic):
                for record in batch:
                    crash.at("worker:recovering")
                    yield tp, self._to_message(tp, record)
            else:
                yield tp, self._batch_message(tp, batch)

    def _batch_message(self, tp: Any, batch: Sequence[Any]) -> ConsumerMessage:
        """A batch as one message, which Faust books under the offset of its last record."""
        last = batch[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            last.timestamp_type,
            last.headers,
            last.key,
            batch,
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    def _new_consumer_thread(self) -> BatchThread:
        return BatchThread(self, loop=self.loop, beacon=self.beacon)

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """Nothing to book: the offsets inside a batch are not gaps."""

    def _new_offset(self, tp: Any) -> int | None:
        acked = self._acked[tp]
        if not acked:
            return None
        last: int = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        return last + 1


class Producer(stock.Producer):  # type: ignore[misc]
    """Idempotent producer: a retry inside the client can neither double nor reorder a message."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    async def hand_over(self, records: Sequence[Outgoing], *, whole: bool = False) -> list[asyncio.Future[Any]]:
        """Send records; await the futures for their acknowledgements. Those of one partition stay in order.

        aiokafka's own `send` makes a future and wakes the sender for each record, which costs ten times the record;
        where many go to one partition they are packed here. If they are to be `whole` they are one batch, of which
        Kafka keeps all or nothing; ValueError if it would be larger than Kafka takes.
        """
        client = self._ensure_producer()
        by_partition: dict[tuple[str, int], list[Outgoing]] = {}
        for record in records:
            by_partition.setdefault(record[:2], []).append(record)
        pending: list[asyncio.Future[Any]] = []
        for (topic, partition), group in by_partition.items():
            if len(group) < PACKED_MIN and not whole:
                for _, _, key, value, headers in group:
                    pending.append(await client.send(topic, value, key=key, partition=partition, headers=headers))
                continue
            batch = room_for(client, group) if whole else client.create_batch()
            for _, _, key, value, headers in group:
                if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
                    pending.append(await client.send_batch(batch, topic, partition=partition))
                    batch = client.create_batch()
                    # The first record of a batch always has room, however large it is.
                    batch.append(timestamp=None, key=key, value=value, headers=headers)
            pending.append(await client.send_batch(batch, topic, partition=partition))
        return pending

    async def on_start(self) -> None:
        try:
            await super().on_start()
        except KafkaConnectionError:
            # The first thing a worker does with Kafka. Faust would print a traceback of its own start.
            brokers = ", ".join(url.authority for url in self.transport.url)
            sys.stderr.write(
                f"flowgate: no Kafka answers at {brokers}; start it, set FLOWGATE_KAFKA__BOOTSTRAP, "
                "or check the user, password and CA; `make demo` starts one of its own\n"
            )
            sys.stderr.flush()
            os._exit(2)
        back_off_retries(self._producer._sender)
        self.app.membership.guard(self._producer._sender)
        back_off(self._producer.client)


def room_for(client: Any, rows: Sequence[Outgoing]) -> BatchBuilder:
    """An empty batch of a client's that takes all of some rows, which have no headers."""
    needed = sum(len(key) + len(value or b"") + RECORD_BYTES for _, _, key, value, _ in rows) + RECORD_BYTES
    if needed > WHOLE_BYTES_MAX:
        raise ValueError(f"{len(rows)} rows of {rows[0][0]} are {needed:,} bytes, and Kafka keeps {WHOLE_BYTES_MAX:,}")
    accumulator = client._message_accumulator
    return BatchBuilder(max(needed, accumulator._batch_size), accumulator._compression_type)


class SingleConsumer(stock.Consumer):  # type: ignore[misc]
    """Faust's own consumer, watched."""

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)


class SingleTransport(stock.Transport):  # type: ignore[misc]
    """Faust's own consumer, one message at a time, with our producer."""

    records_max = 50
    Consumer = SingleConsumer
    Producer = Producer


class Transport(stock.Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with the two classes above.

    `records_max`: records of one fetch over all partitions. They are some ten milliseconds of work, so that a partition
    with much never starves one with little.
    """

    records_max = 4_000
    Consumer = Consumer
    Producer = Producer
