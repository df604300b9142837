"""Rows: what one key of a table holds, and which inputs it has already taken.

A row is JSON: `{"partition": 2, "seen": {"ofi/market_events/2": [812, "SPY", 0]}, "state": {...}}`. `seen` has, for
every stream that feeds the row, the position of the last message applied, so a message that comes again is recognised:
after a crash of this worker, and after a crash of the worker that sent it. A row that is removed forgets that: a step
gives one up when nothing that led to it can come again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

State = TypeVar("State")

Position = tuple[int, str, int]
"""(offset at the stream's origin, row key there, index among that row's outputs); it grows along a stream."""


Sent = tuple[int, str, str, str, str]
"""An output as it goes out: (partition, topic, key, value, origin)."""


KeptRow = tuple[int, bytes, bytes | None]
"""A row for the changelog and the table: (partition, key, value), without a value if it is to go."""


Span = tuple[str, int, int, int]
"""Records of a batch: (topic, partition, first offset, last offset)."""

Merged = tuple[int, tuple[Span, ...]]
"""A number and the batches that were taken under it, in that order."""


@dataclass(frozen=True, slots=True)
class Call:
    """What one call of an agent with several sources leaves in the first of the rows it changed.

    `merged`: the order in which it took what led to its rows, and that of calls before it until the topic has them.
    `taken`: the last offset it has taken of each source; what is at or before it is not taken again.
    `outbox`: its outputs, which go out once the rows are written.
    """

    merged: tuple[Merged, ...]
    taken: dict[str, int]
    outbox: tuple[Sent, ...]

    @property
    def number(self) -> int:
        return self.merged[-1][0]


@dataclass(slots=True)
class Row(Generic[State]):
    """One row: its partition, the inputs it has seen, its state; and `call` where it is the first row of one."""

    partition: int
    seen: dict[str, Position]
    state: State | None = None
    call: Call | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to keep: its step has said that it is done with (a state of None)."""
        return self.state is None and self.call is None

    def is_repeat(self, stream: str, position: Position) -> bool:
        """Whether the message at `position` of `stream` is already in this row."""
        last = self.seen.get(stream)
        return last is not None and position <= last


@dataclass(frozen=True)
class TableSpec(Generic[State]):
    """A changelog-backed table: its name, the type of its rows' state, its partitions, one line of help."""

    name: str
    state: type[State]
    help: str
    partitions: int = 1

    def codec(self) -> RowCodec[State]:
        return RowCodec(self.state)


class RowCodec(Generic[State]):
    """Rows to bytes and back; floats survive exactly (shortest round-trip decimals)."""

    def __init__(self, state: type[State]) -> None:
        self._adapter: TypeAdapter[Row[State]] = TypeAdapter(Row[state])  # type: ignore[valid-type]

    def encode(self, row: Row[State]) -> bytes:
        return self._adapter.dump_json(row)

    def decode(self, data: bytes) -> Row[State]:
        return self._adapter.validate_json(data)


def any_row(data: bytes) -> dict[str, Any]:
    """A row as plain JSON, for readers that only show it."""
    row: dict[str, Any] = TypeAdapter(dict[str, Any]).validate_json(data)
    return row
