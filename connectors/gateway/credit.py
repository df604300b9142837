"""Whether the account may place an order: active orders, short sales of crypto, initial margin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.gateway.account import INITIAL_MARGIN, Marks
from connectors.gateway.orders import Order, Status, Ticket

if TYPE_CHECKING:
    from connectors.gateway.broker import Broker

ACTIVE_ORDERS_MAX = 20
"""Active orders per instrument and side (docs order_limitations)."""


def refusal(broker: Broker, ticket: Ticket) -> str:
    """Why the account may not place this order, in IB's words; empty when it may."""
    spec = ticket.spec
    active = [o for o in broker.open.values() if o.ticket.spec is spec and o.ticket.side == ticket.side and not o.done]
    if broker.limits and len(active) > ACTIVE_ORDERS_MAX:
        return f"Maximum of {ACTIVE_ORDERS_MAX} active orders per side reached for {spec.symbol}"
    lots = ticket.lots if ticket.side == "BUY" else -ticket.lots
    held = broker.account.position(spec).lots
    key = (ticket.client_id, ticket.order_id)
    others = [order for order in active if (order.ticket.client_id, order.ticket.order_id) != key]
    working = sum(order.sign * order.remaining for order in others)
    if spec.sec_type == "CRYPTO" and not ticket.parent_id and held + working + lots < 0:
        return f"{spec.symbol} cannot be sold short"
    if abs(held + lots + working) <= abs(held):
        return ""
    margin = broker.account.margin(_mark_or(broker, ticket), INITIAL_MARGIN, {spec.instrument: lots + working})
    equity = broker.account.equity(broker.mark)
    if margin > equity:
        return (
            "YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED POSITION YOUR EQUITY WITH LOAN VALUE "
            f"[{equity:.2f} USD] MUST EXCEED THE INITIAL MARGIN [{margin:.2f} USD]"
        )
    return ""


def _mark_or(broker: Broker, ticket: Ticket) -> Marks:
    """Marks, with the order's own price for an instrument that has not been quoted yet."""
    own = ticket.limit or ticket.stop or 0
    return lambda spec: broker.mark(spec) or (own if spec is ticket.spec else 0)


def amend_problem(broker: Broker, order: Order, ticket: Ticket) -> tuple[int, str] | None:
    """Why an order cannot become what the ticket says: IB's code and text."""
    old = order.ticket
    if order.status == Status.FILLED:
        return 104, "Can't modify a filled order."
    if order.done or order.status == Status.PENDING_CANCEL:
        return 103, "Duplicate order id"
    if (old.spec, old.side, old.parent_id) != (ticket.spec, ticket.side, ticket.parent_id):
        return 105, "Order being modified does not match original order"
    if ticket.lots <= order.filled:
        return 201, f"Order rejected - reason:the new quantity must exceed the {order.filled} already filled"
    reason = refusal(broker, ticket) if ticket.lots > old.lots else ""
    return (201, f"Order rejected - reason:{reason}") if reason else None
