"""Requests about orders and executions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from connectors.gateway import account_report, frames
from connectors.gateway.order_frames import completed_order, open_order
from connectors.gateway.orders import Execution, Order
from connectors.gateway.requests import Refused, parse_time, read_place_order, ticket_of
from connectors.gateway.wire import Fields

if TYPE_CHECKING:
    from connectors.gateway.session import Session


def place_order(session: Session, fields: Fields) -> None:
    gateway = session.gateway
    assert session.client_id is not None
    request = read_place_order(fields, fields.integer(), session.version)
    ticket = ticket_of(request, session.client_id, gateway.account.name)
    gateway.broker.now_ns = gateway.now_ns()
    if ticket.what_if:
        order = Order(ticket, 0, gateway.broker.now_ns)
        margins = account_report.what_if(gateway.broker, ticket)
        session.send(open_order(order, gateway.account.name, session.version, margins))
        return
    gateway.order_faults.place(ticket)


def cancel_order(session: Session, fields: Fields) -> None:
    fields.skip(1)
    assert session.client_id is not None
    session.gateway.order_faults.cancel(session.client_id, fields.integer())


def global_cancel(session: Session, _: Fields) -> None:
    session.gateway.broker.cancel_all(session.gateway.now_ns())


def open_orders(session: Session, _: Fields) -> None:
    """The client's own open orders (a fault may add another's)."""
    gateway = session.gateway
    listed = [o for o in _listed(session) if o.ticket.client_id == session.client_id or o.perm_id in gateway.foreign]
    _send_open(session, listed)


def all_open_orders(session: Session, _: Fields) -> None:
    _send_open(session, _listed(session))


def auto_open_orders(session: Session, fields: Fields) -> None:
    """Client 0 takes over manual orders: those there are get an id of its own, later ones too."""
    fields.skip(1)
    if session.client_id != 0:
        raise Refused(321, "Error validating request.-'bM' : cause - Only client id 0 can bind manual orders.")
    gateway = session.gateway
    gateway.auto_bind = fields.flag()
    if gateway.auto_bind:
        for order in [order for order in gateway.broker.open.values() if order.ticket.order_id == 0]:
            gateway.bind(order)


def completed_orders(session: Session, fields: Fields) -> None:
    api_only = fields.flag()
    for order in session.gateway.broker.completed:
        if not (api_only and order.ticket.order_id == 0):
            session.send(completed_order(order, session.gateway.account.name, session.version))
    session.send([102])


def executions(session: Session, fields: Fields) -> None:
    """Executions of the day that match the filter, and their commissions."""
    fields.skip(1)
    req_id = fields.integer()
    client_id, account, since = fields.integer(), fields.text(), fields.text()
    symbol, sec_type, exchange, side = (fields.text() for _ in range(4))
    since_ns = parse_time(since) if since else 0
    gateway = session.gateway

    def wanted(execution: Execution) -> bool:
        ticket = execution.order.ticket
        return (
            client_id in (0, ticket.client_id)
            and account in ("", gateway.account.name)
            and execution.ts_ns >= since_ns
            and symbol in ("", ticket.spec.symbol)
            and sec_type in ("", ticket.spec.sec_type)
            and exchange in ("", ticket.exchange)
            and side.upper() in ("", ticket.side, {"BUY": "BOT", "SELL": "SLD"}[ticket.side])
        )

    found = [e for e in gateway.order_faults.listed_executions() if wanted(e)]
    for execution in found:
        session.send(frames.execution(req_id, execution, gateway.account.name, session.version))
    session.send([55, 1, req_id])
    for execution in found:
        session.send(frames.commission_report(execution))


def _listed(session: Session) -> list[Order]:
    return [order for order in session.gateway.broker.open.values() if order.status is not None]


def _send_open(session: Session, orders: list[Order]) -> None:
    for order in orders:
        session.send(open_order(order, session.gateway.account.name, session.version))
        session.send(frames.order_status(order))
    session.send([53, 1])


HANDLERS: dict[int, Callable[[Session, Fields], None]] = {
    3: place_order,
    4: cancel_order,
    5: open_orders,
    7: executions,
    15: auto_open_orders,
    16: all_open_orders,
    58: global_cancel,
    99: completed_orders,
}
