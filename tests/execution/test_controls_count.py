"""Controls count everything there is: every position, every repeat, every hour, and a clock that many words make."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from agents.controls import clock
from agents.controls.state import AdmissionState
from agents.parameters import Limits
from contracts.controls import Denial, ResetCommand, ResolveCommand, TradingState
from contracts.orders import OrderState, SessionState
from tests.execution.admission_parts import (
    LIMITS,
    USUAL,
    Front,
    account,
    intent,
    kill,
    mark,
    report,
    risk,
    session,
    switch,
    worker,
)
from tests.execution.order_parts import NOW_NS
from tests.execution.test_admission import broken
from tests.execution.test_amends import amend_intent, decided, limit_intent
from tests.execution.test_overrides import override
from tests.execution.test_parents import THIN, cancel, ended, later, sliced

D = Denial
MINUTE_NS = 60_000_000_000


def with_limits(**changes: Any) -> Limits:
    return LIMITS.model_copy(update=changes)


def held(lots: int, instrument: str = "SPY", side: str = "BUY", number: int = 9) -> Any:
    """A fill that leaves so many lots of an instrument."""
    return report(number, kind="FILL", fill=lots, lots=lots, instrument=instrument, side=side)


# ---- exposure: 10 lots are worth 6,000.10 ----------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_a_position_in_which_nothing_works_counts_as_exposure_long_or_short(side: str) -> None:
    front = Front(mark("QQQ"), held(10, "QQQ", side), limits=with_limits(gross_notional_usd_max=12_000.0))
    assert front.decide(intent(1))[0].reasons == (D.GROSS_EXCEEDS_MAXIMUM,)


@pytest.mark.parametrize(("side", "held_side"), [("BUY", "BUY"), ("SELL", "SELL")])
def test_long_adds_to_long_and_short_to_short_in_the_net_of_the_desk(side: str, held_side: str) -> None:
    front = Front(mark("QQQ"), held(10, "QQQ", held_side), limits=with_limits(net_notional_usd_max=12_000.0))
    assert front.decide(intent(1, side=side))[0].reasons == (D.NET_EXCEEDS_MAXIMUM,)


@pytest.mark.parametrize(("side", "held_side"), [("BUY", "SELL"), ("SELL", "BUY")])
def test_a_long_and_a_short_position_offset_each_other_in_the_net_alone(side: str, held_side: str) -> None:
    limits = with_limits(net_notional_usd_max=6_500.0)
    assert Front(mark("QQQ"), held(10, "QQQ", held_side), limits=limits).decide(intent(1, side=side))[0].admitted


@pytest.mark.parametrize(("side", "admitted"), [("BUY", False), ("SELL", True)])
def test_an_order_adds_to_the_position_on_its_own_side(side: str, admitted: bool) -> None:
    """From 20 lots long: 30 more are over the limit of 20,000 in the worst case, and a sale of 30 leaves 10 short."""
    front = Front(held(20), limits=with_limits(position_notional_usd_max=20_000.0))
    wanted = intent(1, side=side, quantity_lots=30, position_lots=20)
    assert front.decide(wanted)[0].reasons == (() if admitted else (D.POSITION_EXCEEDS_MAXIMUM,))


def test_an_amend_is_counted_once_and_not_beside_the_order_that_it_changes() -> None:
    front = Front(limits=with_limits(position_notional_usd_max=12_500.0))
    front.decide(limit_intent())
    front.tell(report(1, OrderState.ACKNOWLEDGED))
    assert decided(front, amend_intent(lots=20))[0].admitted, "20 lots are worth 12,000.20"


@pytest.mark.parametrize(("side", "admitted"), [("SELL", True), ("BUY", False)])
def test_an_order_that_closes_another_position_takes_no_buying_power_and_one_that_opens_does(
    side: str, admitted: bool
) -> None:
    """Long 10 of QQQ, which the broker's word knows; an order of 10 works there, and 6,500 are left to buy with."""
    front = Front(mark("QQQ"), held(10, "QQQ"), account(power="6500", age_s=-1))
    front.tell(report(2, OrderState.ACKNOWLEDGED, instrument="QQQ", side=side))
    assert front.decide(intent(3))[0].reasons == (() if admitted else (D.BUYING_POWER_EXCEEDED,))


