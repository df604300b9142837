"""Contracts as structs: what reads hundreds of thousands of market messages a second.

pydantic defines every contract and builds every message we send. To read a message it needs some 2 us, most of it for
making the object; `msgspec` reads the same bytes into a struct of the same fields in a fourth of that. The structs are
derived here from the contracts, so there is nothing to keep in step by hand, and they are only a short cut: bytes that
a struct takes are such as the contract takes, with equal values (a property test holds it to that), and bytes that it
does not take are read by the contract, which has the last word and names what is wrong.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import annotated_types as bounds
import msgspec
from pydantic.fields import FieldInfo

from contracts.base import Message

INT64_END: Final = 2**63

UnreadableBytes = (msgspec.MsgspecError, UnicodeDecodeError)
"""What a decoder raises for bytes it does not take."""


def decoder_of(messages: dict[str, type[Message]]) -> msgspec.json.Decoder[Any]:
    """Reads one message of these contracts, which `type` tells apart; it takes none that has a validator of its own."""
    structs = [struct_of(message) for message in messages.values() if not has_validators(message)]
    return msgspec.json.Decoder(functools.reduce(operator.or_, structs))


def has_validators(message: type[Message]) -> bool:
    """Whether a contract checks or changes more than its fields' types and limits say."""
    return any(dataclasses.asdict(message.__pydantic_decorators__).values())


def struct_of(message: type[Message]) -> type[msgspec.Struct]:
    """The struct of a contract: the same fields and limits, frozen and closed. `schema_version` must be on the wire.

    TypeError for a field that no struct has.
    """
    kind = message.model_fields["type"].default
    fields: list[Any] = []
    for name, field in message.model_fields.items():
        if name != "type":
            annotation = _translated(field.annotation, field.metadata)
            required = field.is_required() or name == "schema_version"
            fields.append((name, annotation) if required else (name, annotation, field.default))
    return msgspec.defstruct(
        message.__name__,
        fields,
        namespace={"type": kind},
        tag_field="type",
        tag=kind,
        forbid_unknown_fields=True,
        frozen=True,
        gc=False,
        kw_only=True,
    )


def _translated(annotation: Any, metadata: list[Any]) -> Any:
    """A pydantic field's type and limits as msgspec writes them."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _translated(arguments[0], [*metadata, *arguments[1:]])
    if origin is Literal:
        return annotation
    limits = dict(_limits(metadata))
    if origin is tuple:
        inner = tuple(item if item is Ellipsis else _translated(item, []) for item in arguments)
        return _limited(tuple.__class_getitem__(inner), limits)
    if annotation in (int, str, bool):
        return _limited(annotation, limits)
    raise TypeError(f"{annotation} cannot be read as a struct's field")


def _limited(annotation: Any, limits: dict[str, Any]) -> Any:
    return Annotated[annotation, msgspec.Meta(**limits)] if limits else annotation


def _limits(metadata: list[Any]) -> Iterator[tuple[str, Any]]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from _limits(item.metadata)
        elif isinstance(item, bounds.Gt | bounds.Ge | bounds.Lt | bounds.Le):
            ((name, limit),) = dataclasses.asdict(item).items()
            # msgspec keeps limits in 64 bits.
            yield ("le", limit - 1) if name == "lt" and limit == INT64_END else (name, limit)
        elif isinstance(item, bounds.MinLen | bounds.MaxLen):
            yield from dataclasses.asdict(item).items()
        elif (pattern := getattr(item, "pattern", None)) is not None:
            # In Python `$` stands before a last newline too; pydantic's engine means the end.
            yield "pattern", re.sub(r"\$$", r"\\Z", pattern)
        else:
            raise TypeError(f"{item} cannot be read as a struct's limit")
