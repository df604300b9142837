"""What all Python contestants share: where the topics are, the contract, the step, the state's bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from agents import ofi
from agents.spec import Record
from app.decoding import UnreadableError, read
from contracts.structs import Reader, UnreadableBytes
from contracts.topics import MARKET_EVENTS

BUCKET_NS = 10_000_000_000
STEP = ofi.make(BUCKET_NS)
READER = Reader(MARKET_EVENTS.messages)
STATE: TypeAdapter[ofi.OfiState] = TypeAdapter(ofi.OfiState)


@dataclass(frozen=True)
class Place:
    """Where one contestant works: a group of its own, a folder of its own."""

    bootstrap: str
    source: str
    target: str
    group: str
    folder: str

    @classmethod
    def of_environment(cls) -> Place:
        return cls(*(os.environ[f"OFI_JOB_{name.upper()}"] for name in cls.__dataclass_fields__))

    @property
    def environment(self) -> dict[str, str]:
        return {f"OFI_JOB_{name.upper()}": str(getattr(self, name)) for name in self.__dataclass_fields__}


def decode(value: bytes) -> Any:
    """A valid market event as a struct, the first of an instrument as its contract, or None."""
    try:
        return READER.decode(value)
    except UnreadableBytes:
        pass
    try:
        message = read(MARKET_EVENTS, value)
    except UnreadableError:
        return None
    READER.learn(message)
    return message


def fold(state: bytes | None, quote: Any) -> tuple[bytes, Sequence[bytes]]:
    """One quote into one stored state: the new state and the outputs, as bytes."""
    row = None if state is None else STATE.validate_json(state)
    row, outputs = apply(row, quote)
    return STATE.dump_json(row), outputs


def apply(row: Any, quote: Any) -> tuple[Any, Sequence[bytes]]:
    """One quote into one state in memory: the new state and the outputs' bytes."""
    row, outputs = STEP(row, Record(quote, "", 0, 0, b""))
    return row, [out.message.model_dump_json().encode() for out in outputs]
