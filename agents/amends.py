"""Amends: new terms for an order that works, and who has the last word on them.

The row keeps the terms in force and those that were asked for. Only the gateway's own naming of the terms settles an
amend: an openOrder that has them puts them in force, the snapshot of a later session that has the old ones ends it. An
error says no more than that it is time for a snapshot, and a crash loses an amend that did not go out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from agents.orders import OrderRow, S, alert, move, report, works
from agents.ports import AmendOrder
from agents.spec import UNCHANGED
from contracts.instruments import INSTRUMENTS
from contracts.orders import TERMINAL, AmendCommand, BrokerStatus, OrderCommand

AMENDABLE: Final = frozenset({S.ACKNOWLEDGED, S.PARTIALLY_FILLED})


def request(row: OrderRow, amend: AmendCommand) -> Sequence[Any]:
    """New terms for an order that works. The gateway counts what is filled already into the quantity."""
    child_grows = row.command.parent_id is not None and amend.quantity_lots > row.command.quantity_lots
    if row.amend is not None and row.amend.amend_id == amend.amend_id:
        return UNCHANGED
    if row.state not in AMENDABLE or row.amend is not None or amend.quantity_lots <= row.filled_lots or child_grows:
        reason = f"amend not sent: order_lots={amend.quantity_lots} filled_lots={row.filled_lots} state={row.state}"
        return [report(row, amend.ts_ingest_ns, {"amend_id": amend.amend_id, "reason": reason})]
    row.amend, row.amend_refusal = amend, ""
    command = _with_terms(row.command, amend).model_copy(update={"ts_ingest_ns": amend.ts_ingest_ns})
    return [AmendOrder(command), *move(row, S.PENDING_AMEND, "", amend.ts_ingest_ns)]


def settle(row: OrderRow, reason: str, ts_ns: int) -> list[Any]:
    """The amend is in force or it is not, as `row.command` has it; an order that waited for that works again."""
    if row.amend is None:
        return []
    if row.state is S.PENDING_AMEND:
        row.state, row.reason = works(row), reason
    settled = report(row, ts_ns, {"amend_id": row.amend.amend_id, "reason": reason or row.reason})
    row.amend, row.amend_refusal = None, ""
    return [settled]


def proven(row: OrderRow, ts_ns: int) -> list[Any]:
    """A fill beyond the old size is the gateway's word too: the new terms are in force."""
    if row.amend is None or row.filled_lots <= row.command.quantity_lots:
        return []
    row.command = _with_terms(row.command, row.amend)
    return settle(row, "", ts_ns)


def not_in_force(row: OrderRow, ts_ns: int) -> Sequence[Any]:
    """A snapshot from after the amend has the order, and its terms have not settled it."""
    if row.amend is None or row.state not in (*AMENDABLE, S.PENDING_AMEND) or ts_ns < row.amend.ts_ingest_ns:
        return UNCHANGED
    return settle(row, f"amend not in force: {row.amend_refusal or 'the gateway has the old terms'}", ts_ns)


def _with_terms(command: OrderCommand, amend: AmendCommand) -> OrderCommand:
    return command.model_copy(update={"quantity_lots": amend.quantity_lots, "limit_price": amend.limit_price})


def named_terms(row: OrderRow, status: BrokerStatus) -> list[Any]:
    """Terms that the gateway named for a live order: an amend that they are is in force; others are the truth too."""
    if not status.order_lots or status.limit_price is None or row.state in TERMINAL:
        return []
    named = (status.order_lots, status.limit_price)
    if row.amend is not None and named == (row.amend.quantity_lots, row.amend.limit_price):
        row.command = _with_terms(row.command, row.amend)
        return settle(row, "", status.ts_ns)
    known = (row.command.quantity_lots, row.command.limit_price)
    kept = (named[0], INSTRUMENTS[row.command.instrument].nearest(named[1]))
    if kept == known:
        return []
    # A command is on our tick grid, which a hand at the terminal need not know.
    row.command = row.command.model_copy(update={"quantity_lots": kept[0], "limit_price": kept[1]})
    text = f"the gateway has {named[0]} lots at {named[1]}, we had {known[0]} at {known[1]}"
    return [report(row, status.ts_ns, {"reason": text}), alert(row, "TERMS_CHANGED", text, status.ts_ns)]
