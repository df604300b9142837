"""Faults on the way of an order: what the broker does with it, and what its client is told."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from connectors.gateway import frames, order_frames
from connectors.gateway.faults import Panel
from connectors.gateway.orders import Execution, Order, Status, Ticket
from connectors.gateway.wire import UNSET_DOUBLE, Value

if TYPE_CHECKING:
    from connectors.gateway.server import Gateway
    from connectors.gateway.session import Session

Key = tuple[int, int]
Build = Callable[["Session"], list[Value]]

INFORMATION = {
    10349: "Order TIF was set to DAY based on order preset.",
    321: "Error validating request.-'bM' : cause - The API interface is currently in Read-Only mode.",
    103: "Duplicate order id",
    10147: "OrderId {0} that needs to be cancelled is not found.",
    10148: "OrderId {0} that needs to be cancelled can not be cancelled, state: PendingCancel.",
}
REJECTIONS = {
    201: "Order rejected - reason:The exchange is closed to this order",
    203: "The security is not available or allowed for this account.",
    321: "Error validating request.-'bM' : cause - The order is not valid any more.",
}


class OrderFaults:
    """Stands between clients and broker for everything that names an order."""

    def __init__(self, gateway: Gateway, panel: Panel) -> None:
        self.gateway, self.panel = gateway, panel
        self.silent: set[Key] = set()
        self.without_status: dict[Key, dict[str, Any]] = {}
        self.pretended: set[int] = set()
        self.midnight_ns = 0

    # ---- requests ------------------------------------------------------------------------------------------------

    def place(self, ticket: Ticket) -> None:
        """placeOrder on its way to the broker."""
        broker, key = self.gateway.broker, (ticket.client_id, ticket.order_id)
        now_ns = self.gateway.now_ns()
        known = broker.orders.get(key)
        if known is not None and not known.done:
            if self.panel.strike("G5") is not None:
                self.gateway.office.twin(ticket, now_ns)
            else:
                broker.place(ticket, now_ns)
            return
        self.silent.discard(key)
        self.without_status.pop(key, None)
        halted = self.gateway.link_faults.halted
        if ticket.spec.instrument in halted:
            self.panel.hits["G19"] += 1
            text = "Order rejected - reason:Orders cannot be transmitted for a halted security."
            self.gateway.office.place_refused(ticket, now_ns, 201, text)
            return
        args = self.panel.strike("G1")
        if args is not None:
            if args["mode"] == "dropped":
                return
            self.silent.add(key)
        args = self.panel.strike("G2", hit=False)
        if args is not None:
            self.without_status[key] = args
        broker.place(ticket, now_ns)
        order = broker.orders.get(key)
        if order is not None:
            self._afterwards(order)

    def _afterwards(self, order: Order) -> None:
        """What happens to an order that has been accepted."""
        ticket = order.ticket
        args = self.panel.strike("G22")
        if args is not None:
            text = INFORMATION[args["mode"]].format(ticket.order_id)
            self.gateway.on_order_error(ticket.client_id, ticket.order_id, args["mode"], text)
        args = None if order.done or order.filled else self.panel.strike("G13", hit=False)
        if args is not None:
            self._later(args["delay_s"], lambda: self._reject(order, args))

    def _reject(self, order: Order, args: dict[str, Any]) -> None:
        if order.done or order.filled or order.status == Status.PENDING_CANCEL:
            return
        self.panel.hits["G13"] += 1
        broker = self.gateway.broker
        broker.now_ns = self.gateway.now_ns()
        code = 201 if args["mode"] == "revive" else int(args["mode"])
        broker.refuse(order, code, REJECTIONS[code])
        if args["mode"] == "revive":
            self._later(args["delay_s"], lambda: self.gateway.office.revive(order))

    def cancel(self, client_id: int, order_id: int) -> None:
        """cancelOrder on its way to the broker."""
        broker = self.gateway.broker
        order = broker.orders.get((client_id, order_id))
        if order is None or order.done or order.status is None:
            broker.cancel(client_id, order_id, self.gateway.now_ns())
            return
        args = self.panel.strike("G12")
        if args is not None:
            self._cancel_trouble(order, args)
            return
        args = self.panel.strike("G23", hit=False)
        if args is not None:
            self._fill_after_cancel(order, args)
            return
        broker.cancel(client_id, order_id, self.gateway.now_ns())

    def _cancel_trouble(self, order: Order, args: dict[str, Any]) -> None:
        ticket, broker = order.ticket, self.gateway.broker
        if args["mode"] == "late":
            self.gateway.office.pend_cancel(order, self.gateway.now_ns())
            self._later(args["delay_s"], lambda: broker.end(order))
            return
        code = int(args["mode"])
        self.gateway.on_order_error(ticket.client_id, ticket.order_id, code, INFORMATION[code].format(ticket.order_id))

    def _fill_after_cancel(self, order: Order, args: dict[str, Any]) -> None:
        broker = self.gateway.broker
        broker.now_ns = self.gateway.now_ns()
        ticket = order.ticket
        if args["mode"] == "pending":
            self.gateway.office.pend_cancel(order, broker.now_ns)
        else:
            for session in self.gateway.watchers(ticket.client_id):
                session.send(frames.order_status(order, Status.CANCELLED))
            self.gateway.on_order_error(ticket.client_id, ticket.order_id, 202, "Order Canceled - reason:")

        def fill() -> None:
            if not order.done:
                self.panel.hits["G23"] += 1
                self.gateway.office.force_fill(order, self.gateway.now_ns())

        self._later(args["delay_s"], fill)

    # ---- answers -------------------------------------------------------------------------------------------------

    def tell(self, kind: str, order: Order, build: Build) -> None:
        """Send a live callback about an order to whom it concerns, unless a fault says otherwise."""
        key = (order.ticket.client_id, order.ticket.order_id)
        if key in self.silent or not self.gateway.link_faults.passes(kind):
            return
        quiet = self.without_status.get(key)
        if quiet is not None and (kind == "status" or (kind == "open" and order.filled)):
            if kind == "status":
                self.panel.hits["G2"] += 1
            return
        for session in self.gateway.watchers(order.ticket.client_id):
            session.send(build(session))
        if kind == "status" and quiet is None:
            self._repeat(order, build)

    def _repeat(self, order: Order, build: Build) -> None:
        args = self.panel.strike("G7")
        if args is None:
            return
        stale = dataclasses.replace(order, status=Status.SUBMITTED, filled=0)
        for session in self.gateway.watchers(order.ticket.client_id):
            for _ in range(args["copies"] - 1):
                session.send(build(session))
            if order.filled:
                session.send(order_frames.open_order(stale, self.gateway.account.name, session.version))
                if not order.done:
                    session.send(frames.order_status(stale))

    def tell_commission(self, fill: Execution) -> None:
        """Send a commission report in its time, which a fault may change."""

        def report(commission: Value = None) -> None:
            self.tell("commission", fill.order, lambda _: frames.commission_report(fill, commission))

        quiet = self.without_status.get((fill.order.ticket.client_id, fill.order.ticket.order_id), {}).get("mode")
        args = self.panel.strike("G17")
        if quiet == "late":
            self._later(self.without_status[fill.order.ticket.client_id, fill.order.ticket.order_id]["delay_s"], report)
        elif args is not None and args["mode"] == "commission":
            report(UNSET_DOUBLE)
            self._later(args["delay_s"], report)
        elif quiet != "early":
            report()
            if quiet == "twice":
                report()
        if args is not None and args["mode"] == "correction":
            self._later(args["delay_s"], lambda: self._correct(fill, args["ticks"]))

    def before_execution(self, fill: Execution) -> None:
        """A commission that comes before its execution."""
        quiet = self.without_status.get((fill.order.ticket.client_id, fill.order.ticket.order_id))
        if quiet is not None and quiet["mode"] == "early":
            self.tell("commission", fill.order, lambda _: frames.commission_report(fill))

    def _correct(self, fill: Execution, ticks: int) -> None:
        broker, name = self.gateway.broker, self.gateway.account.name
        if fill not in broker.executions or fill.ticks + ticks <= 0:
            return
        broker.now_ns = self.gateway.now_ns()
        corrected = self.gateway.office.correct(fill, fill.ticks + ticks)
        self.gateway.account_changed = True
        self.tell("execution", fill.order, lambda s: frames.execution(-1, corrected, name, s.version))
        self.tell("commission", fill.order, lambda _: frames.commission_report(corrected))

    def listed_executions(self) -> list[Execution]:
        """Executions as reqExecutions lists them: those since midnight."""
        found = [e for e in self.gateway.broker.executions if e.ts_ns >= self.midnight_ns]
        if len(found) < len(self.gateway.broker.executions):
            self.panel.hits["G20"] += 1
        return found

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(delay_s, action)
