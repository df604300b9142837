"""Admission: each control trips, alone, with its numbers; what is not set or not heard denies."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from agents.controls.denials import DENIALS, table
from agents.controls.fleet import DECIDING
from agents.controls.state import Working
from agents.parameters import Limits
from contracts.breaks import CashBreak, PositionBreak
from contracts.controls import Alert, DecisionRecord, Denial, LimitOverride, ResetCommand, TradingState, Verdict
from contracts.orders import OrderState, SessionState
from tests.execution.admission_parts import (
    BUCKET_NS,
    IDENTITY,
    LIMITS,
    USUAL,
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
    worker,
)
from tests.execution.order_parts import NOW_NS, record

D = Denial


def with_limits(**changes: Any) -> Limits:
    return LIMITS.model_copy(update=changes)


def broken(open_: bool = True) -> PositionBreak:
    return PositionBreak(
        instrument="SPY", own_lots=3, broker_lots=5, open=open_, source="drop_copy", reason="", ts_ns=NOW_NS
    )


def cash_break(open_: bool = True) -> CashBreak:
    return CashBreak(
        own_cash=Decimal("100.00"), broker_cash=Decimal("99.00"), open=open_, source="account", reason="", ts_ns=NOW_NS
    )


WIDE = with_limits(
    order_notional_usd_max=1e9,
    position_notional_usd_max=1e9,
    gross_notional_usd_max=1e9,
    net_notional_usd_max=1e9,
)

TRIPS: dict[Denial, tuple[Front, Any, str]] = {
    D.SESSION_NOT_READY: (Front(session(SessionState.SYNCING)), intent(), "session=SYNCING"),
    D.SWITCH_UNKNOWN: (Front(usual=tuple(f for f in USUAL if f.type != "switch")), intent(), "no word"),
    D.HALTED_BY_SWITCH: (Front(switch(TradingState.HALTED)), intent(), "switch=HALTED"),
    D.REDUCE_ONLY: (Front(switch(TradingState.REDUCING)), intent(), "switch=REDUCING position_lots=0"),
    D.RISK_HEARTBEAT_STALE: (Front(risk(age_buckets=6)), intent(), "risk_age_buckets=6 risk_age_buckets_max=5"),
    D.GATE_NOT_PASSED: (Front(verdict(word=Verdict.HOLD)), intent(), "gate=1:HOLD(session_h=2.5<6)"),
    D.PRICE_STALE: (
        Front(risk(-4), limits=LIMITS),
        intent(later=4),
        "price_age_buckets=4",
    ),
    D.INSTRUMENT_HALTED: (Front(mark(halted=True)), intent(), "trading is halted"),
    D.INSTRUMENT_NOT_ALLOWED: (Front(), intent(instrument="TSLA"), "instrument=TSLA"),
    D.INSTRUMENT_RESTRICTED: (Front(limits=with_limits(restricted=("SPY",))), intent(), "restricted=SPY"),
    D.STRATEGY_NOT_ALLOWED: (Front(), intent(strategy="pairs"), "strategy=pairs strategies=ofi"),
    D.SHORT_NOT_ALLOWED: (Front(limits=with_limits(short_allowed=False)), intent(side="SELL"), "after=-10"),
    D.OUTSIDE_TRADING_HOURS: (Front(limits=with_limits(trading_weekdays=())), intent(), "weekday="),
    D.INSTRUMENT_BUSY: (Front(report(9, OrderState.ACKNOWLEDGED)), intent(), "working_intent=000000000000000000000009"),
    D.INSTRUMENT_LOCKED: (Front(broken()), intent(), "break: ours 3, broker's 5"),
    D.POSITION_STALE: (Front(), intent(position_lots=7), "position_lots=0 position_lots_assumed=7"),
    D.LIMIT_NOT_SET: (Front(limits=with_limits(order_lots_max=None)), intent(), "order_lots_max"),
    D.QUANTITY_EXCEEDS_MAXIMUM: (
        Front(limits=with_limits(order_lots_max=9)),
        intent(),
        "order_lots=10 order_lots_max=9",
    ),
    D.NOTIONAL_EXCEEDS_MAXIMUM: (
        Front(limits=with_limits(order_notional_usd_max=6_000.0)),
        intent(),
        "order_notional_usd=6000.1 order_notional_usd_max=6000",
    ),
    D.POSITION_EXCEEDS_MAXIMUM: (
        Front(limits=with_limits(position_notional_usd_max=6_000.0)),
        intent(),
        "position_notional_usd=6000.1 position_notional_usd_max=6000",
    ),
    D.GROSS_EXCEEDS_MAXIMUM: (
        Front(limits=with_limits(gross_notional_usd_max=6_000.0)),
        intent(),
        "gross_notional_usd=6000.1 gross_notional_usd_max=6000",
    ),
    D.NET_EXCEEDS_MAXIMUM: (
        Front(limits=with_limits(net_notional_usd_max=6_000.0)),
        intent(),
        "net_notional_usd=6000.1 net_notional_usd_max=6000",
    ),
    D.BUYING_POWER_EXCEEDED: (
        Front(account(power="6000")),
        intent(),
        "order_notional_usd=6000.1 buying_power_usd=6000",
    ),
    D.DAILY_LOSS_EXCEEDS_MAXIMUM: (
        Front(risk(pnl_usd=-20_001.0)),
        intent(),
        "daily_loss_usd=20001 daily_loss_usd_max=20000",
    ),
    D.ACCOUNT_STALE: (Front(account(age_s=61)), intent(), "account_age_s=61 account_age_s_max=60"),
    D.PRICE_OUTSIDE_COLLAR: (Front(), intent(arrival_ask_ticks=59_000), "price_away_frac=0.0169"),
    D.PRICE_MOVED_TOO_FAR: (
        Front(mark(bid=64_000, ask=64_001, later=1)),
        intent(later=1, arrival_ask_ticks=64_001, arrival_bid_ticks=64_000),
        "price_moved_frac=0.066",
    ),
    D.INTENT_STALE: (Front(mark(later=6), risk(-6)), intent(), "intent_age_buckets=6 intent_age_buckets_max=5"),
    D.ORDER_RATE_EXCEEDS_MAXIMUM: (
        Front(limits=with_limits(orders_per_minute_max=0)),
        intent(),
        "orders_per_minute=1 orders_per_minute_max=0",
    ),
    D.REPEATED_EXECUTION: (
        Front(limits=with_limits(repeat_orders_max=0)),
        intent(),
        "repeat_orders=1 repeat_orders_max=0",
    ),
    D.MIXED_FLEET: (
        Front(worker("risk", build="e" * 64)),
        intent(),
        "group risk: desk-risk-0 has build=eeeeeeeeeeee, execution has bbbbbbbbbbbb",
    ),
    D.ACCOUNT_LOCKED: (Front(cash_break()), intent(), "cash: ours 100.00, broker's 99.00"),
    D.ACCOUNT_CURRENCY: (
        Front(account().model_copy(update={"currency": "JPY"})),
        intent(),
        "account_currency=JPY instrument_currency=USD",
    ),
}

OF_AMENDS = {D.ORDER_NOT_WORKING, D.PARTICIPATION_EXCEEDS_MAXIMUM}
"""Reasons that only an amend or a cancel can have: `test_amends.py` trips them."""


def test_an_intent_that_nothing_speaks_against_becomes_one_capped_order() -> None:
    decision, command = Front().decide(intent())
    assert decision.admitted
    assert command is not None
    assert (command.order_id, command.quantity_lots, str(command.limit_price)) == (50, 10, "601.21")


@pytest.mark.parametrize("reason", TRIPS)
def test_a_control_trips_alone_and_shows_its_numbers(reason: Any) -> None:
    front, wanted, numbers = TRIPS[reason]
    decision, command = front.decide(wanted)
    assert decision.reasons == (reason,)
    assert numbers in decision.message
    assert command is None


def test_the_same_intent_twice_is_one_order() -> None:
    front = Front()
    front.decide(intent())
    decision, command = front.decide(intent())
    assert (D.DUPLICATE_INTENT in decision.reasons, command) == (True, None)


def test_the_same_order_under_another_name_is_one_order() -> None:
    front = Front()
    front.decide(intent(1))
    front.tell(report(1, OrderState.CANCELLED))
    assert front.decide(intent(2))[0].reasons == (D.DUPLICATE_CONTENT,)


def test_every_denial_has_a_test_that_trips_it_and_a_row_in_the_table() -> None:
    assert set(Denial) == TRIPS.keys() | {D.DUPLICATE_INTENT, D.DUPLICATE_CONTENT} | OF_AMENDS
    assert set(Denial) == DENIALS.keys()
    assert all(f"`{reason}`" in table() for reason in Denial)


@pytest.mark.parametrize("name", sorted(Limits.model_fields))
def test_a_limit_that_is_not_set_denies_and_names_itself(name: Any) -> None:
    decision, command = Front(limits=with_limits(**{name: None})).decide(intent())
    assert D.LIMIT_NOT_SET in decision.reasons
    assert name in decision.message
    assert command is None


@pytest.mark.parametrize("kind", ["session", "switch", "risk", "account_value", "verdict", "signal", "worker"])
def test_what_was_never_heard_denies(kind: Any) -> None:
    assert kind in {fact.type for fact in USUAL}
    decision, command = Front(usual=tuple(fact for fact in USUAL if fact.type != kind)).decide(intent())
    assert not decision.admitted
    assert command is None


def test_orders_go_on_when_the_upgrade_is_over_or_the_old_worker_is_gone() -> None:
    front = Front(worker("risk", instance=1, build="e" * 64))
    assert front.decide(intent(1))[0].reasons == (D.MIXED_FLEET,)
    front.tell(worker("risk", instance=1))
    assert front.decide(intent(2))[0].admitted
    gone = Front(worker("risk", instance=1, age_s=31, build="e" * 64))
    assert gone.decide(intent(1))[0].admitted, "a worker that has not spoken for so long does not work"


def test_other_settings_are_another_fleet() -> None:
    decision, _ = Front(worker("portfolio", configuration_hash="d" * 64)).decide(intent())
    assert decision.reasons == (D.MIXED_FLEET,)
    assert "configuration_hash=dddddddddddd" in decision.message


@pytest.mark.parametrize("group", sorted(DECIDING))
def test_a_group_of_which_nobody_speaks_denies(group: Any) -> None:
    usual = tuple(fact for fact in USUAL if fact.type != "worker" or fact.groups != (group,))
    decision, _ = Front(usual=usual).decide(intent())
    assert decision.reasons == (D.MIXED_FLEET,)
    assert f"group {group}: no live worker" in decision.message


def test_one_worker_for_all_groups_is_a_fleet() -> None:
    usual = tuple(fact for fact in USUAL if fact.type != "worker")
    assert Front(worker("all", groups=tuple(DECIDING)), usual=usual).decide(intent())[0].admitted


def test_each_decision_names_what_execution_runs() -> None:
    decision, _ = Front().decide(intent())
    assert (decision.build, decision.configuration_hash) == IDENTITY


def test_a_cash_break_denies_until_it_is_settled_but_lets_a_position_become_smaller() -> None:
    front = Front(report(9, kind="FILL", fill=10), cash_break())
    assert front.decide(intent(1, position_lots=10))[0].reasons == (D.ACCOUNT_LOCKED,)
    assert front.decide(intent(2, side="SELL", position_lots=10))[0].admitted
    front.tell(report(2, OrderState.CANCELLED, side="SELL"), cash_break(open_=False))
    assert front.decide(intent(3, quantity_lots=11, position_lots=10))[0].admitted


def test_exposure_counts_from_the_claim_until_the_order_ends() -> None:
    """C5: a second instrument sees the first one's order before anything has filled."""
    front = Front(mark("QQQ", 60_000, 60_001), limits=with_limits(gross_notional_usd_max=10_000.0))
    assert front.decide(intent(1))[0].admitted
    wanted = intent(2, instrument="QQQ")
    assert front.decide(wanted)[0].reasons == (D.GROSS_EXCEEDS_MAXIMUM,)
    front.tell(report(1, OrderState.CANCELLED))
    assert front.decide(intent(3, instrument="QQQ"))[0].admitted


