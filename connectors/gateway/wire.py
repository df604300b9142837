"""Frames and fields of the TWS wire: a 4-byte big-endian length, then text fields that each end with NUL.

Source: the public clients (`ib_insync/client.py`, `ibapi/comm.py`). A client opens with `API\\0`, without length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Final

PREFIX: Final = b"API\0"

FRAME_BYTES_MAX: Final = 1 << 20
"""Longest request accepted. A placeOrder with conditions and algo parameters stays below 4 KiB."""

UNSET_DOUBLE: Final = "1.7976931348623157E308"
UNSET_INTEGER: Final = "2147483647"

Value = str | int | float | Decimal | bool | None


class WireError(Exception):
    """The byte stream cannot be TWS traffic; the connection has to be closed."""


class FieldError(ValueError):
    """A request lacks a field, or a field cannot be read as what it must be."""


def text(value: Value) -> str:
    """The wire text of a value: booleans as 1/0, None as empty, numbers without exponent or trailing `.0`."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    plain = format(value, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def frame(values: Iterable[Value]) -> bytes:
    """One framed message from its fields."""
    payload = ("\0".join([text(value) for value in values]) + "\0").encode("utf-8", "backslashreplace")
    return struct.pack(">I", len(payload)) + payload


class Deframer:
    """Cuts a byte stream into payloads; keeps what is incomplete for the next call."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._prefixed = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield each complete payload. WireError: no `API` prefix, or a frame that is empty or too long."""
        self._buffer += data
        if not self._prefixed:
            head = bytes(self._buffer[: len(PREFIX)])
            if not PREFIX.startswith(head):
                raise WireError("the connection does not begin with the API prefix")
            if len(head) < len(PREFIX):
                return
            del self._buffer[: len(PREFIX)]
            self._prefixed = True
        start = 0
        try:
            while len(self._buffer) - start >= 4:
                (length,) = struct.unpack_from(">I", self._buffer, start)
                if not 0 < length <= FRAME_BYTES_MAX:
                    raise WireError(f"a frame of {length} bytes; 1 to {FRAME_BYTES_MAX} are allowed")
                if len(self._buffer) - start - 4 < length:
                    break
                payload = bytes(self._buffer[start + 4 : start + 4 + length])
                start += 4 + length
                yield payload
        finally:
            del self._buffer[:start]


class Fields:
    """Reads the fields of one request in order. Each reader raises FieldError on a missing or unreadable field."""

    def __init__(self, payload: bytes) -> None:
        values = payload.decode("utf-8", "backslashreplace").split("\0")
        self._values = values[:-1] if values[-1] == "" else values
        self._at = 0

    def __len__(self) -> int:
        return len(self._values) - self._at

    def text(self) -> str:
        if self._at >= len(self._values):
            raise FieldError(f"field {self._at + 1} is missing")
        self._at += 1
        return self._values[self._at - 1]

    def integer(self, default: int = 0) -> int:
        """An integer; the default when empty or IB's "unset". `1.0` counts as 1."""
        raw = self.text()
        if raw in ("", UNSET_INTEGER):
            return default
        try:
            return int(raw)
        except ValueError:
            pass
        try:
            number = Decimal(raw)
            if number == number.to_integral_value():
                return int(number)
        except (InvalidOperation, OverflowError, ValueError):
            pass
        raise FieldError(f"field {self._at} is not an integer: {raw[:40]!r}")

    def decimal(self) -> Decimal | None:
        """A finite decimal, or None when empty or IB's "unset" (the largest double)."""
        raw = self.text()
        if raw == "":
            return None
        try:
            number = Decimal(raw)
        except InvalidOperation:
            raise FieldError(f"field {self._at} is not a number: {raw[:40]!r}") from None
        if not number.is_finite():
            raise FieldError(f"field {self._at} is not a finite number: {raw[:40]!r}")
        return None if abs(number) > Decimal("1e300") else number

    def flag(self) -> bool:
        """A boolean written as 1/0 (or True/False, as some clients do)."""
        return self.text().lower() in ("1", "true")

    def skip(self, count: int) -> None:
        for _ in range(count):
            self.text()

    def peek(self, offset: int, default: int = -1) -> int:
        """The integer `offset` fields ahead without reading it; the default when there is none."""
        try:
            return int(self._values[self._at + offset])
        except (IndexError, ValueError):
            return default

    def ahead(self) -> str:
        """The fields not read yet, as one text; they stay to be read."""
        return "\0".join(self._values[self._at :])