def test_a_short_sale_takes_as_much_buying_power_as_a_purchase() -> None:
    front = Front(
        mark("QQQ"), account(power="11000"), report(2, OrderState.ACKNOWLEDGED, instrument="QQQ", side="SELL")
    )
    assert "11000 less 6000.1" in front.decide(intent(3))[0].message


def test_a_working_order_without_a_price_takes_all_buying_power_and_all_exposure() -> None:
    front = Front(report(2, OrderState.ACKNOWLEDGED, instrument="QQQ"))
    assert {D.BUYING_POWER_EXCEEDED, D.GROSS_EXCEEDS_MAXIMUM} <= set(front.decide(intent(1))[0].reasons)


@pytest.mark.parametrize(("nav", "admitted"), [("980001", True), ("979999", False)])
def test_a_loss_that_the_broker_sees_and_we_do_not_denies(nav: str, admitted: bool) -> None:
    """C8: the worse of both; the day began at 1,000,000 and 20,000 may be lost."""
    front = Front(account(nav=nav, age_s=-1))
    assert front.decide(intent(1))[0].reasons == (() if admitted else (D.DAILY_LOSS_EXCEEDS_MAXIMUM,))


@pytest.mark.parametrize(("ahead_s", "admitted"), [(29, True), (31, False)])
def test_an_account_that_is_ahead_of_everybody_by_half_a_minute_is_from_the_future(
    ahead_s: int, admitted: bool
) -> None:
    reasons = Front(account(age_s=-ahead_s)).decide(intent(1))[0].reasons
    assert reasons[:1] == (() if admitted else (D.MIXED_FLEET,)), "against its clock everybody else is late"
    assert (D.ACCOUNT_STALE in reasons) is not admitted


# ---- what makes a position smaller -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("lots", "admitted"), [(10, True), (11, False)])
def test_an_order_that_turns_a_position_does_not_pass_as_one_that_makes_it_smaller(lots: int, admitted: bool) -> None:
    front = Front(held(10), switch(TradingState.REDUCING))
    decision, _ = front.decide(intent(1, side="SELL", quantity_lots=lots, position_lots=10))
    assert decision.reasons == (() if admitted else (D.REDUCE_ONLY,))


def test_where_short_sales_are_not_allowed_buying_is_also_of_a_short_position() -> None:
    limits = with_limits(short_allowed=False)
    assert Front(limits=limits).decide(intent(1))[0].admitted
    assert Front(held(10, side="SELL"), limits=limits).decide(intent(1, quantity_lots=5, position_lots=-10))[0].admitted


# ---- hours, prices, volume -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weekdays", "minutes", "admitted"),
    [
        ((4,), (480, 481), True),
        ((0, 1, 2, 3, 5, 6), (0, 1440), False),
        ((4,), (481, 1440), False),
        ((4,), (0, 480), False),
    ],
)
def test_orders_go_out_within_the_trading_hours_alone(weekdays: Any, minutes: Any, admitted: bool) -> None:
    """It is Friday, 08:00 UTC, minute 480."""
    decision, _ = Front(limits=with_limits(trading_weekdays=weekdays, trading_minutes_utc=minutes)).decide(intent())
    assert decision.reasons == (() if admitted else (D.OUTSIDE_TRADING_HOURS,))


def test_a_restricted_list_restricts_what_is_on_it_alone() -> None:
    assert Front(limits=with_limits(restricted=("QQQ",))).decide(intent())[0].admitted


