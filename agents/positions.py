"""Execution reports to positions and exact cash flows, by instrument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from agents.spec import Out, Record
from contracts.breaks import PositionBreak
from contracts.instruments import INSTRUMENTS
from contracts.orders import ExecutionReport, Position
from contracts.topics import POSITIONS
from tables.rows import TableSpec


@dataclass(slots=True)
class PositionRow:
    """Lots held, and the money that went in and out for them (currency of the instrument, exact)."""

    lots: int = 0
    cash_flow: Decimal = Decimal(0)
    commissions: Decimal = Decimal(0)
    fills: int = 0
    last_exec_id: str = ""


POSITION_ROWS = TableSpec("positions", PositionRow, "position and cash flow of each instrument")


def key(message: Any) -> str | None:
    match message:
        case ExecutionReport() if message.kind != "STATE":
            return str(message.instrument)
        case PositionBreak() if message.source == "operator" and not message.open:
            return str(message.instrument)
    return None


def step(row: PositionRow | None, record: Record) -> tuple[PositionRow, Sequence[Out]]:
    """One fill, correction or commission, or the position that an operator settled on."""
    row = row or PositionRow()
    report = record.message
    if isinstance(report, PositionBreak):
        row.lots = report.broker_lots
    elif report.kind == "FILL":
        sign = 1 if report.side == "BUY" else -1
        row.lots += sign * report.fill_lots
        row.cash_flow -= sign * report.fill_price * report.fill_lots * INSTRUMENTS[report.instrument].lot_size
        row.fills += 1
        row.last_exec_id = report.exec_id
    elif report.kind == "CORRECTION":
        sign = 1 if report.side == "BUY" else -1
        lot_size = INSTRUMENTS[report.instrument].lot_size
        row.lots += sign * (report.fill_lots - report.replaced_lots)
        row.cash_flow -= sign * report.fill_price * report.fill_lots * lot_size
        row.cash_flow += sign * report.replaced_price * report.replaced_lots * lot_size
        row.last_exec_id = report.exec_id
    else:
        row.commissions += report.commission
        row.cash_flow -= report.commission
    position = Position(
        instrument=report.instrument,
        position_lots=row.lots,
        cash_flow=row.cash_flow,
        commissions=row.commissions,
        fills=row.fills,
        last_exec_id=row.last_exec_id,
    )
    return row, [Out(POSITIONS, report.instrument, position)]
