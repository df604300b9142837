"""Cash of both sides agrees to the cent; a break locks the account until it does again, or a person settles it."""

from __future__ import annotations

import random
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from agents.account import AccountRow, key, step
from agents.ledger import APART_NS, EARLIER_MAX, LAG_NS
from connectors.ibkr.ears import Ears
from contracts.breaks import CashBreak
from contracts.controls import Alert, ResolveCommand
from contracts.instruments import INSTRUMENTS
from contracts.orders import BrokerAccount, BrokerCommission, ExecutionReport, OrderState, SessionEvent, SessionState
from contracts.topics import BROKER_EVENTS, EXEC_REPORTS
from tests.execution.order_parts import NOW_NS, record

SECOND_NS = 1_000_000_000


def ready(epoch: int = 1) -> SessionEvent:
    return SessionEvent(state=SessionState.READY, epoch=epoch, next_order_id=1, account="DU1", reason="", ts_ns=NOW_NS)


def booking(kind: Any, instrument: str = "SPY", side: Any = "BUY", **changes: Any) -> ExecutionReport:
    values: dict[str, Any] = {
        "kind": kind,
        "intent_id": "a" * 24,
        "order_id": 7,
        "instrument": instrument,
        "side": side,
        "state": OrderState.FILLED,
        "order_lots": 10,
        "filled_lots": 10,
        "ts_ns": NOW_NS,
    }
    return ExecutionReport(**(values | changes))


BOUGHT = booking("FILL", fill_lots=10, fill_price=Decimal("600.05"), exec_id="a.01")
PAID = booking("COMMISSION", commission=Decimal("1.00"), commission_currency="USD", exec_id="a.01")
AFTER = "993998.50"
"""1,000,000 less 10 x 600.05 and one dollar."""


class Desk:
    """The account agent, which has heard of READY on both topics and of a million in cash."""

    def __init__(self) -> None:
        self.state: AccountRow | None = None
        self.breaks: list[CashBreak] = []
        self.alerts: list[Alert] = []
        self.hear(ready())
        self.hear(ready(), topic=EXEC_REPORTS.name)
        self.broker("1000000")

    def hear(self, *messages: Any, topic: str = BROKER_EVENTS.name) -> None:
        for message in messages:
            assert key(message) == "desk"
            self.state, outputs = step(self.state, record(message, topic))
            self.breaks += [out.message for out in outputs if isinstance(out.message, CashBreak)]
            self.alerts += [out.message for out in outputs if isinstance(out.message, Alert)]

    def broker(self, cash: str, after_s: float = 0.0) -> None:
        self.hear(
            BrokerAccount(
                account="DU1",
                net_liquidation=Decimal(10**6),
                cash=Decimal(cash),
                buying_power=Decimal(10**6),
                ts_ns=NOW_NS + int(after_s * SECOND_NS),
            )
        )

    @property
    def row(self) -> AccountRow:
        assert self.state is not None
        return self.state


def test_fills_and_commissions_make_the_brokers_cash() -> None:
    desk = Desk()
    desk.hear(BOUGHT, PAID)
    desk.broker(AFTER)
    desk.broker(AFTER, APART_NS / SECOND_NS + 1)
    assert (desk.row.own_cash.cash, desk.breaks) == (Decimal(AFTER), [])


@pytest.mark.parametrize("slow", [BROKER_EVENTS.name, EXEC_REPORTS.name])
def test_cash_begins_with_the_snapshots_word_however_soon_the_first_order_fills(slow: Any) -> None:
    """The next word may be from before the fill: a base made of it was wrong for good, and locked the account."""
    desk = Desk.__new__(Desk)
    desk.state, desk.breaks, desk.alerts = None, [], []
    desk.broker("1000000")
    if slow == EXEC_REPORTS.name:
        desk.hear(ready())
        desk.broker("1000001", 1)
        desk.hear(ready(), topic=EXEC_REPORTS.name)
        desk.hear(BOUGHT, PAID)
    else:
        desk.hear(ready(), topic=EXEC_REPORTS.name)
        desk.hear(BOUGHT, PAID)
        desk.hear(ready())
    desk.broker("1000000", 1)
    assert desk.row.own_cash.cash == Decimal(AFTER)


def test_a_correction_moves_the_money_by_its_difference() -> None:
    desk = Desk()
    desk.hear(BOUGHT, PAID)
    change: dict[str, Any] = {"replaced_lots": 10, "replaced_price": Decimal("600.05"), "replaced_exec_id": "a.01"}
    desk.hear(booking("CORRECTION", fill_lots=10, fill_price=Decimal("600.15"), exec_id="a.02", **change))
    assert desk.row.own_cash.cash == Decimal(AFTER) - 1


def test_the_brokers_word_may_lag_by_the_three_minutes_that_ib_takes() -> None:
    desk = Desk()
    desk.hear(BOUGHT, PAID)
    desk.broker("1000000", 1)
    desk.broker("1000000", 199)
    desk.broker(AFTER, 200)
    desk.broker(AFTER, 900)
    assert (desk.breaks, desk.row.own_cash.apart_since_ns) == ([], 0)


def test_a_word_that_always_lags_behind_a_desk_that_trades_all_the_time_is_no_break() -> None:
    """The broker is three fills behind, for ten minutes; it was wrong to wait for a quiet moment."""
    desk = Desk()
    balances = [desk.row.own_cash.cash]
    for second in range(600):
        desk.hear(BOUGHT.model_copy(update={"ts_ns": NOW_NS + second * SECOND_NS}))
        balances.append(desk.row.own_cash.cash)
        desk.broker(str(balances[max(0, second - 3)]), second)
        assert desk.row.own_cash.apart_since_ns == 0, second
    assert desk.breaks == []
    assert len(desk.row.own_cash.earlier) < 10


