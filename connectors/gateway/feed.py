"""Where the gateway's books come from: a source of the desk replayed at its own pace, or a live Kafka topic."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterable
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from connectors.gateway.broker import Record
from connectors.market.source import open_source
from contracts.market import RAW_RECORD, Heartbeat

log = logging.getLogger(__name__)

BURST = 200
"""Records applied in one go before the sockets get their turn."""
TAIL_RECORDS = 200
"""Records per partition read back at the start, so that every book is known at once."""


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

    SASL comes from the environment: KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD, KAFKA_SASL_MECHANISM,
    KAFKA_SECURITY_PROTOCOL. Records that do not validate are skipped: they are the dead-letter topic's business.
    """
    from aiokafka import AIOKafkaConsumer

    url = urlsplit(spec)
    topic = url.path.strip("/") or "market_raw"
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=url.netloc, enable_auto_commit=False, **_sasl())
    await consumer.start()
    try:
        partitions = await _partitions(consumer, topic)
        first = await consumer.beginning_offsets(partitions)
        for partition, end in (await consumer.end_offsets(partitions)).items():
            consumer.seek(partition, max(first[partition], end - TAIL_RECORDS))
        async for message in consumer:
            try:
                yield RAW_RECORD.validate_json(message.value)
            except ValidationError:
                log.warning("record %s-%d@%d is not a market record", topic, message.partition, message.offset)
    finally:
        await consumer.stop()


async def _partitions(consumer: Any, topic: str) -> list[Any]:
    """All partitions of the subscribed topic; waits while it does not exist yet. Without a group all are ours."""
    while not consumer.assignment():
        log.info("waiting for the topic %s", topic)
        await asyncio.sleep(0.5)
    return sorted(consumer.assignment())


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
