"""docs/reference/gateway.md says what the code does: its tables are compared with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from connectors.gateway.faults import CATALOGUE
from connectors.gateway.server import HANDLERS
from connectors.gateway.start import parser

PAGE = Path(__file__).resolve().parents[2].joinpath("docs", "reference", "gateway.md").read_text(encoding="utf-8")
CARDS = Path(__file__).with_name("test_conformance.py").read_text(encoding="utf-8")


def test_every_conformance_card_is_listed_as_it_is_named() -> None:
    cards = re.findall(r"async def test_(c\d{3})_(\w+)\(", CARDS)
    listed = re.findall(r"^\| (C\d{3}) \| (.+) \|$", PAGE, re.MULTILINE)
    assert [(number.upper(), name.replace("_", " ")) for number, name in cards] == listed
    assert [int(number[1:]) for number, _ in cards] == list(range(1, len(cards) + 1))


@pytest.mark.parametrize("fault", CATALOGUE)
def test_every_fault_is_listed_with_its_arguments(fault: str) -> None:
    info = CATALOGUE[fault]
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {fault} "))
    assert row.startswith(f"| {fault} {info.title} | {info.occasion} | ")
    for name, value in info.defaults.items():
        assert f"`{name}`=" + "/".join(str(choice) for choice in info.choices.get(name, (value,))) in row


def test_every_option_is_listed() -> None:
    options = {option for action in parser()._actions for option in action.option_strings if option.startswith("--")}
    assert {option for option in options - {"--help"} if f"`{option}`" not in PAGE} == set()


def test_every_request_is_listed() -> None:
    text = PAGE[PAGE.index("## Protocol") : PAGE.index("## Market")]
    numbers = {int(number) for number in re.findall(r"\b\d{1,3}\b", text)} | {23, 53, 56, 57, 68, 69, 85, 101, 103}
    assert set(HANDLERS) - numbers == set(), "cancels of what is not served need no row of their own"
