"""The rules by which orders fill, with numbers to check by hand. The book is 100.00 x 100.01, 500 on each level."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from connectors.gateway.account import Account
from connectors.gateway.backoffice import BackOffice
from connectors.gateway.broker import Broker
from connectors.gateway.hours import TradingHours
from connectors.gateway.ledger import Ledger
from connectors.gateway.orders import Execution, Order, Ticket
from contracts.instruments import INSTRUMENTS
from tests.gateway.gateway_harness import Market

SPY = INSTRUMENTS["SPY"]


@dataclass
class Listener:
    """Writes down what the broker says."""

    statuses: list[tuple[int, str]] = field(default_factory=list)
    fills: list[tuple[int, int, int]] = field(default_factory=list)
    errors: list[tuple[int, int]] = field(default_factory=list)

    def on_open_order(self, order: Order) -> None: ...

    def on_status(self, order: Order) -> None:
        self.statuses.append((order.ticket.order_id, str(order.status)))

    def on_execution(self, execution: Execution) -> None:
        self.fills.append((execution.order.ticket.order_id, execution.lots, execution.ticks))

    def on_commission(self, execution: Execution) -> None: ...

    def on_order_error(self, client_id: int, order_id: int, code: int, text: str) -> None:
        self.errors.append((order_id, code))


class Desk:
    """A broker with a market and a clock made by hand."""

    def __init__(self, **options: Any) -> None:
        self.heard = Listener()
        self.now_ns = 0
        self.broker = Broker(Account("DU1", Decimal(1_000_000)), Ledger(None), self.heard, limits=False, **options)
        self.market = Market(lambda record: self.broker.on_record(record, self.now_ns))
        self.market.book()
        self._ids = count(1)

    def place(self, side: str, lots: int, kind: str = "LMT", limit: str | None = None, **more: Any) -> Order:
        order_id = more.pop("order_id", None) or next(self._ids)
        stop = more.pop("stop", None)
        ticket = Ticket(
            1,
            order_id,
            SPY,
            side,
            lots,
            kind,
            limit=SPY.ticks(Decimal(limit)) if limit else None,
            stop=SPY.ticks(Decimal(stop)) if stop else None,
            **more,
        )
        self.broker.place(ticket, self.now_ns)
        return self.broker.orders[1, order_id]

    def fills(self, order: Order) -> list[tuple[int, int]]:
        return [(lots, ticks) for order_id, lots, ticks in self.heard.fills if order_id == order.ticket.order_id]


def test_a_market_order_walks_the_levels_and_pays_each_price() -> None:
    desk = Desk()
    order = desk.place("BUY", 700, "MKT")
    assert desk.fills(order) == [(500, 10001), (200, 10002)]
    assert order.status == "Filled"


def test_a_marketable_limit_order_takes_up_to_its_limit_and_rests_with_the_remainder() -> None:
    desk = Desk()
    order = desk.place("BUY", 700, limit="100.01")
    assert desk.fills(order) == [(500, 10001)]
    assert (order.status, order.remaining) == ("Submitted", 200)


def test_the_same_displayed_size_does_not_fill_twice() -> None:
    desk = Desk()
    desk.place("BUY", 500, limit="100.01")
    second = desk.place("BUY", 100, limit="100.01")
    assert desk.fills(second) == []
    desk.market.book(asks=[("100.01", 500), ("100.02", 400)])
    assert desk.fills(second) == [], "the level at 100.01 still shows the size that was taken"
    desk.market.book(asks=[("100.01", 300)])
    assert desk.fills(second) == [(100, 10001)], "another size is new size"


def test_a_resting_order_waits_behind_the_size_displayed_at_its_price() -> None:
    desk = Desk()
    order = desk.place("BUY", 100, limit="100.00")
    desk.market.trade("100.00", 450, "SELL")
    assert desk.fills(order) == []
    assert order.queue_ahead == 50
    desk.market.trade("100.00", 80, "SELL")
    assert desk.fills(order) == [(30, 10000)]
    desk.market.trade("100.00", 100, "SELL")
    assert desk.fills(order) == [(30, 10000), (70, 10000)]


def test_a_smaller_display_shortens_the_queue_and_a_larger_one_does_not_lengthen_it() -> None:
    desk = Desk()
    order = desk.place("BUY", 100, limit="100.00")
    desk.market.book(bids=[("100.00", 120)])
    assert order.queue_ahead == 120
    desk.market.book(bids=[("100.00", 900)])
    assert order.queue_ahead == 120


def test_a_trade_through_the_price_fills_without_a_queue() -> None:
    desk = Desk()
    order = desk.place("BUY", 100, limit="100.00")
    desk.market.trade("99.99", 60, "SELL")
    assert desk.fills(order) == [(60, 10000)]


def test_a_buyer_is_not_filled_by_a_buyers_print() -> None:
    desk = Desk()
    order = desk.place("BUY", 100, limit="100.00")
    desk.market.trade("100.00", 5000, "BUY")
    assert desk.fills(order) == []


def test_a_book_that_crosses_a_resting_order_fills_it_at_its_own_price() -> None:
    desk = Desk()
    order = desk.place("BUY", 100, limit="100.00")
    desk.market.book(bids=[("99.97", 500)], asks=[("99.98", 60), ("99.99", 500)])
    assert desk.fills(order) == [(60, 10000), (40, 10000)]


def test_a_better_price_fills_before_an_older_order() -> None:
    desk = Desk()
    older = desk.place("BUY", 100, limit="99.98")
    better = desk.place("BUY", 100, limit="99.99")
    desk.market.trade("99.97", 150, "SELL")
    assert desk.fills(better) == [(100, 9999)]
    assert desk.fills(older) == [(50, 9998)]


def test_at_one_price_the_older_order_fills_first() -> None:
    desk = Desk()
    older, younger = desk.place("BUY", 100, limit="100.00"), desk.place("BUY", 100, limit="100.00")
    desk.market.trade("100.00", 650, "SELL")
    assert desk.fills(older) == [(100, 10000)]
    assert desk.fills(younger) == [(50, 10000)]


def test_an_order_beyond_the_displayed_levels_has_no_queue_until_it_is_shown() -> None:
    desk = Desk()
    order = desk.place("BUY", 100, limit="99.50")
    assert order.queue_ahead is None
    desk.market.book(bids=[("99.51", 10), ("99.50", 70)], asks=[("99.60", 10)])
    assert order.queue_ahead == 70


def test_an_order_inside_the_spread_is_first_in_its_queue() -> None:
    desk = Desk()
    desk.market.book(bids=[("100.00", 500)], asks=[("100.05", 500)])
    order = desk.place("BUY", 100, limit="100.02")
    desk.market.trade("100.02", 40, "SELL")
    assert desk.fills(order) == [(40, 10002)]


def test_immediate_or_cancel_leaves_nothing_behind() -> None:
    desk = Desk()
    order = desk.place("BUY", 700, limit="100.01", tif="IOC")
    assert desk.fills(order) == [(500, 10001)]
    assert order.status == "Cancelled"


def test_fill_or_kill_fills_all_or_nothing() -> None:
    desk = Desk()
    nothing = desk.place("BUY", 501, limit="100.01", tif="FOK")
    everything = desk.place("BUY", 500, limit="100.01", tif="FOK")
    assert (desk.fills(nothing), nothing.status) == ([], "Cancelled")
    assert desk.fills(everything) == [(500, 10001)]


def test_a_stop_triggers_by_a_trade_at_its_price_and_then_takes_the_market() -> None:
    desk = Desk()
    order = desk.place("SELL", 100, "STP", stop="99.99")
    desk.market.trade("100.00", 10, "SELL")
    assert order.status == "PreSubmitted"
    desk.market.trade("99.99", 10, "SELL")
    assert desk.fills(order) == [(100, 10000)]


def test_a_triggered_stop_limit_rests_at_its_limit() -> None:
    desk = Desk()
    order = desk.place("BUY", 100, "STP LMT", limit="100.00", stop="100.02")
    desk.market.trade("100.02", 10, "BUY")
    assert (order.status, desk.fills(order)) == ("Submitted", [])


def test_a_halt_stops_fills_and_orders_wait_for_its_end() -> None:
    desk = Desk()
    desk.market.halt(halted=True)
    order = desk.place("BUY", 100, "MKT")
    desk.market.book()
    assert (order.status, desk.fills(order)) == ("PreSubmitted", [])
    desk.market.halt(halted=False)
    assert desk.fills(order) == [(100, 10001)]


def test_an_amend_to_a_smaller_size_keeps_the_place_in_the_queue_and_any_other_loses_it() -> None:
    desk = Desk()
    order = desk.place("BUY", 100, limit="100.00")
    desk.market.trade("100.00", 450, "SELL")
    desk.place("BUY", 80, limit="100.00", order_id=order.ticket.order_id)
    assert order.queue_ahead == 50
    desk.place("BUY", 90, limit="100.00", order_id=order.ticket.order_id)
    assert order.queue_ahead == 500


def test_an_amend_counts_what_is_filled_already() -> None:
    """A new total of what is filled or less would be an order of nothing; the accident is in FAULTS.md, TWS.md 8.22."""
    desk = Desk()
    order = desk.place("BUY", 700, limit="100.01")
    desk.place("BUY", 500, limit="100.01", order_id=order.ticket.order_id)
    assert desk.heard.errors == [(1, 201)]
    desk.place("BUY", 600, limit="100.01", order_id=order.ticket.order_id)
    assert order.remaining == 100


def test_an_amend_to_a_marketable_price_fills_at_once() -> None:
    desk = Desk()
    order = desk.place("BUY", 100, limit="99.00")
    desk.place("BUY", 100, limit="100.01", order_id=order.ticket.order_id)
    assert desk.fills(order) == [(100, 10001)]


@pytest.mark.parametrize(("oca_type", "left"), [(1, None), (2, 60), (3, 60)])
def test_a_partial_fill_cancels_or_reduces_the_rest_of_its_group(oca_type: int, left: int | None) -> None:
    desk = Desk()
    other = desk.place("BUY", 100, limit="99.00", oca_group="g", oca_type=oca_type)
    desk.market.book(asks=[("100.01", 40)])
    first = desk.place("BUY", 100, limit="100.01", oca_group="g", oca_type=oca_type)
    assert desk.fills(first) == [(40, 10001)]
    assert (None if other.done else other.remaining) == left


def bracket(desk: Desk) -> tuple[Order, Order, Order]:
    """A buy at 99.00, a profit at 101.00 and a stop at 98.00, sent as one family."""
    parent = desk.place("BUY", 100, limit="99.00", transmit=False)
    profit = desk.place("SELL", 100, limit="101.00", parent_id=1, transmit=False)
    assert (parent.status, profit.status) == (None, None), "held until the last one is sent"
    return parent, profit, desk.place("SELL", 100, "STP", stop="98.00", parent_id=1)


def test_the_last_child_sends_the_family_and_a_cancelled_parent_takes_it_along() -> None:
    desk = Desk()
    orders = bracket(desk)
    assert [order.status for order in orders] == ["Submitted", "PreSubmitted", "PreSubmitted"]
    desk.broker.cancel(1, 1, 0)
    assert [order.status for order in orders] == ["Cancelled"] * 3


def test_children_wake_when_the_parent_is_filled_and_one_ends_the_other() -> None:
    desk = Desk()
    parent, profit, loss = bracket(desk)
    desk.market.trade("98.90", 60, "SELL")
    assert (profit.live, loss.live) == (False, False), "a part of the parent wakes nobody"
    desk.market.trade("98.90", 40, "SELL")
    assert (parent.status, profit.live, loss.live) == ("Filled", True, True)
    desk.market.trade("101.01", 30, "BUY")
    assert (profit.remaining, loss.remaining) == (70, 70)
    desk.market.trade("97.99", 1, "SELL")
    assert (loss.status, profit.status) == ("Filled", "Cancelled")


def test_a_child_of_an_unknown_parent_is_135() -> None:
    desk = Desk()
    desk.broker.place(Ticket(1, 5, SPY, "SELL", 1, "LMT", limit=10_100, parent_id=4), 0)
    assert desk.heard.errors == [(5, 135)]


def test_entry_latency_means_the_order_meets_the_later_book() -> None:
    desk = Desk(entry_ns=1_000_000)
    order = desk.place("BUY", 100, "MKT")
    assert order.status == "PreSubmitted"
    desk.market.book(asks=[("100.07", 500)])
    desk.broker.advance(999_999)
    assert desk.fills(order) == []
    desk.broker.advance(1_000_000)
    assert desk.fills(order) == [(100, 10007)]


def test_a_cancel_on_its_way_loses_against_a_fill() -> None:
    desk = Desk(entry_ns=1_000_000)
    order = desk.place("BUY", 100, limit="100.00")
    desk.broker.advance(1_000_000)
    desk.now_ns = 2_000_000
    desk.broker.cancel(1, order.ticket.order_id, desk.now_ns)
    assert order.status == "PendingCancel"
    desk.market.trade("99.99", 100, "SELL")
    desk.broker.advance(3_000_000)
    assert order.status == "Filled"


def test_outside_regular_hours_an_order_waits_for_the_open() -> None:
    saturday, monday = 1_767_452_400_000_000_000, 1_767_623_400_000_000_000
    desk = Desk(hours=TradingHours(enforced=True))
    desk.now_ns = saturday
    order = desk.place("BUY", 100, "MKT")
    desk.market.book(asks=[("100.03", 100)])
    assert (order.status, desk.heard.errors) == ("PreSubmitted", [(1, 399)])
    desk.now_ns = monday
    desk.market.book(asks=[("100.03", 200)])
    assert desk.fills(order) == [(100, 10003)]


def test_a_day_order_ends_at_the_close_and_a_lasting_one_does_not() -> None:
    monday_open, monday_close = 1_767_623_400_000_000_000, 1_767_646_800_000_000_000
    desk = Desk(hours=TradingHours(enforced=True))
    desk.now_ns = monday_open
    day, lasting = desk.place("BUY", 1, limit="99.00"), desk.place("BUY", 1, limit="99.00", tif="GTC")
    desk.broker.advance(monday_close - 1)
    assert day.status == "Submitted"
    desk.broker.advance(monday_close)
    assert (day.status, lasting.status) == ("Cancelled", "Submitted")


def test_an_amend_of_the_good_till_date_moves_the_end() -> None:
    desk = Desk()
    order = desk.place("BUY", 1, limit="99.00", tif="GTD", gtd_ns=1_000)
    desk.place("BUY", 1, limit="99.00", tif="GTD", gtd_ns=5_000, order_id=order.ticket.order_id)
    desk.broker.advance(1_000)
    assert order.status == "Submitted"
    desk.broker.advance(5_000)
    assert order.status == "Cancelled"


def test_the_children_of_a_rejected_parent_are_rejected_or_cancelled() -> None:
    desk = Desk()
    parent = desk.place("BUY", 1_000_000, limit="100.00", transmit=False)
    child = desk.place("SELL", 1, limit="101.00", parent_id=1)
    assert (parent.status, child.status) == ("Inactive", "Inactive")


def test_a_child_that_wakes_in_the_middle_of_a_fill_does_not_share_the_size_that_filled_its_parent() -> None:
    """The parent's last fill at 99.98 wakes a buyer with a better limit; 100 are shown, and 100 are traded."""
    desk = Desk()
    desk.place("BUY", 60, limit="99.98", transmit=False)
    desk.place("BUY", 500, limit="99.99", parent_id=1)
    other = desk.place("BUY", 500, limit="99.98")
    desk.market.book(bids=[("99.90", 10)], asks=[("99.98", 100)])
    assert sum(lots for _, lots, _ in desk.heard.fills) == 100
    assert desk.fills(other) == []


