"""Validation of every contract by batch: messages per second of the real decode, with the bytes on the wire.

`python -m benchmarks.contracts` prints one line for each message, slowest first, in batches of 1,000 as a busy worker
gets them. Batched topics are validated in one call; `alone` is the same batch with one broken record in it, which sends
all of it the slow way. The last lines compare the two ways of telling the messages of a topic apart.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from pydantic import TypeAdapter

from app.decoding import decode
from contracts.messages import MESSAGES, json_schema
from contracts.topics import MARKET_EVENTS, TOPICS, Topic

BATCH = 1_000
REPEATS = 5


def main() -> int:
    """Print the table."""
    rows = []
    for name in MESSAGES:
        topic = next(topic for topic in TOPICS.values() if name in topic.messages)
        value = json.dumps(example(name)).encode()
        together = rate(topic, [value] * BATCH)
        alone = rate(topic, [value] * (BATCH - 1) + [b"{"])
        rows.append((together, alone, name, len(value), topic))
    print(f"{'message':<18} {'topic':<20} {'bytes':>6} {'messages/s':>12} {'alone':>10}")
    for together, alone, name, size, topic in sorted(rows, key=lambda row: row[0]):
        print(f"{name:<18} {topic.name:<20} {size:>6} {together:>12,.0f} {alone:>10,.0f}")
    print()
    compare_unions()
    return 0


def compare_unions() -> None:
    """A union told apart by `type` against one whose members are tried in turn."""
    quote = json.dumps(example("quote")).encode()
    array = b"[" + b",".join([quote] * BATCH) + b"]"
    members = tuple(MARKET_EVENTS.messages.values())
    union: Any = members[0]
    for member in members[1:]:
        union = union | member
    tried: TypeAdapter[Any] = TypeAdapter(list[union])
    told = best(lambda: MARKET_EVENTS.batch_adapter.validate_json(array))
    turns = best(lambda: tried.validate_json(array))
    print(f"quotes by `type` {BATCH / told:,.0f}/s, members tried in turn {BATCH / turns:,.0f}/s: {turns / told:.1f} x")


def rate(topic: Topic, values: list[bytes]) -> float:
    """Messages per second of the real decode."""
    batch = [
        SimpleNamespace(value=value, topic=topic.name, partition=0, offset=offset, headers=())
        for offset, value in enumerate(values)
    ]
    return len(batch) / best(lambda: decode(topic, batch))


def best(work: Callable[[], Any]) -> float:
    """Seconds of the fastest of some repeats: the others measure the neighbours."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def example(name: str) -> dict[str, Any]:
    """The plainest message that the schema of `name` allows."""
    schema = json_schema(MESSAGES[name])
    document = {field: _value(schema["properties"][field], schema.get("$defs", {})) for field in schema["required"]}
    if name in ("new_order", "amend_order"):
        document["instrument"] = "SPY"
    return document


def _value(schema: dict[str, Any], defs: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return _value(defs[schema["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in schema:
        return _value(schema["anyOf"][0], defs)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    match schema["type"]:
        case "string":
            return _string(schema)
        case "integer":
            return max(schema.get("minimum", 1), schema.get("exclusiveMinimum", 0) + 1)
        case "number":
            return float(schema.get("minimum", 0.5))
        case "boolean":
            return False
        case "array" if "prefixItems" in schema:
            return [_value(item, defs) for item in schema["prefixItems"]]
        case "array":
            return [_value(schema["items"], defs)] * max(1, schema.get("minItems", 1))
        case "object" if "properties" in schema:
            return {field: _value(part, defs) for field, part in schema["properties"].items()}
    return {}


def _string(schema: dict[str, Any]) -> str:
    patterns = {r"^[0-9a-f]{24}$": "a" * 24, r"^[A-Z0-9.]+$": "SPY", r"^[A-Z]{3,5}$": "USD"}
    pattern = schema.get("pattern", "")
    if pattern.startswith("^(account"):
        return "account"
    return patterns.get(pattern, "500.00")


if __name__ == "__main__":
    sys.exit(main())
