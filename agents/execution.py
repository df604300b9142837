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
from decimal import Decimal
from typing import Any, Final

from agents import amends
from agents.orders import (
    AMEND_NOT_SENT,
    AMEND_REFUSED,
    BROKER_STATES,
    LEGAL,
    NOT_FOUND,
    NOT_SENT,
    WORKING,
    Fill,
    OrderRow,
    S,
    alert,
    ended_amend,
    missing_lots,
    move,
    report,
    works,
)
from agents.ports import CancelAll, CancelOrder, PlaceOrder
from agents.spec import UNCHANGED, Out, Record
from contracts.controls import KillCommand, LimitOverride, ResetCommand, ResolveCommand, SwitchEvent
from contracts.executions import parts
from contracts.orders import (
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
    OrderState,
    SessionEvent,
    SessionHealth,
    SessionState,
)
from contracts.topics import BROADCAST

OVER: Final = frozenset({"Filled", "Cancelled", "ApiCancelled", "Inactive", NOT_SENT})
"""Words of the gateway after which a broker order does not work."""

KEPT_NS: Final = 7 * 86_400_000_000_000
"""An order's row goes this long after its last report. The gateway lists the executions of a day, and corrects some on
the next; a command this old is not sent, whatever becomes of its row.
"""

CANCEL_AGAIN_NS: Final = 10_000_000_000
"""A gateway that refuses a cancel is not asked again with each snapshot: the refusal itself leads to the next one."""


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
            row.sent_epoch = max(row.sent_epoch, message.epoch)
            return row, move(row, S.SUBMITTED, "", message.ts_ns)
        case BrokerStatus():
            return row, _status(row, message)
        case BrokerExecution():
            return row, _execution(row, message)
        case BrokerCommission():
            return row, _commission(row, message)
        case ResolveCommand() if row.state is S.UNKNOWN:
            row.settled_lots = row.status_filled_lots
            return row, _over(row, f"settled by {message.operator}: {message.reason}", message.ts_ns)
        case SessionEvent() if message.state is SessionState.READY and (
            row.state not in TERMINAL or missing_lots(row) > 0
        ):
            return row, _reconcile(row, message)
        case SessionEvent() if message.state is SessionState.READY and message.ts_ns - row.ts_ns > KEPT_NS:
            return None, ()
    return row, UNCHANGED


def _claim(command: OrderCommand) -> tuple[OrderRow, Sequence[Any]]:
    """A new order; a child that would take its parent over its size stops here, at the last hop."""
    row = OrderRow(command)
    if command.parent_id is not None and command.parent_sent_lots + command.quantity_lots > command.parent_lots:
        numbers = f"{command.parent_sent_lots}+{command.quantity_lots}>{command.parent_lots}"
        reason = f"children would exceed their parent {command.parent_id}: {numbers}"
        return row, move(row, S.CANCELLED, reason, command.ts_ingest_ns)
    return row, (PlaceOrder(command),)


def _cancel(row: OrderRow, cancel: CancelCommand) -> Sequence[Any]:
    """The row keeps that a cancel is wanted, as a crash may lose it on its way."""
    if row.state in TERMINAL or (row.state is S.PENDING_CANCEL and row.cancelling is not None):
        return UNCHANGED  # asked for already; READY asks again if that was lost
    row.cancelling = cancel.reason
    return _ask_for_cancel(row, cancel.reason, row.command.ts_ingest_ns)


def _ask_for_cancel(row: OrderRow, reason: str, ts_ns: int) -> Sequence[Any]:
    """Asking is no evidence, so UNKNOWN, which locks the instrument, does not end by it."""
    effect = CancelOrder(row.command.order_id, row.command.intent_id)
    return (effect,) if row.state is S.UNKNOWN else [effect, *move(row, S.PENDING_CANCEL, reason, ts_ns)]


def _over(row: OrderRow, reason: str, ts_ns: int) -> Sequence[Any]:
    """UNKNOWN ends: nothing works under this intent. A broker order that does after all makes it UNKNOWN again."""
    row.twins = dict.fromkeys(row.twins, "Cancelled")
    return move(row, S.CANCELLED, reason, ts_ns)