def test_a_sale_is_held_against_the_bid_and_a_purchase_against_the_ask() -> None:
    wide: dict[str, Any] = {"arrival_bid_ticks": 60_000, "arrival_ask_ticks": 60_600}
    for number, side in enumerate(("BUY", "SELL"), 1):
        assert Front(mark(ask=60_600)).decide(intent(number, side=side, **wide))[0].admitted
        moved = Front(mark(bid=60_000, ask=60_900) if side == "BUY" else mark(bid=59_700, ask=60_600))
        assert moved.decide(intent(number, side=side, **wide))[0].reasons == (D.PRICE_OUTSIDE_COLLAR,)


@pytest.mark.parametrize("without", [{}, {"QQQ": 45_000_000}])
def test_an_instrument_whose_volume_nobody_set_denies_and_is_named(without: Any) -> None:
    decision, _ = Front(limits=with_limits(adv_lots=without)).decide(intent())
    assert (decision.reasons, decision.message.split()[2]) == ((D.LIMIT_NOT_SET,), "adv_lots.SPY")


def test_a_decision_shows_the_volume_that_its_share_was_cut_by() -> None:
    assert Front().decide(intent())[0].limits["adv_lots"] == "75000000"


def test_no_price_is_named_as_the_reason() -> None:
    decision, _ = Front(usual=tuple(fact for fact in USUAL if fact.type != "signal")).decide(intent())
    assert (decision.reasons[0], decision.message.split(": ")[1].split(" intent=")[0]) == (D.PRICE_STALE, "no price")


def test_an_amend_of_an_order_whose_price_nobody_knows_is_denied() -> None:
    front = Front(report(1, OrderState.ACKNOWLEDGED), usual=tuple(fact for fact in USUAL if fact.type != "signal"))
    decision, commands = decided(front, amend_intent())
    assert (D.PRICE_STALE in decision.reasons, commands) == (True, [])


# ---- repeats and rates -----------------------------------------------------------------------------------------------


def in_turn(front: Front, *sizes: int, at: int = 0, first: int = 1) -> list[tuple[Denial, ...]]:
    """Reasons of one intent after another, each over before the next."""
    found = []
    for number, lots in enumerate(sizes, first):
        found.append(front.decide(intent(number, later=at, quantity_lots=lots))[0].reasons)
        front.tell(report(number, OrderState.CANCELLED))
    return found


def test_an_order_between_two_that_are_the_same_does_not_make_them_two() -> None:
    assert in_turn(Front(), 10, 11, 10) == [(), (), (D.DUPLICATE_CONTENT,)]


def test_an_intent_is_known_again_for_as_long_as_it_may_be_old() -> None:
    front = Front()
    assert front.decide(intent(1))[0].admitted
    front.tell(report(1, OrderState.CANCELLED), mark(later=4), risk(-4))
    assert front.decide(intent(2, later=4, quantity_lots=11))[0].admitted
    front.tell(report(2, OrderState.CANCELLED))
    assert front.decide(intent(1))[0].reasons == (D.DUPLICATE_INTENT,)


def test_limit_orders_are_the_same_if_their_prices_are() -> None:
    front = Front()
    assert front.decide(limit_intent(1, "599.90"))[0].admitted
    front.tell(report(1, OrderState.CANCELLED))
    assert front.decide(limit_intent(2, "599.80"))[0].admitted
    front.tell(report(2, OrderState.CANCELLED))
    assert front.decide(limit_intent(3, "599.90"))[0].reasons == (D.DUPLICATE_CONTENT,)


def test_repeats_are_counted_up_to_their_limit_and_anew_in_the_next_window() -> None:
    limits = with_limits(repeat_orders_max=3, repeat_window_buckets=3)
    assert in_turn(Front(limits=limits), 10, 11, 12, 13) == [(), (), (), (D.REPEATED_EXECUTION,)]
    front = Front(limits=limits)
    assert in_turn(front, 10, 11, 12) == [(), (), ()]
    front.tell(mark(later=3), risk(-3))
    assert in_turn(front, 10, 11, 12, 13, at=3, first=4) == [(), (), (), (D.REPEATED_EXECUTION,)]