def test_an_order_that_makes_a_position_smaller_passes_limits_that_would_trap_it() -> None:
    front = Front(report(9, kind="FILL", fill=10), limits=with_limits(position_notional_usd_max=1.0))
    assert front.decide(intent(side="SELL", position_lots=10))[0].admitted
    assert front.decide(intent(2, position_lots=10))[0].reasons[0] is not None


def test_a_repeated_execution_stays_blocked_until_a_named_operator_resets_it() -> None:
    front = Front(limits=with_limits(repeat_orders_max=1))
    front.decide(intent(1))
    front.tell(report(1, OrderState.CANCELLED))
    assert front.decide(intent(2, quantity_lots=11))[0].reasons == (D.REPEATED_EXECUTION,)
    front.tell(mark(later=70), risk(-70), account(age_s=-70), *fleet(-70))
    assert front.decide(intent(3, later=70))[0].reasons == (D.GATE_NOT_PASSED, D.REPEATED_EXECUTION)
    front.tell(
        verdict(lives_buckets=90), ResetCommand(operator="Ada", reason="looked at", scope="strategy:ofi", ts_ns=1)
    )
    assert front.decide(intent(4, later=70))[0].admitted


@pytest.mark.parametrize("scope", ["account", "strategy:ofi", "instrument:SPY", f"order:{1:024x}"])
def test_a_kill_denies_what_it_covers_until_its_own_reset(scope: Any) -> None:
    front = Front(kill(scope))
    decision, _ = front.decide(intent(1))
    assert decision.reasons == (D.HALTED_BY_SWITCH,)
    assert "Ada: a test" in decision.message
    front.tell(ResetCommand(operator="Bo", reason="done", scope=scope, ts_ns=1))
    assert front.decide(intent(2))[0].admitted


