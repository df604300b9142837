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
from collections.abc import Callable, Iterator, Set
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import annotated_types as bounds
import msgspec
from pydantic.fields import FieldInfo

from contracts.base import Message
from contracts.instruments import INSTRUMENTS

INT64_END: Final = 2**63
LOT_MIN: Final = 16
NAMES_MAX: Final = 100_000
"""A writer gone mad, or a hostile one, must not fill the memory with names; those beyond are read by the contract."""

UnreadableBytes = (msgspec.MsgspecError, UnicodeDecodeError, TypeError)
"""What a decoder raises for bytes it does not take, and for a value that is missing."""


class Reader:
    """Reads the messages of these contracts, which `type` tells apart; it takes none that has a validator of its own.

    To match an instrument's name against its pattern costs as much as all the rest of a message, to look it up next to
    nothing. So a struct takes the names that a contract has taken before (`learn`), and of a new one the contract
    judges. Names are learnt in lots that double, as each lot means new structs.
    """

    def __init__(self, messages: dict[str, type[Message]]) -> None:
        self._contracts = [message for message in messages.values() if not has_validators(message)]
        self._names = set(INSTRUMENTS)
        self._new: set[str] = set()
        self._waiting = 0
        self._renew()

    def learn(self, message: Message) -> None:
        """A contract has taken a message that the structs have not: for its name, or for something else."""
        name = getattr(message, "instrument", None)
        if name is None or name in self._names or len(self._names) >= NAMES_MAX:
            return
        self._new.add(name)
        self._waiting += 1
        if self._waiting >= max(LOT_MIN, len(self._names) // 2):
            self._renew()

    def _renew(self) -> None:
        self._names |= self._new
        self._new, self._waiting = set(), 0
        structs = [struct_of(message, self._names) for message in self._contracts]
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(functools.reduce(operator.or_, structs)).decode


def has_validators(message: type[Message]) -> bool:
    """Whether a contract checks or changes more than its fields' types and limits say."""
    return any(dataclasses.asdict(message.__pydantic_decorators__).values())


def struct_of(message: type[Message], names: Set[str]) -> type[msgspec.Struct]:
    """The struct of a contract: the same fields and limits, frozen and closed. `schema_version` must be on the wire.

    Of strings with a pattern it takes these `names`. TypeError for a field that no struct has.
    """
    kind = message.model_fields["type"].default
    fields: list[Any] = []
    for name, field in message.model_fields.items():
        if name != "type":
            annotation = _translated(field.annotation, field.metadata, names)
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


def _translated(annotation: Any, metadata: list[Any], names: Set[str]) -> Any:
    """A pydantic field's type and limits as msgspec writes them."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _translated(arguments[0], [*metadata, *arguments[1:]], names)
    if origin is Literal:
        return annotation
    limits = dict(_limits(metadata))
    if "pattern" in limits:
        return Literal[tuple(sorted(names))]
    if origin is tuple:
        inner = tuple(item if item is Ellipsis else _translated(item, [], names) for item in arguments)
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
            yield "pattern", pattern
        else:
            raise TypeError(f"{item} cannot be read as a struct's limit")
