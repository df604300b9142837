"""Topics, dead letters and a broker that goes away, on a real broker with a real ingest worker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError

from app import deadletters
from app.decoding import origin
from app.stack import ROOT, Stack
from app.workers import queued
from connectors.kafka.admin import administrator
from contracts.market import Heartbeat
from contracts.topics import MARKET_PARTITIONS, MESSAGE_BYTES_MAX, TOPICS, market_partition
from tables.rows import Row
from tests.contracts.test_dead_letters import BOOK, SECOND, text

pytestmark = pytest.mark.stack

PARTITION = market_partition("AMZN")
AWAY_S = 30.0
DEADLINE_S = 30.0


def command(stack: Stack, *arguments: str) -> tuple[int, str]:
    """Exit status and output of `python -m app ...`, run by the administrator."""
    access = stack.administrator
    env = {"FLOWGATE_KAFKA__USER": access.user, "FLOWGATE_KAFKA__PASSWORD": access.password}
    done = subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env={**os.environ, **stack.env, **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


async def send(stack: Stack, *values: bytes) -> list[int]:
    """Send records of AMZN to `market_raw`; their offsets."""
    producer = AIOKafkaProducer(**stack.administrator.options(), max_request_size=4 * MESSAGE_BYTES_MAX)
    await producer.start()
    try:
        sent = [await producer.send_and_wait("market_raw", value, b"AMZN", PARTITION) for value in values]
        return [record.offset for record in sent]
    finally:
        await producer.stop()


async def read(stack: Stack, topic: str, partitions: int) -> list[Any]:
    """All records of a topic."""
    consumer = AIOKafkaConsumer(**stack.administrator.options())
    await consumer.start()
    try:
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        records: list[Any] = []
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                records.extend(batch)
        return records
    finally:
        await consumer.stop()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not await condition():
        assert time.monotonic() < deadline, "the deadline is over"
        await asyncio.sleep(0.1)


async def events_of(stack: Stack, instrument: str) -> list[int]:
    """Sequence numbers of an instrument's events, in the order of `market_events`, as a reader takes them.

    A worker that lost its place says the last tenth of a second again, and its position tells a repeat.
    """
    reader, taken = Row[None](0, {}), []
    for record in await read(stack, "market_events", MARKET_PARTITIONS):
        message = json.loads(record.value)
        stream, position = origin(record)
        if message.get("instrument") == instrument and not reader.is_repeat(stream, position):
            reader.seen[stream] = position
            taken.append(message["seq"])
    return taken


def stands_still(pid: int) -> bool:
    """Whether every thread of a process has stopped; one that works in the kernel does so a moment later."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return {thread.read_text().rpartition(")")[2].split()[0] for thread in threads} == {"T"}


def test_topics_are_created_once_and_compared_and_never_deleted(ingest: Stack) -> None:
    assert command(ingest, "topics", "--apply") == (
        0,
        f"0 topics created, {len(TOPICS)} were there\nall topics are as declared\n",
    )
    assert command(ingest, "topics", "--check") == (0, "all topics are as declared\n")


async def test_a_topic_that_differs_or_is_gone_is_named_and_only_the_missing_one_is_made(ingest: Stack) -> None:
    async with administrator(ingest.administrator) as admin:
        await admin.delete_topics(["alerts"])
        wrong = {"retention.ms": "1000", "cleanup.policy": "delete"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "portfolio_targets", wrong)])
    status, output = await asyncio.to_thread(command, ingest, "topics", "--diff")
    assert status == 0
    assert output.splitlines()[0] == "alerts: missing"
    assert "portfolio_targets: retention.ms=1000, declared 86400000" in output
    assert (await asyncio.to_thread(command, ingest, "topics", "--check"))[0] == 1
    status, output = await asyncio.to_thread(command, ingest, "doctor")
    assert (status, "topics   alerts: missing" in output) == (1, True)
    status, output = await asyncio.to_thread(command, ingest, "topics", "--apply")
    assert (status, output.splitlines()[0]) == (1, f"1 topics created, {len(TOPICS) - 1} were there")
    async with administrator(ingest.administrator) as admin:
        right = {"retention.ms": "86400000", "min.insync.replicas": "1", "max.message.bytes": str(MESSAGE_BYTES_MAX)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "portfolio_targets", right)])
    assert (await asyncio.to_thread(command, ingest, "topics", "--check"))[0] == 0


