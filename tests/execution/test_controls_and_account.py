"""The latch, the kill switch, both sides of a position, pacing, error codes, the guard and the calendar."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Self

import pytest

from agents import account, killswitch, latch
from agents.parameters import KillLimits
from agents.ports import Latch
from agents.spec import Out
from connectors.ibkr.calendar import expected_outage, second_factor_due
from connectors.ibkr.errors import ERRORS, Action, lookup, table
from connectors.ibkr.guard import refusal
from connectors.ibkr.pacing import MESSAGES_MAX, ORDERS_MAX, WINDOW_S, Pacing
from contracts.breaks import PositionBreak
from contracts.controls import (
    DeadLetter,
    DeadLetterReason,
    GateEvidence,
    ResetCommand,
    ResolveCommand,
    SwitchEvent,
    TradingState,
)
from contracts.orders import BrokerPosition, DropCopy, ExecutionReport, OrderState, SessionHealth, SessionState
from contracts.topics import BROKER_EVENTS, EXEC_REPORTS, TOPICS
from tests.execution.admission_parts import account as account_value
from tests.execution.admission_parts import kill, risk, session, switch
from tests.execution.order_parts import NOW_NS, record

ASKED_FOR = [
    *(100, 102, 103, 104, 110, 135, 161, 162, 200, 201, 202, 203, 300, 309, 316, 317, 320, 321, 322, 326, 354, 366),
    *(399, 404, 434, 436, 502, 504, 507, 1100, 1101, 1102, 1300, *range(2103, 2111), 2158, 10090, 10147, 10148),
    *(10167, 10182, 10197, 10289),
]


def reset(scope: str = "account") -> ResetCommand:
    return ResetCommand(operator="Bo", reason="looked at", scope=scope, ts_ns=NOW_NS)


# ---- latch -----------------------------------------------------------------------------------------------------------


def latched(*messages: Any) -> list[Any]:
    row = None
    effects: list[Any] = []
    for message in messages:
        row, outputs = latch.step(row, record(message))
        effects += outputs
    return effects


def test_the_latch_speaks_again_in_every_new_session() -> None:
    assert latched(kill(), session(), session()) == [Latch(("account",))] * 3


def test_a_kill_stays_over_the_reset_of_another_scope() -> None:
    effects = latched(kill("instrument:SPY"), kill("strategy:ofi"), reset("instrument:SPY"))
    assert effects[-1] == Latch(("strategy:ofi",))


def test_a_flatten_belongs_to_the_scope_that_asked_for_it_and_ends_with_a_kill_without_it() -> None:
    one = kill("strategy:ofi", flatten=True)
    assert latched(one, kill())[-1] == Latch(("account", "strategy:ofi"), ("strategy:ofi",))
    assert latched(one, kill("strategy:ofi"))[-1] == Latch(("strategy:ofi",))
    assert latched(one, kill("account", flatten=True), reset("strategy:ofi"))[-1] == Latch(("account",), ("account",))


def test_a_switch_that_tripped_by_itself_stops_no_flatten_and_a_person_who_kills_the_account_does() -> None:
    tripped, one = switch(TradingState.HALTED), kill("instrument:SPY", flatten=True)
    both = ("account", "instrument:SPY")
    assert latched(tripped, one)[-1] == Latch(both, both)
    assert latched(tripped, one, kill())[-1] == Latch(both, ("instrument:SPY",))
    assert latched(tripped, kill("instrument:SPY"))[-1] == Latch(both)


def test_a_switch_that_tripped_by_itself_latches_the_account() -> None:
    assert latched(switch(TradingState.HALTED), switch(TradingState.ACTIVE)) == [Latch(("account",)), Latch(())]


# ---- kill switch -----------------------------------------------------------------------------------------------------

KILL_LIMITS = KillLimits(
    loss_frac_max=0.05,
    loss_usd_max=60_000,
    drawdown_frac_max=0.15,
    psr_min=0.2,
    covariance_drift_max=0.5,
    refused_records_frac_max=0.1,
    dead_letters_per_minute_max=2,
    position_breaks_max=1,
    pacing_violations_max=0,
    connection_failures_max=5,
    acknowledgement_ms_p95_max=500,
    data_age_s_max=60,
)


def switched(*messages: Any, limits: KillLimits = KILL_LIMITS) -> list[SwitchEvent]:
    row, said, step = None, [], killswitch.make(limits)
    for message in messages:
        row, outputs = step(row, record(message))
        said += [out.message for out in outputs if isinstance(out.message, SwitchEvent)]
    return said


def evidence(name: str, value: float, stage: int = 5) -> GateEvidence:
    return GateEvidence(stage=stage, name=name, value=value, ts_event_ns=NOW_NS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("covariance.drift", 0.6),
        ("data.refused_frac", 0.2),
        ("execution.position_breaks", 2.0),
        ("execution.pacing_violations", 1.0),
        ("execution.connection_failures", 6.0),
        ("execution.acknowledgement_ms_p95", 501.0),
    ],
)
def test_evidence_over_its_limit_trips_and_shows_both_numbers(name: Any, value: Any) -> None:
    [event] = switched(evidence(name, value))
    assert (event.state, event.by) == (TradingState.HALTED, "evidence")
    assert f"{name}={value:g}" in event.reason


@pytest.mark.parametrize("name", ["execution.pacing_violations", "execution.connection_failures"])
def test_a_reset_lasts_until_there_are_more_of_what_tripped_the_switch(name: Any) -> None:
    """The count is that since the process started, and it is said again at every bucket."""
    over = switched(evidence(name, 22.0), reset(), *[evidence(name, 22.0)] * 5)
    assert [event.state for event in over] == [TradingState.HALTED, TradingState.ACTIVE]
    while_halted = switched(evidence(name, 22.0), evidence(name, 30.0), reset(), evidence(name, 30.0))
    assert while_halted[-1].state is TradingState.ACTIVE, "what came before the reset was known to the operator"
    again = switched(evidence(name, 22.0), reset(), evidence(name, 28.0))[-1]
    assert (again.state, f"{name}=6" in again.reason) == (TradingState.HALTED, True)


def test_failures_add_up_over_a_restart_of_the_process_that_counts_them() -> None:
    name = "execution.connection_failures"
    assert switched(evidence(name, 3.0), evidence(name, 0.0), evidence(name, 2.0)) == []
    [event] = switched(evidence(name, 3.0), evidence(name, 1.0), evidence(name, 3.0))
    assert (event.state, "connection_failures=6" in event.reason) == (TradingState.HALTED, True)
    lasting = switched(evidence(name, 22.0), reset(), evidence(name, 1.0), evidence(name, 1.0))
    assert lasting[-1].state is TradingState.ACTIVE


def test_a_latency_from_before_the_reset_is_not_held_against_the_desk() -> None:
    """No order goes out while HALTED, so it stays as it was; as its samples grow old it falls, and may then rise."""
    name = "execution.acknowledgement_ms_p95"

    def later(value: float, seconds: int) -> GateEvidence:
        return evidence(name, value).model_copy(update={"ts_event_ns": NOW_NS + seconds * 1_000_000_000})

    tripped = risk(), later(5_000.0, 0), reset()
    for value, seconds in ((5_000.0, 1), (4_900.0, 2), (5.0, 3), (500.0, 400)):
        assert switched(*tripped, later(value, seconds))[-1].state is TradingState.ACTIVE
    for value, seconds in ((5_001.0, 1), (4_900.0, 300)):
        event = switched(*tripped, later(value, seconds))[-1]
        assert (event.state, f"{name}={value:g}" in event.reason) == (TradingState.HALTED, True)


def test_dead_letters_from_before_the_reset_do_not_count_towards_the_next_trip() -> None:
    letters = [letter(number) for number in range(4)]
    assert switched(risk(), *letters[:3], reset(), letters[3])[-1].state is TradingState.ACTIVE


@pytest.mark.parametrize("name", sorted(KillLimits.model_fields))
def test_a_kill_limit_that_is_not_set_halts(name: Any) -> None:
    limits = KILL_LIMITS.model_copy(update={name: None})
    facts = [evidence(fact, 0.0) for fact in killswitch.EVIDENCE]
    assert TradingState.HALTED in [event.state for event in switched(*facts, risk(), limits=limits)]
    assert TradingState.HALTED not in [event.state for event in switched(*facts, risk())]


@pytest.mark.parametrize(
    ("within", "over", "numbers"),
    [
        ({"pnl_usd": -50_000.0}, {"pnl_usd": -50_001.0}, "loss_frac=0.0500 loss_frac_max=0.05"),
        (
            {"pnl_usd": -60_000.0, "nav_usd": 9e6},
            {"pnl_usd": -60_001.0, "nav_usd": 9e6},
            "loss_usd=60001.00 loss_usd_max=60000",
        ),
        ({"drawdown_frac": 0.15}, {"drawdown_frac": 0.151}, "drawdown_frac=0.1510 drawdown_frac_max=0.15"),
        ({"psr": 0.2, "returns": 30}, {"psr": 0.19, "returns": 30}, "psr=0.190 psr_min=0.2 returns=30"),
    ],
)
def test_risk_over_a_kill_limit_trips_latched_and_shows_its_numbers(within: Any, over: Any, numbers: Any) -> None:
    def measured(change: dict[str, Any]) -> Any:
        pnl = change.get("pnl_usd", 0.0)
        return risk().model_copy(update={"nav_usd": 1e6 + pnl} | change)

    assert [event.state for event in switched(measured(within))] == [TradingState.ACTIVE]
    [event] = switched(measured(over), risk(), risk(-1))
    assert (event.state, event.by) == (TradingState.HALTED, "risk")
    assert numbers in event.reason


def test_market_data_that_has_gone_quiet_trips() -> None:
    """Heartbeats go on and say how old the last record is; the freshest instrument counts."""
    quiet = evidence("data.age_s", 40.0, stage=1), risk(), evidence("data.age_s", 30.0, stage=1)
    assert [event.state for event in switched(*quiet, risk(-30))] == [TradingState.ACTIVE]
    event = switched(*quiet, risk(-31))[-1]
    assert (event.state, "data_age_s=61" in event.reason) == (TradingState.HALTED, True)


@pytest.mark.parametrize("change", [{"value": -1e6}, {"value": 0.0, "ts_event_ns": 2**62}])
def test_a_word_that_data_is_of_the_future_does_not_keep_quiet_data_fresh(change: dict[str, Any]) -> None:
    quiet = evidence("data.age_s", 30.0, stage=1)
    events = switched(quiet, risk(), quiet.model_copy(update=change), risk(-31))
    assert (events[-1].state, "data_age_s=61" in events[-1].reason) == (TradingState.HALTED, True)


def letter(number: int, topic: str = "order_intents", reason: str = "WRONG_SCHEMA") -> DeadLetter:
    return DeadLetter(
        reason=DeadLetterReason(reason),
        field="side",
        detail="a test",
        topic=topic,
        partition=0,
        offset=number,
        contract_version=1,
        original="",
    )


@pytest.mark.parametrize("topic", [topic.name for topic in TOPICS.values() if topic.dead_letters])
def test_unreadable_records_of_every_topic_trip_by_their_rate(topic: Any) -> None:
    letters = [letter(number, topic) for number in range(3)]
    assert [event.state for event in switched(risk(), *letters[:2], risk())] == [TradingState.ACTIVE]
    event = switched(risk(), *letters, risk())[-1]
    assert (event.state, event.by) == (TradingState.HALTED, "dead letters")
    assert f"dead_letters_per_minute=3 dead_letters_per_minute_max=2, the last of {topic}/0/2" in event.reason


def test_a_dead_letter_that_a_crash_sent_twice_and_one_of_long_ago_do_not_add_up() -> None:
    twice = switched(risk(), letter(1), letter(1), letter(2), letter(2))
    slowly = switched(risk(), letter(1), letter(2), risk(-61), letter(3), risk(-122), letter(4))
    assert TradingState.HALTED not in [event.state for event in twice + slowly]


def test_invented_names_in_the_market_stop_nobody() -> None:
    """Their share is evidence for each instrument that we trade; of names that we do not, nothing is asked."""
    assert killswitch.key(letter(1, "market_raw", "UNKNOWN_INSTRUMENT")) is None
    assert killswitch.key(letter(1, "market_raw", "MALFORMED_JSON")) == "desk"


def test_a_kill_of_a_part_leaves_the_switch_of_the_whole_alone() -> None:
    assert killswitch.key(kill("instrument:SPY")) is None
    assert killswitch.key(reset("strategy:ofi")) is None


# ---- both sides of a position ----------------------------------------------------------------------------------------


class Books:
    """The account agent, told what the broker and we say."""

    def __init__(self) -> None:
        self.row: account.AccountRow | None = None
        self.said: list[Any] = []

    def tell(self, *messages: Any, topic: str = BROKER_EVENTS.name) -> Self:
        for message in messages:
            self.row, outputs = account.step(self.row, record(message, topic))
            self.said += [out.message for out in outputs if isinstance(out, Out)]
        return self

    @property
    def breaks(self) -> list[bool]:
        """Breaks that opened (true) and closed (false)."""
        return [message.open for message in self.said if isinstance(message, PositionBreak)]


def ready_with(spy: int) -> Books:
    held = BrokerPosition(instrument="SPY", position_lots=spy, ts_ns=NOW_NS)
    books = Books().tell(session(SessionState.SYNCING), held, session())
    return books.tell(session(), topic=EXEC_REPORTS.name)


def lone_copy(spy: int) -> DropCopy:
    return DropCopy(positions={"SPY": spy}, bought_lots={}, sold_lots={}, executions=0, ts_ns=NOW_NS + 1)


def alive() -> SessionHealth:
    return SessionHealth(
        state=SessionState.READY,
        reasons=(),
        connection_failures=0,
        pacing_violations=0,
        pacing_queue=0,
        pacing_wait_ms_max=0.0,
        loop_delay_ms_max=0.0,
        acknowledgement_ms_p95=None,
        ts_ns=NOW_NS,
    )


def copy(spy: int) -> tuple[DropCopy, SessionHealth]:
    """A drop copy, after which the session showed itself alive."""
    return lone_copy(spy), alive()


def test_a_snapshot_that_differs_opens_a_break_and_two_copies_that_agree_close_it() -> None:
    assert ready_with(5).tell(*copy(0), *copy(0)).breaks == [True, False]


def test_a_fill_that_makes_both_sides_look_equal_for_a_moment_ends_no_break() -> None:
    """An order of as many lots as the break fills between the copy and our comparing it."""
    fill = ExecutionReport(
        kind="FILL",
        intent_id="a" * 24,
        order_id=7,
        instrument="SPY",
        side="BUY",
        state=OrderState.FILLED,
        order_lots=5,
        filled_lots=5,
        fill_lots=5,
        fill_price=Decimal("600.05"),
        exec_id="a.01",
        ts_ns=NOW_NS,
    )
    books = ready_with(5).tell(*copy(5), lone_copy(5), fill, alive())
    assert books.breaks == [True]
    assert books.tell(*copy(10), *copy(10)).breaks == [True, True], "it is told anew with the sides as they are now"


def test_one_copy_that_differs_is_a_fill_on_its_way_and_two_are_a_break() -> None:
    assert ready_with(0).tell(*copy(5)).breaks == []
    assert ready_with(0).tell(*copy(5), *copy(5)).breaks == [True]
    assert ready_with(0).tell(*copy(5), *copy(7), *copy(0)).breaks == []


def test_copies_from_a_time_when_the_worker_was_dead_say_nothing_about_it() -> None:
    books = ready_with(0).tell(lone_copy(5), lone_copy(5), session(SessionState.CONNECTING), alive(), alive())
    assert books.breaks == []


def test_a_snapshot_is_compared_as_it_was_though_the_broker_has_moved_on_since() -> None:
    held = BrokerPosition(instrument="SPY", position_lots=0, ts_ns=NOW_NS)
    later = BrokerPosition(instrument="SPY", position_lots=10, ts_ns=NOW_NS)
    books = Books().tell(session(SessionState.SYNCING), held, session(), later)
    assert books.tell(session(), topic=EXEC_REPORTS.name).breaks == []


def test_a_break_is_settled_by_a_named_operator() -> None:
    books = ready_with(5)
    resolve = ResolveCommand(operator="Ada", reason="a transfer of shares", instrument="SPY", ts_ns=NOW_NS)
    books.tell(resolve)
    assert books.breaks == [True, False]
    assert books.row is not None
    assert books.row.own_positions == {"SPY": 5}


def test_evidence_of_stage_5_is_on_event_time() -> None:
    facts = Books().tell(account_value(), risk()).said
    evidence = {fact.name: fact.ts_event_ns for fact in facts if isinstance(fact, GateEvidence)}
    assert evidence == dict.fromkeys(
        ("execution.position_breaks", "execution.cash_breaks", "execution.drop_copy_away"), NOW_NS
    )


# ---- pacing ----------------------------------------------------------------------------------------------------------


async def test_orders_never_take_the_reserve_and_a_cancel_goes_before_orders_that_wait() -> None:
    pacing = Pacing()
    for _ in range(ORDERS_MAX):
        await pacing.order()
        pacing.count()
    went: list[str] = []

    async def take(name: str) -> None:
        await (pacing.cancel() if name == "cancel" else pacing.order())
        pacing.count()
        went.append(name)

    began = time.monotonic()
    await asyncio.gather(*(take("order") for _ in range(3)), *(take("cancel") for _ in range(3)))
    assert went[:3] == ["cancel"] * 3
    assert time.monotonic() - began >= WINDOW_S - 0.1
    assert pacing.wait_ms_max > 500


async def test_no_window_of_a_second_has_more_messages_than_the_limit() -> None:
    now = [0.0]
    pacing = Pacing(lambda: now[0])
    sent: list[Any] = []
    while len(sent) < 500:
        wait_s = pacing.free_in_s(MESSAGES_MAX)
        now[0] += wait_s
        if wait_s == 0:
            pacing.count()
            sent.append(now[0])
    assert max(sum(at <= other < at + 1.0 for other in sent) for at in sent) <= MESSAGES_MAX < 50


# ---- error codes, guard, calendar ------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ASKED_FOR)
def test_each_code_of_the_gateway_that_we_know_of_has_a_row(code: Any) -> None:
    row = ERRORS[code]
    assert row.meaning
    assert f"| {code} |" in table()


def test_an_unknown_code_is_told_and_asked_about() -> None:
    row = lookup(424242)
    assert (row.action, row.owner) == (Action.ASK, "developers")


def test_no_error_but_a_refusal_ends_an_order() -> None:
    assert {row.code for row in ERRORS.values() if row.action is Action.REFUSED} == {201, 203}


@pytest.mark.parametrize(
    ("accounts", "port", "simulated", "allowed"),
    [
        (["DU1234567"], 4002, False, True),
        (["DU1234567"], 7497, False, True),
        (["DU1234567"], 4004, False, True),
        (["DU1234567"], 4001, False, False),
        (["DU1234567"], 50_000, True, True),
        (["DU1234567"], 50_000, False, False),
        (["U1234567"], 4002, False, False),
        (["U1234567"], 50_000, True, False),
        (["DU1", "DU2"], 4002, False, False),
        ([], 4002, False, False),
    ],
)
def test_only_one_paper_account_on_a_paper_port_is_traded(
    accounts: Any, port: int, simulated: bool, allowed: bool
) -> None:
    assert (refusal(accounts, port, simulated=simulated) == "") is allowed


@pytest.mark.parametrize(
    ("moment", "outage", "human"),
    [
        ("2026-01-14T04:50:00", True, False),  # Tuesday, 23:50 in New York
        ("2026-07-14T03:50:00", True, False),  # the same in summer
        ("2026-01-14T15:00:00", False, False),
        ("2026-01-18T07:00:00", False, True),  # Sunday, 02:00 in New York
        ("2026-01-18T05:30:00", True, False),  # Sunday, 00:30: not yet
    ],
)
def test_the_calendar_knows_resets_and_the_login_that_waits_for_a_person(moment: Any, outage: Any, human: Any) -> None:
    now_s = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
    assert (bool(expected_outage(now_s)), second_factor_due(now_s)) == (outage, human)
