"""The broker behind the socket: accepts, holds, matches, amends and cancels orders, and keeps account and ledger.

It reads no clock and no socket: each call carries the gateway's time, each consequence goes to a `Listener` at once and
in order. Seed, market records and the sequence of calls determine every fill.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from connectors.gateway import credit, matching
from connectors.gateway.account import Account, order_commission
from connectors.gateway.book import Book
from connectors.gateway.hours import TradingHours
from connectors.gateway.ledger import Ledger, commission_row, execution_row, order_row
from connectors.gateway.orders import TERMINAL, Execution, Order, Status, Ticket
from contracts.instruments import INSTRUMENTS, InstrumentSpec
from contracts.market import Heartbeat, RawBook, RawHalt, RawTrade

Record = RawBook | RawTrade | RawHalt | Heartbeat
Key = tuple[int, int]
"""(client id, order id)."""


class Listener(Protocol):
    """Who hears of orders; called in the order in which things happen."""

    def on_open_order(self, order: Order) -> None: ...
    def on_status(self, order: Order) -> None: ...
    def on_execution(self, execution: Execution) -> None: ...
    def on_commission(self, execution: Execution) -> None: ...
    def on_order_error(self, client_id: int, order_id: int, code: int, text: str) -> None: ...


class Broker:
    """One paper account, its orders and the books they trade against."""

    def __init__(
        self,
        account: Account,
        ledger: Ledger,
        listener: Listener,
        *,
        seed: int = 0,
        entry_ns: int = 0,
        hours: TradingHours | None = None,
        limits: bool = True,
    ) -> None:
        self.account, self.ledger, self.listener = account, ledger, listener
        self.seed, self.entry_ns, self.limits = seed, entry_ns, limits
        self.hours = hours or TradingHours(enforced=False)
        self.books = {name: Book(spec) for name, spec in INSTRUMENTS.items()}
        self.resting: dict[str, list[Order]] = {name: [] for name in INSTRUMENTS}
        self.stops: dict[str, list[Order]] = {name: [] for name in INSTRUMENTS}
        self.orders: dict[Key, Order] = {}
        self.by_perm: dict[int, Order] = {}
        self.open: dict[int, Order] = {}
        self.completed: list[Order] = []
        self.executions: list[Execution] = []
        self.unlocatable: set[str] = set()
        self.now_ns = 0
        self.last_ids: dict[int, int] = {}
        self._perm_id = 1_000_000_000 + (seed % 1000) * 1_000_000
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0

    def adopt(self, order: Order, perm_id: int) -> None:
        """Take over an order from the ledger; one that was open goes back to the market."""
        ticket = order.ticket
        self._perm_id = max(self._perm_id, perm_id)
        self.last_ids[ticket.client_id] = max(ticket.order_id, self.last_ids.get(ticket.client_id, 0))
        self.by_perm[perm_id] = order
        if ticket.order_id:
            self.orders[ticket.client_id, ticket.order_id] = order
        parent = self._parent(order)
        if parent is not None:
            parent.children.append(order)
        if order.done:
            self.completed.append(order)
            return
        self.open[perm_id] = order
        if order.status == Status.PENDING_CANCEL:
            self.end(order)
        elif order.status is not None and not self.waits_for_parent(order):
            if ticket.gtd_ns is not None:
                self._later(lambda: self.end(order, "GTD order expired"), at_ns=ticket.gtd_ns)
            self.arrive(order)

    # ---- what clients ask ----------------------------------------------------------------------------------------

    def next_id(self, client_id: int) -> int:
        """The next valid order id of a client: one above all it has used."""
        return self.last_ids.get(client_id, 0) + 1

    def place(self, ticket: Ticket, now_ns: int) -> None:
        """Accept, amend or refuse an order; what-if tickets must not come here."""
        self.now_ns = now_ns
        key = (ticket.client_id, ticket.order_id)
        if key in self.orders:
            self._amend(self.orders[key], ticket)
            return
        if ticket.order_id <= self.last_ids.get(ticket.client_id, 0):
            self._complain(ticket, 103, "Duplicate order id")
            return
        if ticket.parent_id and (ticket.client_id, ticket.parent_id) not in self.orders:
            self._complain(ticket, 135, f"Can't find order with id ={ticket.parent_id}")
            return
        self.last_ids[ticket.client_id] = ticket.order_id
        order = self.admit(ticket)
        reason = credit.refusal(self, ticket)
        if reason:
            self.refuse(order, 201, f"Order rejected - reason:{reason}")
        elif not ticket.transmit:
            self.record(order)
        else:
            self.transmit(order)

    def admit(self, ticket: Ticket) -> Order:
        """Register an order under a new permanent id, not yet working."""
        self._perm_id += 1
        order = Order(ticket, self._perm_id, self.now_ns)
        self.orders[ticket.client_id, ticket.order_id] = order
        self.by_perm[order.perm_id] = order
        self.open[order.perm_id] = order
        parent = self._parent(order)
        if parent is not None:
            parent.children.append(order)
        return order

    def cancel(self, client_id: int, order_id: int, now_ns: int) -> None:
        """Cancel a client's own order; 10147 when it is unknown, 10148 when it is done."""
        self.now_ns = now_ns
        order = self.orders.get((client_id, order_id))
        if order is None:
            text = f"OrderId {order_id} that needs to be cancelled is not found."
            self.listener.on_order_error(client_id, order_id, 10147, text)
        elif order.done or order.status == Status.PENDING_CANCEL:
            text = f"OrderId {order_id} that needs to be cancelled can not be cancelled, state: {order.status}."
            self.listener.on_order_error(client_id, order_id, 10148, text)
        elif self.entry_ns and order.status is not None:
            self.set_status(order, Status.PENDING_CANCEL)
            self._later(lambda: self.end(order))
        else:
            self.end(order)

    def cancel_all(self, now_ns: int) -> None:
        """Global cancel: every open order of every client."""
        self.now_ns = now_ns
        for order in list(self.open.values()):
            if not order.done:
                self.end(order)

    # ---- what the market does ------------------------------------------------------------------------------------

    def on_record(self, record: Record, now_ns: int) -> None:
        """Apply a market record and fill what it fills; ValueError for a record that cannot be read."""
        self.now_ns = now_ns
        if isinstance(record, Heartbeat) or record.instrument not in self.books:
            return
        book, resting = self.books[record.instrument], self.resting[record.instrument]
        if isinstance(record, RawHalt):
            self.halt(record.instrument, halted=record.halted, now_ns=now_ns)
            return
        if isinstance(record, RawBook):
            book.apply_book(record)
            if resting and self._trading(book):
                self._fills(matching.on_book(book, resting))
        else:
            ticks, lots = book.apply_trade(record)
            if resting and self._trading(book):
                self._fills(matching.on_trade(resting, ticks, lots, record.side))
        if self.stops[record.instrument] and self._trading(book):
            self._trigger(book)

    def halt(self, instrument: str, *, halted: bool, now_ns: int) -> None:
        """Stop or resume trading in one instrument; orders wait meanwhile."""
        self.now_ns = now_ns
        book = self.books[instrument]
        book.halted = halted
        if self._trading(book):
            self._fills(matching.on_book(book, self.resting[instrument]))

    def advance(self, now_ns: int) -> None:
        """Run what is due: orders on their way to the market, GTD ends."""
        self.now_ns = max(now_ns, self.now_ns)
        while self._due and self._due[0][0] <= now_ns:
            heapq.heappop(self._due)[2]()

    @property
    def next_due_ns(self) -> int | None:
        return self._due[0][0] if self._due else None

    def mark(self, spec: InstrumentSpec) -> int:
        return self.books[spec.instrument].mark

    def refuse(self, order: Order, code: int, text: str) -> None:
        """Reject an order: the reason as an error, then Inactive."""
        self._leave(order)
        order.move(Status.INACTIVE)
        self._finish(order)
        self.listener.on_order_error(order.ticket.client_id, order.ticket.order_id, code, text)
        self.listener.on_open_order(order)
        self.listener.on_status(order)

    def end(self, order: Order, reason: str = "") -> None:
        """Cancel an open order and its children: Cancelled, then 202."""
        if order.done:
            return
        self._leave(order)
        order.status = order.status or Status.PRE_SUBMITTED
        order.move(Status.CANCELLED)
        self._finish(order)
        self.listener.on_status(order)
        ticket = order.ticket
        self.listener.on_order_error(ticket.client_id, ticket.order_id, 202, f"Order Canceled - reason:{reason}")
        for child in order.children:
            self.end(child, reason)

    # ---- the life of an order ------------------------------------------------------------------------------------

    def transmit(self, order: Order) -> None:
        """Send an order and the held family it completes to the market."""
        parent = self._parent(order)
        if parent is not None and parent.status is None:
            parent.ticket = dataclasses.replace(parent.ticket, transmit=True)
            self.submit(parent)
            for sibling in parent.children:
                if sibling.status is None:
                    self.submit(sibling)
        else:
            self.submit(order)

    def submit(self, order: Order) -> None:
        ticket = order.ticket
        book = self.books[ticket.spec.instrument]
        if ticket.spec.instrument in self.unlocatable and self._sells_short(order):
            order.why_held = "locate"
        held = bool(order.why_held) or self.waits_for_parent(order)
        quiet = held or bool(self.entry_ns) or ticket.order_type != "LMT" or not self._trading(book)
        order.move(Status.PRE_SUBMITTED if quiet else Status.SUBMITTED)
        self.publish(order)
        if order.why_held:
            text = "Order held while securities are located."
            self.listener.on_order_error(ticket.client_id, ticket.order_id, 404, text)
        if not self.hours.open_at(self.now_ns) and not ticket.outside_rth:
            text = "Order Message:\nWarning: your order will not be placed at the exchange until the market opens."
            self.listener.on_order_error(ticket.client_id, ticket.order_id, 399, text)
        if ticket.gtd_ns is not None:
            self._later(lambda: self.end(order, "GTD order expired"), at_ns=ticket.gtd_ns)
        if held:
            return
        if self.entry_ns:
            self._later(lambda: self.arrive(order))
        else:
            self.arrive(order)

    def arrive(self, order: Order) -> None:
        """The order reaches the market: match it, then let it rest, wait as a stop, or end."""
        if order.done or order.live:
            return
        ticket, name = order.ticket, order.ticket.spec.instrument
        book = self.books[name]
        order.live = True
        if ticket.stop is not None and not order.triggered:
            if not (self._trading(book) and matching.triggered(book, order)):
                self.stops[name].append(order)
                return
            order.triggered = True
        if self._trading(book):
            if ticket.tif == "FOK" and self._reach(book, order) < order.remaining:
                self.end(order)
                return
            self._fills(matching.take(book, order))
        if order.done:
            return
        if ticket.tif in ("IOC", "FOK"):
            self.end(order)
            return
        matching.rest(book, order)
        self.resting[name].append(order)
        if order.status == Status.PRE_SUBMITTED and self._trading(book):
            self.set_status(order, Status.SUBMITTED)

    def _reach(self, book: Book, order: Order) -> int:
        return sum(lots for _, lots in book.available(order.ticket.side, matching.effective_limit(order)))

    def _trigger(self, book: Book) -> None:
        for order in list(self.stops[book.spec.instrument]):
            if order.live and matching.triggered(book, order):
                self.stops[book.spec.instrument].remove(order)
                order.triggered, order.live = True, False
                self.arrive(order)

    def _amend(self, order: Order, ticket: Ticket) -> None:
        """The same id again: change price, size or time in force of a live order."""
        problem = self._amend_problem(order, ticket)
        if problem is not None:
            self._complain(ticket, *problem)
            return
        old = order.ticket
        order.ticket = ticket
        if order.status is None:
            if ticket.transmit:
                self.transmit(order)
            return
        keeps_place = dataclasses.replace(ticket, lots=old.lots) == old and ticket.lots <= old.lots
        if keeps_place or not order.live:
            self.publish(order)
            return
        self._leave(order)
        order.triggered = order.triggered and ticket.stop == old.stop
        if ticket.stop is not None and not order.triggered and order.status == Status.SUBMITTED:
            order.move(Status.PRE_SUBMITTED)
        self.publish(order)
        if self.entry_ns:
            self._later(lambda: self.arrive(order))
        else:
            self.arrive(order)

    def _amend_problem(self, order: Order, ticket: Ticket) -> tuple[int, str] | None:
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
        reason = credit.refusal(self, ticket) if ticket.lots > old.lots else ""
        return (201, f"Order rejected - reason:{reason}") if reason else None

    def _fills(self, fills: Iterable[matching.Fill] | Iterator[matching.Fill]) -> None:
        for order, ticks, lots, liquidity in fills:
            self.fill(order, ticks, lots, liquidity)

    def fill(self, order: Order, ticks: int, lots: int, liquidity: int) -> None:
        """Book one fill everywhere, then tell: execution, order, status, commission."""
        assert 0 < lots <= order.remaining, f"a fill of {lots} against {order.remaining} remaining"
        spec = order.ticket.spec
        order.filled += lots
        order.executions += 1
        order.value += spec.notional(ticks, lots)
        order.last_price = spec.price(ticks)
        commission = order_commission(spec, order.filled, order.value) - order.commission
        order.commission += commission
        realized = self.account.fill(spec, order.sign * lots, ticks, commission)
        execution = Execution(
            exec_id=f"{self.seed & 0xFFFFFFFF:08x}.{order.perm_id:08x}.{order.executions:02d}.01",
            order=order,
            lots=lots,
            ticks=ticks,
            ts_ns=self.now_ns,
            cumulative=order.filled,
            average_price=order.average_price,
            liquidity=liquidity,
            commission=commission,
            realized_pnl=realized,
        )
        self.executions.append(execution)
        self.ledger.append(execution_row(execution, self.books[spec.instrument].ts_event_ns))
        self.ledger.append(commission_row(execution))
        if not order.remaining:
            self._leave(order)
            order.move(Status.FILLED)
            self._finish(order)
        elif order.status == Status.PRE_SUBMITTED:
            order.move(Status.SUBMITTED)
            self.record(order)
        else:
            self.record(order)
        self.listener.on_execution(execution)
        self.listener.on_open_order(order)
        self.listener.on_status(order)
        self.listener.on_commission(execution)
        self._after_fill(order, lots)

    def _after_fill(self, order: Order, lots: int) -> None:
        """Wake children of a filled parent; cancel or reduce the rest of a one-cancels-all group."""
        if order.done:
            for child in list(order.children):
                if child.status is not None and not child.done and not child.live:
                    self.arrive(child)
        for other in self._group(order):
            if order.ticket.oca_type == 1 or order.done or other.remaining <= lots:
                self.end(other)
            else:
                other.ticket = dataclasses.replace(other.ticket, lots=other.ticket.lots - lots)
                self.publish(other)

    def _group(self, order: Order) -> list[Order]:
        """The other open orders of the order's OCA group, or its siblings under one parent."""
        group = order.ticket.oca_group
        parent = self._parent(order)
        siblings = parent.children if parent is not None else []
        others = [o for o in self.open.values() if group and o.ticket.oca_group == group] or siblings
        return [other for other in others if other is not order and not other.done]

    def set_status(self, order: Order, status: Status) -> None:
        order.move(status)
        self.publish(order)

    def publish(self, order: Order) -> None:
        self.record(order)
        self.listener.on_open_order(order)
        self.listener.on_status(order)

    def record(self, order: Order) -> None:
        self.ledger.append(order_row(order, self.now_ns))

    def _finish(self, order: Order) -> None:
        assert order.status in TERMINAL
        order.completed_ns = self.now_ns
        self.open.pop(order.perm_id, None)
        self.completed.append(order)
        self.record(order)

    def _leave(self, order: Order) -> None:
        """Take an order off the market."""
        if order.live:
            order.live = False
            for waiting in (self.resting, self.stops):
                if order in waiting[order.ticket.spec.instrument]:
                    waiting[order.ticket.spec.instrument].remove(order)

    def _parent(self, order: Order) -> Order | None:
        ticket = order.ticket
        return self.orders.get((ticket.client_id, ticket.parent_id)) if ticket.parent_id else None

    def waits_for_parent(self, order: Order) -> bool:
        parent = self._parent(order)
        return parent is not None and parent.status != Status.FILLED

    def _sells_short(self, order: Order) -> bool:
        return order.sign < 0 and self.account.position(order.ticket.spec).lots < order.ticket.lots

    def _trading(self, book: Book) -> bool:
        return not book.halted and self.hours.open_at(self.now_ns)

    def _complain(self, ticket: Ticket, code: int, text: str) -> None:
        self.listener.on_order_error(ticket.client_id, ticket.order_id, code, text)

    def _later(self, action: Callable[[], None], at_ns: int | None = None) -> None:
        self._sequence += 1
        due_ns = self.now_ns + self.entry_ns if at_ns is None else at_ns
        heapq.heappush(self._due, (due_ns, self._sequence, action))
