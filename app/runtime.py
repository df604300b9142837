"""The shell: runs the pure step of every agent on Faust, exact after a crash.

Order of effects for one batch, and what a crash between any two lines costs:

    1. decode          bad records become dead letters                      crash: the batch comes again
    2. fold            rows and outputs in memory                           crash: the batch comes again
    3. write rows      to the changelog, with the outputs in them           crash: rows that were written skip, and the
                                                                            outputs in them go out
    4. run effects     (orders to the gateway)                              crash: reconciliation settles it
    5. send outputs    and await the broker's acknowledgements              crash: outputs are sent again, with the
                                                                            same position in their `origin` header: the
                                                                            rows downstream recognise them as repeats
    6. ack the source                                                       crash: the batch comes again, rows skip

So an agent with several sources, which may merge them otherwise the second time: what it decided, and perhaps said, it
does not decide anew, and its rows say in which order it took what led to them (`app/merging.py`). An agent with one
source gets the same again after a crash and says the same: it sends at once, and does 3 and 6 behind that, without the
outputs, for all batches of a tenth of a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.spec import SENT_HEADER, UNCHANGED, AgentSpec, Out
from app.decoding import ORIGIN_HEADER, as_contract, decode, origin
from app.merging import Merging
from connectors import crash
from contracts.topics import BROADCAST, TOPICS
from tables.rows import KeptRow, Row, RowCodec, Sent, TableSpec

LATE_S = 0.1
"""Rows of agents that write late are written this long after the first change."""

FORWARDED_KEY = "~"
"""Row key in the position of a forwarded broadcast: sorts behind every row key, as the broadcast goes out last."""

Effects = Callable[[Sequence[Any]], Awaitable[None]]


class TableRows:
    """Decoded rows of one Faust table, by partition; the table holds their bytes."""

    def __init__(self, spec: TableSpec[Any], table: Any) -> None:
        self.spec = spec
        self._table = table
        self._codec: RowCodec[Any] = spec.codec()
        self._partitions: dict[int, dict[str, Row[Any]]] = {}
        self.generation = 0
        table.on_recover(self._forget)

    async def _forget(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Drop decoded rows; the next batch reads them from the table, which a rebalance may have changed."""
        self.generation += 1
        self._partitions.clear()

    def rows(self, partition: int) -> dict[str, Row[Any]]:
        rows = self._partitions.get(partition)
        if rows is None:
            decoded = ((key.decode(), self._codec.decode(value)) for key, value in self._table.data.items())
            rows = self._partitions[partition] = {key: row for key, row in decoded if row.partition == partition}
        return rows

    def encoded(self, changed: Iterable[tuple[int, str]]) -> list[KeptRow]:
        """The rows to write, in a fixed order; one that has nothing to keep any more is to be removed."""
        rows = ((partition, key, self._partitions[partition][key]) for partition, key in sorted(changed))
        return [
            (partition, key.encode(), None if row.is_empty else self._codec.encode(row)) for partition, key, row in rows
        ]

    async def write(
        self, app: Any, changed: Iterable[tuple[int, str]], place: str = "", *, whole: bool = False
    ) -> None:
        """Send the rows to the changelog, await the acknowledgements, then let the table have them."""
        await self.keep(*await self.hand_over(app, changed, whole=whole, place=place))

    async def hand_over(
        self, app: Any, changed: Iterable[tuple[int, str]], *, whole: bool = False, place: str = ""
    ) -> tuple[list[KeptRow], list[asyncio.Future[Any]]]:
        """The rows as they are now, on their way to the changelog."""
        rows = self.encoded(changed)
        changelog = self._table.changelog_topic_name
        records: list[Any] = [(changelog, partition, key, value, []) for partition, key, value in rows]
        sent = await app.producer.hand_over(records, whole=whole)
        crash.at(place)
        return rows, sent

    async def keep(self, rows: list[KeptRow], sent: list[asyncio.Future[Any]]) -> None:
        """Await the acknowledgements, then let the table have the rows."""
        acknowledged = {found.partition: found.offset for found in await asyncio.gather(*sent)}
        self._table.keep(rows, acknowledged)
        for partition, key, value in rows:
            if value is None and self._partitions[partition][key.decode()].is_empty:
                del self._partitions[partition][key.decode()]


