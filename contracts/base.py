"""The base of every message: strict, frozen, closed, and without NaN.

Times are nanoseconds since the Unix epoch, UTC. Prices inside the desk are whole ticks and sizes whole lots
(`contracts.instruments` has the tick and the lot), so sums are exact; prices of orders are `Decimal`, and on the wire
a decimal is a string of plain digits, because a JSON number is a binary float to most readers.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import core_schema

TIME_END_NS: Final = 2**63 - 1
TimeNs = Annotated[int, Field(ge=0, lt=2**63)]
"""Nanoseconds since 1970-01-01 UTC; 2**63 is the year 2262."""

Instrument = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Z0-9.]+$")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3,5}$")]
"""ISO 4217, or the name of a coin: USD, EUR, USDT."""

Ticks = Annotated[int, Field(gt=0, lt=2**53)]
Lots = Annotated[int, Field(ge=0, lt=2**53)]

# A whole number without bounds is a way to stop an agent: its product may be no float any more.
DurationNs = Annotated[int, Field(gt=0, lt=2**53)]
"""A length of time in nanoseconds, up to a hundred days."""

Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
HalfTicks = Annotated[int, Field(gt=0, lt=2**54)]

LOG_RETURN_MAX: Final = 10.0
LogReturn = Annotated[float, Field(ge=-LOG_RETURN_MAX, le=LOG_RETURN_MAX)]
"""A log return of one bucket: e to the 10th is no price move."""


class PlainDecimal:
    """On the wire a string of plain digits that matches `pattern`; in Python a Decimal."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        decimal: Any = handler(source)
        text = core_schema.str_schema(pattern=self.pattern)
        return core_schema.json_or_python_schema(
            json_schema=core_schema.chain_schema([text, {**decimal, "strict": False}]),
            python_schema=decimal,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: format(value, "f"), return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(self, _schema: Any, _handler: Any) -> dict[str, Any]:
        return {"type": "string", "pattern": self.pattern}


Price = Annotated[Decimal, Field(gt=0, max_digits=20, decimal_places=8), PlainDecimal(r"^[0-9]{1,20}(\.[0-9]{1,8})?$")]
"""A positive price in currency, at most 20 digits, 8 of them decimals."""

Money = Annotated[Decimal, Field(max_digits=28, decimal_places=13), PlainDecimal(r"^-?[0-9]{1,28}(\.[0-9]{1,13})?$")]
"""An exact amount of money, at most 28 digits, as many as `decimal` computes with; 13 of them decimals, as a price of 8
times lots of 0.00001 can have."""


class Part(BaseModel):
    """A piece of a message. It has no version of its own: it changes with the messages that hold it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Message(Part):
    """A message on a topic. `type` says what it is, `schema_version` which shape it has.

    They come first on the wire: a reader that meets `type` late has to go back and read the message again.

    A class that changes its shape gets the next `VERSION`, declares `schema_version: Literal[n] = n` and an `upcast`
    from the version before: readers take both, so workers of two releases can run side by side.
    """

    VERSION: ClassVar[int] = 1

    type: str
    schema_version: Literal[1] = 1

    @classmethod
    def upcast(cls, older: dict[str, Any]) -> dict[str, Any]:
        """The JSON object of version `VERSION - 1` as one of `VERSION`; a class of version 1 has nothing before it."""
        raise NotImplementedError(f"{cls.__name__} has no version before {cls.VERSION}")
