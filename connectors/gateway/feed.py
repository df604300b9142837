"""Where the gateway's books come from: a source of the desk replayed at its own pace, or a live Kafka topic."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterable
from typing import TypeGuard
from urllib.parse import urlsplit

from pydantic import ValidationError

from connectors.gateway.broker import Record
from connectors.market.source import open_source
from contracts.market import RAW_RECORD, Heartbeat, Raw, RawBook, RawHalt, RawTrade
from contracts.topics import REPLAY_HEADER

log = logging.getLogger(__name__)

BURST = 200
"""Records applied in one go before the sockets get their turn."""
TAIL_RECORDS = 200
"""Records per partition read back at the start, so that every book is known at once."""
RETRY_S = 1.0


def open_feed(spec: str, *, seed: int, speed: float) -> AsyncIterator[Record]:
    """The records of `synthetic`, a recording's path, or `kafka://HOST:PORT/TOPIC`; the latter is live and unpaced."""
    if spec.startswith("kafka://"):
        return kafka_feed(spec)
    return paced(open_source(spec, seed=seed, partitions=1), speed)


async def paced(records: Iterable[Record], speed: float) -> AsyncIterator[Record]:
    """Records at `speed` times the pace of their event times; 0 means as fast as they can be read."""
    loop = asyncio.get_running_loop()
    origin: tuple[float, int] | None = None
    burst = 0
    for record in records:
        if isinstance(record, Heartbeat):
            continue
        if speed > 0:
            if origin is None:
                origin = (loop.time(), record.ts_event_ns)
            wait_s = origin[0] + (record.ts_event_ns - origin[1]) / 1e9 / speed - loop.time()
            if wait_s > 0:
                burst = 0
                await asyncio.sleep(wait_s)
        burst += 1
        if burst >= BURST:
            burst = 0
            await asyncio.sleep(0)
        yield record


async def kafka_feed(spec: str) -> AsyncIterator[Record]:
    """Records of a live topic, all partitions, without a group, from the last records of each partition on.

    A broker that is away and a topic that is not there yet are waited for; reading goes on where it was left. SASL
    comes from the environment: KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD, KAFKA_SASL_MECHANISM, KAFKA_SECURITY_PROTOCOL.
    """
    from aiokafka.errors import KafkaError

    url = urlsplit(spec)
    topic = url.path.strip("/") or "market_raw"
    tail = Tail()
    while True:
        try:
            async for record in _follow(url.netloc, topic, tail):
                yield record
        except KafkaError as error:
            log.warning("no records of %s from %s yet (%s); trying again", topic, url.netloc, error)
            await asyncio.sleep(RETRY_S)


class Tail:
    """How far a topic has been read, by partition, and where it ended at the start."""

    def __init__(self) -> None:
        self.next: dict[int, int] = {}
        self.live: dict[int, int] = {}

    def starts(self, partition: int, first: int, end: int) -> int:
        """The offset to read from; the first time, enough of the past to know the books."""
        self.live.setdefault(partition, end)
        return max(first, self.next.get(partition, end - TAIL_RECORDS))

    def accepts(self, record: Raw | Heartbeat, partition: int, offset: int) -> TypeGuard[Record]:
        """Whether a record counts: a broker's ticks and bars show no book, and past trades fill nobody."""
        if isinstance(record, RawTrade):
            return offset >= self.live.get(partition, 0)
        return isinstance(record, RawBook | RawHalt | Heartbeat)


async def _follow(bootstrap: str, topic: str, tail: Tail) -> AsyncIterator[Record]:
    """Records from where `tail` stands; KafkaError when the broker is away or does not have the topic yet."""
    from aiokafka import AIOKafkaConsumer

    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=None, **_sasl())
    try:
        await consumer.start()
        partitions = sorted(consumer.assignment())
        first = await consumer.beginning_offsets(partitions)
        for partition, end in (await consumer.end_offsets(partitions)).items():
            consumer.seek(partition, tail.starts(partition.partition, first[partition], end))
        async for message in consumer:
            tail.next[message.partition] = message.offset + 1
            if message.headers and message.headers[0][0] == REPLAY_HEADER:
                continue  # a person sent an old record again: it is history, and no book of now
            try:
                record = RAW_RECORD.validate_json(message.value)
            except ValidationError:
                log.warning("record %s-%d@%d is not a market record", topic, message.partition, message.offset)
                continue
            if tail.accepts(record, message.partition, message.offset):
                yield record
    finally:
        await consumer.stop()


def _sasl() -> dict[str, str]:
    user = os.environ.get("KAFKA_SASL_USERNAME")
    if not user:
        return {}
    return {
        "sasl_plain_username": user,
        "sasl_plain_password": os.environ.get("KAFKA_SASL_PASSWORD", ""),
        "sasl_mechanism": os.environ.get("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512"),
        "security_protocol": os.environ.get("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
    }
