"""The base of every message: strict, frozen, closed, and without NaN.

Times are nanoseconds since the Unix epoch, UTC. Prices inside the desk are whole ticks and sizes whole lots
(`contracts.instruments` has the tick and the lot), so sums are exact; prices of orders are `Decimal`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION: Literal[1] = 1

TimeNs = Annotated[int, Field(ge=0, lt=2**63)]
"""Nanoseconds since 1970-01-01 UTC; 2**63 is the year 2262."""

Instrument = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Z0-9.]+$")]
Ticks = Annotated[int, Field(gt=0, lt=2**53)]
Lots = Annotated[int, Field(ge=0, lt=2**53)]
Price = Annotated[Decimal, Field(gt=0, max_digits=20, decimal_places=8)]
Money = Annotated[Decimal, Field(max_digits=24, decimal_places=10)]


class Message(BaseModel):
    """A message on a topic. `schema_version` says which shape it has."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = SCHEMA_VERSION
