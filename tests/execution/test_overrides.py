"""C20: who may change a limit, and until when; C6: whose reset lifts a throttle."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from contracts.controls import Alert, Denial, KillCommand, LimitOverride, ResetCommand, ResolveCommand
from contracts.orders import OrderState, SessionEvent, SessionState
from tests.execution.admission_parts import (
    BUCKET_NS,
    LIMITS,
    Front,
    account,
    fleet,
    intent,
    kill,
    mark,
    report,
    risk,
    verdict,
)
from tests.execution.order_parts import NOW_NS

D = Denial


def override(
    value: float, operator: str = "Ada", approver: str = "", lives: int = 50, limit: str = "order_lots_max"
) -> LimitOverride:
    return LimitOverride(
        limit=limit,
        value=value,
        operator=operator,
        approver=approver,
        reason="a test",
        expires_ts_event_ns=NOW_NS + lives * BUCKET_NS,
        ts_ns=NOW_NS,
    )


def refused(front: Front, order: LimitOverride) -> bool:
    alerts = [out.message for out in front.tell(order)]
    assert all(isinstance(alert, Alert) for alert in alerts)
    return bool(alerts)


@pytest.mark.parametrize("second", [6.0, 9.0, 100_000.0])
def test_what_one_person_tightened_no_other_one_raises_again_alone(second: float) -> None:
    """Not even to less than the limit that was set: it is in force what Ada said."""
    front = Front()
    assert not refused(front, override(5.0))
    assert refused(front, override(second, "Bob"))
    assert front.decide(intent(1))[0].reasons == (D.QUANTITY_EXCEEDS_MAXIMUM,)
    assert not refused(front, override(4.0, "Bob"))
    assert not refused(front, override(11.0, "Bob", "Ada"))
    assert front.decide(intent(2))[0].admitted


def test_what_one_person_tightened_no_other_one_ends_sooner_alone() -> None:
    front = Front()
    assert not refused(front, override(5.0, lives=50))
    assert refused(front, override(5.0, "Bob", lives=1))
    assert refused(front, override(4.0, "Bob", lives=-1))
    assert not refused(front, override(4.0, "Bob", lives=60))
    assert not refused(front, override(4.0, "Bob", "Ada", lives=-1))
    assert front.decide(intent(1))[0].admitted


def test_what_two_persons_raised_no_single_one_prolongs() -> None:
    front = Front(limits=LIMITS.model_copy(update={"order_lots_max": 9}))
    assert not refused(front, override(20.0, "Ada", "Bob", lives=5))
    assert refused(front, override(20.0, "Ada", lives=6))
    assert not refused(front, override(15.0, "Ada", lives=5)), "to lower it again needs one"
    front.tell(mark(later=5), risk(-5))
    assert front.decide(intent(1, later=5))[0].reasons == (D.QUANTITY_EXCEEDS_MAXIMUM,)


@pytest.mark.parametrize("approver", ["", "ada", "Ada", " ADA ", "Ada\t"])
def test_one_person_is_not_two_by_another_spelling(approver: str) -> None:
    assert refused(Front(), override(10.0**6, "ada", approver))
    assert not refused(Front(), override(10.0**6, "ada", "Bob"))


def test_a_window_that_is_better_long_needs_two_persons_to_become_short() -> None:
    front = Front()
    assert not refused(front, override(100.0, limit="duplicate_window_buckets"))
    assert refused(front, override(99.0, "Bob", limit="duplicate_window_buckets"))
    assert not refused(front, override(99.0, "Bob", "Ada", limit="duplicate_window_buckets"))


@pytest.mark.parametrize("limit", ["price_move_period_buckets", "pov_window_buckets"])
@pytest.mark.parametrize("value", [1.0, 10.0**6])
def test_a_period_that_is_looser_either_way_needs_two_persons_to_change(limit: str, value: float) -> None:
    """A price is never far from that of the bucket before."""
    assert refused(Front(), override(value, limit=limit))
    assert not refused(Front(), override(value, "Ada", "Bob", limit=limit))


def test_the_period_that_prices_are_held_against_is_the_one_in_force() -> None:
    """The record showed 1,000 buckets, and the price that had risen by half was held against the one before."""
    limits = LIMITS.model_copy(update={"price_move_period_buckets": 3, "price_move_frac_max": 0.05})
    front = Front(override(1_000.0, "Ada", "Bob", lives=900, limit="price_move_period_buckets"), limits=limits)
    bid = 60_000
    for later in range(1, 40):
        bid += 600
        front.tell(risk(-later), mark(later=later, bid=bid, ask=bid + 1))
    decision, _ = front.decide(intent(1, 39, arrival_bid_ticks=bid, arrival_ask_ticks=bid + 1))
    assert D.PRICE_MOVED_TOO_FAR in decision.reasons
    assert "price_moved_frac=0.3899" in decision.message
    assert decision.limits["price_move_period_buckets"] == "1000"


def test_the_volume_of_a_share_is_that_of_the_window_in_force() -> None:
    front = Front(override(1.0, "Ada", "Bob", limit="pov_window_buckets"))
    front.tell(risk(-1), mark(later=1, volume=100))
    assert front.state is not None
    assert front.state.marks["SPY"].volume_lots == 100.0


# ---- who, and for how long -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("approver", ["Ada.", "A d a", "A-D-A", "ada\u200b", "\uff21da", "(ada)"])
def test_one_person_is_not_two_by_signs_that_are_no_letters(approver: str) -> None:
    front = Front()
    assert refused(front, override(10.0**6, "Ada", approver))
    assert front.state is not None
    assert front.state.overrides == {}


@pytest.mark.parametrize("name", ["", " ", "\t", "-", "\u200b", "\u200d", "..."])
def test_a_command_of_nobody_is_none(name: str) -> None:
    for command in (KillCommand, ResetCommand, ResolveCommand):
        assert command(operator="Ada", reason="a test", ts_ns=NOW_NS)
        with pytest.raises(ValidationError, match="a letter or a digit"):
            command(operator=name, reason="a test", ts_ns=NOW_NS)
    with pytest.raises(ValidationError, match="a letter or a digit"):
        override(5.0, name)
    if name:
        with pytest.raises(ValidationError, match="a letter or a digit"):
            override(5.0, "Ada", name)


def test_no_override_lives_longer_than_a_day() -> None:
    day = 86_400
    assert refused(Front(), override(5.0, lives=day + 1))
    assert refused(Front(), override(10.0**6, "Ada", "Bob", lives=day + 1))
    assert not refused(Front(), override(5.0, lives=day))
    assert refused(Front(usual=()), override(5.0)), "without a word on the time nothing ends within a day"


def test_an_override_that_has_expired_does_not_come_back_when_event_time_steps_back() -> None:
    front = Front(override(10.0**6, "Ada", "Bob", lives=10), limits=LIMITS.model_copy(update={"order_lots_max": 9}))
    front.tell(mark(later=10), risk(-10))
    front.tell(mark(later=1), risk(-1))
    assert front.state is not None
    assert front.state.overrides == {}
    assert front.decide(intent(1, 1))[0].reasons == (D.QUANTITY_EXCEEDS_MAXIMUM,)


def test_a_limit_below_zero_is_not_taken_over_as_a_flatten_of_so_many_lots_stops_the_agent() -> None:
    front = Front(report(9, kind="FILL", fill=10))
    assert refused(front, override(-5.0))
    front.tell(kill(flatten=True), risk(-1), mark(later=1))
    assert [command.quantity_lots for command in front.commands] == [10]


# ---- numbers that stop an agent ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1.0, 5.0, 1e300, -0.1])
def test_a_collar_that_is_none_is_not_taken_over(value: float) -> None:
    front = Front()
    assert refused(front, override(value, "Ada", "Bob", limit="collar_frac"))
    _, command = front.decide(intent(side="SELL"))
    assert command is not None
    assert str(command.limit_price) == "598.80"


@pytest.mark.parametrize("side", ["BUY", "SELL"])
@pytest.mark.parametrize("collar_frac", [0.999999, 1.0, 1e300])
def test_the_cap_of_an_order_is_a_price_whatever_the_collar(side: Any, collar_frac: float) -> None:
    """The smallest is one tick, the largest twice the quote; a price of nothing stops the agent."""
    front = Front(limits=LIMITS.model_copy(update={"collar_frac": collar_frac}))
    _, command = front.decide(intent(side=side))
    assert command is not None
    assert str(command.limit_price) in ("1200.01", "1200.02") if side == "BUY" else "0.01"


@pytest.mark.parametrize("next_order_id", [2**31, 10**12, 2**63 - 1])
def test_a_gateway_that_has_no_order_ids_left_gets_no_order(next_order_id: int) -> None:
    spent = SessionEvent(
        state=SessionState.READY, epoch=2, next_order_id=next_order_id, account="DU1", reason="", ts_ns=NOW_NS
    )
    front = Front(spent)
    decision, command = front.decide(intent())
    assert (decision.reasons, command) == ((D.SESSION_NOT_READY,), None)
    assert f"next_order_id={next_order_id} order_id_max=2147483647" in decision.message
    front = Front(spent, report(9, kind="FILL", fill=10), kill(flatten=True))
    front.tell(mark(later=1))
    assert [decision.reasons for decision in front.decisions] == [(D.SESSION_NOT_READY,)]


def test_the_last_order_id_is_used_and_then_no_other() -> None:
    last = SessionEvent(state=SessionState.READY, epoch=2, next_order_id=2**31 - 1, account="", reason="", ts_ns=NOW_NS)
    front = Front(last, mark("QQQ"))
    assert front.decide(intent(1))[0].admitted
    assert front.decide(intent(2, instrument="QQQ"))[0].reasons == (D.SESSION_NOT_READY,)


# ---- throttles -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "lifts"),
    [
        ("account", True),
        ("strategy:ofi", True),
        ("strategy:pairs", False),
        ("instrument:SPY", False),
        ("instrument:QQQ", False),
        (f"order:{5:024x}", False),
    ],
)
def test_a_throttle_is_lifted_by_a_reset_of_the_account_or_of_its_strategy_alone(scope: str, lifts: bool) -> None:
    front = Front(limits=LIMITS.model_copy(update={"repeat_orders_max": 1}))
    front.decide(intent(1))
    front.tell(report(1))
    assert front.decide(intent(2, quantity_lots=11))[0].reasons == (D.REPEATED_EXECUTION,)
    later = 61
    front.tell(mark(later=later), risk(-later), account(age_s=-later), verdict(lives_buckets=99), *fleet(-later))
    front.tell(ResetCommand(operator="Ada", reason="looked at", scope=scope, ts_ns=NOW_NS))
    assert front.decide(intent(3, later))[0].admitted is lifts


def test_a_reset_of_a_throttle_lasts_longer_than_one_order() -> None:
    """What was counted up to the throttle set it again at once, within the window."""
    front = Front(limits=LIMITS.model_copy(update={"repeat_orders_max": 2}))
    for number in (1, 2, 3):
        front.decide(intent(number, quantity_lots=number))
        front.tell(report(number, OrderState.CANCELLED))
    assert front.decisions[-1].reasons == (D.REPEATED_EXECUTION,)
    front.tell(ResetCommand(operator="Ada", reason="looked at", scope="strategy:ofi", ts_ns=NOW_NS))
    for number in (4, 5):
        assert front.decide(intent(number, quantity_lots=number))[0].admitted
        front.tell(report(number, OrderState.CANCELLED))
    assert front.decide(intent(6, quantity_lots=6))[0].reasons == (D.REPEATED_EXECUTION,)


@pytest.mark.parametrize("limit", ["short_allowed", "trading_weekdays", "restricted", "order_lots_max", "nonsense"])
def test_what_is_no_number_that_is_set_is_not_overridden(limit: str) -> None:
    front = Front(limits=LIMITS.model_copy(update={"order_lots_max": None}))
    assert refused(front, override(1.0, approver="Bo", limit=limit))
    assert front.state is not None
    assert front.state.overrides == {}


def test_an_order_that_works_beside_another_one_locks_until_it_is_over() -> None:
    front = Front()
    assert front.decide(intent(1))[0].admitted
    front.tell(report(9, OrderState.ACKNOWLEDGED))
    assert {Denial.INSTRUMENT_LOCKED, Denial.INSTRUMENT_BUSY} == set(
        front.decide(intent(2, quantity_lots=11))[0].reasons
    )
    front.tell(report(1, OrderState.CANCELLED))
    assert front.decide(intent(3, quantity_lots=12))[0].reasons == (D.INSTRUMENT_LOCKED,)
    front.tell(report(9, OrderState.CANCELLED))
    assert front.decide(intent(4, quantity_lots=13))[0].admitted
