"""openOrder (5) and completedOrder (101): the two frames that describe a whole order.

Field order and version gates are those of the public clients' decoders. Clients read the tail as "the rest", so a
missing field shifts silently: tests/gateway keeps the exact field counts per version.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from connectors.gateway.orders import Order, Status, Ticket
from connectors.gateway.wire import UNSET_DOUBLE, UNSET_INTEGER, Value
from contracts.instruments import InstrumentSpec

UNSET_LONG = "9223372036854775807"

NO_DELTA_NEUTRAL: tuple[Value, ...] = ("None", "", 0, "", "", "", "?", 0, 0, "")
"""deltaNeutralOrderType `None` is not empty, so eight more fields follow its price."""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Margins in USD before, of, and after an order that is only asked about."""

    initial_before: Decimal
    maintenance_before: Decimal
    equity_before: Decimal
    initial_change: Decimal
    maintenance_change: Decimal
    equity_change: Decimal
    commission: Decimal


def trading_class(spec: InstrumentSpec) -> str:
    """IB's trading class: `NMS` for stocks listed on NASDAQ, else the symbol."""
    return "NMS" if spec.primary_exchange == "NASDAQ" else spec.symbol


def contract_fields(ticket: Ticket) -> list[Value]:
    """conId, symbol, secType, expiry, strike, right, multiplier, exchange, currency, localSymbol, tradingClass."""
    spec = ticket.spec
    return [
        spec.con_id,
        spec.symbol,
        spec.sec_type,
        "",
        0,
        "?",
        "",
        ticket.exchange,
        spec.currency,
        spec.symbol,
        trading_class(spec),
    ]


def _prices(ticket: Ticket) -> list[Value]:
    spec = ticket.spec
    limit = "0.0" if ticket.limit is None else spec.price(ticket.limit)
    stop = "0.0" if ticket.stop is None else spec.price(ticket.stop)
    return [limit, stop]


def open_order(order: Order, account: str, version: int, what_if: WhatIf | None = None) -> list[Value]:
    """The fields of openOrder; with `what_if` the margins are filled in and the commission is an estimate."""
    ticket = order.ticket
    quantity = ticket.lots * ticket.spec.lot_size
    values: list[Value] = [5, ticket.order_id, *contract_fields(ticket), ticket.side, quantity, ticket.order_type]
    values += [*_prices(ticket), ticket.tif, ticket.oca_group, account, "", 0, ticket.order_ref, ticket.client_id]
    values += [order.perm_id, ticket.outside_rth, 0, 0, "", f"{order.perm_id}.0/{account}/100", "", "", ""]
    if version < 177:
        values.append("")  # faProfile
    values += ["", ticket.gtd_text, "", "", "", 0, "", -1, 0, "", "", "", "", "", UNSET_INTEGER, 0, 0, 0, ""]
    values.append(ticket.oca_type or 3)
    values += [0, 0, "", ticket.parent_id, 0, "", 0, *NO_DELTA_NEUTRAL]
    values += [0, 0, "", "", "", "", "", 0, 0, 0, UNSET_INTEGER, UNSET_INTEGER, "", "", 0, "", "IB", 0, 0, "", 0]
    values += [what_if is not None, str(order.status or Status.PRE_SUBMITTED), *_margins(order, what_if)]
    values += [0, 0, 0, "None", *[UNSET_DOUBLE] * 6, 0, "", "", "", 0, 1, 0, 0, 0]
    if version >= 158:
        values.append("")  # duration
    if version >= 160:
        values.append("")  # postToAts
    if version >= 162:
        values.append(0)  # autoCancelParent
    if version >= 170:
        values += [UNSET_INTEGER, UNSET_INTEGER, UNSET_DOUBLE, UNSET_DOUBLE, UNSET_DOUBLE]
    return values


def _margins(order: Order, what_if: WhatIf | None) -> list[Value]:
    """Nine margin fields, commission, its range and currency, and a warning text."""
    if what_if is not None:
        before: list[Value] = [what_if.initial_before, what_if.maintenance_before, what_if.equity_before]
        change: list[Value] = [what_if.initial_change, what_if.maintenance_change, what_if.equity_change]
        after: list[Value] = [
            what_if.initial_before + what_if.initial_change,
            what_if.maintenance_before + what_if.maintenance_change,
            what_if.equity_before + what_if.equity_change,
        ]
        return [*before, *change, *after, what_if.commission, "", "", order.ticket.spec.currency, ""]
    charged = order.commission if order.status == Status.FILLED else ""
    currency = order.ticket.spec.currency if charged else ""
    return [*[UNSET_DOUBLE] * 9, charged, "", "", currency, ""]


def completed_order(order: Order, account: str, version: int) -> list[Value]:
    """The fields of completedOrder. As in captures a filled order shows quantity 0 and its filled quantity."""
    ticket = order.ticket
    lot = ticket.spec.lot_size
    filled = order.status == Status.FILLED
    values: list[Value] = [101, *contract_fields(ticket), ticket.side, 0 if filled else ticket.lots * lot]
    values += [ticket.order_type, *_prices(ticket), ticket.tif, ticket.oca_group, account, "", 0, ticket.order_ref]
    values += [order.perm_id, ticket.outside_rth, 0, 0, "", "", "", ""]
    if version < 177:
        values.append("")  # faProfile
    values += ["", ticket.gtd_text, "", "", "", 0, "", -1, "", "", "", "", "", UNSET_INTEGER, 0, 0, ""]
    values += [ticket.oca_type or 3, 0, "", 0, "None", "", 0, 0, 0, "", 0, 0, "", "", "", 0, 0, 0]
    values += [UNSET_INTEGER, UNSET_INTEGER, "", "", "", "IB", 0, 0, "", 0]
    values += [str(order.status), 0, 0, 0, UNSET_DOUBLE, UNSET_DOUBLE, 0, 1, 0, "", order.filled * lot, UNSET_INTEGER]
    values += [0, "Not an insider or substantial shareholder", 0, 0, UNSET_LONG]
    values += [_completed_time(order), _completed_status(order)]
    if version >= 170:
        values += [UNSET_INTEGER, UNSET_INTEGER, UNSET_DOUBLE, UNSET_DOUBLE, UNSET_DOUBLE]
    return values


def _completed_time(order: Order) -> str:
    return datetime.fromtimestamp(order.completed_ns / 1e9, UTC).strftime("%Y%m%d %H:%M:%S UTC")


def _completed_status(order: Order) -> str:
    if order.status == Status.FILLED:
        return f"Filled Size: {format(order.filled * order.ticket.spec.lot_size, 'f')}"
    return "Cancelled by Trader" if order.status == Status.CANCELLED else "Rejected"
