"""Commands, broker messages and a folded order, for tests of the order life."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from agents.execution import step
from agents.orders import OrderRow
from agents.spec import Out, Record
from contracts.orders import (
    BrokerCommission,
    BrokerExecution,
    BrokerStatus,
    ExecutionReport,
    OrderCommand,
    OrderSent,
    SessionEvent,
    SessionState,
)
from contracts.topics import ALERTS, EXEC_REPORTS

INTENT = "a" * 24
NOW_NS = 1_800_000_000_000_000_000
SIZE = 100


def record(message: Any, topic: str = "broker_events", offset: int = 0) -> Record:
    return Record(message, topic, 0, offset, b"")


def command(**changes: Any) -> OrderCommand:
    values: dict[str, Any] = {
        "intent_id": INTENT,
        "order_id": 7,
        "instrument": "SPY",
        "side": "BUY",
        "quantity_lots": SIZE,
        "limit_price": Decimal("600.10"),
        "time_in_force": "IOC",
        "ts_event_ns": NOW_NS,
        "ts_ingest_ns": NOW_NS,
        "strategy": "ofi",
    }
    return OrderCommand(**(values | changes))


def sent(epoch: int = 1) -> OrderSent:
    return OrderSent(intent_id=INTENT, order_id=7, epoch=epoch, ts_ns=NOW_NS)


def status(word: str, epoch: int = 1, perm_id: int = 900, filled: int = 0, reason: str = "") -> BrokerStatus:
    return BrokerStatus(
        intent_id=INTENT,
        order_id=7,
        perm_id=perm_id,
        status=word,
        epoch=epoch,
        snapshot=False,
        reason=reason,
        ts_ns=NOW_NS,
        filled_lots=filled,
    )


def execution(
    lots: int, number: int = 1, revision: int = 1, price: str = "600.05", cumulative: int | None = None, epoch: int = 1
) -> BrokerExecution:
    return BrokerExecution(
        intent_id=INTENT,
        exec_id=f"0000e0d5.{number:08x}.01.{revision:02d}",
        order_id=7,
        perm_id=900,
        instrument="SPY",
        side="BUY",
        quantity_lots=lots,
        price=Decimal(price),
        cumulative_lots=cumulative or lots,
        epoch=epoch,
        ts_ns=NOW_NS,
    )


def commission(amount: str, number: int = 1, revision: int = 1) -> BrokerCommission:
    return BrokerCommission(
        intent_id=INTENT,
        exec_id=f"0000e0d5.{number:08x}.01.{revision:02d}",
        commission=Decimal(amount),
        currency="USD",
        ts_ns=NOW_NS,
    )


def ready(epoch: int, age_s: float = 0.0) -> SessionEvent:
    return SessionEvent(
        state=SessionState.READY,
        epoch=epoch,
        next_order_id=8,
        account="DU1",
        reason="",
        ts_ns=NOW_NS + int(age_s * 1e9),
    )


class Life:
    """One order, folded from what is said; `effects` and `reports` in their order."""

    def __init__(self, *messages: Any, **changes: Any) -> None:
        self.row: OrderRow | None = None
        self.effects: list[Any] = []
        self.reports: list[ExecutionReport] = []
        self.alerts: list[str] = []
        self.hear(command(**changes), *messages)

    def hear(self, *messages: Any) -> Life:
        for message in messages:
            self.row, outputs = step(self.row, record(message))
            for output in outputs:
                if not isinstance(output, Out):
                    self.effects.append(output)
                elif output.topic is EXEC_REPORTS:
                    assert isinstance(output.message, ExecutionReport)
                    self.reports.append(output.message)
                elif output.topic is ALERTS:
                    self.alerts.append(output.key)
        return self

    @property
    def order(self) -> OrderRow:
        assert self.row is not None
        return self.row

    @property
    def bought(self) -> tuple[int, Decimal]:
        """(lots, money spent on them) as a reader of the reports would book it."""
        lots, money = 0, Decimal(0)
        for report in self.reports:
            if report.kind in ("FILL", "CORRECTION") and report.fill_price is not None:
                lots += report.fill_lots - report.replaced_lots
                money += report.fill_price * report.fill_lots
                money -= (report.replaced_price or Decimal(0)) * report.replaced_lots
        return lots, money

    @property
    def fees(self) -> Decimal:
        return sum((r.commission for r in self.reports if r.commission is not None), Decimal(0))
