"""`python -m app deadletters list | show | replay`: records that could not be processed.

A replay goes to the partition it came from with an origin of its own, made of its source and its bytes. The rows
downstream remember origins, so the same copy takes effect once, however often it is replayed, whatever crashes.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from app import settings as settings_module
from app.decoding import ORIGIN_HEADER, UnreadableError, dead_letter, read
from app.topics import unreachable
from connectors.kafka.access import Access
from contracts.controls import DeadLetter
from contracts.topics import ORDER_COMMANDS, REPLAY_HEADER, TOPICS, Topic

DEAD_LETTER_TOPICS: Final = tuple({topic.dead_letters.name: topic for topic in TOPICS.values() if topic.dead_letters})
NEWEST: Final = 20
"""Letters that `list` prints one by one."""

REMEMBERED: Final = 50_000
"""Letters among which one that was sent twice is found: a crash repeats a second of input."""

OUTCOME_S: Final = 5.0
"""How long a replay waits to be refused again; a worker that is up takes milliseconds."""


class DeadLetterError(ValueError):
    """One sentence for the person at the command line."""


def main(action: str, source: str, file: str | None) -> int:
    """Run one action; 2 with a sentence when it cannot be done, 1 when a replay was refused again."""
    kafka = settings_module.load().kafka
    try:
        return asyncio.run(_run(kafka.access, action, source, file))
    except (DeadLetterError, OSError) as error:
        sys.stderr.write(f"flowgate: {error}\n")
    except KafkaError as error:
        sys.stderr.write(f"flowgate: {asyncio.run(unreachable(kafka.access, error))}\n")
    return 2


async def _run(access: Access, action: str, source: str, file: str | None) -> int:
    letters = await collect(access)
    if action == "list":
        sys.stdout.write(listing(letters))
        return 0
    if source not in letters:
        raise DeadLetterError(f"no dead letter of {source or 'that record'}; `python -m app deadletters list` has them")
    if action == "show":
        sys.stdout.write(description(letters[source]))
        return 0
    value = await asyncio.to_thread(Path(file).read_bytes) if file else original(letters[source])
    refusal = await replay(access, letters[source], value, OUTCOME_S)
    sys.stdout.write(f"refused again, {refusal.reason}: {refusal.detail}\n" if refusal else f"replayed {source}\n")
    return 1 if refusal else 0


async def collect(access: Access) -> dict[str, DeadLetter]:
    """All dead letters by source, oldest first. One that was sent twice around a crash counts once."""
    consumer = AIOKafkaConsumer(**access.options())
    await consumer.start()
    letters: dict[str, DeadLetter] = {}
    try:
        partitions = [TopicPartition(name, 0) for name in DEAD_LETTER_TOPICS]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        for partition, end in (await consumer.end_offsets(partitions)).items():
            while await consumer.position(partition) < end:
                for records in (await consumer.getmany(partition, timeout_ms=1000)).values():
                    for record in records:
                        letter = letter_in(record)
                        letters.setdefault(letter.source, letter)
    finally:
        await consumer.stop()
    return letters


def letter_in(record: Any) -> DeadLetter:
    """The letter in a record of a dead-letter topic; what is none is a dead letter itself."""
    topic = TOPICS[record.topic]
    try:
        letter: Any = read(topic, record.value)
    except UnreadableError as error:
        letter = dead_letter(topic, record.partition, record, error)
    return DeadLetter.model_validate(letter)


def counted(letters: dict[str, DeadLetter]) -> Counter[tuple[str, str]]:
    """How many by the topic they come from and the reason."""
    return Counter((letter.topic, str(letter.reason)) for letter in letters.values())


class Tally:
    """The same count, kept up while letters come in, without keeping the letters."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._sources: dict[str, None] = {}

    def take(self, topic: Topic, value: bytes) -> None:
        """Count a record of a dead-letter topic, once if it was sent twice around a crash."""
        try:
            letter: Any = read(topic, value)
        except UnreadableError:
            self.counts[(topic.name, "not a dead letter")] += 1
            return
        if letter.source not in self._sources:
            self.counts[(letter.topic, str(letter.reason))] += 1
            self._sources[letter.source] = None
            if len(self._sources) > REMEMBERED:
                del self._sources[next(iter(self._sources))]


def listing(letters: dict[str, DeadLetter]) -> str:
    """Counts by topic and reason, and the newest letters, one line each."""
    if not letters:
        return "no dead letters\n"
    lines = [f"{count:>8,}  {topic:<20} {reason}" for (topic, reason), count in sorted(counted(letters).items())]
    newest = list(letters.values())[-NEWEST:]
    lines += ["", *(f"{letter.source:<28} {letter.reason:<20} {letter.field}: {letter.detail}" for letter in newest)]
    return "\n".join(lines) + "\n"


def description(letter: DeadLetter) -> str:
    """A letter for a person: what is wrong, and the original as JSON if it is JSON, else as bytes."""
    value = original(letter)
    try:
        text = json.dumps(json.loads(value), indent=2)
    except ValueError:
        text = repr(value)
    head = {
        "reason": letter.reason,
        "field": letter.field,
        "detail": letter.detail,
        "source": letter.source,
        "contract version": letter.contract_version,
    }
    return "".join(f"{name:<17} {value}\n" for name, value in head.items()) + f"original ({len(value)} bytes)\n{text}\n"


def original(letter: DeadLetter) -> bytes:
    """The bytes of the record."""
    try:
        return base64.b64decode(letter.original, validate=True)
    except binascii.Error as error:
        raise DeadLetterError(f"the original of {letter.source} is damaged: {error}") from error


async def replay(access: Access, letter: DeadLetter, value: bytes, outcome_s: float) -> DeadLetter | None:
    """Send `value` to where the letter's record was; returns the new letter if it is refused within `outcome_s`."""
    topic = TOPICS.get(letter.topic)
    if topic is None or topic.dead_letters is None:
        raise DeadLetterError(f"{letter.source} cannot be replayed: nobody refuses records of {letter.topic}")
    if topic is ORDER_COMMANDS:
        raise DeadLetterError("an order goes out by admission alone: replay its intent, or let the strategy ask again")
    try:
        message = read(topic, value)
    except UnreadableError as error:
        raise DeadLetterError(f"it does not fit {topic.name}: {error.field or 'message'}: {error.detail}") from error
    digest = hashlib.sha256(value).hexdigest()[:16]
    headers = [
        (REPLAY_HEADER, letter.source.encode()),
        (ORIGIN_HEADER, f"replay/{letter.source}/{digest}|{letter.offset}||0".encode()),
    ]
    producer = AIOKafkaProducer(**access.options(), enable_idempotence=True)
    await producer.start()
    try:
        key = topic.record_key(message).encode()
        sent = await producer.send_and_wait(topic.name, value, key, letter.partition, headers=headers)
    finally:
        await producer.stop()
    return await _refusal(access, topic, f"{sent.topic}/{sent.partition}/{sent.offset}", outcome_s)


async def _refusal(access: Access, topic: Topic, source: str, outcome_s: float) -> DeadLetter | None:
    """The letter of a record that was sent just now, if one comes in time."""
    assert topic.dead_letters is not None
    consumer: Any = AIOKafkaConsumer(**access.options())
    await consumer.start()
    try:
        partition = TopicPartition(topic.dead_letters.name, 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        consumer.seek(partition, max(0, end - NEWEST))
        async with asyncio.timeout(outcome_s):
            async for record in consumer:
                letter = letter_in(record)
                if letter.source == source:
                    return letter
    except TimeoutError:
        return None
    finally:
        await consumer.stop()
    return None