def _status(row: OrderRow, status: BrokerStatus) -> Sequence[Any]:
    if status.status == AMEND_REFUSED:
        row.amend_refusal = status.reason
        return ()
    if status.status == AMEND_NOT_SENT:
        return amends.settle(row, f"amend not sent: {status.reason}", status.ts_ns)
    if status.status == NOT_FOUND:
        if row.state is S.UNKNOWN and row.absent_epoch == status.epoch and missing_lots(row) <= 0:
            return _over(row, f"{row.reason}, and the gateway knows no such order", status.ts_ns)
        return UNCHANGED
    if status.status == NOT_SENT and row.resends and row.state not in TERMINAL:
        # This attempt did not leave us, but the one before a crash may have: its cancel tells.
        row.absent_epoch = status.epoch
        return [*_unknown(row, status.reason, status.ts_ns), CancelOrder(row.command.order_id, row.command.intent_id)]
    row.status_epoch = status.epoch
    row.status_filled_lots = max(row.status_filled_lots, status.filled_lots)
    if row.twins or (row.perm_id and status.perm_id and status.perm_id != row.perm_id):
        return _twin(row, status)
    row.perm_id = row.perm_id or status.perm_id
    return _word(row, status)


def _word(row: OrderRow, status: BrokerStatus) -> Sequence[Any]:
    """What a word on the one broker order of this intent makes of it."""
    state, before = BROKER_STATES.get(status.status), row.state
    if state is None:
        return ()
    if state is S.PENDING_CANCEL:
        row.cancel_epoch = status.epoch
    outputs = amends.named_terms(row, status)
    if status.status == "Filled":
        row.said_over, row.said_reason = S.FILLED, "filled before the amend" if row.amend is not None else ""
    elif state in TERMINAL and row.status_filled_lots > row.filled_lots:
        # Over, but not all is here that was filled before: until then its exposure counts.
        row.said_over, row.said_reason = state, status.reason
        return [*outputs, *(_make_final(row, status.reason) if state is S.REJECTED else ())]
    elif before is S.CANCELLED and status.snapshot and state not in TERMINAL:
        reason = f"it was over, and the snapshot of session {status.epoch} has it as {status.status}"
        row.cancel_again_ns = status.ts_ns
        return [*outputs, *_unknown(row, reason, status.ts_ns), *_make_final(row, reason)]
    if (over := _over_as_said(row)) is not None:
        return [*outputs, *move(row, over, row.said_reason, status.ts_ns)]
    if state is S.ACKNOWLEDGED:
        if row.state is S.PENDING_AMEND:
            return outputs  # the order lives; its terms are not settled
        state = works(row)
    outputs += move(row, state, status.reason, status.ts_ns)
    if outputs and (state is S.REJECTED or (before is S.REJECTED and row.state not in TERMINAL)):
        # "Inactive" may revive by itself. One that does revive has not had its cancel.
        outputs += _make_final(row, row.reason)
    return outputs


def _make_final(row: OrderRow, reason: str) -> tuple[CancelOrder]:
    """A cancel is right whatever the gateway does with the order."""
    row.cancelling = reason
    return (CancelOrder(row.command.order_id, row.command.intent_id),)


def _unknown(row: OrderRow, reason: str, ts_ns: int) -> list[Any]:
    """The order is UNKNOWN, which locks its instrument and is told, once."""
    outputs = move(row, S.UNKNOWN, reason, ts_ns)
    return [*outputs, alert(row, "ORDER_UNKNOWN", row.reason, ts_ns)] if outputs else []


def _over_as_said(row: OrderRow) -> OrderState | None:
    """The end that the gateway has named, if all executions of which it spoke are here."""
    complete = 0 < row.status_filled_lots <= row.filled_lots
    return row.said_over if complete and row.said_over in LEGAL[row.state] else None


def _twin(row: OrderRow, status: BrokerStatus) -> Sequence[Any]:
    """A second permanent id under our order id: two orders at the broker, and we can name only one.

    While one of them works everything is cancelled, and the intent is UNKNOWN until each of them is over; also one that
    had ended for us.
    """
    found = not row.twins
    if found:
        ends = {S.FILLED: "Filled", S.CANCELLED: "Cancelled", S.REJECTED: "Inactive"}
        row.twins[row.perm_id] = ends.get(row.state, "")
    if status.perm_id:
        row.twins[status.perm_id] = status.status
    works, known = _twins_work(row), row.state is S.UNKNOWN
    if found or (works and not known):
        reason = f"broker orders {', '.join(map(str, row.twins))} carry this intent"
        outputs = move(row, S.UNKNOWN, reason, status.ts_ns) if works else ()
        asked = (CancelAll(),) if works else ()
        return [*outputs, *asked, alert(row, "TWO_BROKER_ORDERS", reason, status.ts_ns)]
    if known and not works:
        full = row.filled_lots >= row.command.quantity_lots
        return move(row, S.FILLED if full else S.CANCELLED, "all broker orders of it are over", status.ts_ns)
    return ()


