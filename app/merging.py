"""The order in which an agent with several sources took their batches, so that a replay merges them the same way.

Each call that changed rows has a number and a record: the batches that were taken since the number before, in order.
The record is in the first of those rows, so it is there exactly if its effect is, and goes to `merge_order` along with
the next rows; until that is acknowledged, newer rows carry it too. What a crash costs:

    before the rows          no row has changed, no record; the batches come again, and are merged anew
    after the rows           the newest row has the record, and it goes out with the next rows; the batches that come
                             again are left out, and so no record of a topic is in two calls
    after the topic has it   the same: it goes out again, under its number

A number never stands for two orders: it goes to the topic only after a row with it was acknowledged, and whoever comes
next, here or on another machine, counts on from the rows.

A call that changed no row has no number. Its batches are told with those of the next that did, one range for each
source: as nothing changed in between, they may stand in any order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from contracts.controls import MergeOrder, Taken
from contracts.topics import MERGE_ORDER
from tables.rows import Call, Merged, Row, Sent, Span

CALL_RECORDS_MAX = 200
CALL_BYTES_MAX = 2**20
"""The rows and outputs of a call are one batch to Kafka, so there is a limit to what it may come to."""

Batch = tuple[str, int, Sequence[Any]]
"""(topic, partition, records), as the shell takes it."""


class Merging:
    """What one agent has taken and not yet told. Its sources have one partition each (`tests/agents` checks it)."""

    def __init__(self, agent: str) -> None:
        self._agent = agent
        self._number = 0
        self._taken: dict[str, int] = {}
        self._without_effect: dict[tuple[str, int], Span] = {}
        self._unsent: tuple[Merged, ...] = ()
        self._carried: tuple[Merged, ...] = ()
        self._sending: list[asyncio.Future[Any]] = []

    def go_on(self, rows: Mapping[str, Row[Any]]) -> tuple[Sent, ...]:
        """Count on from the rows that a recovery has left; the outputs of the last call, which may not be out."""
        calls = (row.call for row in rows.values() if row.call is not None)
        last = max(calls, key=lambda call: call.number, default=Call(((0, ()),), {}, ()))
        self._number, self._taken = last.number, dict(last.taken)
        self._unsent = last.merged if self._number else ()
        # Another worker may have had the place in between: then they would stand before what it did, and came after.
        self._without_effect.clear()
        return last.outbox

    def calls(self, batches: Iterable[Batch]) -> Iterator[list[Batch]]:
        """The batches in calls of at most `CALL_RECORDS_MAX`, without what a call before a crash has taken."""
        call: list[tuple[str, int, list[Any]]] = []
        count = size = 0
        for topic, partition, records in batches:
            taken, place = self._taken.get(topic, -1), -1
            for record in records:
                if record.offset <= taken:
                    continue
                length = len(record.value or b"")
                if count == CALL_RECORDS_MAX or (call and size + length > CALL_BYTES_MAX):
                    yield [*call]
                    call, count, size, place = [], 0, 0, -1
                if place < 0:
                    place = len(call)
                    call.append((topic, partition, []))
                call[place][2].append(record)
                count, size = count + 1, size + length
        if call:
            yield [*call]

    def without_effect(self, batches: Iterable[Batch]) -> None:
        """A call that changed no row."""
        for topic, partition, first, last in map(_span, batches):
            before = self._without_effect.get((topic, partition))
            if before is not None:
                first, last = min(first, before[2]), max(last, before[3])
            self._without_effect[topic, partition] = topic, partition, first, last

    def next(self, batches: Iterable[Batch], outbox: tuple[Sent, ...]) -> Call:
        """A call that changed rows: what the first of them is to carry."""
        self._number += 1
        spans = (*self._without_effect.values(), *map(_span, batches))
        self._carried = (*self._unsent, (self._number, spans))
        self._taken |= {topic: last for topic, _, _, last in spans}
        return Call(self._carried, dict(self._taken), outbox)

    async def tell(self, producer: Any) -> None:
        """Send what rows carry and the topic may not have. It is acknowledged by the time of the next call, or waits.

        Together with the rows of this call it is one request to the broker, and nothing waits for it.
        """
        await asyncio.gather(*self._sending)
        self._sending = await producer.hand_over([self._outgoing(*merged) for merged in self._unsent])

    def written(self) -> None:
        """The rows of this call are acknowledged."""
        self._unsent = self._carried[-1:]
        self._without_effect.clear()

    def _outgoing(self, number: int, spans: tuple[Span, ...]) -> tuple[str, int, bytes, bytes, list[Any]]:
        taken = tuple(Taken(topic=t, partition=p, first_offset=f, last_offset=last) for t, p, f, last in spans)
        message = MergeOrder(agent=self._agent, number=number, batches=taken)
        return MERGE_ORDER.name, 0, self._agent.encode(), message.model_dump_json().encode(), []


def _span(batch: Batch) -> Span:
    topic, partition, records = batch
    return topic, partition, records[0].offset, records[-1].offset
