"""What happens to orders and positions outside the clients' requests: operators, back office, and their mistakes.

Each of these also happens at IB. The faults use them; none breaks the ledger, which stays the judge.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal

from connectors.gateway import booking, matching
from connectors.gateway.broker import Broker
from connectors.gateway.ledger import commission_row, execution_row
from connectors.gateway.orders import Execution, Order, Status, Ticket
from contracts.instruments import InstrumentSpec


class BackOffice:
    """Hands on a broker."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    def place_refused(self, ticket: Ticket, now_ns: int, code: int, text: str) -> None:
        """Take an order's id and reject it (FAULTS.md G19)."""
        self.broker.now_ns = now_ns
        self.broker.last_ids[ticket.client_id] = max(ticket.order_id, self.broker.last_ids.get(ticket.client_id, 0))
        self.broker.refuse(self.broker.admit(ticket), code, text)

    def place_manual(self, ticket: Ticket, now_ns: int) -> Order:
        """An order typed at the terminal: client 0, order id 0, known by its permanent id alone (G16)."""
        self.broker.now_ns = now_ns
        order = self.broker.admit(ticket)
        del self.broker.orders[ticket.client_id, ticket.order_id]
        self.broker.transmit(order)
        return order

    def bind(self, order: Order) -> None:
        """Give a manual order an id of client 0, so that client 0 may change it."""
        order_id = -1 - sum(client == 0 and number < 0 for client, number in self.broker.orders)
        order.ticket = dataclasses.replace(order.ticket, order_id=order_id)
        self.broker.orders[0, order_id] = order
        self.broker.record(order)

    def twin(self, ticket: Ticket, now_ns: int) -> None:
        """An amend that the market took for a second order: both live, one order id, one orderRef (G5)."""
        self.broker.now_ns = now_ns
        self.broker.transmit(self.broker.admit(ticket))

    def pend_cancel(self, order: Order, now_ns: int) -> None:
        """The cancel is on its way and not confirmed yet (G12, G23)."""
        self.broker.now_ns = now_ns
        self.broker.set_status(order, Status.PENDING_CANCEL)

    def force_fill(self, order: Order, now_ns: int) -> None:
        """Fill all that remains, at the limit or else at the mark (G23)."""
        self.broker.now_ns = now_ns
        ticks = matching.effective_limit(order) or self.broker.mark(order.ticket.spec)
        if ticks:
            booking.fill(self.broker, order, ticks, order.remaining, matching.MAKER)

    def revive(self, order: Order) -> None:
        """Bring an Inactive order back to the market (FAULTS.md G13)."""
        assert order.status == Status.INACTIVE
        self.broker.completed.remove(order)
        self.broker.open[order.perm_id] = order
        self.broker.transmit(order)

    def locate(self, instrument: str, now_ns: int) -> None:
        """Shares to borrow have been found: short sales held for them go to the market."""
        self.broker.now_ns = now_ns
        self.broker.unlocatable.discard(instrument)
        for order in [o for o in self.broker.open.values() if o.why_held and o.ticket.spec.instrument == instrument]:
            order.why_held = ""
            self.broker.publish(order)
            if not self.broker.waits_for_parent(order):
                self.broker.arrive(order)

    def correct(self, execution: Execution, ticks: int) -> Execution:
        """Correct an execution's price: the same exec id with the next correction number."""
        stem, _, number = execution.exec_id.rpartition(".")
        order = execution.order
        spec, lots = order.ticket.spec, order.sign * execution.lots
        self.broker.account.fill(spec, -lots, execution.ticks, -execution.commission)
        realized = self.broker.account.fill(spec, lots, ticks, execution.commission)
        order.value += spec.notional(ticks - execution.ticks, execution.lots)
        corrected = dataclasses.replace(
            execution,
            exec_id=f"{stem}.{int(number) + 1:02d}",
            ticks=ticks,
            average_price=order.average_price,
            realized_pnl=realized,
        )
        self.broker.executions[self.broker.executions.index(execution)] = corrected
        self.broker.ledger.append(execution_row(corrected, self.broker.books[spec.instrument].ts_event_ns))
        self.broker.ledger.append(commission_row(corrected))
        return corrected

    def adjust(self, spec: InstrumentSpec, lots: int) -> None:
        """Change a position from outside the API, at the mark (FAULTS.md G16)."""
        ticks = self.broker.mark(spec)
        self.broker.account.fill(spec, lots, ticks, Decimal(0))
        row = {
            "type": "adjustment",
            "instrument": spec.instrument,
            "lots": lots,
            "ticks": ticks,
            "ts_ns": self.broker.now_ns,
        }
        self.broker.ledger.append(row)

    def client_ids(self) -> list[int]:
        """Clients that have placed orders."""
        return sorted(self.broker.last_ids)

    def roll_back_ids(self, client_id: int, count: int) -> None:
        """Issue ids again that were used before (FAULTS.md G21); the orders keep their permanent ids."""
        last = self.broker.last_ids.get(client_id, 0)
        for order_id in range(max(1, last - count + 1), last + 1):
            self.broker.orders.pop((client_id, order_id), None)
        self.broker.last_ids[client_id] = max(0, last - count)

    def skip_ids(self, client_id: int, count: int) -> None:
        """Let the ids jump ahead (FAULTS.md G18)."""
        self.broker.last_ids[client_id] = self.broker.last_ids.get(client_id, 0) + count
