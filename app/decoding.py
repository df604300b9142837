"""Bytes to messages: what fits its contract goes on, whatever does not becomes exactly one dead letter."""

from __future__ import annotations

import base64
import contextlib
import functools
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from agents.spec import Record
from contracts.base import Message
from contracts.controls import DeadLetter, DeadLetterReason
from contracts.structs import UnreadableBytes
from contracts.topics import Topic
from tables.rows import Position

ORIGIN_HEADER = "origin"

TEXT_MAX: Final = 500
"""Characters of a dead letter's field and detail: a hostile key of a megabyte is in the original, once is enough."""

RANGE_ERRORS: Final = frozenset(
    {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number"}
    | {"decimal_max_digits", "decimal_max_places", "decimal_whole_digits", "too_short", "too_long"}
)
"""Pydantic's names for a value of the right type that is too large or too small."""


class UnreadableError(Exception):
    """A record does not fit its contract: `reason`, the `field` to look at, what is wrong, the version we read."""

    def __init__(self, reason: DeadLetterReason, field: str, detail: str, version: int = 0) -> None:
        super().__init__(detail)
        self.reason, self.field, self.detail, self.version = reason, field, detail, version


def decode(topic: Topic, partition: int, batch: Iterable[Any]) -> tuple[list[Record], list[DeadLetter]]:
    """The messages of a batch, and a dead letter for each record that holds none.

    A null value in a compacted topic deletes its key and is no message.
    """
    name, compacted, reader = topic.name, topic.cleanup == "compact", topic.struct_reader
    take = reader.decode if reader is not None else functools.partial(read, topic)
    records: list[Record] = []
    bad: list[DeadLetter] = []
    # This runs once per event; what is rare is an exception, which costs nothing where it is not raised.
    for raw in batch:
        value = raw.value
        try:
            try:
                message = take(value)
            except UnreadableBytes:
                message = read(topic, value)
                if reader is not None:
                    reader.learn(message)
                    take = reader.decode
        except UnreadableError as error:
            if value is None and compacted:
                continue
            bad.append(dead_letter(topic, partition, raw, error))
            continue
        records.append(Record(message, name, partition, raw.offset, value, raw.headers))
    return records, bad


def read(topic: Topic, value: bytes | None) -> Message:
    """The message in `value`, of this version or the one before; UnreadableError says what is wrong with it."""
    document = _document(value)
    kind = document.get("type")
    contract = topic.messages.get(kind) if isinstance(kind, str) else None
    if contract is None:
        raise UnreadableError(
            DeadLetterReason.WRONG_SCHEMA, "type", f"{topic.name} carries {', '.join(sorted(topic.messages))}"
        )
    wanted, version = contract.VERSION, document.get("schema_version")
    if type(version) is not int:
        raise UnreadableError(DeadLetterReason.WRONG_SCHEMA, "schema_version", "a whole number is required", wanted)
    if version != wanted and (version != wanted - 1 or wanted == 1):
        raise UnreadableError(
            DeadLetterReason.UNKNOWN_VERSION, "schema_version", f"version {version} of {kind}, not {wanted}", wanted
        )
    try:
        if version == wanted:
            return contract.model_validate_json(value or b"")
        return contract.model_validate_json(to_json(contract.upcast(document)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = DeadLetterReason.OUT_OF_RANGE if first["type"] in RANGE_ERRORS else DeadLetterReason.WRONG_SCHEMA
        raise UnreadableError(reason, ".".join(str(part) for part in first["loc"]), first["msg"], wanted) from error
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        # An upcast works on a document that nothing has checked yet, and may find anything in it.
        detail = f"version {version} of {kind} could not be read as {wanted}: {error}"
        raise UnreadableError(DeadLetterReason.WRONG_SCHEMA, "", detail, wanted) from error


def as_contract(topic: Topic, message: Any) -> Message:
    """A message that was read as its contract itself, which can be sent on."""
    if isinstance(message, Message):
        return message
    return topic.messages[message.type].model_validate(msgspec.structs.asdict(message))


def _document(value: bytes | None) -> dict[str, Any]:
    if value is None:
        raise UnreadableError(DeadLetterReason.MALFORMED_JSON, "", "the record has no value")
    try:
        document = from_json(value, allow_inf_nan=False)
    except ValueError as error:
        raise UnreadableError(DeadLetterReason.MALFORMED_JSON, "", str(error)) from error
    if not isinstance(document, dict):
        raise UnreadableError(DeadLetterReason.WRONG_SCHEMA, "", "a message is a JSON object")
    return document


def origin(raw: Any) -> tuple[str, Position]:
    """The stream a message belongs to and its position there; its own partition and offset if nobody upstream said."""
    for name, value in raw.headers:
        if name == ORIGIN_HEADER and value is not None:
            # No writer of ours sends another form; a stranger's record is taken for what it is, a record of its own.
            with contextlib.suppress(ValueError):
                stream, offset, key, index = value.decode().split("|")
                return stream, (int(offset), key, int(index))
    return f"{raw.topic}/{raw.partition}", (raw.offset, "", 0)


def dead_letter(topic: Topic, partition: int, raw: Any, error: UnreadableError) -> DeadLetter:
    """The dead letter of a record that does not fit its contract."""
    return DeadLetter(
        reason=error.reason,
        field=error.field[:TEXT_MAX],
        detail=error.detail[:TEXT_MAX],
        topic=topic.name,
        partition=partition,
        offset=raw.offset,
        contract_version=error.version,
        original=base64.b64encode(raw.value or b"").decode(),
    )
