"""An order's row: its states and their legal transitions, what the gateway's words mean, and what is reported of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from agents.spec import Out
from contracts.controls import Alert
from contracts.orders import TERMINAL, AmendCommand, ExecutionReport, OrderCommand, OrderState
from contracts.topics import ALERTS, EXEC_REPORTS
from tables.rows import TableSpec

S = OrderState

_ANSWERS: Final = frozenset({S.ACKNOWLEDGED, S.PARTIALLY_FILLED, S.PENDING_CANCEL, S.FILLED, S.CANCELLED, S.REJECTED})

LEGAL: Final[dict[OrderState, frozenset[OrderState]]] = {
    S.PENDING_SUBMIT: _ANSWERS | {S.SUBMITTED, S.UNKNOWN},
    S.SUBMITTED: _ANSWERS | {S.UNKNOWN},
    S.ACKNOWLEDGED: (_ANSWERS - {S.ACKNOWLEDGED}) | {S.PENDING_AMEND, S.UNKNOWN},
    S.PARTIALLY_FILLED: frozenset({S.PENDING_AMEND, S.PENDING_CANCEL, S.FILLED, S.CANCELLED, S.REJECTED, S.UNKNOWN}),
    # An amend that is refused leaves the order as it was, and so does a cancel.
    S.PENDING_AMEND: _ANSWERS | {S.UNKNOWN},
    S.PENDING_CANCEL: frozenset({S.ACKNOWLEDGED, S.PARTIALLY_FILLED, S.FILLED, S.CANCELLED, S.REJECTED, S.UNKNOWN}),
    S.UNKNOWN: _ANSWERS,
    # A fill may follow a cancel or a reject on the wire, and what was refused may revive; executions are the truth.
    # UNKNOWN follows an end when a snapshot has the order as one that works, or a second one under the intent.
    S.CANCELLED: frozenset({S.FILLED, S.UNKNOWN}),
    S.REJECTED: frozenset({S.ACKNOWLEDGED, S.PARTIALLY_FILLED, S.CANCELLED, S.FILLED, S.UNKNOWN}),
    S.FILLED: frozenset({S.UNKNOWN}),
}

WORKING: Final = frozenset({S.PENDING_SUBMIT, S.SUBMITTED, S.ACKNOWLEDGED})

NOT_FOUND: Final = "NotFound"
"""Our connector's word for the gateway's answer that it knows no order of this id (10147)."""

NOT_SENT: Final = "NotSent"
"""Our connector's word for an order that it did not write to the socket."""

AMEND_NOT_SENT: Final = "AmendNotSent"
"""Our connector's word for new terms that it did not write to the socket."""

AMEND_REFUSED: Final = "AmendRefused"
"""Our connector's word for the gateway's error on an amend; a snapshot then tells which terms are in force."""

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


@dataclass(slots=True)
class Fill:
    """One execution, in its last revision."""

    exec_id: str
    lots: int
    price: Decimal


@dataclass(slots=True)
class OrderRow:
    """One order. `fills` and `commissions` are by the stem of an execId, which its corrections share.

    `command` has the terms in force, `amend` those that were asked for and are not settled, `amend_refusal` what the
    gateway said against them.
    `status_epoch` is the last session in which the gateway spoke of the order's state, `absent_epoch` the last one
    whose snapshot did not have it; `status_filled_lots` what the gateway said is filled. `said_over` is the end that it
    has named, and `said_reason` why, whose executions may still be to come; `settled_lots` what was said to be filled
    when a named operator called it over all the same.
    `twins` has the last word on each broker order that carries this intent, once there is more than one.
    `cancelling` is why a cancel was asked for, None if none was; `cancel_epoch` the last session in which the gateway
    said that it has it, `cancel_again_ns` when READY last asked for it again. `ts_ns` is the time of the last report.
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
    resends: int = 0
    reason: str = ""
    amend: AmendCommand | None = None
    amend_refusal: str = ""
    said_over: OrderState | None = None
    said_reason: str = ""
    settled_lots: int = 0
    twins: dict[int, str] = field(default_factory=dict)
    cancelling: str | None = None
    cancel_epoch: int = 0
    cancel_again_ns: int = 0
    ts_ns: int = 0


ORDERS = TableSpec("orders", OrderRow, "one row per order: command, state, executions, by intent id")


def move(row: OrderRow, state: OrderState, reason: str, ts_ns: int) -> Sequence[Any]:
    if state not in LEGAL[row.state]:
        return ()
    row.state, row.reason = state, reason
    return [report(row, ts_ns, ended_amend(row))]


def ended_amend(row: OrderRow) -> dict[str, Any]:
    """What a report says of an amend that the end of its order has settled."""
    if row.amend is None or row.state not in TERMINAL:
        return {}
    amend, row.amend = row.amend, None
    return {"amend_id": amend.amend_id}


def alert(row: OrderRow, code: str, text: str, ts_ns: int) -> Out:
    subject = f"{row.command.instrument} order {row.command.order_id} intent {row.command.intent_id}"
    alert = Alert(severity="CRITICAL", code=code, subject=subject, text=text, owner="trading desk", ts_ns=ts_ns)
    return Out(ALERTS, code, alert)


def report(row: OrderRow, ts_ns: int, update: dict[str, Any]) -> Out:
    """What has become of the order. Some facts have no time of their own, or an older one: no report goes back."""
    command, row.ts_ns = row.command, max(row.ts_ns, ts_ns)
    fields: dict[str, Any] = {
        "kind": "STATE",
        "intent_id": command.intent_id,
        "order_id": command.order_id,
        "instrument": command.instrument,
        "side": command.side,
        "state": row.state,
        "order_lots": command.quantity_lots,
        "filled_lots": row.filled_lots,
        "reason": row.reason,
        "ts_ns": row.ts_ns,
        "limit_price": command.limit_price,
    }
    return Out(EXEC_REPORTS, command.intent_id, ExecutionReport(**(fields | update)))


def missing_lots(row: OrderRow) -> int:
    """Lots that the gateway said are filled, and of which there is no execution and no operator's word."""
    return row.status_filled_lots - max(row.filled_lots, row.settled_lots)


def works(row: OrderRow) -> OrderState:
    return S.PARTIALLY_FILLED if row.filled_lots > 0 else S.ACKNOWLEDGED
