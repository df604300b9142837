"""What holds for every market and every sequence of orders; each failing example is printed and can be replayed."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.gateway.account import Account, order_commission
from connectors.gateway.broker import Broker
from connectors.gateway.ledger import Ledger, fold
from connectors.gateway.orders import NEXT, Execution, Order, Status, Ticket
from connectors.gateway.restore import restore
from contracts.instruments import INSTRUMENTS
from tests.gateway.gateway_harness import Market

NAMES = ("SPY", "QQQ")
START = Decimal(1_000_000)

prices = st.integers(9_990, 10_010)
sizes = st.integers(1, 300)
places = st.tuples(
    st.just("place"),
    st.sampled_from(NAMES),
    st.sampled_from(["BUY", "SELL"]),
    sizes,
    st.sampled_from(["MKT", "LMT", "STP", "STP LMT"]),
    prices,
    st.sampled_from(["DAY", "IOC", "FOK"]),
    st.sampled_from(["", "g"]),
    st.booleans(),
    st.sampled_from([True, True, True, False]),
)
cancels = st.tuples(st.just("cancel"), st.integers(1, 12))
amends = st.tuples(st.just("amend"), st.integers(1, 12), sizes, prices)
books = st.tuples(st.just("book"), st.sampled_from(NAMES), prices, st.integers(1, 3), sizes, sizes)
trades = st.tuples(st.just("trade"), st.sampled_from(NAMES), prices, sizes, st.sampled_from(["BUY", "SELL"]))
waits = st.tuples(st.just("wait"), st.integers(1, 3))
others = st.sampled_from([("halt", "SPY", True), ("halt", "SPY", False), ("cancel all",)])
scenarios = st.lists(st.one_of(places, cancels, amends, books, trades, waits, others), max_size=60)


class Watcher:
    """Checks IB's graph of statuses on every report, and that no order is filled beyond its size."""

    def __init__(self) -> None:
        self.last: dict[int, Status] = {}

    def on_open_order(self, order: Order) -> None: ...

    def on_status(self, order: Order) -> None:
        assert order.status is not None
        before = self.last.get(order.perm_id)
        assert order.status == before or order.status in NEXT[before], f"{before} -> {order.status}"
        assert order.filled + order.remaining == order.ticket.lots
        self.last[order.perm_id] = order.status

    def on_execution(self, execution: Execution) -> None:
        assert execution.lots > 0
        assert 0 < execution.cumulative <= execution.order.ticket.lots

    def on_commission(self, execution: Execution) -> None:
        assert execution.commission >= 0

    def on_order_error(self, client_id: int, order_id: int, code: int, text: str) -> None: ...


def dollars(ticks: int) -> str:
    return str(Decimal(ticks) / 100)


def play(scenario: list[Any], entry_ns: int) -> Broker:
    broker = Broker(Account("DU1", START), Ledger(None), Watcher(), seed=3, entry_ns=entry_ns)
    now_ns = 0
    market = Market(lambda record: broker.on_record(record, now_ns))
    for name in NAMES:
        market.book(instrument=name)
    next_id = 1
    for kind, *values in scenario:
        now_ns += 1_000
        match kind:
            case "place":
                name, side, lots, order_type, ticks, tif, group, child, transmit = values
                limit = ticks if "LMT" in order_type else None
                stop = ticks if "STP" in order_type else None
                spec = INSTRUMENTS[name]
                ticket = Ticket(
                    1, next_id, spec, side, lots, order_type, limit=limit, stop=stop, tif=tif, oca_group=group
                )
                parent = next_id - 1 if child and (1, next_id - 1) in broker.orders else 0
                ticket = dataclasses.replace(ticket, parent_id=parent, transmit=transmit)
                broker.place(ticket, now_ns)
                next_id += 1
            case "amend":
                order = broker.orders.get((1, values[0]))
                if order is not None:
                    limit = None if order.ticket.limit is None else values[2]
                    broker.place(dataclasses.replace(order.ticket, lots=values[1], limit=limit), now_ns)
            case "cancel":
                broker.cancel(1, values[0], now_ns)
            case "cancel all":
                broker.cancel_all(now_ns)
            case "book":
                name, ticks, spread, bid, ask = values
                market.book(
                    [(dollars(ticks), bid), (dollars(ticks - 1), ask)],
                    [(dollars(ticks + spread), ask)],
                    instrument=name,
                )
            case "trade":
                name, ticks, lots, side = values
                market.trade(str(Decimal(ticks) / 100), lots, side, instrument=name)
            case "halt":
                market.halt(halted=values[1], instrument=values[0])
            case "wait":
                now_ns += values[0] * 1_000
        broker.advance(now_ns)
    broker.advance(now_ns + 10**9)
    return broker