def records_of(message: Any) -> Sequence[Any]:
    """The records of a message: a batch from our transport, and the message itself from Faust's own."""
    return message.value if isinstance(message.value, list) else [message]


def acknowledge(events: Iterable[Any]) -> None:
    """All that these events are about is done."""
    for event in events:
        event.ack()


@dataclass(slots=True)
class Folded:
    """What a batch came to: outputs as (partition, output, origin), effects, and the rows that changed.

    A broadcast that goes on is an effect too, behind those of all rows. Dead letters are as large as what they hold and
    rest on no row, so they are kept in none.
    """

    letters: list[tuple[int, Out, str]] = field(default_factory=list)
    outputs: list[tuple[int, Out, str]] = field(default_factory=list)
    effects: list[Any] = field(default_factory=list)
    changed: set[tuple[int, str]] = field(default_factory=set)

    def collect(self, results: Sequence[Any], partition: int, origin: str) -> None:
        """Sort the results of one step into outputs and effects."""
        for index, result in enumerate(results):
            if isinstance(result, Out):
                self.outputs.append((partition, result, f"{origin}|{index}"))
            else:
                self.effects.append(result)


class AgentShell:
    """Runs one AgentSpec: `process` takes the batches that are there, of one or more partitions."""

    def __init__(self, app: Any, spec: AgentSpec, rows: TableRows | None, effects: Effects | None) -> None:
        self._app = app
        self._spec = spec
        self._rows = rows
        self._effects = effects
        self._merging = Merging(spec.name)
        self._in_order = asyncio.Lock()
        self._late = asyncio.Event()
        self._generation = -1
        self._unwritten: set[tuple[int, str]] = set()
        self._unacknowledged: list[Any] = []

    async def run(self, stream: Any) -> None:
        """The body of the Faust agent.

        Batches that wait behind the first (of other partitions, mostly) are taken along, so that all share one round
        trip to the broker.
        """
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._write_again_and_again())
            await self._take_all(stream)
            writer.cancel()

    async def _take_all(self, stream: Any) -> None:
        waiting = stream.channel.queue
        async for event in stream.noack().events():
            events = [event, *(waiting.get_nowait() for _ in range(waiting.qsize()))]
            messages = [event.message for event in events]
            await self.process([(message.tp.topic, message.partition, records_of(message)) for message in messages])
            if self._spec.merges:
                acknowledge(events)
            else:
                self._unacknowledged += events
                self._late.set()

    async def _write_again_and_again(self) -> None:
        """The rows of an agent with one source; of others there are none to write here."""
        while True:
            await self._late.wait()
            await asyncio.sleep(LATE_S)
            self._late.clear()
            await self.write_late()

    async def write_late(self) -> None:
        """Write the rows that have changed, and acknowledge what changed them."""
        # Not between the fold of a batch and the acknowledgement of its outputs, which come first.
        async with self._in_order:
            events, self._unacknowledged = self._unacknowledged, []
            changed, self._unwritten = self._unwritten, set()
            sent = await self._rows.hand_over(self._app, changed) if self._rows is not None and changed else None
        if self._rows is not None and sent is not None:
            await self._rows.keep(*sent)
        acknowledge(events)

    async def process(self, batches: Sequence[tuple[str, int, Sequence[Any]]]) -> None:
        """Batches of (topic, partition, records), in the order of effects of the module."""
        async with self._in_order:
            if self._rows is not None and self._rows.generation != self._generation:
                # A rebalance has thrown the rows away, and what is not acknowledged comes again.
                self._generation = self._rows.generation
                self._unacknowledged, self._unwritten = [], set()
                if self._spec.merges:
                    # What the last call before it was about to say.
                    await self._send(self._merging.go_on(self._rows.rows(0)))
            for call in self._merging.calls(batches) if self._spec.merges else (batches,):
                folded = Folded()
                for topic, partition, batch in call:
                    self._fold_batch(topic, partition, batch, folded)
                    crash.at(f"{self._spec.name}:read:{topic}")
                await self._tell(folded, call)

    async def _tell(self, folded: Folded, batches: Sequence[tuple[str, int, Sequence[Any]]]) -> None:
        """Rows, effects and outputs of what was folded."""
        outputs, name = encoded(folded.outputs), self._spec.name
        if folded.letters:
            await self._send(encoded(folded.letters))
        if self._spec.merges:
            await self._write(folded, batches, outputs)
            if outputs:
                crash.at(f"{name}:written")
            if folded.effects and self._effects is not None:
                crash.at(f"{name}:claimed")
                await self._effects(folded.effects)
        await self._send(outputs)
        if outputs:
            crash.at(f"{name}:said")
        if not self._spec.merges:
            self._unwritten |= folded.changed

    def _fold_batch(self, topic: str, partition: int, batch: Sequence[Any], folded: Folded) -> None:
        records, bad = decode(TOPICS[topic], partition, batch)
        dead_letters = TOPICS[topic].dead_letters
        if self._spec.name == TOPICS[topic].keeper and dead_letters is not None:
            for letter in bad:
                folded.letters.append((partition, Out(dead_letters, letter.source, letter), ""))
        # The loop below runs once per event: what does not change in it is looked up before it.
        name, own = f"{self._spec.name}/{topic}/{partition}", f"{topic}/{partition}"
        key_of, step, forward, refuse = self._spec.key, self._spec.step, self._spec.forward, self._spec.refuse
        rows = self._rows.rows(partition) if self._rows is not None else {}
        changed: set[str] = set()
        for record in records:
            key = key_of(record.message)
            if key is None:
                continue
            if refuse is not None and key == BROADCAST:
                refused = refuse([row.state for row in rows.values()], record)
                if refused is not None:
                    folded.outputs.append((partition, refused, ""))
                    continue
            if record.headers:
                stream, position = origin(record)
            else:
                stream, position = own, (record.offset, "", 0)
            for row_key in (key,) if key != BROADCAST else sorted(rows):
                row = rows.get(row_key)
                if row is None:
                    row = Row(partition, {})
                # `Row.is_repeat` written out, as this line runs for every event.
                elif (last := row.seen.get(stream)) is not None and position <= last:
                    continue
                try:
                    row.state, results = step(row.state, record)
                except Exception as error:
                    error.add_note(f"at {topic}/{partition} offset {record.offset}, row {row_key} of {self._spec.name}")
                    raise
                if results is not UNCHANGED:
                    row.seen[stream] = position
                    if row_key not in changed:
                        rows[row_key] = row
                        changed.add(row_key)
                    if results:
                        folded.collect(results, partition, f"{name}|{record.offset}|{row_key}")
            if forward is not None and key == BROADCAST:
                # No row remembers what was passed on, so a repeat is passed on again: under the position it first had.
                first = (stream, *position) if position[1] else (name, record.offset, FORWARDED_KEY, 0)
                forwarded = Out(forward, BROADCAST, as_contract(TOPICS[topic], record.message))
                folded.outputs.append((partition, forwarded, "|".join(map(str, first))))
                folded.effects.append(record.message)
        folded.changed.update((partition, row_key) for row_key in changed)

    async def _write(self, folded: Folded, batches: Sequence[Any], outbox: tuple[Sent, ...]) -> None:
        """Changed rows to the changelog. The first keeps what is yet to go out: outputs, and the order of the merge."""
        if self._rows is None:
            return
        if not folded.changed:
            self._merging.without_effect(batches)
            return
        for partition, key in folded.changed:
            self._rows.rows(partition)[key].call = None
        lasting = {at for at in folded.changed if not self._rows.rows(at[0])[at[1]].is_empty}
        partition, key = min(lasting or folded.changed)
        self._rows.rows(partition)[key].call = self._merging.next(batches, outbox)
        await self._merging.tell(self._app.producer)
        place = f"{self._spec.name}:claiming" if folded.effects else ""
        await self._rows.write(self._app, folded.changed, place, whole=True)
        self._merging.written()

    async def _send(self, outputs: Sequence[Sent]) -> None:
        sent = (SENT_HEADER, str(time.time_ns()).encode())
        records = [
            (
                topic,
                partition,
                key.encode(),
                value.encode(),
                [sent, (ORIGIN_HEADER, origin.encode())] if origin else [sent],
            )
            for partition, topic, key, value, origin in outputs
        ]
        await asyncio.gather(*await self._app.producer.hand_over(records))


def encoded(outputs: Sequence[tuple[int, Out, str]]) -> tuple[Sent, ...]:
    """Outputs as they go out."""
    return tuple(
        (partition if topic.partitions > 1 else 0, topic.name, key, message.model_dump_json(), came_from)
        for partition, (topic, key, message), came_from in outputs
    )