def test_a_broker_that_never_books_our_fill_is_found_when_its_word_is_too_old_to_be_late() -> None:
    desk = Desk()
    desk.hear(BOUGHT, PAID)
    late_s = LAG_NS / SECOND_NS + 1
    desk.broker("1000000", late_s)
    assert desk.breaks == []
    desk.broker("1000000", late_s + APART_NS / SECOND_NS)
    assert [found.open for found in desk.breaks] == [True]


def test_the_row_stays_small_while_the_broker_says_nothing() -> None:
    desk = Desk()
    desk.hear(*[BOUGHT] * (EARLIER_MAX + 50))
    assert len(desk.row.own_cash.earlier) == EARLIER_MAX


@pytest.mark.parametrize("missing", [(), (BOUGHT,), (PAID,)])
def test_an_execution_or_a_commission_that_one_side_lacks_is_a_break_that_shows_both_sides(missing: Any) -> None:
    desk = Desk()
    desk.hear(*(report for report in (BOUGHT, PAID) if report not in missing))
    wrong = "1000001" if not missing else AFTER
    desk.broker(wrong, 1)
    desk.broker(wrong, 1 + APART_NS / SECOND_NS)
    [found] = desk.breaks
    assert (found.open, found.broker_cash) == (True, Decimal(wrong))
    assert found.own_cash == desk.row.own_cash.cash != Decimal(wrong)
    [alert] = desk.alerts
    assert str(found.own_cash) in alert.text
    assert wrong in alert.text
    desk.broker(wrong, 900)
    assert len(desk.breaks) == 1, "a break is told once"


def test_a_break_ends_when_both_sides_agree_again() -> None:
    desk = Desk()
    desk.broker(AFTER, 1)
    desk.broker(AFTER, 62)
    desk.hear(BOUGHT, PAID)
    desk.broker(AFTER, 63)
    assert [found.open for found in desk.breaks] == [True, False]


def test_a_break_ends_by_a_named_operator_who_knows_of_a_deposit() -> None:
    desk = Desk()
    resolve = ResolveCommand(operator="Ada", reason="a deposit", cash=True, ts_ns=NOW_NS)
    desk.hear(resolve)
    assert desk.breaks == [], "there is nothing to settle"
    desk.broker("1500000", 1)
    desk.broker("1500000", 62)
    desk.hear(resolve)
    assert (desk.breaks[-1].open, desk.breaks[-1].reason) == (False, "Ada: a deposit")
    desk.broker("1500000", 900)
    assert len(desk.breaks) == 2


def test_an_hour_away_is_not_an_hour_apart() -> None:
    desk = Desk()
    desk.broker("999999", 3_600)
    assert desk.breaks == []


def test_cash_is_not_compared_while_a_snapshot_is_read() -> None:
    desk = Desk()
    desk.hear(ready(2).model_copy(update={"state": SessionState.SYNCING}))
    desk.broker(AFTER, 1)
    desk.broker(AFTER, 500)
    assert (desk.breaks, desk.row.own_cash.apart_since_ns) == ([], 0)


@pytest.mark.parametrize("seed", range(20))
def test_the_brokers_rounding_to_the_cent_is_no_break(seed: Any) -> None:
    """Every booking of the broker's is rounded; ours are exact. 200 of them, of every instrument."""
    rng = random.Random(seed)
    desk, broker = Desk(), Decimal(1_000_000)
    for number in range(200):
        name = rng.choice(sorted(INSTRUMENTS))
        lots, price = rng.randrange(1, 500), Decimal(rng.randrange(10_000, 99_999)) / 1_000
        desk.hear(
            booking("FILL", name, "SELL", fill_lots=lots, fill_price=price, order_lots=500, exec_id=f"{number}.01")
        )
        broker += (price * lots * INSTRUMENTS[name].lot_size).quantize(Decimal("0.01"))
        if rng.random() < 0.2:
            desk.broker(str(broker), number)
    desk.broker(str(broker), 1_000)
    assert (desk.breaks, desk.row.own_cash.apart_since_ns) == ([], 0), f"seed {seed}"


@pytest.mark.parametrize(
    ("amount", "heard"),
    [(1.25, ["1.25"]), (-0.35, ["-0.35"]), (0.0, ["0"]), (-1.0, []), (1.7976931348623157e308, []), (float("nan"), [])],
)
def test_a_rebate_is_heard_like_any_commission_and_what_is_not_known_yet_is_not(amount: Any, heard: Any) -> None:
    said: list[Any] = []
    ears = Ears(1, lambda _, message: said.append(message), lambda *_: None, lambda _: None)
    contract = SimpleNamespace(conId=INSTRUMENTS["SPY"].con_id)
    execution = {"execId": "0001.01.01", "orderRef": "a" * 24, "clientId": 1, "orderId": 7, "permId": 9, "side": "BOT"}
    ears.on_execution(contract, SimpleNamespace(**execution, shares=10.0, price=600.0, cumQty=10.0))
    ears.on_commission(SimpleNamespace(execId="0001.01.01", commission=amount, currency="USD"))
    assert [m.commission for m in said if isinstance(m, BrokerCommission)] == [Decimal(text) for text in heard]


def test_a_rebate_is_money_in_hand() -> None:
    desk = Desk()
    desk.hear(BOUGHT, PAID.model_copy(update={"commission": Decimal("-0.35")}))
    assert desk.row.own_cash.cash == Decimal("993999.85")
