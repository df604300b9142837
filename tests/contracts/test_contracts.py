"""Every message: strict, closed, the same after a round trip, and described by its JSON Schema."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from app.decoding import UnreadableError, read
from contracts.base import Message
from contracts.messages import MESSAGES, json_schema
from contracts.orders import OrderCommand
from contracts.topics import TOPICS, Topic
from tests.contracts.examples import documents

SCHEMAS = {name: json_schema(message) for name, message in MESSAGES.items()}
CARRIER: dict[str, Topic] = {name: topic for topic in TOPICS.values() for name in topic.messages}

VALIDATORS = {name: Draft202012Validator(schema) for name, schema in SCHEMAS.items()}

few = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
names = pytest.mark.parametrize("name", MESSAGES)


@names
def test_the_schema_itself_is_valid_draft_2020_12(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["additionalProperties"] is False


@names
@few
@given(data=st.data())
def test_what_the_schema_allows_is_read_and_comes_back_the_same_after_a_round_trip(
    name: str, data: st.DataObject
) -> None:
    document = data.draw(documents(SCHEMAS[name]))
    assert VALIDATORS[name].is_valid(document)
    message = read(CARRIER[name], json.dumps(document).encode())
    again = message.model_dump_json().encode()
    assert read(CARRIER[name], again) == message
    assert VALIDATORS[name].is_valid(json.loads(again))


@names
@settings(few, max_examples=3)
@given(data=st.data())
def test_a_field_too_many_too_few_or_of_another_type_is_refused_by_the_schema_and_by_the_reader(
    name: str, data: st.DataObject
) -> None:
    schema = SCHEMAS[name]
    document = data.draw(documents(schema))
    for broken in _broken(document, schema):
        assert not VALIDATORS[name].is_valid(broken), broken
        with pytest.raises(UnreadableError):
            read(CARRIER[name], json.dumps(broken).encode())


def _broken(document: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    broken: list[dict[str, Any]] = [{**document, "surprise": 1}]
    for field in schema["required"]:
        without = copy.deepcopy(document)
        del without[field]
        broken.append(without)
    broken.extend({**document, field: {"no": ["such", "thing"]}} for field in schema["properties"])
    return broken


@names
def test_messages_are_strict_frozen_closed_and_finite(name: str) -> None:
    config = MESSAGES[name].model_config
    wanted = {"strict": True, "frozen": True, "extra": "forbid", "allow_inf_nan": False}
    assert {key: config.get(key) for key in wanted} == wanted


@names
def test_every_time_of_a_message_is_in_nanoseconds(name: str) -> None:
    times = [field for field in MESSAGES[name].model_fields if field.startswith(("ts_", "expires_"))]
    assert all(field.endswith("_ns") for field in times)


@names
def test_every_message_says_its_type_and_version(name: str) -> None:
    message: type[Message] = MESSAGES[name]
    assert message.model_fields["type"].default == name
    assert message.model_fields["schema_version"].default == message.VERSION


@pytest.mark.parametrize("price", ["100.001", "0.005", "1e2", "-1", "NaN", 100.25])
def test_an_order_at_a_price_off_the_tick_or_not_exact_cannot_be_made(price: object) -> None:
    document = {
        "schema_version": 1,
        "type": "new_order",
        "intent_id": "a" * 24,
        "order_id": 1,
        "instrument": "SPY",
        "side": "BUY",
        "quantity_lots": 1,
        "limit_price": "100.01",
        "time_in_force": "IOC",
        "ts_event_ns": 0,
        "ts_ingest_ns": 0,
    }
    assert OrderCommand.model_validate_json(json.dumps(document)).limit_price > 0
    with pytest.raises(ValidationError):
        OrderCommand.model_validate_json(json.dumps({**document, "limit_price": price}))