@settings(max_examples=150, deadline=None, print_blob=True)
@given(scenarios, st.sampled_from([0, 2_000]))
def test_cash_and_positions_are_conserved_and_fills_sum_to_filled(scenario: list[Any], entry_ns: int) -> None:
    broker = play(scenario, entry_ns)
    account = broker.account
    flows, lots = Decimal(0), dict.fromkeys(NAMES, 0)
    for execution in broker.executions:
        spec, signed = execution.order.ticket.spec, execution.order.sign * execution.lots
        flows -= spec.notional(execution.ticks, signed) + execution.commission
        lots[spec.instrument] += signed
    assert account.cash == START + flows
    assert {name: account.positions[name].lots if name in account.positions else 0 for name in NAMES} == lots
    assert account.equity(broker.mark) == START + account.realized + account.unrealized(broker.mark)
    for order in broker.by_perm.values():
        filled = [e.lots for e in broker.executions if e.order is order]
        assert sum(filled) == order.filled <= order.ticket.lots
        assert (order.status == Status.FILLED) == (order.filled == order.ticket.lots)
        assert order.commission == sum(e.commission for e in broker.executions if e.order is order)
        assert order.live == any(
            order in orders[order.ticket.spec.instrument] for orders in (broker.resting, broker.stops)
        )
        assert not (order.done and order.live)
        assert order.commission == (order_commission(order.ticket.spec, order.filled, order.value) if filled else 0)
    assert len({e.exec_id for e in broker.executions}) == len(broker.executions)


@settings(max_examples=100, deadline=None, print_blob=True)
@given(scenarios, st.sampled_from([0, 2_000]))
def test_the_ledger_alone_tells_the_same_story(scenario: list[Any], entry_ns: int) -> None:
    broker = play(scenario, entry_ns)
    view = fold([{"type": "meta", "account": "DU1", "cash": str(START), "seed": 3}, *broker.ledger.rows])
    assert view.cash == broker.account.cash
    assert view.realized_pnl == broker.account.realized
    assert view.positions == {name: p.lots for name, p in sorted(broker.account.positions.items()) if p.lots}
    assert {row.perm_id: row.filled for row in view.orders.values()} == {
        o.perm_id: o.filled for o in broker.by_perm.values()
    }
    assert all(row.status == (broker.by_perm[row.perm_id].status or "Held") for row in view.orders.values())


@settings(max_examples=100, deadline=None, print_blob=True)
@given(scenarios)
def test_a_broker_restored_from_its_ledger_has_the_same_money_orders_and_ids(scenario: list[Any]) -> None:
    """A halt is the market's business, not the ledger's: these scenarios have none."""
    before = play([event for event in scenario if event[0] != "halt"], 0)
    view = fold([{"type": "meta", "account": "DU1", "cash": str(START), "seed": 3}, *before.ledger.rows])
    after = Broker(Account("DU1", Decimal(1)), Ledger(None), Watcher(), seed=3)
    restore(after, view)
    assert after.account.cash == before.account.cash
    assert after.account.realized == before.account.realized
    assert {p: (o.status, o.filled, o.value, o.commission) for p, o in after.by_perm.items()} == {
        p: (o.status, o.filled, o.value, o.commission) for p, o in before.by_perm.items()
    }
    assert after.next_id(1) == before.next_id(1)
    assert set(after.open) == set(before.open)
    assert [e.exec_id for e in after.executions] == [e.exec_id for e in before.executions]


@settings(max_examples=60, deadline=None, print_blob=True)
@given(scenarios)
def test_the_same_seed_market_and_commands_give_the_same_bytes(scenario: list[Any]) -> None:
    first, second = (json.dumps(play(scenario, 0).ledger.rows).encode() for _ in range(2))
    assert first == second


@settings(max_examples=100, deadline=None, print_blob=True)
@given(scenarios)
def test_no_displayed_size_is_taken_twice(scenario: list[Any]) -> None:
    """Takers between two books of an instrument get at most what the book shows."""
    taken = 0
    shown = 500 + 500
    broker = Broker(Account("DU1", START), Ledger(None), Watcher())
    market = Market(lambda record: broker.on_record(record, 0))
    market.book()
    for number, (kind, *values) in enumerate(scenario, 1):
        if kind == "place" and values[1] == "BUY":
            broker.place(Ticket(1, number, INSTRUMENTS["SPY"], "BUY", values[2], "LMT", limit=10_002, tif="IOC"), 0)
            taken = sum(execution.lots for execution in broker.executions)
    assert taken <= shown
