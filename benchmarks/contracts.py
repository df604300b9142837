"""Validation of every contract by batch: messages per second of the real decode, with the bytes on the wire.

`python -m benchmarks.contracts` prints one line for each message, slowest first, in batches of 1,000 as a busy worker
gets them. Messages of the topics with a record for each event of the market are read as structs (`contracts.structs`);
`contract` is the same batch read by pydantic, which has the last word on what they do not take.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from app.decoding import decode, read
from contracts.messages import MESSAGES, json_schema
from contracts.topics import TOPICS, Topic

BATCH = 1_000
REPEATS = 5


def main() -> int:
    """Print the table."""
    rows = []
    for name in MESSAGES:
        topic = next(topic for topic in TOPICS.values() if name in topic.messages)
        value = json.dumps(example(name)).encode()
        contract = BATCH / best(functools.partial(_read_all, topic, value))
        rows.append((rate(topic, [value] * BATCH), contract, name, len(value), topic))
    print(f"{'message':<18} {'topic':<20} {'bytes':>6} {'messages/s':>12} {'contract':>10}")
    for told, contract, name, size, topic in sorted(rows, key=lambda row: row[0]):
        print(f"{name:<18} {topic.name:<20} {size:>6} {told:>12,.0f} {contract:>10,.0f}")
    return 0


def _read_all(topic: Topic, value: bytes) -> None:
    for _ in range(BATCH):
        read(topic, value)


def rate(topic: Topic, values: list[bytes]) -> float:
    """Messages per second of the real decode."""
    batch = [
        SimpleNamespace(value=value, topic=topic.name, partition=0, offset=offset, headers=())
        for offset, value in enumerate(values)
    ]
    return len(batch) / best(lambda: decode(topic, 0, batch))


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
    if name in ("new_order", "amend_order", "amend_intent"):
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
