"""The shell: runs the pure step of every agent on Faust, exact after a crash.

Order of effects for one batch, and what a crash between any two lines costs:

    1. decode          bad records become dead letters                      crash: the batch comes again
    2. fold            rows and outputs in memory                           crash: the batch comes again
    3. send outputs    and await the broker's acknowledgements              crash: outputs are sent again, with the
                                                                            same position in their `origin` header: the
                                                                            rows downstream recognise them as repeats
    4. write rows      to the changelog, await acknowledgements             crash: rows that were written skip
    5. run effects     (orders to the gateway)                              crash: reconciliation settles it
    6. ack the source                                                       crash: the batch comes again, rows skip
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from agents.spec import UNCHANGED, AgentSpec, Out, Record
from contracts.controls import DeadLetter, DeadLetterReason
from contracts.topics import BROADCAST, TOPICS, Topic
from tables.rows import Position, Row, RowCodec, TableSpec

ORIGIN_HEADER = "origin"
SENT_HEADER = "sent_ns"
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
        table.on_recover(self._forget)

    async def _forget(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Drop decoded rows; the next batch reads them from the table, which a rebalance may have changed."""
        self._partitions.clear()

    def rows(self, partition: int) -> dict[str, Row[Any]]:
        rows = self._partitions.get(partition)
        if rows is None:
            decoded = ((key.decode(), self._codec.decode(value)) for key, value in self._table.data.items())
            rows = self._partitions[partition] = {key: row for key, row in decoded if row.partition == partition}
        return rows

    def encoded(self, changed: Iterable[tuple[int, str]]) -> list[tuple[int, bytes, bytes]]:
        """(partition, key, value) of the rows to write, in a fixed order."""
        return [
            (partition, key.encode(), self._codec.encode(self._partitions[partition][key]))
            for partition, key in sorted(changed)
        ]

    async def write(self, app: Any, changed: Iterable[tuple[int, str]]) -> None:
        """Send the rows to the changelog, await the acknowledgements, then let the table have them."""
        rows = self.encoded(changed)
        changelog = self._table.changelog_topic_name
        sent = [await app.producer.send(changelog, key, value, partition, None, None) for partition, key, value in rows]
        await asyncio.gather(*sent)
        for _, key, value in rows:
            self._table.data[key] = value


@dataclass(slots=True)
class Folded:
    """What a batch came to: outputs as (partition, output, origin), effects, and the rows that changed."""

    outputs: list[tuple[int, Out, str]] = field(default_factory=list)
    effects: list[Any] = field(default_factory=list)
    changed: set[tuple[int, str]] = field(default_factory=set)


