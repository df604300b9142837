"""Kafka as far as the shell uses it, on which a worker can be killed at every send."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.decoding import origin
from tables.rows import KeptRow, Row


class Killed(BaseException):
    """kill -9: nothing in the worker runs after it."""


@dataclass
class Raw:
    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]


@dataclass
class FakeLog:
    """Topics as lists; dies at the send with number `dies_at`, before or after it is kept."""

    topics: dict[str, list[Raw]] = field(default_factory=lambda: defaultdict(list))
    dies_at: int = -1
    kept: bool = False
    sends: int = 0

    async def hand_over(
        self, records: Sequence[tuple[str, int, bytes, bytes, list[tuple[str, bytes]]]], *, whole: bool = False
    ) -> list[asyncio.Future[None]]:
        """Keeps the records one after another, or all that are to be whole at once: a broker may have taken any
        number of them when the worker dies."""
        for together in [records] if whole else [[record] for record in records]:
            await asyncio.sleep(0)  # others may come in between, as they may while a broker is written to
            self.sends += 1
            if self.sends >= self.dies_at > 0 and not (self.kept and self.sends == self.dies_at):
                raise Killed
            for topic, partition, key, value, headers in together:
                self.topics[topic].append(Raw(topic, partition, len(self.topics[topic]), key, value, headers))
            if self.sends == self.dies_at:
                raise Killed
        return []


class FakeTable:
    """A Faust table as far as the shell uses it: a mapping of bytes, recovered from its changelog."""

    changelog_topic_name = "changelog"

    def __init__(self, log: FakeLog) -> None:
        newest = {raw.key: raw.value for raw in log.topics["changelog"]}
        self.data = {key: value for key, value in newest.items() if value is not None}

    def on_recover(self, callback: Any) -> None:
        self.callback = callback

    def keep(self, rows: Sequence[KeptRow], _acknowledged: Any) -> None:
        gone = {key for _, key, value in rows if value is None}
        self.data |= {key: value for _, key, value in rows if value is not None}
        self.data = {key: value for key, value in self.data.items() if key not in gone}


class FakeApp:
    def __init__(self, log: FakeLog) -> None:
        self.producer = log


def seen_once(records: Sequence[Raw]) -> list[tuple[bytes, bytes]]:
    """What a row-keeping reader takes of a topic: repeats left out by their position."""
    readers: dict[bytes, Row[None]] = {}
    taken = []
    for raw in records:
        stream, position = origin(raw)
        row = readers.setdefault(raw.key, Row(0, {}))
        if not row.is_repeat(stream, position):
            row.seen[stream] = position
            taken.append((raw.key, raw.value))
    return taken
