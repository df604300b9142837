"""Execution: the life of each order, from the claim to the last commission.

An order's row is written, and acknowledged by the changelog, before its bytes go to the socket. Only the gateway's word
moves it on: a status, an execution, a snapshot. What a snapshot after a reconnect does not mention is sent again under
the same order id if it may never have left us, and UNKNOWN if it had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agents.ports import CancelOrder, PlaceOrder
from agents.spec import Out, Record
from contracts.orders import (
    TERMINAL,
    BrokerAccount,
    BrokerCommission,
    BrokerExecution,
    BrokerPosition,
    BrokerStatus,
    CancelCommand,
    ExecutionReport,
    OrderCommand,
    OrderSent,
    OrderState,
    SessionEvent,
    SessionState,
)
from contracts.topics import BROADCAST, EXEC_REPORTS
from tables.rows import TableSpec

S = OrderState

LEGAL: Final[dict[OrderState, frozenset[OrderState]]] = {
    S.PENDING_SUBMIT: frozenset(
        {S.SUBMITTED, S.ACKNOWLEDGED, S.PARTIALLY_FILLED, S.FILLED, S.CANCELLED, S.REJECTED, S.UNKNOWN}
    ),
    S.SUBMITTED: frozenset({S.ACKNOWLEDGED, S.PARTIALLY_FILLED, S.FILLED, S.CANCELLED, S.REJECTED, S.UNKNOWN}),
    S.ACKNOWLEDGED: frozenset({S.PARTIALLY_FILLED, S.FILLED, S.CANCELLED, S.REJECTED, S.UNKNOWN}),
    S.PARTIALLY_FILLED: frozenset({S.FILLED, S.CANCELLED, S.UNKNOWN}),
    S.UNKNOWN: frozenset({S.ACKNOWLEDGED, S.PARTIALLY_FILLED, S.FILLED, S.CANCELLED, S.REJECTED}),
    # A fill may follow a cancel or a reject on the wire; executions are the truth.
    S.CANCELLED: frozenset({S.FILLED}),
    S.REJECTED: frozenset({S.ACKNOWLEDGED, S.PARTIALLY_FILLED, S.FILLED}),
    S.FILLED: frozenset(),
}

BROKER_STATES: Final[dict[str, OrderState]] = {
    "PreSubmitted": S.ACKNOWLEDGED,
    "Submitted": S.ACKNOWLEDGED,
    "PendingCancel": S.ACKNOWLEDGED,
    "Cancelled": S.CANCELLED,
    "ApiCancelled": S.CANCELLED,
    "Inactive": S.REJECTED,
    "NotSent": S.CANCELLED,
}
"""What the gateway's words mean. "Filled" is left to the executions; "NotSent" is our connector's own."""


@dataclass(slots=True)
class OrderRow:
    """One order. `executions` maps the stem of an execId (without its revision) to the lots it filled."""

    command: OrderCommand
    state: OrderState = S.PENDING_SUBMIT
    perm_id: int = 0
    filled_lots: int = 0
    executions: dict[str, int] = field(default_factory=dict)
    commissions: list[str] = field(default_factory=list)
    evidence_epoch: int = 0
    sent_epoch: int = 0
    reason: str = ""


ORDERS = TableSpec("orders", OrderRow, "one row per order: command, state, executions, by intent id")


def key(message: Any) -> str | None:
    if isinstance(message, SessionEvent):
        return BROADCAST
    if isinstance(message, BrokerPosition | BrokerAccount):
        return None
    return str(message.intent_id)


def step(row: OrderRow | None, record: Record) -> tuple[OrderRow | None, Sequence[Any]]:
    """One command or one word of the gateway on one order."""
    message = record.message
    if row is None:
        if isinstance(message, OrderCommand):
            return OrderRow(message), (PlaceOrder(message),)
        return None, ()  # somebody else's order, or a cancel of one that never was
    match message:
        case CancelCommand():
            return row, () if row.state in TERMINAL else (CancelOrder(row.command.order_id, message.intent_id),)
        case OrderSent():
            row.sent_epoch = max(row.sent_epoch, message.epoch)
            return row, _move(row, S.SUBMITTED, "", message.ts_ns)
        case BrokerStatus():
            return row, _status(row, message)
        case BrokerExecution():
            return row, _execution(row, message)
        case BrokerCommission():
            return row, _commission(row, message)
        case SessionEvent() if message.state is SessionState.READY:
            return row, _reconcile(row, message)
    return row, ()


def _status(row: OrderRow, status: BrokerStatus) -> Sequence[Out]:
    row.evidence_epoch = max(row.evidence_epoch, status.epoch)
    row.perm_id = row.perm_id or status.perm_id
    state = BROKER_STATES.get(status.status)
    if state is None:
        return ()
    if state is S.ACKNOWLEDGED and row.filled_lots > 0:
        state = S.PARTIALLY_FILLED
    return _move(row, state, status.reason, status.ts_ns)


def _execution(row: OrderRow, execution: BrokerExecution) -> Sequence[Out]:
    row.perm_id = row.perm_id or execution.perm_id
    row.evidence_epoch = max(row.evidence_epoch, execution.epoch)
    stem = execution.exec_id.rpartition(".")[0]
    if stem in row.executions:
        return ()
    row.executions[stem] = execution.quantity_lots
    row.filled_lots += execution.quantity_lots
    assert row.filled_lots <= row.command.quantity_lots, f"order {row.command.order_id} filled beyond its size"
    if row.filled_lots == row.command.quantity_lots:
        row.state = S.FILLED
    elif row.state not in TERMINAL:
        row.state = S.PARTIALLY_FILLED
    fill = {
        "kind": "FILL",
        "exec_id": execution.exec_id,
        "fill_lots": execution.quantity_lots,
        "fill_price": execution.price,
    }
    return [_report(row, execution.ts_ns, fill)]


def _commission(row: OrderRow, commission: BrokerCommission) -> Sequence[Out]:
    if commission.exec_id in row.commissions:
        return ()
    row.commissions.append(commission.exec_id)
    update = {"kind": "COMMISSION", "exec_id": commission.exec_id, "commission": commission.commission}
    return [_report(row, commission.ts_ns, update)]


def _reconcile(row: OrderRow, session: SessionEvent) -> Sequence[Any]:
    """The snapshot of a new session is complete. An open order it did not mention is sent again, or UNKNOWN."""
    if row.state in TERMINAL or row.evidence_epoch >= session.epoch:
        return ()
    if row.state is S.PENDING_SUBMIT:
        return (PlaceOrder(row.command),)
    return _move(row, S.UNKNOWN, f"not in the snapshot of session {session.epoch}", session.ts_ns)


def _move(row: OrderRow, state: OrderState, reason: str, ts_ns: int) -> Sequence[Out]:
    if state not in LEGAL[row.state]:
        return ()
    row.state, row.reason = state, reason
    return [_report(row, ts_ns, {})]


def _report(row: OrderRow, ts_ns: int, update: dict[str, Any]) -> Out:
    command = row.command
    report = ExecutionReport(
        kind="STATE",
        intent_id=command.intent_id,
        order_id=command.order_id,
        instrument=command.instrument,
        side=command.side,
        state=row.state,
        order_lots=command.quantity_lots,
        filled_lots=row.filled_lots,
        reason=row.reason,
        ts_ns=ts_ns,
    )
    return Out(EXEC_REPORTS, command.intent_id, report.model_copy(update=update))