def test_a_kill_of_another_instrument_or_strategy_does_not_deny() -> None:
    assert Front(kill("instrument:QQQ"), kill("strategy:pairs")).decide(intent())[0].admitted


def test_flatten_closes_the_position_once_its_orders_are_over_and_not_before() -> None:
    front = Front(report(9, OrderState.PARTIALLY_FILLED, kind="FILL", fill=4))
    front.tell(kill(flatten=True), mark(later=1))
    assert front.commands == []
    front.tell(report(9, OrderState.CANCELLED, filled=4))
    [command] = front.commands
    assert (command.side, command.quantity_lots, command.strategy) == ("SELL", 4, "flatten")


def test_flatten_waits_while_an_order_of_the_instrument_is_unknown() -> None:
    front = Front(report(9, OrderState.UNKNOWN, kind="FILL", fill=4), kill(flatten=True))
    front.tell(mark(later=1))
    assert front.commands == []


def test_an_unknown_order_locks_its_instrument_alone_until_it_is_known() -> None:
    front = Front(report(9, OrderState.UNKNOWN), mark("QQQ"))
    assert D.INSTRUMENT_LOCKED in front.decide(intent(1))[0].reasons
    assert front.decide(intent(2, instrument="QQQ"))[0].admitted
    front.tell(report(9, OrderState.CANCELLED))
    assert front.decide(intent(3))[0].admitted


