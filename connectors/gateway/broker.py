"""The broker behind the socket: accepts, holds, matches, amends and cancels orders, and keeps account and ledger.

It reads no clock and no socket: each call carries the gateway's time, each consequence goes to a `Listener` at once and
in order. Seed, market records and the sequence of calls determine every fill.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Callable, Iterator
from typing import Protocol

from connectors.gateway import booking, credit, matching
from connectors.gateway.account import Account
from connectors.gateway.book import Book
from connectors.gateway.hours import TradingHours
from connectors.gateway.ledger import Ledger, order_row
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
        parent = self.parent(order)
        if parent is not None:
            parent.children.append(order)
        if order.done:
            self.completed.append(order)
            return
        self.open[perm_id] = order
        if order.status == Status.PENDING_CANCEL:
            self.end(order)
        elif order.status is not None and not self.waits_for_parent(order):
            self._limit_life(order)
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
        parent = self.parent(order)
        orphan = parent is not None and parent.done and parent.status != Status.FILLED
        reason = "the parent order is not active" if orphan else credit.refusal(self, ticket)
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
        parent = self.parent(order)
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
        self.leave(order)
        order.move(Status.INACTIVE)
        self.finish(order)
        self.listener.on_order_error(order.ticket.client_id, order.ticket.order_id, code, text)
        self.listener.on_open_order(order)
        self.listener.on_status(order)
        for child in order.children:
            self.end(child, "parent order rejected")

    def end(self, order: Order, reason: str = "") -> None:
        """Cancel an open order and its children: Cancelled, then 202."""
        if order.done:
            return
        self.leave(order)
        order.move(Status.CANCELLED)
        self.finish(order)
        self.listener.on_status(order)
        ticket = order.ticket
        self.listener.on_order_error(ticket.client_id, ticket.order_id, 202, f"Order Canceled - reason:{reason}")
        for child in order.children:
            self.end(child, reason)

    # ---- the life of an order ------------------------------------------------------------------------------------

    def transmit(self, order: Order) -> None:
        """Send an order, and the held family it completes, to the market.

        All are accepted before the first one trades: its fill may wake or end the others.
        """
        family = [order]
        parent = self.parent(order)
        if parent is not None and parent.status is None:
            parent.ticket = dataclasses.replace(parent.ticket, transmit=True)
            family = [parent, *(sibling for sibling in parent.children if sibling.status is None)]
        for member in family:
            self._accept(member)
        for member in family:
            self._send(member)

    def _send(self, order: Order) -> None:
        """Let an accepted order go to the market, unless something holds it."""
        if order.why_held or self.waits_for_parent(order):
            return
        if self.entry_ns:
            self._later(lambda: self.arrive(order))
        else:
            self.arrive(order)

    def _accept(self, order: Order) -> None:
        """Give an order its first status and tell what holds it."""
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
        self._limit_life(order)

    def _limit_life(self, order: Order) -> None:
        """End a GTD order at its date and a DAY order at the close, unless an amend has given it another end."""
        end_ns = self._end_of(order)

        def expire() -> None:
            if self._end_of(order) == end_ns:
                self.end(order, "Order expired")

        if end_ns is not None:
            self._later(expire, at_ns=end_ns)

    def _end_of(self, order: Order) -> int | None:
        ticket = order.ticket
        return self.hours.close_after(order.placed_ns) if ticket.tif == "DAY" else ticket.gtd_ns

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
        problem = credit.amend_problem(self, order, ticket)
        if problem is not None:
            self._complain(ticket, *problem)
            return
        old = order.ticket
        order.ticket = ticket
        if order.status is None:
            if ticket.transmit:
                self.transmit(order)
            return
        if (ticket.tif, ticket.gtd_ns) != (old.tif, old.gtd_ns):
            self._limit_life(order)
        keeps_place = dataclasses.replace(ticket, lots=old.lots) == old and ticket.lots <= old.lots
        if keeps_place or not order.live:
            self.publish(order)
            return
        self.leave(order)
        order.triggered = order.triggered and ticket.stop == old.stop
        if ticket.stop is not None and not order.triggered and order.status == Status.SUBMITTED:
            order.move(Status.PRE_SUBMITTED)
        self.publish(order)
        self._send(order)

    def _fills(self, fills: Iterator[matching.Fill]) -> None:
        for order, ticks, lots, liquidity in fills:
            booking.fill(self, order, ticks, lots, liquidity)

    def set_status(self, order: Order, status: Status) -> None:
        order.move(status)
        self.publish(order)

    def publish(self, order: Order) -> None:
        self.record(order)
        self.listener.on_open_order(order)
        self.listener.on_status(order)

    def record(self, order: Order) -> None:
        self.ledger.append(order_row(order, self.now_ns))

    def finish(self, order: Order) -> None:
        """File an order that has ended."""
        assert order.status in TERMINAL
        order.completed_ns = self.now_ns
        self.open.pop(order.perm_id, None)
        self.completed.append(order)
        self.record(order)

    def leave(self, order: Order) -> None:
        """Take an order off the market."""
        if order.live:
            order.live = False
            for waiting in (self.resting, self.stops):
                if order in waiting[order.ticket.spec.instrument]:
                    waiting[order.ticket.spec.instrument].remove(order)

    def parent(self, order: Order) -> Order | None:
        """The order this one is attached to."""
        ticket = order.ticket
        return self.orders.get((ticket.client_id, ticket.parent_id)) if ticket.parent_id else None

    def waits_for_parent(self, order: Order) -> bool:
        parent = self.parent(order)
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
