"""Faults of the link: connections, requests as such, the line to IB, and hands at the terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from connectors.gateway import frames
from connectors.gateway.faults import Panel
from connectors.gateway.orders import Ticket
from connectors.gateway.wire import Fields
from contracts.instruments import INSTRUMENTS

if TYPE_CHECKING:
    from connectors.gateway.server import Gateway
    from connectors.gateway.session import Session

PLACE, CANCEL, OPEN_ORDERS, ACCOUNT, EXECUTIONS, CONTRACT, ALL_OPEN, HISTORY, POSITIONS, SUMMARY = (
    3, 4, 5, 6, 7, 9, 16, 20, 61, 62,
)  # fmt: skip
SNAPSHOTS = frozenset({OPEN_ORDERS, EXECUTIONS, ALL_OPEN, POSITIONS, SUMMARY, 99})
FOREIGN_CLIENT = 999

LOST = (1100, "Connectivity between IBKR and Trader Workstation has been lost.")
RESTORED = {
    "kept": (1102, "Connectivity between IBKR and Trader Workstation has been restored - data maintained."),
    "lost": (1101, "Connectivity between IBKR and Trader Workstation has been restored - data lost."),
}
BROKEN = (
    (2103, "Market data farm connection is broken:usfarm"),
    (2105, "HMDS data farm connection is broken:ushmds"),
)
FINE = (
    (2108, "Market data farm connection is inactive but should be available upon demand.usfarm"),
    (2104, "Market data farm connection is OK:usfarm"),
    (2106, "HMDS data farm connection is OK:ushmds"),
)


class LinkFaults:
    """Stands at the door of every connection and request, and acts on the gateway when told to."""

    def __init__(self, gateway: Gateway, panel: Panel) -> None:
        self.gateway, self.panel = gateway, panel
        self.down: dict[str, Any] | None = None
        self.halted: set[str] = set()
        self.data_stopped = False
        self.closed = False
        self.no_login = False
        self._waiting: list[Callable[[], None]] = []

    # ---- connections ---------------------------------------------------------------------------------------------

    def refuses(self) -> bool:
        """Whether new connections are reset at once (the gateway restarts or waits for a second factor)."""
        if self.closed:
            self.panel.hits["G10"] += 1
        return self.closed

    def greet(self, session: Session, answer: Callable[[], None]) -> None:
        """The version answer: now, late or never."""
        args = self.panel.peek("G8") or {}
        if args.get("mode") == "mute" and self.panel.strike("G8") is not None:
            session.muted = True
        elif args.get("mode") == "slow" and self.panel.strike("G8") is not None:
            self._later(args["delay_s"], answer)
        else:
            answer()

    def client_id_busy(self) -> bool:
        args = self.panel.peek("G8") or {}
        return args.get("mode") == "busy" and self.panel.strike("G8") is not None

    def unauthenticated(self) -> bool:
        """Connected, but the gateway has not logged in: no accounts, no ids, no answers."""
        if self.no_login:
            self.panel.hits["G10"] += 1
        return self.no_login

    # ---- requests ------------------------------------------------------------------------------------------------

    def request(self, session: Session, message_id: int, fields: Fields, answer: Callable[[], None]) -> None:
        """Let a request through, late, or not at all."""
        if self.no_login:
            return
        if self.down is not None and message_id in (PLACE, CANCEL):
            self._waiting.append(answer)
            return
        if message_id in (PLACE, CANCEL) and self._dies(session, message_id, answer):
            return
        if self._limited(session, message_id, fields):
            return
        if message_id == CONTRACT and self.panel.strike("G15") is not None:
            return
        if message_id in (OPEN_ORDERS, ALL_OPEN) and session.client_id is not None:
            self._foreign_order(session.client_id)
        if message_id == POSITIONS:
            args = self.panel.strike("G14")
            if args is not None:
                self._positions(session, args, answer)
                return
        args = self.panel.strike("G25") if message_id in SNAPSHOTS else None
        if args is not None:
            self._later(args["delay_s"], answer)
        else:
            answer()

    def _dies(self, session: Session, message_id: int, answer: Callable[[], None]) -> bool:
        args = self.panel.peek("G4")
        if args is None or {"place": PLACE, "cancel": CANCEL}.get(args["on"]) != message_id:
            return False
        if self.panel.strike("G4") is None:
            return False
        session.muted = True
        if args["mode"] == "reached":
            answer()
        session.abort()
        return True

    def _limited(self, session: Session, message_id: int, fields: Fields) -> bool:
        mode = (self.panel.peek("G11") or {}).get("mode")
        if mode == "100" and self.panel.strike("G11") is not None:
            session.error(-1, 100, "Max rate of messages per second has been exceeded: max=50")
            session.close()
            return True
        if mode == "162" and message_id == HISTORY and self.panel.strike("G11") is not None:
            text = "Historical Market Data Service error message:Historical data request pacing violation"
            session.error(fields.peek(0), 162, text)
            return True
        return False

    def _foreign_order(self, client_id: int) -> None:
        """Another client's live order with an order id of ours (its permanent id differs)."""
        broker = self.gateway.broker
        own = [order for order in broker.open.values() if order.ticket.client_id == client_id]
        if not own or self.panel.strike("G6") is None:
            return
        spec = own[-1].ticket.spec
        order_id = own[-1].ticket.order_id
        limit = max(1, broker.mark(spec) // 2)
        ticket = Ticket(FOREIGN_CLIENT, order_id, spec, "BUY", 1, "LMT", limit=limit, tif="GTC")
        broker.place(ticket, self.gateway.now_ns())
        order = broker.orders.get((FOREIGN_CLIENT, order_id))
        if order is not None:
            self.gateway.foreign.add(order.perm_id)

    def _positions(self, session: Session, args: dict[str, Any], answer: Callable[[], None]) -> None:
        if args["mode"] == "late":
            self._later(args["delay_s"], answer)
            return
        account = self.gateway.account
        held = [position for position in account.positions.values() if position.lots]
        for position in held[:-1] if args["mode"] == "partial" else held:
            session.send(frames.position(account.name, position))
        if args["mode"] == "partial":
            session.send([62, 1])

    # ---- the line to IB ------------------------------------------------------------------------------------------

    def passes(self, kind: str) -> bool:
        """Whether a live callback reaches the client; the first fill of an armed G3 takes the link down."""
        if kind == "execution" and self.down is None:
            args = self.panel.strike("G3", hit=False)
            if args is not None:
                self._lose_link(args)
        if self.down is not None and self.down["mode"] == "lost":
            self.panel.hits["G3"] += kind == "execution"
            return False
        if self.down is not None:
            self.panel.hits["G3"] += kind == "execution"
        return True

    def data_flows(self) -> bool:
        return self.down is None and not self.data_stopped

    def _lose_link(self, args: dict[str, Any]) -> None:
        self.down = args
        self._tell_all(*LOST)
        self._later(args["for_s"], lambda: self._restore_link(args["data"]))

    def _restore_link(self, data: str) -> None:
        self.down = None
        if data == "lost":
            self.gateway.drop_data()
        self._tell_all(*RESTORED[data])
        waiting, self._waiting = self._waiting, []
        for answer in waiting:
            answer()

    # ---- what happens now ----------------------------------------------------------------------------------------

    def act(self, fault: str) -> None:
        """Strike a fault whose occasion is now."""
        args = self.panel.peek(fault)
        action = getattr(self, f"_{fault.lower()}", None)
        if args is None or action is None:
            return
        if self.panel.strike(fault, hit=False) is not None:
            self.gateway.broker.now_ns = self.gateway.now_ns()
            action(args)

    def _g9(self, args: dict[str, Any]) -> None:
        """Farms break and come back, again and again; orders are fine."""
        flaps = max(1, int(args["for_s"] / args["every_s"]))

        def flap(left: int) -> None:
            self.panel.hits["G9"] += 1
            for notice in BROKEN if left % 2 else FINE:
                self._tell_all(*notice)
            if left > 0:
                self._later(args["every_s"], lambda: flap(left - 1))

        flap(flaps | 1)

    def _g10(self, args: dict[str, Any]) -> None:
        self.panel.hits["G10"] += 1
        self.closed = args["mode"] == "2fa" or (args["mode"] == "reset" and args["for_s"] > 0)
        self.no_login = args["mode"] == "unauthenticated"
        for session in list(self.gateway.connections):
            session.abort()
        if args["for_s"] > 0:
            self._later(args["for_s"], self._log_in)

    def _log_in(self) -> None:
        self.closed = self.no_login = False

    def _g16(self, args: dict[str, Any]) -> None:
        broker, now_ns = self.gateway.broker, self.gateway.now_ns()
        spec = INSTRUMENTS[args["symbol"]]
        if args["mode"] == "order":
            kind = "LMT" if args["ticks"] else "MKT"
            ticket = Ticket(
                0, 0, spec, args["side"], args["lots"], kind, limit=args["ticks"] or None, exchange=spec.exchange
            )
            order = self.gateway.office.place_manual(ticket, now_ns)
            if self.gateway.auto_bind:
                self.gateway.bind(order)
        elif args["mode"] == "position":
            self.gateway.office.adjust(spec, args["lots"] if args["side"] == "BUY" else -args["lots"])
            self.gateway.position_changed(spec)
        else:
            orders = [order for order in broker.open.values() if order.ticket.spec is spec and order.ticket.order_id]
            if not orders:
                return
            broker.end(orders[-1])
        self.panel.hits["G16"] += 1

    def _g18(self, args: dict[str, Any]) -> None:
        self.panel.hits["G18"] += 1
        if args["mode"] == "ids":
            for client_id, session in self.gateway.sessions.items():
                self.gateway.office.skip_ids(client_id, args["ids"])
                session.send(frames.next_valid_id(self.gateway.broker.next_id(client_id)))
            return
        self.data_stopped = True
        for session in self.gateway.sessions.values():
            for kind, req_id in session.subscriptions:
                if kind == "quotes":
                    session.error(req_id, 10197, "No market data during competing live session")
        self._later(args["for_s"], lambda: setattr(self, "data_stopped", False))

    def _g19(self, args: dict[str, Any]) -> None:
        """Halt an instrument: it stops trading, and orders for it are refused."""
        name = args["symbol"]
        self.halted.add(name)
        self.gateway.halt(name, halted=True)

        def resume() -> None:
            self.halted.discard(name)
            self.gateway.halt(name, halted=False)

        self._later(args["for_s"], resume)

    def _g20(self, _: dict[str, Any]) -> None:
        """Midnight passes. A hit is counted when a list of executions comes out shorter for it."""
        self.gateway.order_faults.midnight_ns = self.gateway.now_ns()

    def _g21(self, args: dict[str, Any]) -> None:
        """The gateway restarts with an older id counter."""
        self.panel.hits["G21"] += 1
        for client_id in self.gateway.office.client_ids():
            self.gateway.office.roll_back_ids(client_id, args["ids"])
        for session in list(self.gateway.connections):
            session.abort()

    def _g24(self, args: dict[str, Any]) -> None:
        """Every connection goes dead without being closed; its client id stays taken until then."""
        for session in list(self.gateway.sessions.values()):
            self.panel.hits["G24"] += 1
            session.muted = True
            if args["for_s"] > 0:
                self._later(args["for_s"], session.abort)

    def _tell_all(self, code: int, text: str) -> None:
        for session in list(self.gateway.sessions.values()):
            session.error(-1, code, text)

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(delay_s, action)
