"""The recorded merge order, and the steps of an agent run again in it."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agents.spec import AgentSpec
from app.decoding import origin
from app.runtime import AgentShell, TableRows
from contracts.controls import MergeOrder
from contracts.topics import MERGE_ORDER, TOPICS
from tables.rows import Span
from tests.shell.fake_log import FakeApp, FakeLog, FakeTable, Raw, seen_once


class Listener(FakeLog):
    """Hears what the agent says, and forgets the rest."""

    async def hand_over(self, records: Sequence[Any], *, whole: bool = False) -> list[Any]:
        for topic, partition, key, value, headers in records:
            if topic in TOPICS and topic != MERGE_ORDER.name:
                self.topics[topic].append(Raw(topic, partition, len(self.topics[topic]), key, value, headers))
        return []


Said = Mapping[str, Mapping[bytes, Sequence[bytes]]]
"""What an agent has said: values by topic and key."""


Order = Sequence[tuple[Span, ...]]
"""The batches of each call that changed rows, in the order in which they were taken."""


def recorded(spec: AgentSpec, records: Iterable[Any], rows: Iterable[bytes]) -> Order:
    """What `merge_order` has of an agent, and the newest that only its rows have; a number that is missing is named."""
    assert spec.table is not None
    codec = spec.table.codec()
    numbered: dict[int, tuple[Span, ...]] = {}
    messages = [MergeOrder.model_validate_json(record.value) for record in records]
    told = [
        (m.number, tuple((t.topic, t.partition, t.first_offset, t.last_offset) for t in m.batches))
        for m in messages
        if m.agent == spec.name
    ]
    for number, spans in [
        *told,
        *(merged for row in rows if (call := codec.decode(row).call) for merged in call.merged),
    ]:
        assert numbered.setdefault(number, spans) == spans, f"{spec.name}: number {number} stands for two orders"
    assert sorted(numbered) == list(range(1, len(numbered) + 1)), f"{spec.name}: numbers are missing"
    return [numbered[number] for number in sorted(numbered)]


def replay(spec: AgentSpec, sources: Mapping[str, Sequence[Any]], order: Order) -> dict[bytes, bytes]:
    """The rows of an agent that takes the records of its sources in this order."""
    return replay_aloud(spec, sources, order)[0]


def replay_aloud(
    spec: AgentSpec, sources: Mapping[str, Sequence[Any]], order: Order
) -> tuple[dict[bytes, bytes], Said]:
    """The same, through the shell's own folding, and what the agent says."""
    assert spec.table is not None
    listener = Listener()
    table = FakeTable(listener)
    shell = AgentShell(FakeApp(listener), spec, TableRows(spec.table, table), None)

    async def fold() -> None:
        for spans in order:
            await shell.process([(topic, partition, _records(sources[topic], *at)) for topic, partition, *at in spans])
        await shell.write_late()

    asyncio.run(fold())
    return without_what_goes_out(spec, table.data), said_by(spec, listener.topics)


def said_by(spec: AgentSpec, topics: Mapping[str, Sequence[Any]]) -> Said:
    """What readers take of an agent's outputs: each once, and nobody else's."""
    said: dict[str, dict[bytes, list[bytes]]] = defaultdict(lambda: defaultdict(list))
    for topic in {*spec.outputs, *([spec.forward] if spec.forward is not None else [])}:
        own = [raw for raw in topics.get(topic.name, ()) if origin(raw)[0].startswith(f"{spec.name}/")]
        for key, value in seen_once(own):
            said[topic.name][key].append(value)
    return said


def without_what_goes_out(spec: AgentSpec, rows: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Rows without what the calls left in them: outputs, and their part of the merge order."""
    assert spec.table is not None
    codec, kept = spec.table.codec(), {}
    for key, value in rows.items():
        row = codec.decode(value)
        row.call = None
        kept[key] = codec.encode(row)
    return kept


def _records(records: Sequence[Any], first: int, last: int) -> Sequence[Any]:
    """Those of a topic with one partition from one offset to another."""
    begin = bisect_left(records, first, key=lambda record: record.offset)
    end = bisect_left(records, last + 1, key=lambda record: record.offset)
    assert records[begin].offset == first, f"offset {first} of {records[begin].topic} is gone"
    assert records[end - 1].offset == last, f"offset {last} of {records[begin].topic} is gone"
    return records[begin:end]
