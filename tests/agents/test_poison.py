"""A record that fits its contract never stops an agent: it would come again at every start, and stop it again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.catalogue import catalogue
from agents.spec import AgentSpec, Out
from app import settings as settings_module
from app.decoding import decode
from contracts.messages import json_schema
from contracts.topics import BROADCAST
from tables.rows import Row
from tests.contracts.examples import documents
from tests.contracts.records import raw

SPECS = {spec.name: spec for spec in catalogue("all", settings_module.load().desk, "")}
MESSAGES = 4


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(data=st.data())
def test_no_message_that_its_contract_takes_stops_an_agent(name: str, data: st.DataObject) -> None:
    spec = SPECS[name]
    rows: dict[str, Row[Any]] = {}
    for offset in range(MESSAGES):
        topic = data.draw(st.sampled_from(spec.sources))
        message = data.draw(st.sampled_from(sorted(topic.messages)))
        document = data.draw(documents(json_schema(topic.messages[message])))
        records, bad = decode(topic, 0, [raw(json.dumps(document).encode(), offset, topic.name)])
        assert not bad, bad
        fold(spec, rows, records[0])


def fold(spec: AgentSpec, rows: dict[str, Row[Any]], record: Any) -> None:
    """As the shell does it: each row it concerns, its outputs as they go out, and the row read back."""
    assert spec.table is not None
    key, codec = spec.key(record.message), spec.table.codec()
    if key is None:
        return
    if spec.refuse is not None and key == BROADCAST and spec.refuse([row.state for row in rows.values()], record):
        return
    for row_key in (key,) if key != BROADCAST else sorted(rows):
        row = rows.setdefault(row_key, Row(0, {}))
        row.state, results = spec.step(row.state, record)
        for result in results:
            if isinstance(result, Out):
                result.topic.adapter.validate_json(result.message.model_dump_json())
        rows[row_key] = codec.decode(codec.encode(row))