def test_orders_are_counted_by_the_minute_and_each_minute_begins_at_none() -> None:
    front = Front(limits=with_limits(orders_per_minute_max=2, intent_age_buckets_max=60, risk_age_buckets_max=60))
    assert in_turn(front, 10, 11, 12) == [(), (), (D.ORDER_RATE_EXCEEDS_MAXIMUM,)]
    left = 60 - NOW_NS % MINUTE_NS // 1_000_000_000
    for minute in range(2):
        at = left + 60 * minute
        front.tell(
            mark(later=at),
            risk(-at),
            account(age_s=-at),
            *(w.model_copy(update={"ts_ns": NOW_NS + at * 10**9}) for w in USUAL if w.type == "worker"),
        )
        front.tell(
            *(
                w.model_copy(update={"expires_ts_event_ns": NOW_NS + 1_000 * 10**9})
                for w in USUAL
                if w.type == "verdict"
            )
        )
        assert in_turn(front, 13, 14, 15, at=at, first=10 * (minute + 1)) == [(), (), (D.ORDER_RATE_EXCEEDS_MAXIMUM,)]


def test_a_worker_that_decides_nothing_may_run_another_build() -> None:
    assert Front(worker("web", build="e" * 64)).decide(intent())[0].admitted


def test_it_is_as_late_as_the_newest_word_says_not_the_oldest() -> None:
    front = Front(mark("QQQ", later=-50), worker("gates", age_s=50, instance=1))
    assert front.state is not None
    assert clock.wall_ns(front.state) == clock.event_ns(front.state) == NOW_NS
    for ahead, source in ((risk(-1), clock.event_ns), (account(age_s=-1), clock.wall_ns)):
        front.tell(ahead)
        assert source(front.state) == NOW_NS + 1_000_000_000
    assert clock.wall_ns(AdmissionState()) == clock.event_ns(AdmissionState()) == 0
    workers = Front(worker("gates", age_s=-2), usual=tuple(fact for fact in USUAL if fact.type == "worker"))
    assert workers.state is not None
    assert clock.wall_ns(workers.state) == NOW_NS + 2_000_000_000
    marks = Front(mark(later=-50), mark("QQQ"), usual=())
    assert marks.state is not None
    assert clock.wall_ns(marks.state) == NOW_NS


# ---- children and flatten --------------------------------------------------------------------------------------------


def test_each_child_names_its_parent_so_that_the_last_hop_can_count_it() -> None:
    front = sliced(3)
    assert {(command.parent_id, command.parent_lots) for command in front.commands} == {(f"{1:024x}", 40)}
    assert [command.parent_sent_lots for command in front.commands] == [0, 10, 20]


def test_a_new_intent_takes_the_place_of_the_one_that_still_goes_out() -> None:
    front = sliced(2)
    ended(front)
    front.tell(risk(-2))  # a bucket with a share of its own
    assert front.decide(intent(2, later=1, quantity_lots=5, position_lots=20))[0].admitted
    front.tell(report(2, OrderState.CANCELLED, lots=5))
    assert later(front) == []


def test_an_intent_that_has_not_gone_out_within_its_life_goes_out_no_more() -> None:
    for bucket, more in ((30, 1), (31, 0)):
        front = sliced(1)
        ended(front)
        front.outputs.clear()
        workers = (
            fact.model_copy(update={"ts_ns": NOW_NS + bucket * 10**9}) for fact in USUAL if fact.type == "worker"
        )
        front.tell(risk(-bucket), account(age_s=-bucket), *workers, mark(later=bucket, volume=100))
        assert len(front.commands) == more


def test_a_child_takes_no_new_terms_be_they_the_price_alone() -> None:
    """The other children would go out at the old price."""
    terms: dict[str, Any] = {"order_type": "LIMIT", "limit_price": Decimal("599.90"), "time_in_force": "DAY"}
    front = Front(usual=THIN)
    front.decide(intent(1, quantity_lots=40, **terms))
    front.tell(report(1, OrderState.ACKNOWLEDGED))
    decision = front.tell(amend_intent(lots=10))[0].message
    assert decision.reasons == (D.ORDER_NOT_WORKING,)  # type: ignore[attr-defined]


