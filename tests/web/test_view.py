"""The fold behind the page."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from agents.positions import POSITION_ROWS, PositionRow
from app.web.view import EVENTS_MAX, ITEMS_MAX, ORDERS_MAX, View, shorten
from contracts.controls import DeadLetter, DeadLetterReason
from tables.rows import Row

NS = 1_780_000_000_123_456_789
"""A time of day in nanoseconds, far beyond what JavaScript's numbers hold."""


@pytest.fixture
def view() -> View:
    return View("flowgate", ["risk", "execution"])


def row(state: Any) -> bytes:
    return json.dumps({"partition": 0, "seen": {}, "state": state}).encode()


def put(view: View, table: str, key: str, state: Any, group: str = "risk") -> None:
    view.fold(f"flowgate-{group}-{table}-changelog", key.encode(), row(state), 1)


def test_the_last_row_of_a_key_is_the_one_that_is_shown(view: View) -> None:
    put(view, "switch", "desk", {"state": "ACTIVE"})
    put(view, "switch", "desk", {"state": "HALTED"})
    assert view.rows("switch") == {"desk": {"state": "HALTED"}}


def test_a_row_as_the_workers_write_it_keeps_its_money_exact(view: View) -> None:
    state = PositionRow(lots=-3, cash_flow=Decimal("12.3456789012"), fills=1)
    value = POSITION_ROWS.codec().encode(Row(0, {"exec_reports/0": (5, "", 0)}, state))
    view.fold("flowgate-risk-positions-changelog", b"SPY", value, 1)
    assert view.rows("positions")["SPY"]["cash_flow"] == "12.3456789012"


def test_a_deleted_row_leaves_the_table_and_the_page_is_told(view: View) -> None:
    put(view, "positions", "SPY", {"lots": 1})
    seen = view.version
    view.fold("flowgate-risk-positions-changelog", b"SPY", None, 2)
    assert view.rows("positions") == {}
    assert view.changes(seen)["tables"] == {"positions": {"SPY": None}}


def test_a_page_gets_only_what_changed_since_it_last_asked(view: View) -> None:
    put(view, "positions", "SPY", {"lots": 1})
    put(view, "positions", "QQQ", {"lots": 2})
    seen = view.changes(0)["version"]
    put(view, "positions", "QQQ", {"lots": 3})
    changes = view.changes(seen)
    assert changes == {"version": seen + 1, "tables": {"positions": {"QQQ": {"lots": 3}}}, "events": {}}


def test_orders_of_a_long_day_do_not_fill_the_memory(view: View) -> None:
    for number in range(ORDERS_MAX + 25):
        put(view, "orders", f"{number:04d}", {"n": number}, "execution")
    put(view, "orders", "0025", {"n": "changed again, so it stays"}, "execution")
    put(view, "orders", "9999", {"n": 9999}, "execution")
    kept = view.rows("orders")
    assert len(kept) == ORDERS_MAX
    assert "0024" not in kept
    assert "0026" not in kept
    assert {"0025", "9999"} <= kept.keys()


@pytest.mark.parametrize("topic", sorted(EVENTS_MAX))
def test_of_each_event_topic_the_newest_messages_stay_oldest_first(view: View, topic: str) -> None:
    count = EVENTS_MAX[topic]
    for number in range(count + 10):
        view.fold(topic, b"desk", json.dumps({"n": number}).encode(), 1)
    assert [event["n"] for event in view.changes(0)["events"][topic]] == list(range(10, count + 10))


def test_only_our_own_changelogs_are_tables(view: View) -> None:
    assert view.table_of("flowgate-risk-switch-changelog") == "switch"
    for topic in (
        "other-risk-switch-changelog",
        "flowgate-strange-switch-changelog",
        "flowgate-risk-switch",
        "market_raw",
    ):
        assert not view.wants(topic), topic
    assert view.wants("decisions")


def test_dead_letters_are_counted_by_topic_and_reason_and_once_if_they_were_sent_twice(view: View) -> None:
    letter = DeadLetter(
        reason=DeadLetterReason.CROSSED_BOOK,
        field="bids",
        detail="",
        topic="market_raw",
        partition=0,
        offset=7,
        contract_version=1,
        original="",
    )
    # Of one batch the unreadable records come first, so offsets do not rise.
    offsets = [7, 5, 6, 7, 5]
    for offset in offsets:
        value = letter.model_copy(update={"offset": offset}).model_dump_json().encode()
        assert view.wants("dlq_market_events")
        view.fold("dlq_market_events", b"market_raw/0/7", value, 1)
    view.fold("dlq_order_intents", b"x", b"{}", 1)
    assert view.dead_letters.counts == {
        ("market_raw", "CROSSED_BOOK"): 3,
        ("dlq_order_intents", "not a dead letter"): 1,
    }


def test_bytes_that_are_no_json_do_not_break_the_page(view: View) -> None:
    view.fold("flowgate-risk-switch-changelog", b"desk", b"{not json", 1)
    view.fold("decisions", b"x", b"\xff\x00", 1)
    view.fold("decisions", b"x", b"[1]", 1)
    changes = view.changes(0)
    assert "unreadable" in changes["tables"]["switch"]["desk"]
    assert changes["events"] == {}


def test_times_in_nanoseconds_reach_the_page_to_the_last_digit(view: View) -> None:
    put(view, "risk", "desk", {"fired_ns": NS, "lots": 7})
    assert view.changes(0)["tables"]["risk"]["desk"] == {"fired_ns": str(NS), "lots": 7}
    assert view.rows("risk")["desk"]["fired_ns"] == NS


def test_a_long_list_goes_to_the_page_with_its_newest_items_only() -> None:
    short = shorten({"intents": list(range(10_000)), "by_key": {str(i): i for i in range(200)}})
    assert short["intents"][0] == f"… {10_000 - ITEMS_MAX} earlier"
    assert short["intents"][1:] == list(range(10_000 - ITEMS_MAX, 10_000))
    assert len(short["by_key"]) == ITEMS_MAX + 1
    assert "199" in short["by_key"]


def test_an_infinite_number_is_text_because_json_has_none() -> None:
    assert shorten([float("inf"), float("nan"), 1.5]) == ["inf", "nan", 1.5]


def test_the_newest_record_dates_the_view_even_when_partitions_arrive_out_of_order(view: View) -> None:
    view.fold("decisions", b"x", b"{}", 2_000)
    view.fold("control", b"x", b"{}", 1_000)
    assert view.newest_ms == 2_000
