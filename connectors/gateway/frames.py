"""The short answers, one function each, as field lists; `order_frames` and `contract` hold the long ones.

Names follow IB's messages. The number of fields is part of the protocol: ibapi drops a message with one too many.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from connectors.gateway.account import Position
from connectors.gateway.order_frames import contract_fields, trading_class
from connectors.gateway.orders import Execution, Order, Status
from connectors.gateway.wire import UNSET_DOUBLE, Value
from contracts.instruments import InstrumentSpec

FRACTIONAL_SIZES = 163
"""From this version on sizes may have decimals; older clients read them with int()."""


def sized(lots: int, spec: InstrumentSpec, version: int) -> Value:
    """A market size on the wire; whole for clients that cannot read decimals."""
    size = lots * spec.lot_size
    return size if version >= FRACTIONAL_SIZES else int(size)


def clock(ts_ns: int) -> str:
    """`YYYYMMDD HH:MM:SS UTC`, which every client reads without guessing a zone."""
    return datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).strftime("%Y%m%d %H:%M:%S UTC")


def error(req_id: int, code: int, message: str, version: int) -> list[Value]:
    values: list[Value] = [4, 2, req_id, code, message]
    if version >= 166:
        values.append("")  # advancedOrderRejectJson
    return values


def next_valid_id(order_id: int) -> list[Value]:
    return [9, 1, order_id]


def managed_accounts(account: str) -> list[Value]:
    return [15, 1, account]


def order_status(order: Order, status: Status | None = None) -> list[Value]:
    """The order's state now, or with another status in its place."""
    ticket, lot = order.ticket, order.ticket.spec.lot_size
    counts = [order.filled * lot, order.remaining * lot, order.average_price]
    shown = str(status or order.status or Status.PRE_SUBMITTED)
    head: list[Value] = [3, ticket.order_id, shown, *counts, order.perm_id, ticket.parent_id]
    return [*head, order.last_price, ticket.client_id, order.why_held, 0]


def execution(req_id: int, fill: Execution, account: str, version: int) -> list[Value]:
    ticket = fill.order.ticket
    spec = ticket.spec
    contract = contract_fields(ticket)
    contract[4], contract[5] = "0.0", ""
    side = "BOT" if ticket.side == "BUY" else "SLD"
    head: list[Value] = [
        11,
        req_id,
        ticket.order_id,
        *contract,
        fill.exec_id,
        clock(fill.ts_ns),
        account,
        ticket.exchange,
    ]
    body: list[Value] = [
        side,
        fill.lots * spec.lot_size,
        spec.price(fill.ticks),
        fill.order.perm_id,
        ticket.client_id,
        0,
    ]
    tail: list[Value] = [
        fill.cumulative * spec.lot_size,
        fill.average_price,
        ticket.order_ref,
        "",
        "",
        "",
        fill.liquidity,
    ]
    return [*head, *body, *tail, *([0] if version >= 178 else [])]


def commission_report(fill: Execution, commission: Value = None) -> list[Value]:
    charged = fill.commission if commission is None else commission
    realized: Value = UNSET_DOUBLE if fill.realized_pnl is None else fill.realized_pnl.quantize(Decimal("1e-6"))
    return [59, 1, fill.exec_id, charged, fill.order.ticket.spec.currency, realized, UNSET_DOUBLE, ""]


def position(account: str, held: Position) -> list[Value]:
    spec = held.spec
    contract: list[Value] = [
        spec.con_id,
        spec.symbol,
        spec.sec_type,
        "",
        0,
        "",
        "",
        spec.primary_exchange or spec.exchange,
    ]
    names: list[Value] = [spec.currency, spec.symbol, trading_class(spec)]
    return [61, 3, account, *contract, *names, held.lots * spec.lot_size, held.average_cost]


def portfolio(account: str, held: Position, ticks: int) -> list[Value]:
    spec, value = held.spec, held.value(ticks)
    contract: list[Value] = [
        spec.con_id,
        spec.symbol,
        spec.sec_type,
        "",
        0,
        "0",
        "",
        spec.primary_exchange or spec.exchange,
    ]
    names: list[Value] = [spec.currency, spec.symbol, trading_class(spec)]
    unrealized = value - held.basis if held.lots else Decimal(0)
    numbers: list[Value] = [held.lots * spec.lot_size, spec.price(ticks), value, held.average_cost]
    return [7, 8, *contract, *names, *numbers, round(unrealized, 6), round(held.realized, 6), account]


def tick_price(req_id: int, kind: int, price: Value, size: Value) -> list[Value]:
    return [1, 6, req_id, kind, price, size, 1 if kind in (1, 2) else 0]


def tick_size(req_id: int, kind: int, size: Value) -> list[Value]:
    return [2, 6, req_id, kind, size]


def tick_string(req_id: int, kind: int, value: str) -> list[Value]:
    return [46, 6, req_id, kind, value]


def depth(req_id: int, row: int, operation: int, side: int, price: Value, size: Value) -> list[Value]:
    return [12, 1, req_id, row, operation, side, price, size]


def depth_l2(req_id: int, row: int, maker: str, operation: int, side: int, price: Value, size: Value) -> list[Value]:
    return [13, 1, req_id, row, maker, operation, side, price, size, 1]
