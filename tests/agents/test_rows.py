"""Rows: what a worker reads back after a restart is what it wrote, to the last bit, for every table of the desk."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tables.rows import Row, RowCodec, TableSpec, any_row
from tests.agents.desk import specs
from tests.agents.row_strategies import values_of

TABLES = {spec.table.name: spec.table for spec in specs() if spec.table is not None}
SEEN = st.dictionaries(st.text(max_size=20), st.tuples(st.integers(0, 2**62), st.text(max_size=9), st.integers(0, 99)))


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None, max_examples=30
)
@given(data=st.data())
def test_a_row_survives_a_restart(table: TableSpec[object], data: st.DataObject) -> None:
    state = data.draw(st.none() | values_of(table.state))
    row = Row(data.draw(st.integers(0, 7)), data.draw(SEEN), state)
    codec = table.codec()
    again = codec.decode(codec.encode(row))
    assert again == row
    assert repr(again) == repr(row)
    assert codec.encode(again) == codec.encode(row)
    assert any_row(codec.encode(row))["partition"] == row.partition


@pytest.mark.parametrize("value", [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0])
def test_floats_keep_their_last_bit(value: float) -> None:
    codec = RowCodec(float)
    again = codec.decode(codec.encode(Row(0, {}, value)))
    assert repr(again.state) == repr(value)


def test_a_message_is_a_repeat_up_to_the_last_position_seen_of_its_stream() -> None:
    row: Row[int] = Row(0, {"ofi/market_events/2": (812, "SPY", 0)})
    assert row.is_repeat("ofi/market_events/2", (812, "SPY", 0))
    assert row.is_repeat("ofi/market_events/2", (812, "QQQ", 5))
    assert row.is_repeat("ofi/market_events/2", (811, "~", 0))
    assert not row.is_repeat("ofi/market_events/2", (812, "SPY", 1))
    assert not row.is_repeat("ofi/market_events/2", (812, "~", 0))
    assert not row.is_repeat("ofi/market_events/2", (813, "", 0))
    assert not row.is_repeat("ofi/market_events/3", (0, "", 0))