def test_a_break_settled_by_an_operator_takes_the_brokers_position() -> None:
    front = Front(broken())
    front.tell(broken(open_=False).model_copy(update={"source": "operator"}))
    assert front.decide(intent(position_lots=5))[0].admitted


def test_a_large_intent_goes_out_in_children_that_add_up_to_it() -> None:
    """SPY trades 75,000,000 a day, so 3,205 a second: a tenth of it is 320."""
    front = Front(limits=WIDE)
    front.decide(intent(1, quantity_lots=700))
    filled = 0
    for bucket in range(1, 4):
        command = front.commands[-1]
        filled += command.quantity_lots
        done: dict[str, Any] = {"intent_id": command.intent_id, "order_id": command.order_id}
        front.tell(report(1, kind="FILL", fill=command.quantity_lots, lots=command.quantity_lots, **done))
        front.tell(risk(-bucket), mark(later=bucket))
    assert [c.quantity_lots for c in front.commands] == [320, 320, 60]
    assert all(c.parent_sent_lots + c.quantity_lots <= c.parent_lots == 700 for c in front.commands)
    assert filled == 700
    assert len({c.intent_id for c in front.commands}) == len({c.order_id for c in front.commands}) == 3


def test_a_child_is_no_larger_than_a_share_of_what_really_traded() -> None:
    """An average day says 320; but only 50 lots traded in the bucket, of which a tenth is 5."""
    front = Front(mark(volume=50), limits=with_limits(pov_window_buckets=1))
    front.decide(intent(1, quantity_lots=20))
    assert front.commands[-1].quantity_lots == 5
    first: dict[str, Any] = {"intent_id": front.commands[-1].intent_id, "order_id": front.commands[-1].order_id}
    front.tell(report(1, kind="FILL", fill=5, lots=5, **first), risk(-1), mark(later=1, volume=80))
    assert front.commands[-1].quantity_lots == 8


