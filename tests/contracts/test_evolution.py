"""Schemas that are written down, releases that stay readable, and messages of the version before."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from app import reference, schemas
from app.decoding import UnreadableError, decode, read
from contracts.base import Message
from contracts.compatibility import full, refusals
from contracts.controls import DeadLetterReason, GateEvidence
from contracts.messages import MESSAGES, json_schema
from contracts.topics import GATE_EVIDENCE, Topic
from tests.contracts.records import raw


def test_the_committed_schemas_are_those_of_the_code() -> None:
    assert not schemas.stale(schemas.FOLDER)


def test_a_stale_schema_is_named_with_the_command_that_mends_it(tmp_path: Path) -> None:
    schemas.write(tmp_path)
    (tmp_path / "quote.json").write_text("{}")
    (tmp_path / "gone.json").write_text("{}")
    assert schemas.stale(tmp_path) == [
        "contracts/schemas/gone.json is stale: run python -m app schemas --write",
        "contracts/schemas/quote.json is stale: run python -m app schemas --write",
    ]
    schemas.write(tmp_path)
    assert not schemas.stale(tmp_path)


def test_the_pages_and_helm_values_are_those_of_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(check=True) == 0, capsys.readouterr().out


def test_nothing_breaks_readers_or_writers_of_the_released_schemas() -> None:
    assert not schemas.breaking(schemas.FOLDER)


def test_a_change_of_a_released_message_needs_a_new_version(tmp_path: Path) -> None:
    schemas.release(tmp_path)
    assert not schemas.breaking(tmp_path)
    path = tmp_path / "released" / "evidence.v1.json"
    schema = json.loads(path.read_text())
    schema["properties"]["unit"] = {"type": "string"}
    path.write_text(json.dumps(schema))
    assert schemas.breaking(tmp_path) == [
        "evidence: new readers refuse old messages: message.unit: unknown field; make it version 2 with an upcast"
    ]


def test_a_released_message_cannot_disappear_while_topics_hold_it(tmp_path: Path) -> None:
    schemas.release(tmp_path)
    (tmp_path / "released" / "fax.v1.json").write_text(json.dumps(json_schema(GateEvidence)))
    assert schemas.breaking(tmp_path) == [
        "fax: released and gone; topics still hold it, so keep its contract for their retention"
    ]


@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_is_compatible_with_itself(name: str) -> None:
    schema = json_schema(MESSAGES[name])
    assert not full(schema, copy.deepcopy(schema))


OLD: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "count"],
    "properties": {
        "name": {"type": "string", "maxLength": 10},
        "count": {"type": "integer", "minimum": 0},
        "side": {"enum": ["BUY", "SELL"], "type": "string"},
        "level": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "integer"}]},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
}


@pytest.mark.parametrize(
    ("field", "schema", "backward", "forward"),
    [
        ("count", {"type": "number", "minimum": 0}, True, False),  # integers are numbers, not the reverse
        ("count", {"type": "integer", "minimum": 1}, False, True),  # tighter
        ("count", {"type": "string"}, False, False),
        ("name", {"type": "string", "maxLength": 20}, True, False),  # wider
        ("name", {"type": "string", "maxLength": 10, "pattern": "^a"}, False, True),
        ("side", {"enum": ["BUY", "SELL", "SHORT"], "type": "string"}, True, False),  # one value more
        ("side", {"enum": ["BUY"], "type": "string"}, False, True),
        ("side", {"type": "string"}, True, False),
        ("level", {"type": "array", "prefixItems": [{"type": "integer"}]}, False, False),  # another arity
        ("level", {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "number"}]}, True, False),
        ("note", {"type": "string"}, False, True),  # null no more
        ("extra", {"type": "string"}, True, False),  # a new optional field: closed old readers refuse it
    ],
)
def test_a_changed_field_is_judged_as_confluents_registry_judges_it(
    field: str, schema: dict[str, Any], backward: bool, forward: bool
) -> None:
    new = copy.deepcopy(OLD)
    new["properties"][field] = schema
    assert (not refusals(new, OLD), not refusals(OLD, new)) == (backward, forward)


def test_required_and_removed_fields_break_the_side_that_misses_them() -> None:
    required = {**OLD, "required": ["name", "count", "side"]}
    assert refusals(required, OLD) == ["message.side: required and not always there"]
    assert not refusals(OLD, required)
    removed = {**OLD, "properties": {name: part for name, part in OLD["properties"].items() if name != "note"}}
    assert refusals(removed, OLD) == ["message.note: unknown field"]
    assert not refusals(OLD, removed)


class EvidenceV2(Message):
    """Evidence with its unit in a field of its own, as a later release might have it."""

    VERSION: ClassVar[int] = 2

    schema_version: Literal[2] = 2  # type: ignore[assignment]
    type: Literal["evidence"] = "evidence"
    stage: int
    name: str
    unit: str
    value: float
    ts_event_ns: int
    instrument: str | None = None

    @classmethod
    def upcast(cls, older: dict[str, Any]) -> dict[str, Any]:
        name, _, unit = older["name"].rpartition("_")
        return {**older, "schema_version": 2, "name": name, "unit": unit}


@pytest.fixture
def second_release(monkeypatch: pytest.MonkeyPatch) -> Topic:
    """The evidence topic as a worker of the next release would read it."""
    monkeypatch.setattr(Topic, "messages", property(lambda _topic: {"evidence": EvidenceV2}))
    return GATE_EVIDENCE


FIRST = GateEvidence(stage=1, name="data.refused_frac", value=0.5, ts_event_ns=7)
SECOND = EvidenceV2(stage=1, name="data.refused", unit="frac", value=0.5, ts_event_ns=7)


def test_a_reader_takes_the_version_before_through_its_upcast_and_its_own_as_it_is(second_release: Topic) -> None:
    assert read(second_release, FIRST.model_dump_json().encode()) == SECOND
    assert read(second_release, SECOND.model_dump_json().encode()) == SECOND


def test_both_versions_in_one_batch_are_read_during_a_rolling_deployment(second_release: Topic) -> None:
    values = [message.model_dump_json().encode() for message in (FIRST, SECOND, FIRST)]
    records, bad = decode(second_release, 0, [raw(value, offset) for offset, value in enumerate(values)])
    assert [record.message for record in records] == [SECOND] * 3
    assert not bad


@pytest.mark.parametrize("version", [0, 3, 10**30])
def test_an_unknown_version_is_a_dead_letter_and_not_a_crash(second_release: Topic, version: int) -> None:
    value = json.dumps({**json.loads(FIRST.model_dump_json()), "schema_version": version}).encode()
    records, (letter,) = decode(second_release, 0, [raw(value, 3)])
    assert (letter.reason, letter.field, letter.contract_version) == (
        DeadLetterReason.UNKNOWN_VERSION,
        "schema_version",
        2,
    )
    assert not records


def test_an_upcast_that_stumbles_over_its_document_is_a_dead_letter_and_not_a_crash(second_release: Topic) -> None:
    value = json.dumps({"type": "evidence", "schema_version": 1, "name": 5}).encode()
    with pytest.raises(UnreadableError) as caught:
        read(second_release, value)
    assert caught.value.reason is DeadLetterReason.WRONG_SCHEMA


def test_the_version_before_the_first_is_unknown() -> None:
    with pytest.raises(UnreadableError) as caught:
        read(GATE_EVIDENCE, FIRST.model_dump_json().replace('"schema_version":1', '"schema_version":0').encode())
    assert caught.value.reason is DeadLetterReason.UNKNOWN_VERSION