def _twins_work(row: OrderRow) -> bool:
    """Whether one of several broker orders under this intent may still fill."""
    return any(word not in OVER for word in row.twins.values())


def _execution(row: OrderRow, execution: BrokerExecution) -> Sequence[Any]:
    row.perm_id = row.perm_id or execution.perm_id
    stem, revision = parts(execution.exec_id)
    before = row.fills.get(stem)
    if before is not None and parts(before.exec_id)[1] >= revision:
        return UNCHANGED
    row.fills[stem] = Fill(execution.exec_id, execution.quantity_lots, execution.price)
    row.filled_lots += execution.quantity_lots - (before.lots if before else 0)
    outputs = amends.proven(row, execution.ts_ns)
    # While an amend is not settled either size may be in force: only the larger one is surely full.
    size = max(row.command.quantity_lots, row.amend.quantity_lots if row.amend else 0)
    over = S.FILLED if row.filled_lots >= size else _over_as_said(row)
    after = over or S.PARTIALLY_FILLED
    # A part filled beside an amend, a cancel, a refusal or a doubt does not say what becomes of the rest.
    legal = after in LEGAL[row.state] and row.filled_lots > 0
    if legal and (over or row.state in WORKING) and not _twins_work(row):
        row.state, row.reason = after, row.said_reason if over else ""
    update = {
        "kind": "CORRECTION" if before else "FILL",
        "exec_id": execution.exec_id,
        "fill_lots": execution.quantity_lots,
        "fill_price": execution.price,
    }
    if before:
        update |= {"replaced_exec_id": before.exec_id, "replaced_lots": before.lots, "replaced_price": before.price}
    outputs.append(report(row, execution.ts_ns, update | ended_amend(row)))
    if row.filled_lots > size:
        text = f"filled_lots={row.filled_lots} order_lots={size}"
        outputs.append(alert(row, "OVERFILLED", text, execution.ts_ns))
    return outputs


def _commission(row: OrderRow, commission: BrokerCommission) -> Sequence[Out]:
    """The amount by which the order's commissions grew: a repeat adds nothing, a later value replaces the first."""
    stem = parts(commission.exec_id)[0]
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
    return [report(row, commission.ts_ns, update)]


def _reconcile(row: OrderRow, session: SessionEvent) -> Sequence[Any]:
    """The snapshot of a new session is complete; `row` is an order that was open."""
    missing = missing_lots(row)
    # Epochs are compared for being the same: the clock that they are made of may have been set back.
    if row.status_epoch == session.epoch and _twins_work(row):
        return (CancelAll(),)
    if row.status_epoch == session.epoch and missing <= 0:
        settled = amends.not_in_force(row, session.ts_ns)
        again = _cancel_again(row, session)
        return [*settled, *again] if again else settled
    heard = row.sent_epoch or row.status_epoch or row.fills
    age_ns = session.ts_ns - row.command.ts_ingest_ns
    if not heard and row.state is S.PENDING_SUBMIT and age_ns <= STALE_NS:
        row.resends += 1
        return (PlaceOrder(row.command, session.epoch),)
    if row.status_epoch != session.epoch:
        row.absent_epoch = session.epoch
    reason = f"executions of {missing} lots are missing" if missing > 0 else "not in the snapshot"
    if not heard and row.state is S.PENDING_SUBMIT:
        reason = f"stale: {age_ns / 1e9:.0f} s after its decision it is not sent any more; {reason}"
    probe = CancelOrder(row.command.order_id, row.command.intent_id)
    return [*_unknown(row, f"{reason} of session {session.epoch}", session.ts_ns), probe]


def _cancel_again(row: OrderRow, session: SessionEvent) -> Sequence[Any]:
    """The snapshot has an order whose cancel was asked for, and no word of that: a crash or the gateway lost it."""
    if row.cancelling is None or row.cancel_epoch == session.epoch:
        return ()
    if session.ts_ns - row.cancel_again_ns < CANCEL_AGAIN_NS:
        return ()
    row.cancel_again_ns = session.ts_ns
    return _ask_for_cancel(row, row.cancelling, session.ts_ns)
