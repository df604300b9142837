"""Framing: any cut of the stream gives the same frames, and nothing that is not TWS gets through."""

from __future__ import annotations

import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.gateway.wire import FRAME_BYTES_MAX, Deframer, FieldError, Fields, WireError, frame, text


@given(
    st.lists(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\0\\")), min_size=1), max_size=5),
    st.data(),
)
def test_a_stream_cut_anywhere_gives_the_same_frames(messages: list[list[str]], data: st.DataObject) -> None:
    stream = b"API\0" + b"".join(frame(message) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    deframer, payloads = Deframer(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        payloads += list(deframer.feed(stream[start:end]))
    assert [payload.decode().split("\0")[:-1] for payload in payloads] == messages


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waits_and_never_raises_anything_else(garbage: bytes) -> None:
    deframer = Deframer()
    try:
        for payload in deframer.feed(garbage):
            Fields(payload)
    except WireError:
        pass


@pytest.mark.parametrize("length", [0, FRAME_BYTES_MAX + 1, 2**32 - 1])
def test_an_empty_or_oversized_frame_is_refused(length: int) -> None:
    with pytest.raises(WireError):
        list(Deframer().feed(b"API\0" + struct.pack(">I", length)))


def test_a_stream_without_the_prefix_is_refused() -> None:
    with pytest.raises(WireError):
        list(Deframer().feed(b"GET / HTTP/1.1\r\n"))


@pytest.mark.parametrize(
    ("value", "wire"),
    [(True, "1"), (False, "0"), (None, ""), (100.0, "100"), (0.5, "0.5"), (Decimal("1.50"), "1.5"),
     (Decimal("1E+2"), "100"), (Decimal("0.00001"), "0.00001"), (Decimal(0), "0"),
     (1e300, "1e+300"), ("x", "x"), (-3, "-3")],
)  # fmt: skip
def test_numbers_have_no_exponent_and_no_trailing_zeros(value: object, wire: str) -> None:
    assert text(value) == wire  # type: ignore[arg-type]


@pytest.mark.parametrize("raw", ["", "1.7976931348623157e+308", "1.7976931348623157E308"])
def test_unset_numbers_are_none(raw: str) -> None:
    assert Fields(f"{raw}\0".encode()).decimal() is None


@pytest.mark.parametrize("raw", ["abc", "nan", "inf", "Infinity", "1e", "--1"])
def test_a_number_that_is_none_is_a_field_error(raw: str) -> None:
    with pytest.raises(FieldError):
        Fields(f"{raw}\0".encode()).decimal()
    with pytest.raises(FieldError):
        Fields(f"{raw}\0".encode()).integer()


def test_a_missing_field_is_a_field_error() -> None:
    with pytest.raises(FieldError):
        Fields(b"1\0").skip(2)
