"""A gateway that starts on a ledger with history goes on from there: money, positions, orders, executions, ids."""

from __future__ import annotations

from decimal import Decimal

from connectors.gateway.broker import Broker
from connectors.gateway.ledger import LedgerError, LedgerView, OrderRow
from connectors.gateway.orders import Execution, Order, Status, Ticket
from contracts.instruments import INSTRUMENTS


def restore(broker: Broker, view: LedgerView) -> None:
    """Put a new broker into the state its ledger describes. LedgerError when it is another account's."""
    if view.account != broker.account.name:
        raise LedgerError(f"the ledger is of account {view.account}, not {broker.account.name}; give another file")
    broker.account.cash = broker.account.cash_start = view.cash_start
    orders = {row.perm_id: _order(row) for row in view.orders.values()}
    _fill(broker, view, orders)
    for perm_id, order in sorted(orders.items()):
        broker.adopt(order, perm_id)


def _order(row: OrderRow) -> Order:
    ticket = Ticket(
        client_id=row.client_id,
        order_id=row.order_id,
        spec=INSTRUMENTS[row.instrument],
        side=row.side,
        lots=row.lots,
        order_type=row.order_type,
        limit=row.limit,
        stop=row.stop,
        tif=row.tif,
        gtd_ns=row.gtd_ns,
        oca_group=row.oca_group,
        oca_type=row.oca_type,
        order_ref=row.order_ref,
        parent_id=row.parent_id,
        transmit=row.status != "Held",
        exchange=INSTRUMENTS[row.instrument].exchange,
    )
    status = None if row.status == "Held" else Status(row.status)
    triggered = row.stop is not None and (row.filled > 0 or status == Status.SUBMITTED)
    return Order(ticket, row.perm_id, row.ts_ns, status=status, triggered=triggered, completed_ns=row.ts_ns)


def _fill(broker: Broker, view: LedgerView, orders: dict[int, Order]) -> None:
    """Replay executions and outside changes into account and orders."""
    for row in view.executions:
        order, spec = orders[row.perm_id], INSTRUMENTS[row.instrument]
        commission = view.commissions.get(row.exec_id, Decimal(0))
        order.filled += row.lots
        order.executions += 1
        order.value += spec.notional(row.ticks, row.lots)
        order.last_price = spec.price(row.ticks)
        order.commission += commission
        broker.executions.append(
            Execution(
                exec_id=row.exec_id,
                order=order,
                lots=row.lots,
                ticks=row.ticks,
                ts_ns=row.ts_ns,
                cumulative=order.filled,
                average_price=order.average_price,
                liquidity=row.liquidity,
                commission=commission,
                realized_pnl=broker.account.fill(spec, order.sign * row.lots, row.ticks, commission),
            )
        )
    for change in view.adjustments:
        broker.account.fill(INSTRUMENTS[change["instrument"]], change["lots"], change["ticks"], Decimal(0))