def test_children_and_a_flatten_wait_for_ready() -> None:
    front = sliced(2)
    ended(front)
    front.tell(session(SessionState.DISCONNECTED))
    front.outputs.clear()
    front.tell(risk(-2), mark(later=2, volume=100))
    assert front.outputs == []
    front.tell(session())
    assert len(later(front)) == 1
    closing = Front(held(10), session(SessionState.SYNCING), kill(flatten=True))
    closing.tell(mark(later=1))
    assert closing.commands == []
    closing.tell(session(), mark(later=2))
    assert len(closing.commands) == 1


def test_children_wait_for_the_end_of_a_lock() -> None:
    front = sliced(2)
    ended(front)
    front.tell(broken())
    assert later(front) == []
    front.tell(broken(open_=False))
    front.outputs.clear()
    front.tell(risk(-9), mark(later=9, volume=100))
    assert len(front.commands) == 1


def test_a_cancel_may_name_any_child_that_went_out() -> None:
    front = sliced(3)
    second = front.commands[1].intent_id
    assert front.tell(cancel(second))[0].message.message.endswith("its children to come")  # type: ignore[attr-defined]


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_a_position_of_one_lot_is_closed_and_not_doubled(side: str) -> None:
    front = Front(held(1, side=side), kill(flatten=True))
    front.tell(mark(later=1))
    [command] = front.commands
    assert (command.side, command.quantity_lots) == ("SELL" if side == "BUY" else "BUY", 1)


def test_a_flatten_waits_for_the_end_of_a_halt_and_for_a_collar_to_price_it_by() -> None:
    front = Front(held(10), kill(flatten=True), mark(later=1, halted=True))
    assert front.commands == []
    front.tell(mark(later=2))
    assert len(front.commands) == 1
    front = Front(held(10), kill(flatten=True), mark(later=1), limits=with_limits(collar_frac=None))
    assert front.commands == []


def test_an_order_that_filled_a_single_lot_too_much_locks_until_a_person_has_looked_at_it() -> None:
    over = report(9, kind="FILL", fill=11)
    front = Front(over)
    assert front.decide(intent(1, position_lots=11))[0].reasons == (D.INSTRUMENT_LOCKED,)
    front.tell(ResolveCommand(operator="Bo", reason="looked at", intent_id=f"{9:024x}", ts_ns=NOW_NS))
    front.tell(report(9, filled=11))
    assert front.decide(intent(2, position_lots=11))[0].admitted


def test_what_filled_in_two_seconds_is_two_numbers_that_grow_old_apart() -> None:
    at = (0, 1, 2, 1_000_000_000, 1_000_000_001)
    fills = [report(9, kind="FILL", fill=1, lots=9, exec_id=f"9.{ns}", ts_ns=NOW_NS + ns) for ns in at]
    front = Front(*fills)
    assert front.state is not None
    assert [(spent.ts_ns - NOW_NS, round(spent.usd)) for spent in front.state.spent] == [
        (2, 1800),
        (1_000_000_001, 1200),
    ]


def test_a_fraction_is_tightened_by_one_person() -> None:
    front = Front(override(0.0001, limit="collar_frac"))
    assert front.decide(intent(1, arrival_ask_ticks=59_900))[0].reasons == (D.PRICE_OUTSIDE_COLLAR,)
    assert Front().decide(intent(1, arrival_ask_ticks=59_900))[0].admitted


def test_a_reset_of_one_strategy_leaves_the_throttle_of_another() -> None:
    limits = with_limits(repeat_orders_max=0, strategies=("ofi", "pairs"))
    front = Front(limits=limits)
    for number, strategy in enumerate(("ofi", "pairs"), 1):
        assert front.decide(intent(number, strategy=strategy))[0].reasons == (D.REPEATED_EXECUTION,)
    front.tell(ResetCommand(operator="Ada", reason="looked at", scope="strategy:ofi", ts_ns=1))
    assert front.state is not None
    assert list(front.state.throttled) == ["pairs|SPY"]
