"""What Faust fetches and throws away around a rebalance must come again, or must not be fetched."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from faust.transport.drivers import aiokafka as stock

from app.membership import ConsumerThread, seek_to_committed
from app.stack import Stack


async def consumer_that_has_read(stack: Stack, topic: str, records: int = 3) -> AIOKafkaConsumer:
    """Has read some of the three records that are there, and commits nothing."""
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap)
    await producer.start()
    for _ in range(3):
        await producer.send_and_wait(topic, b"x", partition=0)
    await producer.stop()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=stack.bootstrap, group_id=topic, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    consumer.assign([TopicPartition(topic, 0)])
    for _ in range(records):
        await consumer.getone()
    return consumer


@pytest.mark.stack
async def test_without_a_commit_a_partition_is_read_again_from_its_beginning(stack: Stack) -> None:
    topic = f"seek-{uuid.uuid4().hex}"
    consumer = await consumer_that_has_read(stack, topic)
    try:
        await seek_to_committed(consumer)
        assert await consumer.position(TopicPartition(topic, 0)) == 0
        await consumer.commit({TopicPartition(topic, 0): 2})
        await seek_to_committed(consumer)
        assert await consumer.position(TopicPartition(topic, 0)) == 2
    finally:
        await consumer.stop()


@pytest.mark.stack
async def test_aiokafkas_own_seek_leaves_it_behind_them(stack: Stack) -> None:
    """The control: once this fails, aiokafka has mended it and ours can go."""
    topic = f"seek-{uuid.uuid4().hex}"
    consumer = await consumer_that_has_read(stack, topic)
    try:
        await consumer.seek_to_committed()
        assert await consumer.position(TopicPartition(topic, 0)) == 3
    finally:
        await consumer.stop()


class Flowing:
    """The part of Faust's consumer that its thread looks at."""

    flow_active = True


async def fetched_with_no_partition_active(stack: Stack, kind: type[Any]) -> int:
    """Records that a thread of this kind takes from the consumer while all partitions are paused."""
    consumer = await consumer_that_has_read(stack, f"seek-{uuid.uuid4().hex}", records=1)
    try:
        thread: Any = object.__new__(kind)
        thread.consumer = Flowing()
        found = await thread._fetch_records(consumer, set(), 0.0, 100)
        return sum(map(len, found.values()))
    finally:
        await consumer.stop()


@pytest.mark.stack
async def test_nothing_is_taken_while_no_partition_is_active(stack: Stack) -> None:
    assert await fetched_with_no_partition_active(stack, ConsumerThread) == 0


@pytest.mark.stack
async def test_fausts_own_thread_takes_all_and_would_throw_it_away(stack: Stack) -> None:
    """The control: once this fails, aiokafka or Faust has mended it and ours can go."""
    assert await fetched_with_no_partition_active(stack, stock.AIOKafkaConsumerThread) == 2
