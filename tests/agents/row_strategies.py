"""A hypothesis strategy for any type that a table row is made of: dataclasses, messages, and what they hold."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any, Literal, Union

from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from contracts.instruments import INSTRUMENTS
from contracts.orders import OrderIntent

Strategy = st.SearchStrategy[Any]


def values_of(kind: Any, constraints: Iterable[Any] = ()) -> Strategy:
    """Values of a type that meet pydantic's constraints on it."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return values_of(inner[0], [*_unpacked(inner[1:]), *constraints])
    if origin in (Union, types.UnionType):
        return st.one_of([values_of(one, constraints) for one in inner])
    if origin is Literal:
        return st.sampled_from(inner)
    if origin is dict:
        return st.dictionaries(values_of(inner[0]), values_of(inner[1]), max_size=3)
    if origin is list:
        return st.lists(values_of(inner[0]), max_size=3)
    if origin is tuple and inner[-1] is Ellipsis:
        return st.lists(values_of(inner[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*(values_of(one) for one in inner))
    if dataclasses.is_dataclass(kind):
        made: Any = kind
        hints = typing.get_type_hints(made, include_extras=True)
        return st.builds(made, **{name: values_of(hint) for name, hint in hints.items()})
    if issubclass(kind, BaseModel):
        # A message refuses an instrument that is not in the catalogue, and a price off its tick: a cent for all.
        known: dict[str, Strategy] = {
            "instrument": st.sampled_from(sorted(INSTRUMENTS)),
            "limit_price": st.decimals("0.01", 10**6, places=2),
        }
        if kind is OrderIntent:
            known |= {
                "limit_price": st.none(),
                "order_type": st.just("MARKETABLE_LIMIT"),
                "time_in_force": st.just("IOC"),
            }
        fields = {name: values_of(field.annotation, field.metadata) for name, field in kind.model_fields.items()}
        return st.builds(kind, **{name: known.get(name, strategy) for name, strategy in fields.items()})
    return _scalars(kind, _limits(constraints))


def _unpacked(annotations: Iterable[Any]) -> list[Any]:
    return [part for one in annotations for part in (one.metadata if isinstance(one, FieldInfo) else [one])]


def _limits(constraints: Iterable[Any]) -> dict[str, Any]:
    """ge, gt, le, lt, min_length, max_length, pattern, decimal_places: whatever the constraints say."""
    found: dict[str, Any] = {}
    for constraint in constraints:
        slots = getattr(constraint, "__slots__", ()) or ()
        found.update({name: getattr(constraint, name) for name in slots if hasattr(constraint, name)})
        found.update(getattr(constraint, "__dict__", {}))
    return found


def _scalars(kind: Any, limits: dict[str, Any]) -> Strategy:
    if kind is type(None):
        return st.none()
    if kind is bool:
        return st.booleans()
    if issubclass(kind, enum.Enum):
        return st.sampled_from(kind)
    if kind is int:
        low = limits["gt"] + 1 if "gt" in limits else limits.get("ge", -(2**62))
        return st.integers(low, limits.get("le", limits.get("lt", 2**62) - 1))
    if kind is float:
        return st.floats(limits.get("ge"), limits.get("le"), allow_nan=False, allow_infinity=False)
    if kind is Decimal:
        low = limits.get("ge", Decimal("0.01") if "gt" in limits else -(10**9))
        return st.decimals(low, 10**9, places=limits.get("decimal_places", 4))
    if kind is str:
        pattern, longest = limits.get("pattern"), limits.get("max_length", 1_000)
        texts = st.from_regex(pattern, fullmatch=True) if pattern else st.text(min_size=limits.get("min_length", 0))
        return texts.filter(lambda text: len(text) <= longest)
    raise TypeError(f"no strategy for {kind}: add one here")
