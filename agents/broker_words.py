"""What the gateway's words make of an order: a status, an execution, a commission, a second order under its intent.

A word is taken as far as it goes: "Filled" and "Cancelled" wait for the executions they speak of, an execution does not
say what becomes of the rest, and what contradicts an end takes it back.
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
from agents.ports import CancelAll, CancelOrder
from agents.spec import UNCHANGED, Out
from contracts.executions import parts
from contracts.orders import TERMINAL, BrokerCommission, BrokerExecution, BrokerStatus, OrderState

OVER: Final = frozenset({"Filled", "Cancelled", "ApiCancelled", "Inactive", NOT_SENT})
"""Words of the gateway after which a broker order does not work."""


def call_over(row: OrderRow, reason: str, ts_ns: int) -> Sequence[Any]:
    """UNKNOWN ends: nothing works under this intent. A broker order that does after all makes it UNKNOWN again."""
    row.twins = dict.fromkeys(row.twins, "Cancelled")
    return move(row, S.CANCELLED, reason, ts_ns)


def cancel_of(row: OrderRow) -> CancelOrder:
    """The effect that asks the gateway to end it."""
    return CancelOrder(row.command.order_id, row.command.intent_id)


def hear_status(row: OrderRow, status: BrokerStatus) -> Sequence[Any]:
    if status.status == AMEND_REFUSED:
        row.amend_refusal = status.reason
        return ()
    if status.status == AMEND_NOT_SENT:
        return amends.settle(row, f"amend not sent: {status.reason}", status.ts_ns)
    if status.status == NOT_FOUND:
        if row.state is S.UNKNOWN and row.absent_epoch == status.epoch and missing_lots(row) <= 0:
            return call_over(row, f"{row.reason}, and the gateway knows no such order", status.ts_ns)
        return UNCHANGED
    if status.status == NOT_SENT and row.resends and row.state not in TERMINAL:
        # This attempt did not leave us, but the one before a crash may have: its cancel tells.
        row.absent_epoch = status.epoch
        return [*doubt(row, status.reason, status.ts_ns), cancel_of(row)]
    row.status_epoch = status.epoch
    row.status_filled_lots = max(row.status_filled_lots, status.filled_lots)
    if row.twins or (row.perm_id and status.perm_id and status.perm_id != row.perm_id):
        return _twin(row, status.perm_id, status.status, status.ts_ns)
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
        # Of fewer lots than we know it to have only a snapshot says that for certain, or an amend that came too late.
        if row.amend is not None or status.snapshot or status.filled_lots >= row.command.quantity_lots:
            row.said_over, row.said_reason = S.FILLED, "filled before the amend" if row.amend is not None else ""
    elif state in TERMINAL and row.status_filled_lots > row.filled_lots:
        # Over, but not all is here that was filled before: until then its exposure counts.
        row.said_over, row.said_reason = state, status.reason
        return [*outputs, *(_make_final(row, status.reason) if state is S.REJECTED else ())]
    elif before is S.CANCELLED and status.snapshot and state not in TERMINAL:
        reason = f"it was over, and the snapshot of session {status.epoch} has it as {status.status}"
        row.cancel_again_ns = status.ts_ns
        return [*outputs, *doubt(row, reason, status.ts_ns), *_make_final(row, reason)]
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
    return (cancel_of(row),)


def doubt(row: OrderRow, reason: str, ts_ns: int) -> list[Any]:
    """The order is UNKNOWN, which locks its instrument and is told, once."""
    outputs = move(row, S.UNKNOWN, reason, ts_ns)
    return [*outputs, alert(row, "ORDER_UNKNOWN", row.reason, ts_ns)] if outputs else []


def _over_as_said(row: OrderRow) -> OrderState | None:
    """The end that the gateway has named, if all executions of which it spoke are here."""
    complete = 0 < row.status_filled_lots <= row.filled_lots
    return row.said_over if complete and row.said_over in LEGAL[row.state] else None


def _twin(row: OrderRow, perm_id: int, word: str, ts_ns: int) -> Sequence[Any]:
    """A second permanent id under our order id: two orders at the broker, and we can name only one.

    While one of them works everything is cancelled, and the intent is UNKNOWN until each of them is over; also one that
    had ended for us.
    """
    found = not row.twins
    if found:
        ends = {S.FILLED: "Filled", S.CANCELLED: "Cancelled", S.REJECTED: "Inactive"}
        row.twins[row.perm_id] = ends.get(row.state, "")
    if perm_id:
        row.twins[perm_id] = word
    works, known = twins_work(row), row.state is S.UNKNOWN
    if found or (works and not known):
        reason = f"broker orders {', '.join(map(str, row.twins))} carry this intent"
        outputs = move(row, S.UNKNOWN, reason, ts_ns) if works else ()
        asked = (CancelAll(),) if works else ()
        return [*outputs, *asked, alert(row, "TWO_BROKER_ORDERS", reason, ts_ns)]
    if known and not works:
        full = row.filled_lots >= row.command.quantity_lots
        return move(row, S.FILLED if full else S.CANCELLED, "all broker orders of it are over", ts_ns)
    return ()


def twins_work(row: OrderRow) -> bool:
    """Whether one of several broker orders under this intent may still fill."""
    return any(word not in OVER for word in row.twins.values())


def hear_execution(row: OrderRow, execution: BrokerExecution) -> Sequence[Any]:
    row.perm_id = row.perm_id or execution.perm_id
    twin = execution.perm_id not in (0, row.perm_id, *row.twins)
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
    if legal and (over or row.state in WORKING) and not twins_work(row):
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
    # It says, if no status does, that its broker order is there and may fill further.
    return [*outputs, *(_twin(row, execution.perm_id, "Submitted", execution.ts_ns) if twin else ())]


def hear_commission(row: OrderRow, commission: BrokerCommission) -> Sequence[Out]:
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
