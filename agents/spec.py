"""What an agent is: a pure step with a name, a group, its sources and its table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from contracts.base import Message
from contracts.orders import Input
from contracts.topics import REPLAY_HEADER, Topic
from tables.rows import TableSpec

SENT_HEADER: Final = "sent_ns"
"""When a record was given to Kafka (wall clock): our own writers say it."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """A decoded message and where it came from. A struct, as one is made for each event and it costs the least."""

    message: Any
    topic: str
    partition: int
    offset: int
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()

    @property
    def replayed(self) -> bool:
        """Whether a person sent it again from a dead-letter topic."""
        return bool(self.headers) and self.headers[0][0] == REPLAY_HEADER

    @property
    def input(self) -> Input:
        """The record's coordinates, for the audit."""
        return Input(topic=self.topic, partition=self.partition, offset=self.offset)


class Out(NamedTuple):
    """A message to send. A topic of one partition needs no `partition`; the others keep that of the input."""

    topic: Topic
    key: str
    message: Message


class _Unchanged(tuple[()]):
    """A tuple of its own, so that a step can say it by identity."""


UNCHANGED: Final = _Unchanged()
"""Outputs of a step for which a message was no news: no outputs, and the row stays as it was, so it is not written."""

Step = Callable[[Any, Record], tuple[Any, Sequence[Any]]]
"""`step(state, record) -> (state, outputs)`; outputs are `Out` or effects. A state of None is that of a new row, and
takes a row away."""


@dataclass(frozen=True)
class AgentSpec:
    """One agent.

    `key` names the row a message belongs to (`contracts.topics.BROADCAST` = every row of the partition; None = no
    row: the message is of no interest). `forward` is where a broadcast goes on to, behind the outputs of all rows:
    whoever reads both knows that nothing from before it is still to come. `refuse` judges a broadcast by the states
    of all rows of its partition: if it answers with a dead letter, no row sees the broadcast and it goes no further.
    `outputs` are the topics it may write: its group's user on the broker has the right to write those and no others.
    """

    name: str
    group: str
    help: str
    sources: tuple[Topic, ...]
    step: Step
    key: Callable[[Any], str | None]
    table: TableSpec[Any] | None = None
    forward: Topic | None = None
    refuse: Callable[[Sequence[Any], Record], Out | None] | None = None
    outputs: tuple[Topic, ...] = ()

    @property
    def merges(self) -> bool:
        """Whether it has several sources, and so an order in which it took their batches."""
        return len(self.sources) > 1


def by_desk(_message: Any) -> str:
    """Key of agents with one row for the whole desk."""
    return "desk"
