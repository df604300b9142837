"""A decision record stands alone: what was decided on, what it rested on, and whether anybody changed it since."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

import pytest

from app.decisionlog import Chain
from contracts.breaks import PositionBreak
from contracts.controls import DecisionRecord, ResetCommand, TradingState
from contracts.orders import OrderState
from tests.execution.admission_parts import (
    Front,
    account,
    fleet,
    intent,
    kill,
    mark,
    report,
    risk,
    session,
    switch,
    verdict,
)
from tests.execution.order_parts import NOW_NS, record
from tests.execution.test_amends import amend_intent
from tests.execution.test_parents import THIN, cancel

RESTING: dict[str, Any] = {"order_type": "LIMIT", "limit_price": Decimal("600.00"), "time_in_force": "DAY"}
RESET = ResetCommand(operator="Bob", reason="looked", scope="account", ts_ns=NOW_NS)
BREAK = PositionBreak(
    instrument="SPY", own_lots=0, broker_lots=0, open=False, source="snapshot", reason="", ts_ns=NOW_NS
)


def log(count: int = 4) -> list[bytes]:
    """The decisions on so many intents, as they are written."""
    front = Front()
    for number in range(count):
        front.decide(intent(number))
    return [decision.model_dump_json().encode() for decision in front.decisions]


def chain(values: list[bytes]) -> Chain:
    found = Chain()
    for offset, value in enumerate(values):
        found.take(value, f"decisions/0/{offset}")
    return found


def test_a_decision_names_the_newest_record_of_each_kind_that_it_rests_on() -> None:
    said: list[tuple[str, Any, bool]] = [
        ("exec_reports", session(), True),
        ("control", switch(), True),
        ("control", kill(), True),
        ("control", RESET, True),
        ("risk_events", risk(1), False),
        ("risk_events", risk(), True),
        ("account_values", account(), True),
        ("gate_verdicts", verdict(1), False),
        ("gate_verdicts", verdict(2), True),
        ("gate_verdicts", verdict(1), True),
        ("exec_reports", report(8, OrderState.ACKNOWLEDGED), False),
        ("exec_reports", report(8, OrderState.FILLED, kind="FILL", fill=10, instrument="QQQ"), True),
        ("exec_reports", BREAK, True),
        *(("workers", worker, False) for worker in fleet()[:-1]),
        ("workers", fleet()[-1], True),
        ("signal_events", mark("QQQ"), False),
        ("signal_events", mark(), True),
        ("order_intents", intent(), True),
    ]
    front = Front(usual=())
    outputs: Any = ()
    for offset, (topic, fact, _) in enumerate(said):
        front.state, outputs = front.admission.step(front.state, record(fact, topic, offset))
    named = [(place.topic, place.offset) for place in outputs[0].message.inputs]
    expected = {(topic, offset) for offset, (topic, _, rests) in enumerate(said) if rests}
    assert set(named) == expected
    assert len(named) == len(expected), "each is named once"


def test_what_a_decision_names_does_not_grow_with_time() -> None:
    front = Front()
    front.decide(intent(1))
    for number in range(2, 50):
        front.tell(report(number - 1), kill("instrument:QQQ"), RESET, *fleet(), verdict(), mark("QQQ"), mark("AAPL"))
        front.decide(intent(number))
    sizes = [len(decision.inputs) for decision in front.decisions]
    assert sizes[-1] == sizes[1] == sizes[2]
    assert sizes[-1] < 15


def test_a_decision_has_the_terms_that_it_was_made_on() -> None:
    front = Front()
    decided = front.decide(intent(1, **RESTING))[0]
    assert (decided.request, decided.strategy, decided.side, decided.quantity_lots) == ("intent", "ofi", "BUY", 10)
    assert (decided.order_type, decided.limit_price, decided.time_in_force) == ("LIMIT", Decimal("600.00"), "DAY")
    assert (decided.admitted_lots, decided.about, decided.parent_id) == (10, None, None)
    denied = front.decide(intent(2, side="SELL", quantity_lots=100_000_000))[0]
    assert (denied.side, denied.quantity_lots, denied.order_type) == ("SELL", 100_000_000, "MARKETABLE_LIMIT")
    assert denied.admitted_lots == 0


def test_the_decision_on_an_amend_or_a_cancel_names_its_order() -> None:
    front = Front(report(1, OrderState.ACKNOWLEDGED, filled=4, side="SELL"))
    front.tell(amend_intent(2, amends=9, lots=12), amend_intent(3, lots=12, strategy=""), cancel(f"{1:024x}"))
    stray, ours, ended = front.decisions
    assert (stray.request, stray.about, stray.quantity_lots) == ("amend_intent", f"{9:024x}", 12)
    assert (ours.about, ours.side, ours.limit_price) == (f"{1:024x}", "SELL", Decimal("600.00"))
    assert (ours.order_type, ours.time_in_force) == (None, None), "an amend names neither"
    assert (ended.request, ended.about, ended.quantity_lots, ended.side) == ("cancel_intent", f"{1:024x}", 0, None)


def test_an_amend_of_no_order_has_no_side_that_nobody_named() -> None:
    front = Front()
    front.tell(amend_intent(2))
    assert (front.decisions[0].admitted, front.decisions[0].side) == (False, None)


def test_the_decisions_on_children_name_their_parent_and_their_lots_also_if_denied() -> None:
    front = Front(usual=THIN)
    first = front.decide(intent(1, quantity_lots=40))[0]
    assert (first.quantity_lots, first.admitted_lots, first.parent_id) == (40, 10, None)
    front.tell(report(1, kind="FILL", fill=10), risk(-1), mark(later=1, volume=100))
    second = front.decisions[-1]
    assert (second.quantity_lots, second.admitted_lots, second.parent_id) == (10, 10, f"{1:024x}")
    front.tell(report(1, kind="FILL", fill=10, intent_id=second.intent_id, order_id=51), switch(TradingState.HALTED))
    front.tell(risk(-2), mark(later=2, volume=100))
    third = front.decisions[-1]
    assert (third.admitted, third.parent_id, third.admitted_lots) == (False, f"{1:024x}", 0)
    assert third.intent_id not in (first.intent_id, second.intent_id)


def test_the_decisions_are_a_chain_and_any_change_breaks_it() -> None:
    values = log()
    assert chain(values).faults == 0
    assert chain([values[0], *values]).count == 4, "a record that came twice after a crash is one link"
    assert chain(values[2:]).faults == 0, "what retention took is not missing"
    for broken, sentence in (
        ([*values[:1], *values[2:]], f"decision on {2:024x}: it does not follow the decision on {0:024x}"),
        ([values[0], values[1].replace(b'"quantity_lots":10', b'"quantity_lots":11'), *values[2:]], "not that of its"),
        ([values[0].replace(b'"ofi"', b'"other"'), *values[1:]], f"decision on {0:024x}: its hash is not that of"),
        ([*values, b"{}"], "decisions/0/4 is no decision record"),
        ([values[0].replace(b",", b", ", 1), *values[1:]], "its hash is not"),
    ):
        found = chain(broken)
        assert found.faults
        assert sentence in found.verdict
        assert "\n" not in found.verdict


def test_a_forged_decision_under_the_hash_of_a_true_one_breaks_the_chain() -> None:
    values = log()
    forged = DecisionRecord.model_validate_json(values[1]).model_copy(update={"message": "admitted as order 7"})
    assert chain([*values, forged.model_dump_json().encode()]).faults


def test_a_record_of_two_lines_would_be_two_in_a_copy_and_breaks_the_chain() -> None:
    value = log(1)[0]
    own = json.loads(value)["record_hash"]
    text = value.replace(own.encode(), b"").replace(b",", b",\n", 1)
    forged = text.replace(b'"record_hash":""', b'"record_hash":"%s"' % hashlib.sha256(text).hexdigest().encode())
    assert chain([forged]).faults


def test_the_hashes_at_both_ends_are_told_and_a_person_can_check_them_with_other_tools() -> None:
    values = log()
    ends = [json.loads(value)["record_hash"] for value in (values[0], values[-1])]
    assert chain(values).verdict == f"4 decisions, the chain is whole\nfirst {ends[0]}\nlast  {ends[1]}"
    empty = values[-1].replace(f'"record_hash":"{ends[1]}"'.encode(), b'"record_hash":""')
    assert hashlib.sha256(empty).hexdigest() == ends[1]


def test_a_record_of_a_release_with_other_fields_is_checked_as_it_was_written() -> None:
    document = json.loads(log(1)[0])
    for field in ("request", "about", "parent_id", "side", "admitted_lots"):
        del document[field]
    text = json.dumps({**document, "record_hash": ""}, separators=(",", ":"))
    own = hashlib.sha256(text.encode()).hexdigest()
    older = text.replace('"record_hash":""', f'"record_hash":"{own}"').encode()
    assert chain([older]).faults == 0


@pytest.mark.parametrize("values", [[], [b"{}"]])
def test_an_empty_log_is_not_called_whole(values: list[bytes]) -> None:
    assert "whole" not in chain(values).verdict