def test_a_short_sale_waits_while_shares_are_located() -> None:
    desk = Desk()
    desk.broker.unlocatable.add("SPY")
    order = desk.place("SELL", 100, "MKT")
    assert (order.status, order.why_held, desk.heard.errors) == ("PreSubmitted", "locate", [(1, 404)])
    BackOffice(desk.broker).locate("SPY", 0)
    assert desk.fills(order) == [(100, 10000)]


def test_bitcoin_cannot_be_sold_short() -> None:
    desk = Desk()
    desk.broker.place(Ticket(1, 1, INSTRUMENTS["BTCUSDT"], "SELL", 100, "LMT", limit=6_000_000), 0)
    assert desk.broker.orders[1, 1].status == "Inactive"
    assert desk.heard.errors == [(1, 201)]


def test_buying_power_counts_working_orders_and_an_amended_order_once() -> None:
    """1,000,000 USD carry 2,000,000 of stock at 50 % margin: 20,000 shares at 100.00."""
    desk = Desk()
    order = desk.place("BUY", 15_000, limit="100.00")
    assert desk.place("BUY", 5_001, limit="100.00").status == "Inactive"
    desk.place("BUY", 19_000, limit="100.00", order_id=order.ticket.order_id)
    assert (order.ticket.lots, order.status) == (19_000, "Submitted")
    desk.place("BUY", 20_001, limit="100.00", order_id=order.ticket.order_id)
    assert order.ticket.lots == 19_000
    assert desk.heard.errors[-1] == (order.ticket.order_id, 201)


def test_the_gateway_enforces_twenty_active_orders_per_side() -> None:
    desk = Desk()
    desk.broker.limits = True
    orders = [desk.place("BUY", 1, limit="99.00") for _ in range(21)]
    assert [order.status for order in orders] == ["Submitted"] * 20 + ["Inactive"]


def test_a_family_whose_parent_and_profit_fill_at_once_leaves_no_stop_behind() -> None:
    desk = Desk()
    desk.place("BUY", 100, limit="100.01", transmit=False)
    profit = desk.place("SELL", 100, limit="99.00", parent_id=1, transmit=False)
    loss = desk.place("SELL", 100, "STP", stop="98.00", parent_id=1)
    assert (profit.status, loss.status) == ("Filled", "Cancelled")
    assert desk.broker.account.position(SPY).lots == 0
