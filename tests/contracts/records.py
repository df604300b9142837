"""Kafka records as the shell gets them, and the way of a raw record through decode and normalise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

from agents import normalise
from app.decoding import decode
from contracts.controls import DeadLetter
from contracts.topics import BROADCAST, MARKET_RAW


def raw(value: bytes | None, offset: int, topic: str = "market_raw", headers: Sequence[Any] = ()) -> Any:
    """A record of partition 0."""
    return SimpleNamespace(value=value, topic=topic, partition=0, offset=offset, headers=tuple(headers))


class Ingest:
    """The ingest group without Kafka: the real decode, the real step, rows by key as the shell keeps them."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.accepted: list[int] = []
        self.letters: list[DeadLetter] = []

    def take(self, batch: Iterable[Any]) -> Ingest:
        """One batch of `market_raw`; notes each record's offset as accepted, or its dead letter."""
        records, bad = decode(MARKET_RAW, 0, batch)
        self.letters.extend(bad)
        for record in records:
            key = normalise.key(record.message)
            letters_before = len(self.letters)
            refused = normalise.refuse(list(self.rows.values()), record) if key == BROADCAST else None
            if refused is not None and isinstance(refused.message, DeadLetter):
                self.letters.append(refused.message)
                continue
            for row in sorted(self.rows) if key == BROADCAST else (key,):
                self.rows[row], outputs = normalise.step(self.rows.get(row), record)
                self.letters.extend(out.message for out in outputs if isinstance(out.message, DeadLetter))
            if len(self.letters) == letters_before:
                self.accepted.append(record.offset)
        return self
