"""What the page shows: every table folded from its changelog, the newest messages of four topics, and a tally of the
dead letters.

Rows and messages stay bytes until somebody looks: a changelog runs at the speed of the market, a page at 4 Hz.
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from pydantic import ValidationError

from app.deadletters import DEAD_LETTER_TOPICS, Tally
from contracts.topics import CONTROL, DECISIONS, EXEC_REPORTS, RISK_EVENTS, TOPICS
from tables.rows import any_row

EVENTS_MAX: Final = {DECISIONS.name: 50, EXEC_REPORTS.name: 50, CONTROL.name: 50, RISK_EVENTS.name: 600}
"""Messages kept of each topic; 600 risk events are ten minutes of chart at buckets of one second."""

ROWS_MAX: Final = 1_000
ORDERS_MAX: Final = 200
"""Rows kept of a table, the last changed ones; only `orders` grows with time."""

ITEMS_MAX: Final = 50
"""Items of a list or a mapping inside a row that go to the page; admission remembers 10,000 intents."""

JSON_INT_MAX: Final = 2**53
"""JavaScript's numbers are exact up to here; nanoseconds are not, so they go to the page as text."""


class View:
    """Tables by name and key, and events by topic.

    `version` counts the records taken. `newest_ms` is the time of the newest one in milliseconds since the epoch, 0
    before the first: a page that has just read an old log must not call it live.
    """

    def __init__(self, prefix: str, groups: Iterable[str]) -> None:
        names = "|".join(re.escape(group) for group in groups)
        self._changelog = re.compile(rf"{re.escape(prefix)}-(?:{names})-(.+)-changelog")
        self._rows: dict[str, dict[str, tuple[int, bytes | None]]] = {}
        self._events: dict[str, deque[tuple[int, bytes]]] = {
            topic: deque(maxlen=count) for topic, count in EVENTS_MAX.items()
        }
        self.dead_letters = Tally()
        self.version = 0
        self.newest_ms = 0

    def table_of(self, topic: str) -> str | None:
        """The table whose changelog `topic` is."""
        match = self._changelog.fullmatch(topic)
        return match[1] if match else None

    def wants(self, topic: str) -> bool:
        """Whether the view folds this topic."""
        return topic in EVENTS_MAX or topic in DEAD_LETTER_TOPICS or self.table_of(topic) is not None

    def fold(self, topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int) -> None:
        """Take one record with its Kafka timestamp. A value of None deletes the row."""
        table = self.table_of(topic)
        self.version += 1
        self.newest_ms = max(self.newest_ms, timestamp_ms)
        if table is not None:
            rows = self._rows.setdefault(table, {})
            name = (key or b"").decode(errors="replace")
            rows.pop(name, None)  # so that the last changed row is the last one
            rows[name] = (self.version, value)
            if len(rows) > (ORDERS_MAX if table == "orders" else ROWS_MAX):
                del rows[next(iter(rows))]
        elif value is not None and topic in self._events:
            self._events[topic].append((self.version, value))
        elif value is not None and topic in DEAD_LETTER_TOPICS:
            self.dead_letters.take(TOPICS[topic], value)

    @property
    def tables(self) -> list[str]:
        """Names of the tables seen so far, sorted."""
        return sorted(self._rows)

    def rows(self, table: str) -> dict[str, Any]:
        """State of every row of a table, whole, sorted by key. KeyError for a table that was not seen."""
        rows = self._rows[table]
        states = {key: state(value) for key, (_, value) in sorted(rows.items())}
        return {key: found for key, found in states.items() if found is not None}

    def changes(self, since: int) -> dict[str, Any]:
        """What changed after `since`, shortened for a page; a deleted row is None."""
        tables = {
            table: {key: shorten(state(value)) for key, (version, value) in rows.items() if version > since}
            for table, rows in self._rows.items()
        }
        events = {
            topic: [shorten(event) for version, value in kept if version > since and (event := message(value))]
            for topic, kept in self._events.items()
        }
        return {
            "version": self.version,
            "tables": {table: rows for table, rows in tables.items() if rows},
            "events": {topic: kept for topic, kept in events.items() if kept},
        }


def state(value: bytes | None) -> Any:
    """The state of a row's bytes; bytes that are no row say so."""
    if value is None:
        return None
    try:
        return any_row(value).get("state")
    except ValidationError as error:
        return {"unreadable": error.errors(include_url=False, include_input=False)[0]["msg"]}


def message(value: bytes) -> dict[str, Any] | None:
    """A message's fields, None when the bytes are no JSON object: the agents have a dead letter for those."""
    try:
        decoded = json.loads(value)
    except ValueError:
        return None
    return decoded if isinstance(decoded, dict) else None


def shorten(value: Any) -> Any:
    """The same value for a page: the last ITEMS_MAX items, whole numbers that JavaScript cannot hold as text."""
    if isinstance(value, dict):
        kept = list(value.items())[-ITEMS_MAX:]
        short = {key: shorten(item) for key, item in kept}
        return short if len(kept) == len(value) else {"…": f"{len(value) - len(kept)} earlier", **short}
    if isinstance(value, list):
        items = [shorten(item) for item in value[-ITEMS_MAX:]]
        return items if len(items) == len(value) else [f"… {len(value) - len(items)} earlier", *items]
    if isinstance(value, int) and abs(value) > JSON_INT_MAX:
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
