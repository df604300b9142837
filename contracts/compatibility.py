"""May a reader with one schema read all that a writer with another may write?

Confluent's schema registry asks it twice: *backward* compatible, the new reader reads old messages; *forward*
compatible, the old reader reads new messages. A change in the same version must be both, as readers and writers of two
releases run side by side. Our contracts are closed (`additionalProperties: false`), so a new field breaks old readers,
and a field that is gone breaks new ones: both ask for the next version and an `upcast`.

The comparison covers the keywords our generator writes. Where it cannot prove that a value is readable it says no.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems")
UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
WIDER = {("number", "integer")}
"""(reader, writer): each integer is a number."""


def full(new: Schema, old: Schema) -> list[str]:
    """Why `new` is not fully compatible with `old`; empty when readers of each read what writers of the other write."""
    backward = [f"new readers refuse old messages: {problem}" for problem in refusals(new, old)]
    return backward + [f"old readers refuse new messages: {problem}" for problem in refusals(old, new)]


def refusals(reader: Schema, writer: Schema) -> list[str]:
    """What a writer may write that the reader may refuse, one line each."""
    return list(_Comparison(reader, writer).refusals(reader, writer, "message"))


class _Comparison:
    """Two schemas with their definitions."""

    def __init__(self, reader: Schema, writer: Schema) -> None:
        self._reader, self._writer = reader.get("$defs", {}), writer.get("$defs", {})

    def refusals(self, reader: Schema, writer: Schema, path: str) -> Iterator[str]:
        reader, writer = _resolve(reader, self._reader), _resolve(writer, self._writer)
        for alternative in _alternatives(writer):
            alternative = _resolve(alternative, self._writer)
            answers = [
                list(self._single(_resolve(choice, self._reader), alternative, path))
                for choice in _alternatives(reader)
            ]
            if all(answers):
                yield from min(answers, key=len)

    def _single(self, reader: Schema, writer: Schema, path: str) -> Iterator[str]:
        values, written = _values(reader), _values(writer)
        if values is not None:
            if written is None or not all(value in values for value in written):
                yield f"{path}: {written or 'any value'} is not all in {values}"
            return
        kind, written_kind = reader.get("type"), writer.get("type") or _kind(written)
        if kind != written_kind and (kind, written_kind) not in WIDER:
            yield f"{path}: {written_kind} is not {kind}"
            return
        yield from _bounds(reader, writer, path)
        if kind == "object":
            yield from self._object(reader, writer, path)
        if kind == "array":
            yield from self._array(reader, writer, path)

    def _object(self, reader: Schema, writer: Schema, path: str) -> Iterator[str]:
        known, written = reader.get("properties", {}), writer.get("properties", {})
        required = set(writer.get("required", ()))
        yield from (
            f"{path}.{name}: required and not always there"
            for name in reader.get("required", ())
            if name not in required
        )
        extra = reader.get("additionalProperties", True)
        for name, schema in written.items():
            if name in known:
                yield from self.refusals(known[name], schema, f"{path}.{name}")
            elif extra is False:
                yield f"{path}.{name}: unknown field"
        others = writer.get("additionalProperties", True)
        if extra is False and others is not False:
            yield f"{path}: unknown fields"
        elif isinstance(extra, dict):
            yield from self.refusals(extra, others if isinstance(others, dict) else {}, f"{path}.*")

    def _array(self, reader: Schema, writer: Schema, path: str) -> Iterator[str]:
        expected, written = reader.get("prefixItems", []), writer.get("prefixItems", [])
        if len(expected) != len(written):
            yield f"{path}: {len(written)} places, not {len(expected)}"
        for place, (item, other) in enumerate(zip(expected, written, strict=False)):
            yield from self.refusals(item, other, f"{path}[{place}]")
        if isinstance(reader.get("items"), dict):
            yield from self.refusals(reader["items"], writer.get("items", {}), f"{path}[]")


def _resolve(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    while "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    return schema


def _alternatives(schema: Schema) -> list[Schema]:
    found: list[Schema] = schema.get("anyOf") or schema.get("oneOf") or [schema]
    return found


def _values(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    return schema.get("enum")


def _kind(values: list[Any] | None) -> str | None:
    kinds = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
    found = {kinds.get(type(value)) for value in values or ()}
    return found.pop() if len(found) == 1 else None


def _bounds(reader: Schema, writer: Schema, path: str) -> Iterator[str]:
    for keyword in LOWER:
        if keyword in reader and not writer.get(keyword, float("-inf")) >= reader[keyword]:
            yield f"{path}: {keyword} {writer.get(keyword, 'none')}, not {reader[keyword]}"
    for keyword in UPPER:
        if keyword in reader and not writer.get(keyword, float("inf")) <= reader[keyword]:
            yield f"{path}: {keyword} {writer.get(keyword, 'none')}, not {reader[keyword]}"
    for keyword in ("pattern", "propertyNames", "patternProperties", "format"):
        if keyword in reader and writer.get(keyword) != reader[keyword]:
            yield f"{path}: {keyword} {writer.get(keyword, 'none')}, not {reader[keyword]}"
