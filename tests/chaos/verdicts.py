"""The invariants, judged from the topics and the gateway's own ledger: which are broken, one line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from app.summary import reconcile
from app.watcher import Seen
from connectors.gateway.ledger import LedgerView
from contracts.controls import DecisionRecord
from contracts.orders import ExecutionReport, OrderCommand, OrderState

Broken = list[tuple[str, str]]
"""(invariant, what broke it)."""


def books(seen: Seen, ledger: LedgerView) -> Broken:
    """I1 one order per intent, I2 every execution once, I3 positions and cash, I14 no more than was ordered."""
    names = {"intent": "I1", "execution": "I2", "commission": "I2", "positions:": "I3", "cash:": "I3"}
    found = [(names[line.split()[0]], line) for line in reconcile(seen, ledger)]
    rows = ledger.orders.values()
    found += [("I14", f"{row.order_ref}: filled {row.filled} of {row.lots}") for row in rows if row.filled > row.lots]
    return found


def children(commands: dict[str, OrderCommand], ledger: LedgerView) -> Broken:
    """I14: what reached the broker of a parent is no more than the parent."""
    sent: Counter[str] = Counter()
    for row in ledger.orders.values():
        command = commands.get(row.order_ref)
        if command is not None and command.parent_id is not None:
            sent[command.parent_id] += row.lots
    sizes = {command.parent_id: command.parent_lots for command in commands.values() if command.parent_id is not None}
    return [("I14", f"parent {name}: {lots} of {sizes[name]}") for name, lots in sent.items() if lots > sizes[name]]


def traces(decisions: dict[str, DecisionRecord], ledger: LedgerView) -> Broken:
    """I7: each broker order has a decision that admitted it, with inputs and verdicts."""
    found: Broken = []
    for row in ledger.orders.values():
        decision = decisions.get(row.order_ref)
        if decision is None or not decision.admitted:
            found.append(("I7", f"order {row.order_ref} was not admitted"))
        elif not decision.inputs or not decision.verdicts:
            found.append(("I7", f"order {row.order_ref} names no input or no verdict"))
    return found


def ends(states: dict[str, list[ExecutionReport]], ledger: LedgerView) -> Broken:
    """I8: what we say of an order that has ended is what became of it; where we know better, a person said so."""
    rows = {row.order_ref: row for row in ledger.orders.values()}
    found: Broken = []
    for intent_id, reports in states.items():
        said, row = reports[-1].state, rows.get(intent_id)
        truth = row.status if row is not None else "nothing"
        if said is OrderState.FILLED and truth != "Filled":
            found.append(("I8", f"{intent_id} is FILLED here and {truth} there"))
        elif said in (OrderState.CANCELLED, OrderState.REJECTED) and truth not in ("Cancelled", "Inactive", "nothing"):
            found.append(("I8", f"{intent_id} is {said} here and {truth} there: {reports[-1].reason}"))
        elif said in (OrderState.CANCELLED, OrderState.REJECTED) and row is None and not reports[-1].reason:
            found.append(("I8", f"{intent_id} never reached the gateway, and nobody says why"))
    return found


def silence(before: LedgerView, after: LedgerView, *, flatten: bool) -> Broken:
    """I4: under a kill no order comes, or if it flattens none that makes a position larger or turns it."""
    known = max(before.orders, default=0)
    late = [row for row in after.orders.values() if row.perm_id > known]
    if not flatten:
        return [("I4", f"order {row.order_ref} was sent under a kill") for row in late]
    positions = Counter(before.positions)
    known_executions = {row.stem for row in before.executions}
    found: Broken = []
    for row in after.executions:
        if row.stem in known_executions:
            continue
        held = positions[row.instrument]
        positions[row.instrument] += row.lots if row.side == "BUY" else -row.lots
        if row.perm_id > known and abs(positions[row.instrument]) + row.lots != abs(held):
            found.append(("I4", f"{row.exec_id} took {row.instrument} from {held} to {positions[row.instrument]}"))
    return found


def exposure(rows: Iterable[dict[str, Any]], lots_max: int) -> Broken:
    """I5: at every line of the ledger, position and open orders of an instrument reach no further than its limit."""
    positions: Counter[str] = Counter()
    open_orders: dict[int, dict[str, Any]] = {}
    found: Broken = []
    for row in rows:
        if row["type"] == "order":
            open_orders[row["perm_id"]] = row
        elif row["type"] == "execution":
            positions[row["instrument"]] += row["lots"] if row["side"] == "BUY" else -row["lots"]
            order = open_orders[row["perm_id"]]
            open_orders[row["perm_id"]] = {**order, "filled": order["filled"] + row["lots"]}
        else:
            continue
        name = row["instrument"]
        left: Counter[str] = Counter()
        for order in open_orders.values():
            if order["instrument"] == name and order["status"] not in ("Filled", "Cancelled", "Inactive"):
                left[order["side"]] += max(order["lots"] - order["filled"], 0)
        reach = max(positions[name] + left["BUY"], left["SELL"] - positions[name])
        if reach > lots_max:
            found.append(("I5", f"{name} may reach {reach} lots, the limit is {lots_max}"))
    return found
