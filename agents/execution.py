"""Execution: the life of each order, from the claim to the last commission.

An order's row is written, and acknowledged by the changelog, before its bytes go to the socket. Only the gateway's word
moves it on: a status, an execution, a snapshot.

What the snapshot of a new session does not mention is not over. A claim that may never have left us is sent again under
its order id, while it is young: the id makes that at most one order. Everything else is UNKNOWN: its instrument is
locked and its cancel is asked for, which is safe in every case. UNKNOWN ends with a status or an execution, or when the
gateway answers that it knows no such order and its snapshot did not have it either, or by a named operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from agents.ports import AmendOrder, CancelOrder, PlaceOrder
from agents.spec import UNCHANGED, Out, Record
from contracts.controls import Alert, KillCommand, LimitOverride, ResetCommand, ResolveCommand, SwitchEvent
from contracts.orders import (
    TERMINAL,
    AmendCommand,
    BrokerAccount,
    BrokerCommission,
    BrokerExecution,
    BrokerPosition,
    BrokerStatus,
    CancelCommand,
    DropCopy,
    ExecutionReport,
    OrderCommand,
    OrderSent,
    OrderState,
    SessionEvent,
    SessionHealth,
    SessionState,
)
from contracts.topics import ALERTS, BROADCAST, EXEC_REPORTS
from tables.rows import TableSpec

S = OrderState

_ANSWERS: Final = frozenset({S.ACKNOWLEDGED, S.PARTIALLY_FILLED, S.PENDING_CANCEL, S.FILLED, S.CANCELLED, S.REJECTED})

LEGAL: Final[dict[OrderState, frozenset[OrderState]]] = {
    S.PENDING_SUBMIT: _ANSWERS | {S.SUBMITTED, S.UNKNOWN},
    S.SUBMITTED: _ANSWERS | {S.UNKNOWN},
    S.ACKNOWLEDGED: (_ANSWERS - {S.ACKNOWLEDGED}) | {S.UNKNOWN},
    S.PARTIALLY_FILLED: frozenset({S.PENDING_CANCEL, S.FILLED, S.CANCELLED, S.REJECTED, S.UNKNOWN}),
    # A cancel that is refused leaves the order as it was.
    S.PENDING_CANCEL: frozenset({S.ACKNOWLEDGED, S.PARTIALLY_FILLED, S.FILLED, S.CANCELLED, S.REJECTED, S.UNKNOWN}),
    S.UNKNOWN: _ANSWERS,
    # A fill may follow a cancel or a reject on the wire, and what was refused may revive; executions are the truth.
    S.CANCELLED: frozenset({S.FILLED}),
    S.REJECTED: frozenset({S.ACKNOWLEDGED, S.PARTIALLY_FILLED, S.CANCELLED, S.FILLED}),
    S.FILLED: frozenset(),
}

_WORKING: Final = frozenset({S.PENDING_SUBMIT, S.SUBMITTED, S.ACKNOWLEDGED})

NOT_FOUND: Final = "NotFound"
"""Our connector's word for the gateway's answer that it knows no order of this id (10147)."""

NOT_SENT: Final = "NotSent"
"""Our connector's word for an order that it did not write to the socket."""

BROKER_STATES: Final[dict[str, OrderState]] = {
    "PreSubmitted": S.ACKNOWLEDGED,
    "Submitted": S.ACKNOWLEDGED,
    "PendingCancel": S.PENDING_CANCEL,
    "Filled": S.ACKNOWLEDGED,
    "Cancelled": S.CANCELLED,
    "ApiCancelled": S.CANCELLED,
    "Inactive": S.REJECTED,
    NOT_SENT: S.CANCELLED,
}
"""What the gateway's words mean. "Filled" is for the executions to say; "NotSent" is our connector's own."""

RESEND_NS: Final = 20_000_000_000
"""A claim this young is sent again: a killed worker is back in 5 to 10 s. An older one has missed its market."""


@dataclass(slots=True)
class Fill:
    """One execution, in its last revision."""

    exec_id: str
    lots: int
    price: Decimal


@dataclass(slots=True)
class OrderRow:
    """One order. `fills` and `commissions` are by the stem of an execId, which its corrections share.

    `status_epoch` is the last session in which the gateway spoke of the order's state, `absent_epoch` the last one
    whose snapshot did not have it; `status_filled_lots` what the gateway said is filled.
    """

    command: OrderCommand
    state: OrderState = S.PENDING_SUBMIT
    perm_id: int = 0
    filled_lots: int = 0
    fills: dict[str, Fill] = field(default_factory=dict)
    commissions: dict[str, str] = field(default_factory=dict)
    status_epoch: int = 0
    status_filled_lots: int = 0
    absent_epoch: int = 0
    sent_epoch: int = 0
    resends: int = 0
    reason: str = ""