def test_where_nothing_traded_the_child_is_one_lot() -> None:
    front = Front(mark(volume=0), limits=with_limits(pov_window_buckets=1))
    front.decide(intent(1, quantity_lots=20))
    assert [command.quantity_lots for command in front.commands] == [1]


def test_one_busy_bucket_does_not_make_a_liquid_market() -> None:
    """Ten lots a bucket for long, and a thousand once: over ten buckets that is 109 in each."""
    quiet = [mark(volume=10)] * 200
    front = Front(*quiet, mark(volume=1_000), limits=with_limits(pov_window_buckets=10))
    front.decide(intent(1, quantity_lots=40))
    assert [command.quantity_lots for command in front.commands] == [10]


def test_a_kill_ends_the_children_to_come() -> None:
    front = Front(limits=WIDE)
    front.decide(intent(1, quantity_lots=700))
    front.tell(report(1, OrderState.CANCELLED, lots=320), kill("instrument:SPY"), risk(-1), mark(later=1))
    assert len(front.commands) == 1


def override(value: float, approver: str = "", lives_buckets: int = 5) -> LimitOverride:
    return LimitOverride(
        limit="order_lots_max",
        value=value,
        operator="Ada",
        approver=approver,
        reason="a test",
        expires_ts_event_ns=NOW_NS + lives_buckets * BUCKET_NS,
        ts_ns=NOW_NS,
    )


def test_one_person_tightens_a_limit_and_two_raise_it_for_a_time() -> None:
    """C20."""
    front = Front(limits=with_limits(order_lots_max=9))
    [alert] = front.tell(override(20.0))
    assert isinstance(alert.message, Alert)
    assert "second person" in alert.message.text
    assert front.tell(override(20.0, approver="Ada"))
    assert front.decide(intent(1))[0].reasons == (D.QUANTITY_EXCEEDS_MAXIMUM,)
    assert front.tell(override(20.0, approver="Bo")) == []
    decision, _ = front.decide(intent(2))
    assert (decision.admitted, decision.limits["order_lots_max"]) == (True, "20")
    front = Front(override(5.0))
    assert front.decide(intent(1))[0].reasons == (D.QUANTITY_EXCEEDS_MAXIMUM,)
    front.tell(mark(later=6), risk(-6))
    assert front.decide(intent(2, later=6))[0].admitted, "the override has expired"


def test_order_ids_are_never_used_twice_also_when_the_gateway_goes_back() -> None:
    """G21."""
    front = Front()
    front.decide(intent(1))
    front.tell(report(1, OrderState.CANCELLED), session())
    _, command = front.decide(intent(2, quantity_lots=11))
    assert command is not None
    assert command.order_id == 51


def test_the_row_stays_small_however_many_intents_were_decided() -> None:
    front = Front()
    for number in range(2_000):
        front.tell(mark(later=number), risk(-number))
        front.decide(intent(number, later=number))
    assert front.state is not None
    assert len(front.state.recent) < 50


def test_positions_of_working_orders_are_held_as_what_may_still_fill() -> None:
    front = Front(report(9, OrderState.PARTIALLY_FILLED, filled=4))
    assert front.state is not None
    expected = Working(f"{9:024x}", "BUY", 10, 4, state=OrderState.PARTIALLY_FILLED)
    assert (front.state.working, expected.lots) == ({"SPY": expected}, 6)


def test_a_decision_names_where_its_price_its_risk_and_its_account_stand() -> None:
    said: list[tuple[str, Any]] = [
        ("exec_reports", session()),
        ("control", switch()),
        ("risk_events", risk()),
        ("account_values", account()),
        ("signal_events", mark()),
        ("signal_events", mark("MSFT")),
        ("order_intents", intent()),
    ]
    front = Front(usual=())
    for offset, (topic, fact) in enumerate(said):
        front.state, outputs = front.admission.step(front.state, record(fact, topic, offset))
    decision = outputs[0].message
    assert isinstance(decision, DecisionRecord)
    places = {(place.topic, place.offset) for place in decision.inputs}
    assert places == {
        ("order_intents", 6),
        ("exec_reports", 0),
        ("control", 1),
        ("risk_events", 2),
        ("account_values", 3),
        ("signal_events", 4),
    }
