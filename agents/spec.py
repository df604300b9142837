"""What an agent is: a pure step with a name, a group, its sources and its table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from contracts.base import Message
from contracts.orders import Input
from contracts.topics import Topic
from tables.rows import TableSpec


class Record(NamedTuple):
    """A decoded message and where it came from; `replayed` if a person sent it again from a dead-letter topic."""

    message: Any
    topic: str
    partition: int
    offset: int
    value: bytes
    replayed: bool = False

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
"""`step(state, record) -> (state, outputs)`; state is None for a new row, outputs are `Out` or effects."""


@dataclass(frozen=True)
class AgentSpec:
    """One agent.

    `key` names the row a message belongs to (`contracts.topics.BROADCAST` = every row of the partition; None = no row:
    the message is of no interest). `forward` is where a broadcast goes on to, behind the outputs of all rows: whoever
    reads both knows that nothing from before it is still to come. `outputs` are the topics it may write: its group's
    user on the broker has the right to write those and no others. `write_ahead`: the row is acknowledged by the
    changelog, its outputs within it, before they go out, and after a crash they go out again. It is for an agent whose
    several sources may merge otherwise the second time: what it decided, and perhaps said, it must not decide anew.
    """

    name: str
    group: str
    help: str
    sources: tuple[Topic, ...]
    step: Step
    key: Callable[[Any], str | None]
    table: TableSpec[Any] | None = None
    forward: Topic | None = None
    outputs: tuple[Topic, ...] = ()
    write_ahead: bool = False


def by_desk(_message: Any) -> str:
    """Key of agents with one row for the whole desk."""
    return "desk"
