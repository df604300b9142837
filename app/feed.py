"""The market feed: reads a source at a given speed and sends its records, stamped with the time, to `market_raw`.

The broker's log is the feed's memory: after a restart the records of each instrument that are already in the topic are
passed over, by their sequence number.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from app.decoding import decode
from app.topics import unreachable
from connectors.kafka.access import BACK_OFF_S, Access
from connectors.kafka.backoff import back_off, back_off_retries
from connectors.market.source import SourceError, open_source
from contracts.market import Heartbeat, RawBook, RawHalt, RawTrade
from contracts.topics import (
    BATCH_BYTES,
    BROADCAST,
    COMPRESSION,
    LINGER_MS,
    MARKET_PARTITIONS,
    MARKET_RAW,
    market_partition,
)

CATCH_UP_S = 0.001
"""Records due within a millisecond go out together: a sleep is no finer than that."""


STABLE_S = 60.0
"""A connection that held this long was a good one, and the next wait is the shortest again."""


@dataclass(frozen=True)
class Pace:
    """Event time per wall time, and how many seconds of event time go out at once at the start."""

    speed: float
    warm_up_s: float = 0.0


async def run(access: Access, spec: str, seed: int, pace: Pace) -> int:
    """Feed until the source ends; returns the number of records sent."""
    producer = AIOKafkaProducer(
        **access.options(),
        enable_idempotence=True,
        linger_ms=LINGER_MS,
        max_batch_size=BATCH_BYTES,
        compression_type=COMPRESSION,
    )
    await producer.start()
    back_off(producer.client)
    back_off_retries(producer._sender)
    try:
        sent = await _send(producer, open_source(spec, seed=seed), await _already_sent(access), pace)
        await producer.flush()
        return sent
    finally:
        await producer.stop()


async def _send(
    producer: AIOKafkaProducer,
    records: Iterable[RawBook | RawTrade | RawHalt | Heartbeat],
    already: dict[str, int],
    pace: Pace,
) -> int:
    sent = 0
    start_event_ns = start_ns = 0
    for record in records:
        if not isinstance(record, Heartbeat) and record.seq <= already.get(record.instrument, -1):
            continue
        if start_ns == 0:
            start_event_ns, start_ns = record.ts_event_ns, time.monotonic_ns()
        event_s = (record.ts_event_ns - start_event_ns) / 1e9
        due_s = max(0.0, event_s - pace.warm_up_s) / pace.speed - (time.monotonic_ns() - start_ns) / 1e9
        if due_s > CATCH_UP_S:
            await asyncio.sleep(due_s)
        elif sent % 100 == 0:
            await asyncio.sleep(0)
        stamped = record.model_copy(update={"ts_ingest_ns": time.time_ns()})
        if isinstance(record, Heartbeat):
            key, partition = BROADCAST, record.partition
        else:
            key, partition = record.instrument, market_partition(record.instrument)
        await producer.send(
            MARKET_RAW.name, key=key.encode(), value=stamped.model_dump_json().encode(), partition=partition
        )
        sent += 1
    return sent


async def _already_sent(access: Access) -> dict[str, int]:
    """Last sequence number in the topic of each instrument, from the last records of each partition."""
    consumer = AIOKafkaConsumer(**access.options())
    await consumer.start()
    try:
        partitions = [TopicPartition(MARKET_RAW.name, p) for p in range(MARKET_PARTITIONS)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        last: dict[str, int] = {}
        for partition, end in ends.items():
            consumer.seek(partition, max(0, end - 10_000))
            while await consumer.position(partition) < end:
                batch = await consumer.getmany(partition, timeout_ms=1000)
                records, _ = decode(MARKET_RAW, partition.partition, batch.get(partition, []))
                for message in (record.message for record in records):
                    if message.type != "heartbeat":
                        last[message.instrument] = max(last.get(message.instrument, -1), message.seq)
        return last
    finally:
        await consumer.stop()


async def persist(access: Access, spec: str, seed: int, pace: Pace) -> int:
    """Feed until the source ends, whatever happens to the broker: the log says where to go on."""
    failures = 0
    while True:
        began = time.monotonic()
        try:
            return await run(access, spec, seed, pace)
        except KafkaError as error:
            failures = 0 if time.monotonic() - began > STABLE_S else failures
            wait_s = BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)]
            failures += 1
            why = await unreachable(access, error)
            sys.stderr.write(f"flowgate: {why}; trying again in {wait_s:.0f} s\n")
            await asyncio.sleep(wait_s)


def main(access: Access, spec: str, seed: int, pace: Pace) -> int:
    """Run the feed as a process; a source that is wrong ends it with one sentence."""
    try:
        sent = asyncio.run(persist(access, spec, seed, pace))
    except SourceError as error:
        sys.stderr.write(f"flowgate: {error}\n")
        return 2
    sys.stdout.write(f"feed ended after {sent} records\n")
    return 0
