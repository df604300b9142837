"""Execution: the life of each order, from the claim to the last commission.

An order's row is written, and acknowledged by the changelog, before its bytes go to the socket. Only the gateway's word
moves it on: a status, an execution, a snapshot.

What the snapshot of a new session does not mention is not over. A claim that may never have left us is sent again under
its order id, while it is young: the id makes that at most one order. Everything else is UNKNOWN: its instrument is
locked and its cancel is asked for, which is safe in every case. UNKNOWN ends with a status or an execution, or when the
gateway answers that it knows no such order and its snapshot did not have it either, or by a named operator.

A week after its end an order's row goes, so that a start reads, and READY looks at, a week of orders and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from agents import amends
from agents.broker_words import call_over, cancel_of, doubt, hear_commission, hear_execution, hear_status, twins_work
from agents.orders import OrderRow, S, missing_lots, move
from agents.ports import CancelAll, CountChild, PlaceOrder
from agents.spec import UNCHANGED, Record
from contracts.controls import KillCommand, LimitOverride, ResetCommand, ResolveCommand, SwitchEvent
from contracts.orders import (
    CANCEL_AGAIN_NS,
    STALE_NS,
    TERMINAL,
    AmendCommand,
    BrokerAccount,
    BrokerCommission,
    BrokerExecution,
    BrokerPosition,
    BrokerStatus,
    CancelCommand,
    DropCopy,
    OrderCommand,
    OrderSent,
    SessionEvent,
    SessionHealth,
    SessionState,
)
from contracts.topics import BROADCAST

KEPT_NS: Final = 7 * 86_400_000_000_000
"""An order's row goes this long after its last report. The gateway lists the executions of a day, and corrects some on
the next; a command this old is not sent, whatever becomes of its row.
"""

PARENT_NS: Final = 3_600_000_000_000
"""No parent sends children for so long."""


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
    if record.replayed and isinstance(message, OrderCommand | AmendCommand):
        return row, UNCHANGED  # admission did not judge it as of now, and may never have seen it
    if row is None:
        if isinstance(message, OrderCommand):
            return _claim(message)
        return None, UNCHANGED  # somebody else's order, or a cancel of one that never was
    match message:
        case CancelCommand():
            return row, _cancel(row, message)
        case AmendCommand():
            return row, amends.request(row, message)
        case OrderSent():
            return row, move(row, S.SUBMITTED, "", message.ts_ns)
        case BrokerStatus():
            return row, hear_status(row, message)
        case BrokerExecution():
            return row, hear_execution(row, message)
        case BrokerCommission():
            return row, hear_commission(row, message)
        case ResolveCommand() if row.state is S.UNKNOWN:
            row.settled_lots = row.status_filled_lots
            return row, call_over(row, f"settled by {message.operator}: {message.reason}", message.ts_ns)
        case SessionEvent() if message.state is SessionState.READY:
            return _ready(row, message)
    return row, UNCHANGED


def _claim(command: OrderCommand) -> tuple[OrderRow, Sequence[Any]]:
    """A new order; a child that would take its parent over its size stops here, at the last hop."""
    row = OrderRow(command)
    if command.parent_id is not None and command.parent_sent_lots + command.quantity_lots > command.parent_lots:
        numbers = f"{command.parent_sent_lots}+{command.quantity_lots}>{command.parent_lots}"
        reason = f"children would exceed their parent {command.parent_id}: {numbers}"
        return row, move(row, S.CANCELLED, reason, command.ts_ingest_ns)
    return row, (PlaceOrder(command),)


def _ready(row: OrderRow, session: SessionEvent) -> tuple[OrderRow | None, Sequence[Any]]:
    """Reconcile what is not over, let go of what has been over for long, and have the last hop count its children."""
    over = row.state in TERMINAL and missing_lots(row) <= 0
    if over and session.ts_ns - row.ts_ns > KEPT_NS:
        return None, ()
    outputs = UNCHANGED if over else _reconcile(row, session)
    command = row.command
    if command.parent_id is None or not _heard(row) or session.ts_ns - command.ts_ingest_ns > PARENT_NS:
        return row, outputs
    return row, [CountChild(command.parent_id, command.order_id, command.quantity_lots), *outputs]


def _heard(row: OrderRow) -> bool:
    """Whether the gateway has spoken of the order."""
    return bool(row.status_epoch or row.fills)


def _cancel(row: OrderRow, cancel: CancelCommand) -> Sequence[Any]:
    """The row keeps that a cancel is wanted, as a crash may lose it on its way."""
    if row.state in TERMINAL or (row.state is S.PENDING_CANCEL and row.cancelling is not None):
        return UNCHANGED  # asked for already; READY asks again if that was lost
    row.cancelling = cancel.reason
    return _ask_for_cancel(row, cancel.reason, row.command.ts_ingest_ns)


def _ask_for_cancel(row: OrderRow, reason: str, ts_ns: int) -> Sequence[Any]:
    """Asking is no evidence, so UNKNOWN, which locks the instrument, does not end by it."""
    moved = () if row.state is S.UNKNOWN else move(row, S.PENDING_CANCEL, reason, ts_ns)
    return [cancel_of(row), *moved]


def _reconcile(row: OrderRow, session: SessionEvent) -> Sequence[Any]:
    """The snapshot of a new session is complete; `row` is an order that was open."""
    missing = missing_lots(row)
    # Epochs are compared for being the same: the clock that they are made of may have been set back.
    if row.status_epoch == session.epoch and twins_work(row):
        return (CancelAll(),)
    if row.status_epoch == session.epoch and missing <= 0:
        settled = amends.not_in_force(row, session.ts_ns)
        again = _cancel_again(row, session)
        return [*settled, *again] if again else settled
    heard = _heard(row)
    age_ns = session.ts_ns - row.command.ts_ingest_ns
    if not heard and row.state is S.PENDING_SUBMIT and age_ns <= STALE_NS:
        row.resends += 1
        return (PlaceOrder(row.command, session.epoch),)
    if row.status_epoch != session.epoch:
        row.absent_epoch = session.epoch
    reason = f"executions of {missing} lots are missing" if missing > 0 else "not in the snapshot"
    if not heard and row.state is S.PENDING_SUBMIT:
        reason = f"stale: {age_ns / 1e9:.0f} s after its decision it is not sent any more; {reason}"
    return [*doubt(row, f"{reason} of session {session.epoch}", session.ts_ns), cancel_of(row)]


def _cancel_again(row: OrderRow, session: SessionEvent) -> Sequence[Any]:
    """The snapshot has an order whose cancel was asked for, and no word of that: a crash or the gateway lost it."""
    if row.cancelling is None or row.cancel_epoch == session.epoch:
        return ()
    if session.ts_ns - row.cancel_again_ns < CANCEL_AGAIN_NS:
        return ()
    row.cancel_again_ns = session.ts_ns
    return _ask_for_cancel(row, row.cancelling, session.ts_ns)