ORDERS = TableSpec("orders", OrderRow, "one row per order: command, state, executions, by intent id")


def key(message: Any) -> str | None:
    match message:
        case SessionEvent():
            # Only READY says something about orders: the snapshot before it is complete.
            return BROADCAST
        case ResolveCommand():
            return message.intent_id
        case (
            BrokerPosition()
            | BrokerAccount()
            | DropCopy()
            | SessionHealth()
            | KillCommand()
            | ResetCommand()
            | LimitOverride()
            | SwitchEvent()
        ):
            return None
    return str(message.intent_id)


def step(row: OrderRow | None, record: Record) -> tuple[OrderRow | None, Sequence[Any]]:
    """One command or one word of the gateway on one order."""
    message = record.message
    if row is None:
        if isinstance(message, OrderCommand):
            return _claim(message)
        return None, UNCHANGED  # somebody else's order, or a cancel of one that never was
    match message:
        case CancelCommand():
            return row, _cancel(row, message)
        case AmendCommand():
            return row, _amend(row, message)
        case OrderSent():
            row.sent_epoch = max(row.sent_epoch, message.epoch)
            return row, _move(row, S.SUBMITTED, "", message.ts_ns)
        case BrokerStatus():
            return row, _status(row, message)
        case BrokerExecution():
            return row, _execution(row, message)
        case BrokerCommission():
            return row, _commission(row, message)
        case ResolveCommand() if row.state is S.UNKNOWN:
            return row, _move(row, S.CANCELLED, f"settled by {message.operator}: {message.reason}", message.ts_ns)
        case SessionEvent() if message.state is SessionState.READY and row.state not in TERMINAL:
            return row, _reconcile(row, message)
    return row, UNCHANGED


def _claim(command: OrderCommand) -> tuple[OrderRow, Sequence[Any]]:
    """A new order; a child that would take its parent over its size stops here, at the last hop."""
    row = OrderRow(command)
    if command.parent_id is not None and command.parent_sent_lots + command.quantity_lots > command.parent_lots:
        numbers = f"{command.parent_sent_lots}+{command.quantity_lots}>{command.parent_lots}"
        reason = f"children would exceed their parent {command.parent_id}: {numbers}"
        return row, _move(row, S.CANCELLED, reason, command.ts_ingest_ns)
    return row, (PlaceOrder(command),)


def _cancel(row: OrderRow, cancel: CancelCommand) -> Sequence[Any]:
    if row.state in TERMINAL:
        return UNCHANGED
    effect = CancelOrder(row.command.order_id, row.command.intent_id)
    return [effect, *_move(row, S.PENDING_CANCEL, cancel.reason, row.command.ts_ingest_ns)]


def _amend(row: OrderRow, amend: AmendCommand) -> Sequence[Any]:
    """New terms for an order that works. The gateway counts what is filled already into the quantity."""
    if row.state not in (S.ACKNOWLEDGED, S.PARTIALLY_FILLED) or amend.quantity_lots <= row.filled_lots:
        return UNCHANGED
    terms = {"quantity_lots": amend.quantity_lots, "limit_price": amend.limit_price}
    row.command = row.command.model_copy(update=terms)
    row.reason = amend.reason
    return [AmendOrder(row.command), _report(row, row.command.ts_ingest_ns, {})]


def _status(row: OrderRow, status: BrokerStatus) -> Sequence[Any]:
    if status.status == NOT_FOUND:
        if row.state is S.UNKNOWN and row.absent_epoch == status.epoch:
            return _move(row, S.CANCELLED, "not in the snapshot, and the gateway knows no such order", status.ts_ns)
        return UNCHANGED
    if status.status == NOT_SENT and row.resends:
        # This attempt did not leave us, but the one before a crash may have: its cancel tells.
        row.absent_epoch = status.epoch
        outputs = _move(row, S.UNKNOWN, status.reason, status.ts_ns)
        return [*outputs, CancelOrder(row.command.order_id, row.command.intent_id)]
    row.status_epoch = max(row.status_epoch, status.epoch)
    row.status_filled_lots = max(row.status_filled_lots, status.filled_lots)
    if row.perm_id and status.perm_id and status.perm_id != row.perm_id:
        return _twin(row, status)
    row.perm_id = row.perm_id or status.perm_id
    state = BROKER_STATES.get(status.status)
    if state is None:
        return ()
    if state is S.ACKNOWLEDGED and row.filled_lots > 0:
        state = S.PARTIALLY_FILLED
    outputs = list(_move(row, state, status.reason, status.ts_ns))
    if state is S.REJECTED and outputs:
        # "Inactive" may revive by itself; a cancel makes it final.
        outputs.append(CancelOrder(row.command.order_id, row.command.intent_id))
    return outputs


