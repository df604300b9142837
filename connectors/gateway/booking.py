"""What one fill does: order, account, ledger, then everybody who has to hear of it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from connectors.gateway.account import order_commission
from connectors.gateway.ledger import commission_row, execution_row
from connectors.gateway.orders import Execution, Order, Status

if TYPE_CHECKING:
    from connectors.gateway.broker import Broker


def fill(broker: Broker, order: Order, ticks: int, lots: int, liquidity: int) -> None:
    """Book one fill everywhere, then tell: execution, order, status, commission."""
    assert 0 < lots <= order.remaining, f"a fill of {lots} against {order.remaining} remaining"
    spec = order.ticket.spec
    order.filled += lots
    order.executions += 1
    order.value += spec.notional(ticks, lots)
    order.last_price = spec.price(ticks)
    commission = order_commission(spec, order.filled, order.value) - order.commission
    order.commission += commission
    realized = broker.account.fill(spec, order.sign * lots, ticks, commission)
    execution = Execution(
        exec_id=f"{broker.seed & 0xFFFFFFFF:08x}.{order.perm_id:08x}.{order.executions:02d}.01",
        order=order,
        lots=lots,
        ticks=ticks,
        ts_ns=broker.now_ns,
        cumulative=order.filled,
        average_price=order.average_price,
        liquidity=liquidity,
        commission=commission,
        realized_pnl=realized,
    )
    broker.executions.append(execution)
    broker.ledger.append(execution_row(execution, broker.books[spec.instrument].ts_event_ns))
    broker.ledger.append(commission_row(execution))
    if not order.remaining:
        broker.leave(order)
        order.move(Status.FILLED)
        broker.finish(order)
    elif order.status == Status.PRE_SUBMITTED:
        order.move(Status.SUBMITTED)
        broker.record(order)
    else:
        broker.record(order)
    broker.listener.on_execution(execution)
    broker.listener.on_open_order(order)
    broker.listener.on_status(order)
    broker.listener.on_commission(execution)
    _after_fill(broker, order, lots)


def _after_fill(broker: Broker, order: Order, lots: int) -> None:
    """Wake children of a filled parent; cancel or reduce the rest of a one-cancels-all group."""
    if order.done:
        for child in list(order.children):
            if child.status is not None and not child.done and not child.live and not child.why_held:
                broker.arrive(child)
    for other in _group(broker, order):
        if order.ticket.oca_type == 1 or order.done or other.remaining <= lots:
            broker.end(other)
        else:
            other.ticket = dataclasses.replace(other.ticket, lots=other.ticket.lots - lots)
            broker.publish(other)


def _group(broker: Broker, order: Order) -> list[Order]:
    """The other open orders of the order's OCA group, or its siblings under one parent."""
    group = order.ticket.oca_group
    parent = broker.parent(order)
    siblings = parent.children if parent is not None else []
    others = [o for o in broker.open.values() if group and o.ticket.oca_group == group] or siblings
    return [other for other in others if other is not order and other.status is not None and not other.done]
