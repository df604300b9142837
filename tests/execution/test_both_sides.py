"""Both sides of positions and cash to the last lot and cent, and the switch: what must trip is told, and stays."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from agents import account, killswitch
from agents.spec import UNCHANGED
from contracts.breaks import PositionBreak
from contracts.controls import Alert, GateEvidence, ResolveCommand, TradingState
from contracts.orders import (
    AccountValue,
    BrokerAccount,
    BrokerPosition,
    DropCopy,
    ExecutionReport,
    SessionEvent,
    SessionState,
)
from contracts.topics import ALERTS, EXEC_REPORTS, GATE_EVIDENCE
from tests.execution.admission_parts import kill, risk
from tests.execution.order_parts import NOW_NS, record
from tests.execution.test_cash import AFTER, BOUGHT, PAID, Desk, booking, ready
from tests.execution.test_controls_and_account import (
    KILL_LIMITS,
    Books,
    alive,
    copy,
    evidence,
    letter,
    ready_with,
    reset,
    switched,
)

SECOND_NS = 1_000_000_000
RESOLVE = ResolveCommand(operator="Ada", reason="looked at", instrument="SPY", ts_ns=NOW_NS)


def traded(side: str, lots: int, **changes: Any) -> ExecutionReport:
    values: dict[str, Any] = {"fill_lots": lots, "fill_price": Decimal("600.05"), "exec_id": "a.01"}
    return booking("FILL", side=side, **(values | changes))


def session(state: SessionState, epoch: int) -> SessionEvent:
    return ready(epoch).model_copy(update={"state": state})


def held(lots: int) -> BrokerPosition:
    return BrokerPosition(instrument="SPY", position_lots=lots, ts_ns=NOW_NS)


def empty() -> tuple[Any, ...]:
    return DropCopy(positions={}, bought_lots={}, sold_lots={}, executions=0, ts_ns=NOW_NS + 1), alive()


def opened(books: Books) -> list[tuple[int, int]]:
    """Both sides of each break that was told."""
    return [(found.own_lots, found.broker_lots) for found in books.said if isinstance(found, PositionBreak)]


# ---- positions -------------------------------------------------------------------------------------------------------


def test_our_side_of_a_position_is_bought_less_sold_and_corrected() -> None:
    books = ready_with(0).tell(traded("BUY", 10), traded("SELL", 4))
    replaced = {"replaced_exec_id": "a.01", "replaced_price": Decimal("600.05"), "replaced_lots": 4, "exec_id": "a.02"}
    assert books.tell(*copy(6), *copy(6)).breaks == []
    books.tell(traded("SELL", 3, **replaced).model_copy(update={"kind": "CORRECTION"}))
    assert books.tell(*copy(7), *copy(7)).breaks == []
    assert opened(books.tell(*copy(6), *copy(6))) == [(7, 6)]


@pytest.mark.parametrize(("ours", "theirs"), [(1, 0), (0, 1), (0, -1)])
def test_one_lot_that_only_one_side_has_is_a_break_with_an_alert(ours: int, theirs: int) -> None:
    books = Books().tell(session(SessionState.SYNCING, 1), ready())
    books.tell(ready(), topic=EXEC_REPORTS.name).tell(*(traded("BUY", ours) for _ in range(ours)))
    books.tell(*(copy(theirs) * 2 if theirs else empty() * 2))
    assert opened(books) == [(ours, theirs)]
    assert [(fact.code, fact.severity) for fact in books.said if isinstance(fact, Alert)] == [
        ("POSITION_BREAK", "CRITICAL")
    ]


def test_a_break_that_is_over_is_over_once() -> None:
    assert ready_with(5).tell(*copy(0), *copy(0), *copy(0), *copy(0)).breaks == [True, False]
    assert ready_with(5).tell(RESOLVE, RESOLVE).breaks == [True, False]


def test_a_position_that_the_next_snapshot_does_not_have_is_not_held_any_more() -> None:
    books = ready_with(5).tell(RESOLVE, session(SessionState.SYNCING, 2), ready(2))
    assert opened(books.tell(ready(2), topic=EXEC_REPORTS.name))[-1] == (5, 0)
    books.tell(RESOLVE)
    assert books.row is not None
    assert books.row.own_positions == {"SPY": 0}


@pytest.mark.parametrize("state", [SessionState.SYNCING, SessionState.DISCONNECTED])
def test_a_snapshot_that_is_not_complete_is_compared_with_nothing(state: SessionState) -> None:
    books = ready_with(0).tell(held(5)).tell(*copy(0), *copy(0))
    begun = session(state, 2)
    assert books.tell(begun, held(5)).tell(begun, topic=EXEC_REPORTS.name).breaks == []
    assert books.tell(ready(2)).tell(*copy(5), *copy(5)).breaks == [], "our own side of it is still to come"
    assert books.tell(ready(2), topic=EXEC_REPORTS.name).breaks == [True]


@pytest.mark.parametrize("p95", [None, 12.5])
def test_breaks_and_health_are_evidence_of_stage_5_also_before_the_first_acknowledgement(p95: float | None) -> None:
    counts = {"pacing_violations": 3, "connection_failures": 4, "acknowledgement_ms_p95": p95}
    health = alive().model_copy(update=counts)
    _, outputs = account.step(ready_with(5).tell(health).row, record(risk()))
    facts = [out.message for out in outputs if out.topic is GATE_EVIDENCE]
    assert {fact.name: fact.value for fact in facts if isinstance(fact, GateEvidence) and fact.stage == 5} == {
        "execution.position_breaks": 1.0,
        "execution.cash_breaks": 0.0,
        "execution.drop_copy_away": 0.0,
        "execution.pacing_violations": 3.0,
        "execution.connection_failures": 4.0,
        "execution.acknowledgement_ms_p95": p95 or 0.0,
    }


def test_admission_is_told_each_word_of_the_broker_on_the_account() -> None:
    word = BrokerAccount(
        account="DU1",
        net_liquidation=Decimal(3),
        cash=Decimal(2),
        buying_power=Decimal(1),
        ts_ns=NOW_NS,
    )
    _, outputs = account.step(ready_with(0).row, record(word))
    [value] = [out.message for out in outputs if isinstance(out.message, AccountValue)]
    assert value.account == "DU1"
    assert [int(amount) for amount in (value.net_liquidation, value.cash, value.buying_power)] == [3, 2, 1]


def test_an_operator_who_settles_a_position_or_the_cash_is_heard_by_the_account() -> None:
    order = ResolveCommand(operator="Ada", reason="looked at", intent_id="a" * 24, ts_ns=NOW_NS)
    cash = ResolveCommand(operator="Ada", reason="looked at", cash=True, ts_ns=NOW_NS)
    assert [account.key(command) for command in (RESOLVE, cash, order)] == ["desk", "desk", None]
    assert account.key(booking("STATE")) is None


# ---- cash ------------------------------------------------------------------------------------------------------------


def test_a_reconnect_does_not_make_the_brokers_wrong_cash_ours() -> None:
    desk = Desk()
    desk.broker(AFTER, 1)
    desk.broker(AFTER, 62)
    desk.hear(session(SessionState.SYNCING, 2), ready(2))
    desk.hear(ready(2), topic=EXEC_REPORTS.name)
    desk.broker(AFTER, 63)
    assert [found.open for found in desk.breaks] == [True]
    assert desk.row.own_cash.cash == Decimal(1_000_000)


def test_what_was_executed_before_the_first_snapshot_is_in_its_cash_already() -> None:
    desk = Desk.__new__(Desk)
    desk.state, desk.breaks, desk.alerts = None, [], []
    desk.hear(BOUGHT, PAID)
    desk.broker(AFTER)
    desk.hear(ready())
    desk.hear(ready(), topic=EXEC_REPORTS.name)
    assert desk.row.own_cash.cash == Decimal(AFTER)


def test_a_first_word_that_comes_after_the_snapshot_is_the_cash_that_we_have() -> None:
    desk = Desk.__new__(Desk)
    desk.state, desk.breaks, desk.alerts = None, [], []
    desk.hear(BOUGHT, PAID, ready())
    desk.hear(ready(), topic=EXEC_REPORTS.name)
    desk.broker(AFTER)
    assert desk.row.own_cash.cash == Decimal(AFTER)


def test_what_an_operator_took_over_after_trades_is_our_cash_from_then_on() -> None:
    desk = Desk()
    desk.hear(BOUGHT, PAID)
    for second in (300, 361):
        desk.broker("1500000", second)
    desk.hear(ResolveCommand(operator="Ada", reason="a deposit", cash=True, ts_ns=NOW_NS))
    assert (desk.row.own_cash.cash, desk.breaks[-1].open) == (Decimal(1_500_000), False)


@pytest.mark.parametrize(("word", "apart"), [("1000000.01", False), ("1000000.02", True)])
def test_before_any_booking_one_cent_is_rounding_and_two_are_not(word: str, apart: bool) -> None:
    desk = Desk()
    desk.broker(word, 1)
    assert bool(desk.row.own_cash.apart_since_ns) is apart


# ---- the switch ------------------------------------------------------------------------------------------------------


def test_a_kill_of_the_account_halts_the_switch_in_the_name_of_who_asked_for_it() -> None:
    assert (killswitch.key(kill()), killswitch.key(reset())) == ("desk", "desk")
    [event] = switched(kill())
    assert (event.state, event.by, event.reason) == (TradingState.HALTED, "Ada", "a test")


def test_a_switch_that_trips_says_so_in_a_critical_alert_with_its_numbers() -> None:
    _, outputs = killswitch.make(KILL_LIMITS)(None, record(evidence("covariance.drift", 0.6)))
    [alert] = [out.message for out in outputs if out.topic is ALERTS]
    assert isinstance(alert, Alert)
    assert (alert.severity, alert.code) == ("CRITICAL", "KILL_SWITCH")
    assert "covariance.drift=0.6" in alert.text


def test_a_switch_that_is_halted_is_not_tripped_again_by_what_goes_on() -> None:
    assert len(switched(risk(pnl_usd=-60_001.0), risk(pnl_usd=-60_002.0), risk(pnl_usd=-60_003.0))) == 1


def test_what_is_no_count_is_held_against_its_limit_as_it_is_also_after_a_reset() -> None:
    """What came again after a reset halts again; one break that comes and goes does not add up."""
    name = "execution.position_breaks"
    again = switched(*(evidence(name, value) for value in (2.0, 0.0)), reset(), evidence(name, 2.0))
    assert [event.state for event in again] == [TradingState.HALTED, TradingState.ACTIVE, TradingState.HALTED]
    assert switched(*(evidence(name, value) for value in (1.0, 0.0, 1.0, 0.0, 1.0))) == []


def test_data_of_this_moment_is_fresh() -> None:
    old, now = evidence("data.age_s", 40.0, stage=1), evidence("data.age_s", 0.0, stage=1)
    assert [event.state for event in switched(old, risk(), now, risk(-60))] == [TradingState.ACTIVE]


def test_data_of_the_future_is_not_taken_for_fresh_before_risk_has_spoken_either() -> None:
    ahead, now = evidence("data.age_s", -100.0, stage=1), evidence("data.age_s", 0.0, stage=1)
    assert switched(ahead, now, risk(), risk(-61))[-1].state is TradingState.HALTED


def test_an_account_with_nothing_left_trips_and_breaks_nothing() -> None:
    empty_account = risk(pnl_usd=-1e6)
    assert switched(empty_account.model_copy(update={"pnl_usd": 0.0}))[-1].state is TradingState.HALTED
    assert "loss_frac=1.0000" in switched(empty_account)[-1].reason


def test_a_dead_letter_halts_where_nobody_said_how_many_may_come() -> None:
    limits = KILL_LIMITS.model_copy(update={"dead_letters_per_minute_max": None})
    assert switched(letter(1), limits=limits)[-1].state is TradingState.HALTED
    assert killswitch.key(letter(1, "order_intents", "UNKNOWN_INSTRUMENT")) == "desk"


def test_the_first_who_halted_the_switch_stays_named_whatever_trips_it_after_him() -> None:
    drift = evidence("covariance.drift", 0.6)
    assert [event.by for event in switched(drift, drift, *(letter(number) for number in range(5)))] == ["evidence"]
    assert [event.by for event in switched(kill(), drift, *(letter(number) for number in range(5)))] == ["Ada"]


def test_evidence_that_no_limit_is_about_trips_nothing() -> None:
    assert switched(evidence("signals.ic", -1.0)) == []


@pytest.mark.parametrize("halted", [(), (kill(),)])
def test_what_the_switch_has_counted_is_written_so_that_a_crash_does_not_forget_it(halted: Any) -> None:
    step, row = killswitch.make(KILL_LIMITS), None
    for message in halted:
        row, _ = step(row, record(message))
    for name in ("execution.connection_failures", "execution.acknowledgement_ms_p95"):
        for value, written in ((3.0, True), (3.0, False), (4.0, True)):
            row, outputs = step(row, record(evidence(name, value)))
            assert (outputs is not UNCHANGED) is written
    row, outputs = step(row, record(evidence("data.age_s", 1.0, stage=1)))
    assert outputs is not UNCHANGED