class AgentShell:
    """Runs one AgentSpec: `process` takes the batches that are there, of one or more partitions."""

    def __init__(self, app: Any, spec: AgentSpec, rows: TableRows | None, effects: Effects | None) -> None:
        self._app = app
        self._spec = spec
        self._rows = rows
        self._effects = effects

    async def run(self, stream: Any) -> None:
        """The body of the Faust agent.

        Batches that wait behind the first (of other partitions, mostly) are taken along, so that all share one round
        trip to the broker. Faust acknowledges the first when the next is asked for; the others are acknowledged here.
        """
        waiting = stream.channel.queue
        async for event in stream.events():
            along = [waiting.get_nowait() for _ in range(waiting.qsize())]
            messages = [event.message, *(other.message for other in along)]
            await self.process([(message.tp.topic, message.partition, message.value) for message in messages])
            for other in along:
                other.ack()

    async def process(self, batches: Sequence[tuple[str, int, Sequence[Any]]]) -> None:
        """Batches of (topic, partition, records), in the order of effects of the module."""
        folded = Folded()
        for topic, partition, batch in batches:
            self._fold_batch(topic, partition, batch, folded)
        await self._send(folded.outputs)
        if self._rows is not None and folded.changed:
            await self._rows.write(self._app, folded.changed)
        if folded.effects and self._effects is not None:
            await self._effects(folded.effects)

    def _fold_batch(self, topic: str, partition: int, batch: Sequence[Any], folded: Folded) -> None:
        records, bad = decode(TOPICS[topic], batch)
        if self._spec.dead_letters is not None:
            for letter in bad:
                folded.outputs.append((partition, Out(self._spec.dead_letters, _coordinates(letter), letter), ""))
        name = f"{self._spec.name}/{topic}/{partition}"
        rows = self._rows.rows(partition) if self._rows is not None else {}
        for record, raw in records:
            key = self._spec.key(record.message)
            if key is None:
                continue
            stream, position = origin(raw)
            for row_key in sorted(rows) if key == BROADCAST else (key,):
                self._fold(record, rows, row_key, stream, position, name, folded)
            if self._spec.forward is not None and key == BROADCAST:
                forwarded = Out(self._spec.forward, BROADCAST, record.message)
                folded.outputs.append((partition, forwarded, f"{name}|{record.offset}|{FORWARDED_KEY}|0"))

    def _fold(
        self,
        record: Record,
        rows: dict[str, Row[Any]],
        row_key: str,
        stream: str,
        position: Position,
        name: str,
        folded: Folded,
    ) -> None:
        """One message into one row, unless the row has it."""
        row = rows.get(row_key)
        if row is None:
            row = Row(record.partition, {})
        elif row.is_repeat(stream, position):
            return
        row.state, results = self._spec.step(row.state, record)
        if results is UNCHANGED:
            return
        if self._rows is not None:
            row.seen[stream] = position
            rows[row_key] = row
            folded.changed.add((record.partition, row_key))
        for index, result in enumerate(results):
            if isinstance(result, Out):
                came_from = f"{name}|{record.offset}|{row_key}|{index}"
                folded.outputs.append((record.partition, result, came_from))
            else:
                folded.effects.append(result)

    async def _send(self, outputs: Sequence[tuple[int, Out, str]]) -> None:
        sent_ns = str(time.time_ns()).encode()
        pending = []
        for partition, (topic, key, message), came_from in outputs:
            headers = [(SENT_HEADER, sent_ns)]
            if came_from:
                headers.append((ORIGIN_HEADER, came_from.encode()))
            value = message.model_dump_json().encode()
            target = partition if topic.partitions > 1 else 0
            pending.append(await self._app.producer.send(topic.name, key.encode(), value, target, None, headers))
        await asyncio.gather(*pending)


def origin(raw: Any) -> tuple[str, Position]:
    """The stream a message belongs to and its position there; its own partition and offset if nobody upstream said."""
    for name, value in raw.headers:
        if name == ORIGIN_HEADER:
            stream, offset, key, index = value.decode().split("|")
            return stream, (int(offset), key, int(index))
    return f"{raw.topic}/{raw.partition}", (raw.offset, "", 0)


def decode(topic: Topic, batch: Sequence[Any]) -> tuple[list[tuple[Record, Any]], list[DeadLetter]]:
    """Records of a batch, validated in one call; one by one only when something in the batch is wrong."""
    bad: list[DeadLetter] = []
    good = [raw for raw in batch if raw.value is not None]
    try:
        messages = topic.batch_adapter.validate_json(b"[" + b",".join([raw.value for raw in good]) + b"]")
        if len(messages) != len(good):  # a value with a comma of its own between two messages
            raise ValueError(topic.name)
    except (ValidationError, ValueError):
        messages, good, bad = _decode_singly(topic, good)
    records = [
        (Record(message, raw.topic, raw.partition, raw.offset, raw.value), raw)
        for message, raw in zip(messages, good, strict=True)
    ]
    return records, bad


def _decode_singly(topic: Topic, batch: Sequence[Any]) -> tuple[list[Any], list[Any], list[DeadLetter]]:
    messages: list[Any] = []
    good: list[Any] = []
    bad: list[DeadLetter] = []
    for raw in batch:
        try:
            messages.append(topic.adapter.validate_json(raw.value))
            good.append(raw)
        except ValidationError as error:
            bad.append(dead_letter(raw, error))
    return messages, good, bad


def dead_letter(raw: Any, error: ValidationError) -> DeadLetter:
    """The dead letter of a record that does not fit its contract."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "json_invalid":
        reason = DeadLetterReason.MALFORMED_JSON
    elif field.endswith("schema_version"):
        reason = DeadLetterReason.UNKNOWN_VERSION
    else:
        reason = DeadLetterReason.WRONG_SCHEMA
    return DeadLetter(
        reason=reason,
        field=field,
        detail=first["msg"],
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        contract_version=1,
        original=base64.b64encode(raw.value).decode(),
    )


def _coordinates(letter: DeadLetter) -> str:
    return f"{letter.topic}/{letter.partition}/{letter.offset}"