async def test_a_dead_letter_is_listed_shown_mended_and_replayed_with_the_effect_it_would_have_had(
    ingest: Stack, tmp_path: Path
) -> None:
    book = {**BOOK, "instrument": "AMZN"}
    crossed = text(book, seq=2, bids=[["500.01", "1"]])
    offsets = await send(ingest, text(book, seq=1), crossed, text(book, seq=3), b"no json")
    source = f"market_raw/{PARTITION}/{offsets[1]}"

    async def arrived() -> bool:
        return f"market_raw/{PARTITION}/{offsets[3]}" in await deadletters.collect(ingest.administrator)

    await until(arrived)
    assert await events_of(ingest, "AMZN") == [1, 3]

    status, output = await asyncio.to_thread(command, ingest, "deadletters", "list")
    assert status == 0
    assert "1  market_raw           CROSSED_BOOK" in output
    assert "1  market_raw           MALFORMED_JSON" in output
    status, output = await asyncio.to_thread(command, ingest, "doctor")
    assert status == 0
    assert "letters         1  market_raw           CROSSED_BOOK" in output
    assert "lag      ingest     1 worker, 0 records behind" in output
    assert "queue    flowgate-ingest-dev-0 0 batches" in output
    status, output = await asyncio.to_thread(command, ingest, "deadletters", "show", source)
    assert "CROSSED_BOOK" in output
    assert '"seq": 2' in output

    status, output = await asyncio.to_thread(command, ingest, "deadletters", "replay", source)
    assert (status, output.split(":")[0]) == (1, "refused again, CROSSED_BOOK")

    mended = tmp_path / "mended.json"
    mended.write_bytes(text(book, seq=2))
    for _ in range(2):
        status, output = await asyncio.to_thread(
            command, ingest, "deadletters", "replay", source, "--file", str(mended)
        )
        assert (status, output) == (0, f"replayed {source}\n")
    assert await events_of(ingest, "AMZN") == [1, 3, 2], "once, though it was replayed twice"

    mended.write_bytes(b'{"type": "raw_book"}')
    status, output = await asyncio.to_thread(command, ingest, "deadletters", "replay", source, "--file", str(mended))
    assert (status, output) == (
        2,
        "flowgate: it does not fit market_raw: schema_version: a whole number is required\n",
    )
    status, output = await asyncio.to_thread(command, ingest, "deadletters", "show", "market_raw/0/99999")
    assert (status, output.count("\n")) == (2, 1)


async def test_a_heartbeat_years_ahead_goes_no_further_than_its_dead_letter(ingest: Stack) -> None:
    known, wild = (
        Heartbeat(partition=PARTITION, ts_event_ns=ts_event_ns, ts_ingest_ns=0).model_dump_json().encode()
        for ts_event_ns in (101 * SECOND, 2**62)
    )
    offsets = await send(ingest, text({**BOOK, "instrument": "AMZN"}, seq=4), known, wild, known)
    source = f"market_raw/{PARTITION}/{offsets[2]}"

    async def refused() -> bool:
        return source in await deadletters.collect(ingest.administrator)

    async def passed() -> list[int]:
        records = [json.loads(record.value) for record in await read(ingest, "market_events", MARKET_PARTITIONS)]
        return [message["ts_event_ns"] for message in records if message["type"] == "heartbeat"]

    async def both() -> bool:
        return (await passed()).count(101 * SECOND) >= 2

    await until(refused)
    await until(both)
    assert 2**62 not in await passed()


async def test_the_largest_unreadable_record_is_kept_and_the_worker_lives(ingest: Stack) -> None:
    (offset,) = await send(ingest, os.urandom(MESSAGE_BYTES_MAX - 200))
    source = f"market_raw/{PARTITION}/{offset}"

    async def kept() -> bool:
        return source in await deadletters.collect(ingest.administrator)

    await until(kept)
    ingest.children.check()


