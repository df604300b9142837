"""`python -m app explain INTENT_ID`: the story of one order, from the quote to the fill, read from the topics alone.

It is asked for by the intent of the order, of a child, of an amend or of a cancel. What kills, resets and the switch
had to do with it is part of it. `--verify` checks the chain of decisions, `--export FILE` keeps a copy of it.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any, Final

from app import decisionlog
from app.decoding import UnreadableError, read
from app.history import History, HistoryError, history
from app.settings import Settings
from app.story import Circle, Entry, Interventions, tell
from connectors.kafka.access import Access
from contracts import topics as t
from contracts.orders import Input

LINKS: Final = (t.ORDER_INTENTS, t.DECISIONS, t.ORDER_COMMANDS)
"""They say which intents belong together."""

DEEDS: Final = (t.BROKER_EVENTS, t.EXEC_REPORTS)
"""What became of an order: by far the most records, of which only those since its intent are read."""

INTENT_ID: Final = re.compile(r"[0-9a-f]{24}")
MARGIN_MS: Final = 60_000
"""Clocks of the desk's machines are no further apart than this."""


def main(settings: Settings, intent_id: str, *, verify: bool, export: str | None = None) -> int:
    """Print the story or the result of the check; 1 when there is none, or the chain is broken."""
    access = settings.kafka.access
    try:
        if export is not None:
            return _export(access, Path(export))
        if verify:
            return _judge(asyncio.run(decisionlog.check(access)))
        if INTENT_ID.fullmatch(intent_id) is None:
            return _fail(f"{intent_id!r} is no intent id: it is 24 hexadecimal digits; or ask to --verify or --export")
        story = asyncio.run(_told(access, intent_id))
    except HistoryError as error:
        return _fail(str(error))
    if not story:
        return _fail(f"no record names the intent {intent_id}; decisions are kept for 30 days")
    sys.stdout.write("\n".join(story) + "\n")
    return 0


def _export(access: Access, path: Path) -> int:
    try:
        return _judge(decisionlog.export(access, path))
    except OSError as error:
        return _fail(f"{error.filename or path} cannot be written: {error.strerror}; name another file")


def _judge(chain: decisionlog.Chain) -> int:
    if chain.faults:
        return _fail(chain.verdict)
    sys.stdout.write(f"{chain.verdict}\n")
    return 0


async def _told(access: Access, intent_id: str) -> list[str]:
    async with history(access) as log:
        return await story(log, intent_id)


async def story(log: History, intent_id: str) -> list[str]:
    """The lines of the story; its own records alone are kept in memory."""
    circle = Circle(intent_id)
    entries = await _linked(log, circle)
    since_ms = max(min((entry.at_ms for entry in entries), default=0) - MARGIN_MS, 0)
    for topic in DEEDS:
        entries += await _naming(log, topic, circle, since_ms)
    entries = [entry for entry in entries if circle.tells(entry.message)]
    if not entries:
        return []
    hands = Interventions(circle, entries)
    async for batch in log.batches(t.CONTROL):
        for record in batch:
            hands.take(entry_of(t.CONTROL, record))
    return tell([*hands.entries, *entries])


async def _linked(log: History, circle: Circle) -> list[Entry]:
    """What the links say of these intents. One may name another that was passed by, so until nobody new is named."""
    while True:
        before = circle.ids
        entries: list[Entry] = []
        for topic in LINKS:
            entries += await _naming(log, topic, circle)
        if circle.ids == before:
            return entries


async def _naming(log: History, topic: t.Topic, circle: Circle, since_ms: int = 0) -> list[Entry]:
    """The records that name an intent of the circle, which learns from them. Only these are decoded."""
    entries: list[Entry] = []
    names = re.compile(b"|".join(name.encode() for name in circle.ids))
    async for batch in log.batches(topic, since_ms):
        for record in batch:
            if record.value is not None and names.search(record.value):
                entry = entry_of(topic, record)
                circle.take(entry.message)
                entries.append(entry)
    return entries


def entry_of(topic: t.Topic, record: Any) -> Entry:
    """Kafka's record as one of a story."""
    try:
        message: Any = read(topic, record.value)
    except UnreadableError as error:
        message = error.detail
    return Entry(Input(topic=topic.name, partition=0, offset=record.offset), record.timestamp, message)


def _fail(sentence: str) -> int:
    sys.stderr.write(f"flowgate: {sentence}\n")
    return 1
