"""C5, C8: buying power is spent by what works and by what filled since the broker last named it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from contracts.controls import Denial
from contracts.orders import OrderState
from tests.execution.admission_parts import Front, account, fleet, intent, mark, report, risk, verdict
from tests.execution.order_parts import NOW_NS
from tests.execution.test_amends import amend_intent, decided, limit_intent

D = Denial
NAMES = ("SPY", "QQQ", "AAPL")


def front_with(power: str) -> Front:
    return Front(account(power=power), mark("QQQ"), mark("AAPL"))


def test_three_orders_do_not_spend_one_buying_power_three_times() -> None:
    """Each is worth 6,000.10."""
    front = front_with("6500")
    decisions = [front.decide(intent(n, instrument=name))[0] for n, name in enumerate(NAMES, 1)]
    assert [decision.admitted for decision in decisions] == [True, False, False]
    assert decisions[1].reasons == (D.BUYING_POWER_EXCEEDED,)
    assert "order_notional_usd=6000.1 buying_power_usd=499.9 (6500 less 6000.1 that works or filled)" in (
        decisions[1].message
    )


@pytest.mark.parametrize("filled", [0, 4, 10])
def test_what_filled_counts_until_the_broker_names_buying_power_anew(filled: int) -> None:
    front = front_with("6500")
    front.decide(intent(1))
    state = OrderState.FILLED if filled == 10 else OrderState.CANCELLED
    if filled:
        front.tell(report(1, OrderState.PARTIALLY_FILLED, kind="FILL", fill=filled, ts_ns=NOW_NS + 1))
    front.tell(report(1, state, filled=filled))
    front.tell(account(power="6600"), account(power="6600", age_s=-1))  # from before the fill, and said again
    assert front.decide(intent(2, instrument="QQQ"))[0].admitted is (filled == 0)
    front.tell(report(2, OrderState.CANCELLED, instrument="QQQ"), account(power="6500", age_s=-2))
    assert front.decide(intent(3, instrument="AAPL"))[0].admitted


def test_a_fill_counts_no_longer_than_the_brokers_word_can_lag() -> None:
    front = front_with("6500")
    front.decide(intent(1))
    front.tell(report(1, kind="FILL", fill=10, ts_ns=NOW_NS + 1))
    for later in (200, 201):
        facts = (mark("QQQ", later=later), risk(-later), account(power="6500", age_s=-later))
        front.tell(*facts, verdict(lives_buckets=later), *fleet(-later))
        decision, _ = front.decide(intent(later, later, instrument="QQQ"))
        assert decision.reasons == ((D.BUYING_POWER_EXCEEDED,) if later == 200 else ())


def test_a_thousand_fills_of_one_second_are_one_number() -> None:
    fills = [report(9, kind="FILL", fill=1, lots=5_000, exec_id=f"9.{n}", ts_ns=NOW_NS + n) for n in range(1_000)]
    front = Front(*fills)
    assert front.state is not None
    [spent] = front.state.spent
    assert (spent.ts_ns, round(spent.usd)) == (NOW_NS + 999, 600_010)


def test_the_part_of_a_working_order_that_has_filled_is_not_counted_twice() -> None:
    front = front_with("12000")
    front.decide(intent(1))
    front.tell(report(1, OrderState.PARTIALLY_FILLED, kind="FILL", fill=5, ts_ns=NOW_NS + 1))
    front.tell(account(power="9000", age_s=-1))
    assert front.decide(intent(2, instrument="QQQ", quantity_lots=9))[0].admitted, "5 lots of 600.01 are still to fill"


def test_an_order_that_makes_a_position_smaller_needs_and_spends_no_buying_power() -> None:
    front = Front(account(power="9500"), mark("QQQ"), report(9, kind="FILL", fill=10), account(power="6500", age_s=-1))
    assert front.decide(intent(1, side="SELL", position_lots=10))[0].admitted
    assert front.decide(intent(2, instrument="QQQ"))[0].admitted
    sold: dict[str, Any] = {"side": "SELL", "ts_ns": NOW_NS + 2 * 10**9, "fill_price": Decimal("599.00")}
    front.tell(report(1, kind="FILL", fill=10, **sold), report(2, OrderState.CANCELLED, instrument="QQQ"))
    assert front.decide(intent(3, instrument="QQQ", quantity_lots=9))[0].admitted


def test_an_amend_is_not_held_against_the_order_that_it_changes_but_against_the_others() -> None:
    front = front_with("12500")
    assert front.decide(limit_intent())[0].admitted
    front.tell(report(1, OrderState.ACKNOWLEDGED))
    assert decided(front, amend_intent(lots=20))[0].admitted, "20 lots are worth 12,000.20"
    front = front_with("12500")
    assert front.decide(limit_intent())[0].admitted
    front.tell(report(1, OrderState.ACKNOWLEDGED))
    assert front.decide(intent(3, instrument="QQQ", quantity_lots=9))[0].admitted
    assert decided(front, amend_intent(lots=20))[0].reasons == (D.BUYING_POWER_EXCEEDED,)