async def test_a_message_larger_than_the_broker_takes_is_refused_at_once_and_told(
    ingest: Stack, tmp_path: Path
) -> None:
    with pytest.raises(MessageSizeTooLargeError):
        await send(ingest, b"x" * 2 * MESSAGE_BYTES_MAX)
    (offset,) = await send(ingest, b"no json either")
    source = f"market_raw/{PARTITION}/{offset}"

    async def kept() -> bool:
        return source in await deadletters.collect(ingest.administrator)

    await until(kept)
    large = tmp_path / "large.json"
    levels = [[f"{500 - place / 100:.2f}", "1"] for place in range(40_000)] * 2
    large.write_bytes(text({**BOOK, "instrument": "AMZN"}, bids=levels))
    assert large.stat().st_size > MESSAGE_BYTES_MAX
    status, output = await asyncio.to_thread(command, ingest, "deadletters", "replay", source, "--file", str(large))
    assert (status, output) == (
        2,
        f"flowgate: the message is larger than the {MESSAGE_BYTES_MAX:,} bytes a topic takes; make it smaller\n",
    )


async def test_a_broker_that_is_away_for_30_s_loses_nothing_and_the_doctor_says_so(ingest: Stack) -> None:
    broker = next(child for child in ingest.children if child.name == "kafka")
    feed = ingest.start_feed("synthetic", seed=7, speed=2.0)

    async def flows() -> bool:
        return len(await events_of(ingest, "SPY")) > 50

    await until(flows)
    before = len(await events_of(ingest, "SPY"))
    broker.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        status, output = await asyncio.to_thread(command, ingest, "doctor")
        assert (status, "no Kafka answers" in output) == (1, True)
        await asyncio.sleep(AWAY_S - (time.monotonic() - began))
    finally:
        broker.process.send_signal(signal.SIGCONT)

    async def goes_on() -> bool:
        ingest.children.check()
        return len(await events_of(ingest, "SPY")) > before + 200

    await until(goes_on)
    ingest.children.stop(feed)
    ingest.children.forget(feed)
    raws = [json.loads(r.value) for r in await read(ingest, "market_raw", MARKET_PARTITIONS) if r.key == b"SPY"]

    async def caught_up() -> bool:
        return len(await events_of(ingest, "SPY")) >= len(raws)

    await until(caught_up)
    sequence = list(range(len(raws)))
    assert [raw["seq"] for raw in raws] == sequence, "the feed lost, doubled or reordered records"
    assert await events_of(ingest, "SPY") == sequence, "the worker lost, doubled or reordered events"
    status, output = await asyncio.to_thread(command, ingest, "doctor")
    assert (status, "broker   answered" in output, "lag      ingest" in output) == (0, True, True), output


async def test_a_queue_that_kafka_does_not_take_is_counted_and_empties_when_it_does(ingest: Stack) -> None:
    broker = next(child for child in ingest.children if child.name == "kafka")
    producer = AIOKafkaProducer(**ingest.administrator.options())
    await producer.start()
    try:
        await producer.send_and_wait("market_raw", b"no json", b"AMZN", PARTITION)
        assert queued(producer) == 0
        broker.process.send_signal(signal.SIGSTOP)
        try:
            await until(lambda: asyncio.to_thread(stands_still, broker.process.pid))
            sent = [await producer.send("market_raw", b"no json", partition=p) for p in range(MARKET_PARTITIONS)]
            assert queued(producer) == MARKET_PARTITIONS, "not yet sent"
            async with asyncio.timeout(DEADLINE_S):
                while producer._message_accumulator._batches:
                    await asyncio.sleep(0.01)
            assert queued(producer) == MARKET_PARTITIONS, "sent and not acknowledged"
        finally:
            broker.process.send_signal(signal.SIGCONT)
        await asyncio.gather(*sent)
        assert queued(producer) == 0
    finally:
        await producer.stop()
