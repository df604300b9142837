"""The gateway's ledger: an append-only file of JSON lines, the judge of what really happened at the broker.

Line types: `meta` (account, cash at the start, seed), `order` (its state after each change), `execution`, `commission`,
`adjustment` (a position changed from outside). Prices are ticks and quantities lots; money is a decimal string.
A correction is an execution that repeats an exec id but for its last part; it replaces the one before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from connectors.gateway.account import Account
from connectors.gateway.orders import Execution, Order
from contracts.instruments import INSTRUMENTS

Row = dict[str, Any]


class LedgerError(Exception):
    """A ledger file cannot be used."""


class Ledger:
    """Appends rows; keeps them in memory too when it has no file."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: list[Row] = []
        if path is not None and path.exists():
            _drop_torn_line(path)
        self._file: TextIO | None = path.open("a", encoding="utf-8") if path else None

    def append(self, row: Row) -> None:
        """Write one row and hand it to the operating system before returning."""
        if self._file is None:
            self.rows.append(row)
        else:
            self._file.write(json.dumps(row, separators=(",", ":")) + "\n")
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def view(self) -> LedgerView:
        """The ledger so far."""
        return read(self.path) if self.path else fold(self.rows)


@dataclass(frozen=True, slots=True)
class OrderRow:
    """The last state of an order. `perm_id` is its only stable key; `intent` is what the client put in orderRef."""

    perm_id: int
    client_id: int
    order_id: int
    order_ref: str
    instrument: str
    side: str
    lots: int
    filled: int
    order_type: str
    limit: int | None
    stop: int | None
    tif: str
    status: str
    parent_id: int
    oca_group: str
    oca_type: int
    gtd_ns: int | None
    ts_ns: int


@dataclass(frozen=True, slots=True)
class ExecutionRow:
    """One fill: `lots` at `ticks`; `ts_ns` gateway time, `market_ts_ns` event time of the book that filled it."""

    exec_id: str
    perm_id: int
    client_id: int
    order_id: int
    order_ref: str
    instrument: str
    side: str
    lots: int
    ticks: int
    liquidity: int
    ts_ns: int
    market_ts_ns: int

    @property
    def stem(self) -> str:
        """The exec id without its correction number."""
        return self.exec_id.rpartition(".")[0]


@dataclass(slots=True)
class LedgerView:
    """What the ledger says: all orders by permanent id, executions in order (corrections applied), money, positions."""

    account: str = ""
    seed: int = 0
    cash_start: Decimal = Decimal(0)
    orders: dict[int, OrderRow] = field(default_factory=dict)
    executions: list[ExecutionRow] = field(default_factory=list)
    commissions: dict[str, Decimal] = field(default_factory=dict)
    adjustments: list[Row] = field(default_factory=list)
    cash: Decimal = Decimal(0)
    positions: dict[str, int] = field(default_factory=dict)
    realized_pnl: Decimal = Decimal(0)


def _drop_torn_line(path: Path) -> None:
    """Cut off a last line that a crash left without its end; it was never a row."""
    with path.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def order_row(order: Order, now_ns: int) -> Row:
    ticket = order.ticket
    return {
        "type": "order",
        "perm_id": order.perm_id,
        "client_id": ticket.client_id,
        "order_id": ticket.order_id,
        "order_ref": ticket.order_ref,
        "instrument": ticket.spec.instrument,
        "side": ticket.side,
        "lots": ticket.lots,
        "filled": order.filled,
        "order_type": ticket.order_type,
        "limit": ticket.limit,
        "stop": ticket.stop,
        "tif": ticket.tif,
        "status": str(order.status or "Held"),
        "parent_id": ticket.parent_id,
        "oca_group": ticket.oca_group,
        "oca_type": ticket.oca_type,
        "gtd_ns": ticket.gtd_ns,
        "ts_ns": now_ns,
    }


def execution_row(execution: Execution, market_ts_ns: int) -> Row:
    ticket = execution.order.ticket
    return {
        "type": "execution",
        "exec_id": execution.exec_id,
        "perm_id": execution.order.perm_id,
        "client_id": ticket.client_id,
        "order_id": ticket.order_id,
        "order_ref": ticket.order_ref,
        "instrument": ticket.spec.instrument,
        "side": ticket.side,
        "lots": execution.lots,
        "ticks": execution.ticks,
        "liquidity": execution.liquidity,
        "ts_ns": execution.ts_ns,
        "market_ts_ns": market_ts_ns,
    }


def commission_row(execution: Execution) -> Row:
    realized = execution.realized_pnl
    return {
        "type": "commission",
        "exec_id": execution.exec_id,
        "commission": str(execution.commission),
        "currency": execution.order.ticket.spec.currency,
        "realized_pnl": None if realized is None else str(realized),
    }


def read(path: Path) -> LedgerView:
    """The view of a ledger file, also while the gateway still writes it (a torn last line is not yet a row).

    LedgerError when the file is something else.
    """
    with path.open(encoding="utf-8") as lines:
        try:
            return fold(json.loads(line) for line in lines if line.endswith("\n"))
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerError(f"{path} is not a ledger of this gateway ({error}); give another file") from None


def fold(rows: Iterable[Row]) -> LedgerView:
    """The view of ledger rows: money and positions are computed again from executions and commissions alone."""
    view = LedgerView()
    executions: dict[str, ExecutionRow] = {}
    for row in rows:
        values = {key: value for key, value in row.items() if key != "type"}
        match row["type"]:
            case "meta":
                view.account, view.seed, view.cash_start = row["account"], row["seed"], Decimal(row["cash"])
            case "order":
                view.orders[row["perm_id"]] = OrderRow(**values)
            case "execution":
                execution = ExecutionRow(**values)
                executions[execution.stem] = execution
            case "commission":
                view.commissions[row["exec_id"].rpartition(".")[0]] = Decimal(row["commission"])
            case "adjustment":
                view.adjustments.append(row)
    view.executions = list(executions.values())
    _settle(view)
    return view


def _settle(view: LedgerView) -> None:
    account = Account(view.account, view.cash_start)
    for execution in view.executions:
        spec = INSTRUMENTS[execution.instrument]
        lots = execution.lots if execution.side == "BUY" else -execution.lots
        account.fill(spec, lots, execution.ticks, view.commissions.get(execution.stem, Decimal(0)))
    for row in view.adjustments:
        account.fill(INSTRUMENTS[row["instrument"]], row["lots"], row["ticks"], Decimal(0))
    view.cash, view.realized_pnl = account.cash, account.realized
    view.commissions = {e.exec_id: view.commissions[e.stem] for e in view.executions if e.stem in view.commissions}
    view.positions = {name: p.lots for name, p in sorted(account.positions.items()) if p.lots}