def _twin(row: OrderRow, status: BrokerStatus) -> Sequence[Any]:
    """A second permanent id under our order id: two orders are live at the broker, and we can name only one."""
    reason = f"two broker orders, {row.perm_id} and {status.perm_id}, carry this intent"
    outputs = _move(row, S.UNKNOWN, reason, status.ts_ns)
    if not outputs:
        return UNCHANGED
    cancel = CancelOrder(row.command.order_id, row.command.intent_id)
    return [*outputs, cancel, _alert(row, "TWO_BROKER_ORDERS", reason, status.ts_ns)]


def _execution(row: OrderRow, execution: BrokerExecution) -> Sequence[Any]:
    row.perm_id = row.perm_id or execution.perm_id
    stem, revision = _parts(execution.exec_id)
    before = row.fills.get(stem)
    if before is not None and _parts(before.exec_id)[1] >= revision:
        return UNCHANGED
    row.fills[stem] = Fill(execution.exec_id, execution.quantity_lots, execution.price)
    row.filled_lots += execution.quantity_lots - (before.lots if before else 0)
    size = row.command.quantity_lots
    after = S.FILLED if row.filled_lots >= size else S.PARTIALLY_FILLED
    # A part filled beside a cancel, a refusal or a doubt does not say what becomes of the rest.
    if after in LEGAL[row.state] and (after is S.FILLED or row.state in _WORKING):
        row.state, row.reason = after, ""
    update = {
        "kind": "CORRECTION" if before else "FILL",
        "exec_id": execution.exec_id,
        "fill_lots": execution.quantity_lots,
        "fill_price": execution.price,
    }
    if before:
        update |= {"replaced_exec_id": before.exec_id, "replaced_lots": before.lots, "replaced_price": before.price}
    outputs: list[Any] = [_report(row, execution.ts_ns, update)]
    if row.filled_lots > size:
        text = f"filled_lots={row.filled_lots} order_lots={size}"
        outputs.append(_alert(row, "OVERFILLED", text, execution.ts_ns))
    return outputs


def _commission(row: OrderRow, commission: BrokerCommission) -> Sequence[Out]:
    """The amount by which the order's commissions grew: a repeat adds nothing, a later value replaces the first."""
    stem = _parts(commission.exec_id)[0]
    change = commission.commission - Decimal(row.commissions.get(stem, "0"))
    if stem in row.commissions and change == 0:
        return UNCHANGED
    row.commissions[stem] = str(commission.commission)
    update = {
        "kind": "COMMISSION",
        "exec_id": commission.exec_id,
        "commission": change,
        "commission_currency": commission.currency,
    }
    return [_report(row, commission.ts_ns, update)]


def _reconcile(row: OrderRow, session: SessionEvent) -> Sequence[Any]:
    """The snapshot of a new session is complete; `row` is an order that was open."""
    missing = row.status_filled_lots - row.filled_lots
    if row.status_epoch >= session.epoch and missing <= 0:
        return UNCHANGED
    heard = row.sent_epoch or row.status_epoch or row.fills
    if not heard and row.state is S.PENDING_SUBMIT and session.ts_ns - row.command.ts_ingest_ns <= RESEND_NS:
        row.resends += 1
        return (PlaceOrder(row.command),)
    row.absent_epoch = session.epoch
    reason = f"executions of {missing} lots are missing" if missing > 0 else "not in the snapshot"
    probe = CancelOrder(row.command.order_id, row.command.intent_id)
    outputs = _move(row, S.UNKNOWN, f"{reason} of session {session.epoch}", session.ts_ns)
    return [*outputs, *([_alert(row, "ORDER_UNKNOWN", row.reason, session.ts_ns)] if outputs else []), probe]


def _move(row: OrderRow, state: OrderState, reason: str, ts_ns: int) -> Sequence[Any]:
    if state not in LEGAL[row.state]:
        return ()
    row.state, row.reason = state, reason
    return [_report(row, ts_ns, {})]


def _parts(exec_id: str) -> tuple[str, int]:
    """Stem and revision of an execId: `0000e0d5.65a1b2c3.01.02` is the second revision of `0000e0d5.65a1b2c3.01`."""
    stem, _, revision = exec_id.rpartition(".")
    return stem, int(revision) if revision.isdecimal() else 0


def _alert(row: OrderRow, code: str, text: str, ts_ns: int) -> Out:
    subject = f"{row.command.instrument} order {row.command.order_id} intent {row.command.intent_id}"
    alert = Alert(severity="CRITICAL", code=code, subject=subject, text=text, owner="trading desk", ts_ns=ts_ns)
    return Out(ALERTS, code, alert)


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
