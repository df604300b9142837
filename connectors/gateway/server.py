"""The gateway: sessions on one side, the broker and its market on the other, and the table between them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from connectors.gateway import (
    account_requests,
    contract_requests,
    frames,
    history_requests,
    market_requests,
    order_frames,
    order_requests,
    tick_requests,
    unavailable,
)
from connectors.gateway.account import Account
from connectors.gateway.backoffice import BackOffice
from connectors.gateway.broker import Broker, Record
from connectors.gateway.faults import CATALOGUE, FaultError, Panel
from connectors.gateway.hours import TradingHours
from connectors.gateway.ledger import Ledger
from connectors.gateway.link_faults import LinkFaults
from connectors.gateway.market_data import Hub
from connectors.gateway.order_faults import OrderFaults
from connectors.gateway.orders import Execution, Order
from connectors.gateway.pacing import HistoryPacing
from connectors.gateway.restore import restore
from connectors.gateway.session import Session
from connectors.gateway.tape import Tape
from connectors.gateway.wire import Fields
from contracts.instruments import InstrumentSpec
from contracts.market import Heartbeat

log = logging.getLogger(__name__)

SESSIONS_MAX = 32
"""IB's limit of simultaneous API clients."""

FARMS = (
    (2104, "Market data farm connection is OK:usfarm"),
    (2106, "HMDS data farm connection is OK:ushmds"),
    (2158, "Sec-def data farm connection is OK:secdefil"),
)

HANDLERS = {
    **contract_requests.HANDLERS,
    **market_requests.HANDLERS,
    **history_requests.HANDLERS,
    **tick_requests.HANDLERS,
    **order_requests.HANDLERS,
    **account_requests.HANDLERS,
    **unavailable.HANDLERS,
}
"""Message id to the function that answers it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a gateway is started. Latencies in seconds."""

    account: str = "DU1234567"
    cash: Decimal = Decimal(1_000_000)
    seed: int = 0
    ledger: Path | None = None
    feed_s: float = 0.0
    entry_s: float = 0.0
    response_s: float = 0.0
    hours: bool = False
    pacing: bool = True
    master_client: int | None = None
    hard_to_borrow: tuple[str, ...] = ()


