"""The end of a demo: what happened, and whether our books are the gateway's, to the cent."""

from __future__ import annotations

from decimal import Decimal
from math import ceil

from app.watcher import Seen, latencies_ms
from connectors.gateway.ledger import LedgerView
from contracts.instruments import INSTRUMENTS


def reconcile(seen: Seen, ledger: LedgerView) -> list[str]:
    """Every difference between the desk's records and the gateway's ledger, one line each; empty when equal."""
    theirs = {row.exec_id: row for row in ledger.executions}
    lines = [f"execution {key} is in the ledger alone" for key in sorted(theirs.keys() - seen.executions.keys())]
    lines += [f"execution {key} is in our books alone" for key in sorted(seen.executions.keys() - theirs.keys())]
    for exec_id in sorted(seen.executions.keys() & theirs.keys()):
        intent_id, instrument, lots, price = seen.executions[exec_id]
        row = theirs[exec_id]
        signed = row.lots if row.side == "BUY" else -row.lots
        if (intent_id, instrument, lots, price) != (
            row.order_ref,
            row.instrument,
            signed,
            _price(row.instrument, row.ticks),
        ):
            lines.append(f"execution {exec_id}: ours {lots} at {price}, the ledger's {signed} at {row.ticks} ticks")
    lines += [
        f"commission of {exec_id}: ours {seen.commissions.get(exec_id)}, the ledger's {amount}"
        for exec_id, amount in sorted(ledger.commissions.items())
        if seen.commissions.get(exec_id) != amount
    ]
    ours = {name: position.position_lots for name, position in seen.positions.items() if position.position_lots}
    held = {name: lots for name, lots in ledger.positions.items() if lots}
    if ours != held:
        lines.append(f"positions: ours {ours}, the ledger's {held}")
    cash = ledger.cash_start + sum((position.cash_flow for position in seen.positions.values()), Decimal(0))
    if cash != ledger.cash:
        lines.append(f"cash: ours {cash}, the ledger's {ledger.cash}")
    refs = [row.order_ref for row in ledger.orders.values()]
    lines += [f"intent {ref} has {refs.count(ref)} orders" for ref in sorted(set(refs)) if refs.count(ref) > 1]
    return lines


def render(seen: Seen, ledger: LedgerView, differences: list[str], events: int, seconds: float) -> str:
    """The summary table."""
    rows = [
        ("market events", f"{events:,} ({events / seconds:,.0f}/s over {seconds:.0f} s)"),
        ("intents", f"{seen.intents}, {seen.admitted} admitted"),
        *(("  denied " + reason, str(count)) for reason, count in seen.denied.most_common()),
        ("orders at the gateway", f"{len(ledger.orders)}, {len(seen.filled_orders)} filled, {seen.fills} fills"),
        *_latency_rows(seen),
        *_position_rows(seen),
        ("commissions", f"{sum(seen.commissions.values(), Decimal(0)):,.2f} USD"),
        ("PnL (marked to mid)", f"{seen.risk.pnl_usd:,.2f} USD" if seen.risk else "no risk report"),
        ("cash, ours and ledger", f"{ledger.cash:,.4f} USD" if not differences else "they differ"),
        ("reconciliation", "equal to the cent" if not differences else f"{len(differences)} differences"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join([*(f"{name:<{width}}  {value}" for name, value in rows), *(f"  {line}" for line in differences)])


def percentile(values: list[float], q: float) -> float:
    """The smallest of sorted `values` that at least a share q does not exceed."""
    return values[max(0, ceil(q * len(values)) - 1)]


def _latency_rows(seen: Seen) -> list[tuple[str, str]]:
    return [
        (leg, "p50 {:.1f}  p95 {:.1f}  p99 {:.1f} ms".format(*(percentile(values, q) for q in (0.5, 0.95, 0.99))))
        for leg, values in latencies_ms(seen).items()
        if values
    ]


def _position_rows(seen: Seen) -> list[tuple[str, str]]:
    return [
        (f"position {name}", f"{position.position_lots:+,} lots, cash flow {position.cash_flow:,.2f} USD")
        for name, position in sorted(seen.positions.items())
    ]


def _price(instrument: str, ticks: int) -> Decimal:
    return INSTRUMENTS[instrument].price(ticks)
