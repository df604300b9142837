"""Records taken from a fetch in whole batches are those that aiokafka hands over one by one."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from app.fetching import keep_as_parsed

TP = TopicPartition("market_events", 0)
LZ4, CONTROL = 3, 0x20


def batch(begin: int, count: int, *, compression: int = 0, control: bool = False) -> bytes:
    """One batch of the broker's, `count` records from offset `begin` on."""
    builder = DefaultRecordBatchBuilder(2, compression, 0, -1, -1, -1, 1 << 20)
    for number in range(count):
        builder.append(number, 1, b"key", f"{begin + number}".encode(), [("origin", b"x")])
    data = bytearray(builder.build())
    data[0:8] = begin.to_bytes(8, "big")
    if control:
        data[21:23] = (int.from_bytes(data[21:23], "big") | CONTROL).to_bytes(2, "big")
        data[17:21] = calc_crc32c(memoryview(data)[21:]).to_bytes(4, "big")
    return bytes(data)


def fetched(data: bytes, offset: int) -> FetchResult:
    """What a fetch from `offset` on brought, as the consumer holds it."""
    subscriptions = SubscriptionState()
    subscriptions.assign_from_user({TP})
    assignment = subscriptions.subscription.assignment
    assignment.state_value(TP).reset_to(offset)
    records = PartitionRecords(TP, MemoryRecords(data), [], offset, None, None, True, 0)
    return FetchResult(TP, assignment=assignment, partition_records=records, backoff=0)


def drained(result: FetchResult, lots: list[int]) -> list[Any]:
    """All that comes, in lots of these sizes, and where the consumer stands after each."""
    found: list[Any] = []
    for most in lots:
        if not result.has_more():
            break
        part = result.getall(most)
        found.append([(one.offset, one.value, tuple(one.headers)) for one in part])
        found.append(result._assignment.state_value(TP).position)
    return found


def as_parsed(result: FetchResult) -> FetchResult:
    keep_as_parsed(SimpleNamespace(_records={TP: result}))
    return result


@pytest.mark.parametrize("seed", range(30))
async def test_whole_batches_are_the_records_that_come_one_by_one(seed: int) -> None:
    print(f"seed {seed}")  # noqa: T201
    rng = random.Random(seed)
    begin = offset = rng.randrange(100)
    data = b""
    for number in range(rng.randrange(1, 8)):
        begin += rng.choice((0, 0, 3))  # compaction leaves holes
        count = rng.randrange(1, 20)
        data += batch(begin, count, compression=rng.choice((0, LZ4)), control=rng.random() < 0.2)
        begin += count
        if number == 0:
            offset = rng.randrange(offset, begin)  # the broker sends the batch that has the wanted offset first
    # The stock loop always takes a lot in full, so both end at the same places.
    lots = [rng.randrange(1, 40) for _ in range(100)]
    expected = drained(fetched(data, offset), lots)
    assert flat(drained(as_parsed(fetched(data, offset)), lots)) == flat(expected)


def flat(found: list[Any]) -> list[Any]:
    """The records; an empty lot says nothing."""
    return [one for part in found[::2] for one in part]


async def test_no_lot_is_larger_than_asked_for_and_the_consumer_stands_behind_its_last_record() -> None:
    result = as_parsed(fetched(batch(0, 10) + batch(10, 10), 0))
    state = result._assignment.state_value(TP)
    for most, count, position in ((4, 4, 4), (4, 4, 8), (4, 4, 12), (100, 8, 20)):
        assert (len(result.getall(most)), state.position) == (count, position)
    assert not result.has_more()


async def test_a_seek_in_between_throws_the_rest_away() -> None:
    result = as_parsed(fetched(batch(0, 10), 0))
    assert len(result.getall(4)) == 4
    result._assignment.state_value(TP).seek(2)
    assert result.getall(100) == []
    assert not result.has_more()


async def test_a_broken_batch_is_not_taken() -> None:
    data = bytearray(batch(0, 10))
    data[-3] ^= 1
    with pytest.raises(CorruptRecordException):
        as_parsed(fetched(bytes(data), 0)).getall(100)


async def test_the_tables_records_stay_as_they_are() -> None:
    changelog = TopicPartition("flowgate-signals-ofi-changelog", 0)
    result = fetched(batch(0, 1), 0)
    keep_as_parsed(SimpleNamespace(_records={changelog: result}))
    [record] = result.getall(10)
    assert record.topic == TP.topic