class Gateway:
    """Owns the sessions and hears what the broker does (`broker.Listener`)."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.account = Account(settings.account, settings.cash)
        self.ledger = Ledger(settings.ledger)
        self.broker = Broker(
            self.account,
            self.ledger,
            self,
            seed=settings.seed,
            entry_ns=int(settings.entry_s * 1e9),
            hours=TradingHours(enforced=settings.hours),
            limits=settings.pacing,
        )
        self.office = BackOffice(self.broker)
        for instrument in settings.hard_to_borrow:
            self._known(instrument)
            self.broker.unlocatable.add(instrument)
        self.hub = Hub()
        self.tapes = {name: Tape(settings.seed, name) for name in self.broker.books}
        self.history_pacing = HistoryPacing()
        self.panel = Panel(settings.seed)
        self.order_faults = OrderFaults(self, self.panel)
        self.link_faults = LinkFaults(self, self.panel)
        self.auto_bind = False
        self.foreign: set[int] = set()
        self.connections: set[Session] = set()
        self.sessions: dict[int, Session] = {}
        self.records = 0
        self.account_changed = False
        self._due: asyncio.TimerHandle | None = None
        self._open_ledger()

    def _open_ledger(self) -> None:
        """Go on where the ledger ends, or begin a new one. LedgerError when it is another account's."""
        view = self.ledger.view()
        if view.account:
            restore(self.broker, view)
            return
        row = {"account": self.account.name, "cash": str(self.account.cash_start), "seed": self.settings.seed}
        self.ledger.append({"type": "meta", **row})

    def now_ns(self) -> int:
        """The gateway's time."""
        return time.time_ns()

    # ---- sessions ------------------------------------------------------------------------------------------------

    def admit(self, session: Session) -> bool:
        """Whether a new connection may stay."""
        if len(self.connections) >= SESSIONS_MAX:
            log.warning("a connection is refused: %d are open already", SESSIONS_MAX)
            return False
        if self.link_faults.refuses():
            return False
        self.connections.add(session)
        return True

    def greet(self, session: Session, answer: Callable[[], None]) -> None:
        """The version is agreed; the answer goes out now, late or never."""
        self.link_faults.greet(session, answer)

    def start(self, session: Session, client_id: int) -> None:
        """startApi: take the client id and tell accounts, next id and farms; 326 when the id is taken."""
        if client_id in self.sessions or self.link_faults.client_id_busy():
            text = "Unable to connect as the client id is already in use. Retry with a unique client id."
            session.deliver(frames.error(-1, 326, text, session.version))
            session.close()
            return
        session.client_id = client_id
        self.sessions[client_id] = session
        if self.link_faults.unauthenticated():
            return
        session.send(frames.managed_accounts(self.account.name))
        session.send(frames.next_valid_id(self.broker.next_id(client_id)))
        for code, text in FARMS:
            session.error(-1, code, text)

    def release(self, session: Session) -> None:
        """Forget a connection: its client id is free, its subscriptions end."""
        self.connections.discard(session)
        if session.client_id is not None and self.sessions.get(session.client_id) is session:
            del self.sessions[session.client_id]
        for key in list(session.subscriptions):
            market_requests.drop(session, key)

    def request(self, session: Session, message_id: int, fields: Fields) -> None:
        """Answer one request of a started session, within IB's message rate."""
        if self.settings.pacing and not session.paced and session.rate.exceeded(time.monotonic()):
            self.panel.hits["G11"] += 1
            session.error(-1, 100, "Max rate of messages per second has been exceeded: max=50")
            session.close()
            return
        self.link_faults.request(session, message_id, fields, lambda: self.answer(session, message_id, fields))

    def answer(self, session: Session, message_id: int, fields: Fields) -> None:
        handler = HANDLERS.get(message_id)
        if handler is None:
            session.error(-1, 505, f"Fatal Error: Unknown message id {message_id}.")
            return
        session.handle(handler, message_id, fields)
        self.schedule()

    def schedule(self) -> None:
        """Wake up when the broker's next deferred action is due."""
        due_ns = self.broker.next_due_ns
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if due_ns is not None:
            delay_s = max(0.0, (due_ns - self.now_ns()) / 1e9)
            self._due = asyncio.get_running_loop().call_later(delay_s, self._advance)

    def _advance(self) -> None:
        self._due = None
        self.broker.advance(self.now_ns())
        self.schedule()

    # ---- the market ----------------------------------------------------------------------------------------------

    def on_record(self, record: Record) -> None:
        """One market record: match it, and tell the lines of its instrument."""
        try:
            self.broker.on_record(record, self.now_ns())
        except ValueError as error:
            log.warning("a market record is skipped: %s", error)
            return
        self.records += 1
        if not isinstance(record, Heartbeat) and record.instrument in self.broker.books:
            book = self.broker.books[record.instrument]
            self.tapes[record.instrument].record(book, self.broker.now_ns)
            self.hub.changed(book)

    async def replay(self, feed: AsyncIterator[Record]) -> None:
        """Apply a feed until it ends; the books stay as it leaves them."""
        async for record in feed:
            self.on_record(record)
        log.info("the market source has ended after %d records", self.records)

    async def housekeeping(self) -> None:
        """Once a second: account updates that are due, and faults that happen by themselves at a rate."""
        while True:
            await asyncio.sleep(1.0)
            for session in list(self.sessions.values()):
                account_requests.refresh(session, changed=self.account_changed)
                history_requests.refresh(session, self.now_ns() // 1_000_000_000)
            self.account_changed = False
            for fault in [
                f for f, armed in self.panel.armed.items() if armed.rate < 1 and CATALOGUE[f].occasion == "now"
            ]:
                self.link_faults.act(fault)

    # ---- broker.Listener -----------------------------------------------------------------------------------------

    def watchers(self, client_id: int) -> list[Session]:
        """Who hears of a client's orders: the client itself and the master client."""
        ids = {client_id, self.settings.master_client}
        return [self.sessions[i] for i in sorted(i for i in ids if i is not None and i in self.sessions)]

    def on_open_order(self, order: Order) -> None:
        name = self.account.name
        self.order_faults.tell("open", order, lambda s: order_frames.open_order(order, name, s.version))

    def on_status(self, order: Order) -> None:
        self.order_faults.tell("status", order, lambda _: frames.order_status(order))

    def on_execution(self, execution: Execution) -> None:
        name = self.account.name
        self.order_faults.before_execution(execution)
        self.order_faults.tell("execution", execution.order, lambda s: frames.execution(-1, execution, name, s.version))
        self.position_changed(execution.order.ticket.spec)

    def on_commission(self, execution: Execution) -> None:
        self.order_faults.tell_commission(execution)

    def on_order_error(self, client_id: int, order_id: int, code: int, text: str) -> None:
        session = self.sessions.get(client_id)
        if session is not None and (client_id, order_id) not in self.order_faults.silent:
            session.error(order_id, code, text)

    # ---- what operators and faults ask ---------------------------------------------------------------------------

    def arm(self, fault: str, **options: Any) -> None:
        """Switch a fault on; one whose occasion is `now` happens at once. FaultError says what is wrong."""
        self.panel.arm(fault, **options)
        if CATALOGUE[fault].occasion == "now" and self.panel.armed[fault].rate == 1:
            while fault in self.panel.armed:
                self.link_faults.act(fault)
        self.schedule()

    def locate(self, instrument: str) -> None:
        """Shares to borrow have been found. FaultError when the instrument is unknown."""
        self._known(instrument)
        self.office.locate(instrument, self.now_ns())

    def _known(self, instrument: str) -> None:
        if instrument not in self.broker.books:
            raise FaultError(f"no instrument {instrument!r}; choose from {', '.join(self.broker.books)}")

    def status(self) -> dict[str, Any]:
        """Counts for people and tests."""
        return {
            "account": self.account.name,
            "connections": len(self.connections),
            "clients": sorted(self.sessions),
            "records": self.records,
            "orders": len(self.broker.by_perm),
            "open_orders": len(self.broker.open),
            "executions": len(self.broker.executions),
            "halted": sorted(name for name, book in self.broker.books.items() if book.halted),
            "quoted": sorted(name for name, book in self.broker.books.items() if book.mid is not None),
        }

    def position_changed(self, spec: InstrumentSpec) -> None:
        """Tell every client that watches positions; account values follow within a second."""
        self.account_changed = True
        account_requests.position_changed(self, spec)

    def halt(self, instrument: str, *, halted: bool) -> None:
        """Stop or resume trading in one instrument."""
        book = self.broker.books[instrument]
        self.broker.halt(instrument, halted=halted, now_ns=self.now_ns())
        self.hub.changed(book)

    def drop_data(self) -> None:
        """End all market data subscriptions without a word, as after 1101."""
        for session in self.sessions.values():
            for key in [key for key in session.subscriptions if key[0] in market_requests.DATA]:
                market_requests.drop(session, key)

    def bind(self, order: Order) -> None:
        """Bind a manual order to client 0, and tell it."""
        self.office.bind(order)
        session = self.sessions.get(0)
        if session is not None:
            session.send([100, order.perm_id, 0, order.ticket.order_id])
            session.send(order_frames.open_order(order, self.account.name, session.version))
            session.send(frames.order_status(order))
