"""The one session that may trade: connects, reads the snapshot, places orders, tells what it hears.

    DISCONNECTED -> CONNECTING -> SYNCING -> READY        LOCKED: a login that may not be traded
                                     ^         |
                                     +---------+          1101, 1102, an order without an answer, an unclear error

Everything heard is told in wire order, through `publish`. Between SYNCING and READY come the gateway's positions, open
orders, completed orders and today's executions, and READY says that all of them have ended: a snapshot that is late or
cut off is not taken for an empty one, the connection is made anew. Each SYNCING begins a new epoch. While the gateway's
own link to IB is lost (1100) nothing is READY, whatever ends meanwhile: 1101 or 1102 has a fresh snapshot read first.

The client id is the lock: it never changes, and error 326 means that another owner holds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from ib_insync import ExecutionFilter

from connectors import crash
from connectors.ibkr.account_values import AccountNews
from connectors.ibkr.calendar import LoginWatch, expected_outage, second_factor_due
from connectors.ibkr.ears import Ears
from connectors.ibkr.errors import ERRORS, Action, lookup
from connectors.ibkr.guard import refusal
from connectors.ibkr.health import Health
from connectors.ibkr.outages import HELD_S, OUTAGE_S, CodeWatch, HolderWatch, OutageWatch
from connectors.ibkr.pacing import Pacing
from connectors.ibkr.sender import CARRIED_OUT_S, Sender
from connectors.ibkr.wire import hearing_ib
from contracts.base import Message
from contracts.controls import Alert
from contracts.orders import SessionEvent, SessionState
from contracts.topics import ALERTS, BROADCAST, BROKER_EVENTS, Topic

log = logging.getLogger(__name__)

BACK_OFF_S: Final = (1, 2, 4, 8, 16)
CONNECT_TIMEOUT_S: Final = 4.0
SNAPSHOT_TIMEOUT_S: Final = 4.0
"""For each of the requests of a snapshot; IB answers them within a second."""

HEARTBEAT_S: Final = 2.0
"""A request for the time this often finds a half-open socket, which sends neither data nor an end."""

SILENCE_S: Final = 4.0
ACCOUNT_S: Final = 1.0
PERSON_NEEDED: Final = "a person is needed: the weekly login waits for its second factor"
CHECK_S: Final = 0.1
REQUEST_ID_MIN: Final = 900_000_000
"""Ids of requests, far from those of orders: an error names nothing but a number."""

Said = tuple[Topic, str, Message]

Publish = Callable[..., Awaitable[None]]
"""Sends any number of `Said`, in their order."""

SAID_MAX: Final = 500
"""Messages that share one round trip to Kafka: the snapshot of a busy day has thousands."""


class Address(NamedTuple):
    """Where the gateway is, the client id that trades, and whether the gateway is our simulated one."""

    host: str
    port: int
    client_id: int
    simulated: bool = False


class IbkrSession:
    """Keeps the connection; `sender` is the broker that the execution agent gives its effects to."""

    def __init__(self, address: Address, publish: Publish, after_s: tuple[int, ...] = BACK_OFF_S) -> None:
        self._address = address
        self._publish = publish
        self._back_off_s = after_s
        self._said: asyncio.Queue[Said] = asyncio.Queue()
        self._ears = Ears(
            address.client_id, self._say, self._on_error, self._on_next_id, self._on_stranger, self._on_unread
        )
        self.pacing = Pacing()
        self._ib = hearing_ib(self._ears, self.pacing.count)
        self._ib.client.conn.disconnected += self._on_hang_up
        self.health = Health(self._ears, self.pacing)
        self.sender = Sender(self._ib.client, self._ears, self.pacing, lambda: self.state, self._say)
        self._account = AccountNews()
        self._next_id = 0
        self._request_id = REQUEST_ID_MIN
        self._resync = ""
        self._reconnect = ""
        self._link_lost = False
        self._login = LoginWatch()
        self._refused = asyncio.Event()
        self._refusal = ""
        self._closing = self._away = False
        self._holder, self._codes = HolderWatch(), CodeWatch()
        self.state = SessionState.DISCONNECTED
        self.reason = "not started"

    @property
    def epoch(self) -> int:
        return self._ears.epoch

    async def run(self) -> None:
        """Keep the session up until cancelled; ends with an error only if events cannot be published."""
        own = (self._pump(), self._keep_connected(), self._mind())
        health = (self.health.measure(), self.health.tell(lambda: (self.state, self.reason), self._say))
        parts = (*own, self.sender.run(), *health)
        jobs = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._closing = True
            for job in jobs:
                job.cancel()
            self._ib.disconnect()

    def stay_away(self, away: bool) -> None:
        """End the connection and do not make another while `away`: the last step of a rollback."""
        if away:
            self._reconnect = "rolled back by an operator"
        self._away = away

    # ---- the connection ----------------------------------------------------------------------------------------------

    async def _keep_connected(self) -> None:
        attempt = 0
        while not self._locked():
            while self._away:
                await asyncio.sleep(CHECK_S)
            self._reconnect = ""  # whatever was to end has ended
            try:
                await self._connect()
                attempt = 0
                self._login.succeeded()
                await self._watch()
            except (OSError, TimeoutError, ConnectionError) as error:
                reason = self._reconnect or str(error) or "no answer in time"
            else:
                reason = self._reconnect or "the connection ended"
            self._reconnect = self._resync = ""
            if not reason.startswith("326"):
                self._holder.over()
            if self._locked():
                break
            self._ib.disconnect()
            if self.state is not SessionState.DISCONNECTED or self._link_lost:
                self._enter(SessionState.DISCONNECTED, self._down_reason(reason))
            now_s = time.time()
            tell = self._login.failed(now_s, due=second_factor_due(now_s), planned=bool(expected_outage(now_s)))
            self.health.failed(login_waits=self._login.waits)
            if tell:
                self._alert("CRITICAL", "SECOND_FACTOR", f"{reason} ({PERSON_NEEDED})", "operations")
            delay_s = self._back_off_s[min(attempt, len(self._back_off_s) - 1)]
            attempt += 1
            await asyncio.sleep(delay_s)
        await asyncio.Event().wait()  # LOCKED until a person has seen to it and starts the process again

    async def _mind(self) -> None:
        """Alert what lasts too long, whatever the session is busy with: an outage, a killed order that still works."""
        outage = OutageWatch(time.monotonic())
        while True:
            await asyncio.sleep(CHECK_S)
            now_s = time.monotonic()
            if self.state in (SessionState.READY, SessionState.LOCKED) or self._away:
                outage.fine(now_s)
            elif outage.late(now_s, planned=bool(expected_outage(time.time()))):
                text = f"not READY for {OUTAGE_S:.0f} s: session is {self.state}, {self.reason}"
                self._alert("CRITICAL", "GATEWAY_AWAY", text, "operations")
            for order in self.sender.outlived(now_s):
                text = f"{order} still works {CARRIED_OUT_S:.0f} s after a kill asked for its cancel"
                self._alert("CRITICAL", "KILL_NOT_CARRIED_OUT", text, "trading desk")

    def _locked(self) -> bool:
        return self.state is SessionState.LOCKED

    def _down_reason(self, reason: str) -> str:
        planned = expected_outage(time.time())
        if planned:
            return f"{reason} ({planned})"
        if second_factor_due(time.time()):
            return f"{reason} ({PERSON_NEEDED})"
        return reason

    async def _connect(self) -> None:
        host, port, client_id, simulated = self._address
        self._ears.strangers.clear()
        self._ears.orders.reconnected()
        self._link_lost = False  # this gateway, or this login of it, has not said so
        self._new_epoch()
        self._enter(SessionState.CONNECTING, f"{host}:{port} as client {client_id}")
        await self._handshake(host, port, client_id)
        refused = refusal(self._ib.managedAccounts(), port, simulated=simulated)
        if refused:
            self._ib.disconnect()
            self._enter(SessionState.LOCKED, refused)
            self._alert("CRITICAL", "ACCOUNT_REFUSED", refused, "operations")
            return
        self.sender.account = self._ib.managedAccounts()[0]
        await self.pacing.request()
        await asyncio.wait_for(self._ib.reqAccountUpdatesAsync(self.sender.account), SNAPSHOT_TIMEOUT_S)
        await self._sync("connected")

    async def _handshake(self, host: str, port: int, client_id: int) -> None:
        """Connect, or give up as soon as the gateway closes the connection or says that the client id is taken."""
        self._refused.clear()
        self._refusal = ""
        connect = asyncio.create_task(self._ib.client.connectAsync(host, port, client_id, CONNECT_TIMEOUT_S))
        refused = asyncio.create_task(self._refused.wait())
        try:
            await asyncio.wait({connect, refused}, return_when=asyncio.FIRST_COMPLETED)
            if not connect.done():
                raise ConnectionError(self._refusal)
            await connect
        finally:
            refused.cancel()
            connect.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, TimeoutError, ConnectionError):
                await connect

    async def _sync(self, reason: str) -> None:
        """Read everything the gateway knows; READY only when each part has ended."""
        if self._link_lost:
            return
        self._resync = ""
        self._new_epoch()
        self._ears.snapshot = True
        self._ears.orders.reading()
        self._enter(SessionState.SYNCING, reason)
        ib, client = self._ib, self._ib.client
        await self.pacing.request()
        client.reqIds(1)
        for part, request in (
            ("positions", ib.reqPositionsAsync),
            ("open_orders", ib.reqOpenOrdersAsync),
            ("completed_orders", lambda: ib.reqCompletedOrdersAsync(False)),
            ("executions", self._executions),
        ):
            await self.pacing.request()
            await asyncio.wait_for(request(), SNAPSHOT_TIMEOUT_S)
            crash.at(f"session:{part}")
        if not ib.isConnected() or self._reconnect:
            raise ConnectionError(self._reconnect or "the connection ended in the snapshot")
        if self._link_lost or self._resync:
            return  # the link was lost in the middle of it: the snapshot after 1101 or 1102 counts
        self._tell_account()
        self._ears.orders.asked(time.monotonic())
        self._ears.probed.clear()
        self._ears.snapshot = False
        self._enter(SessionState.READY, f"snapshot complete ({reason})", self._next_id)
        await self.sender.pay()

    def _executions(self) -> Awaitable[Any]:
        """Today's executions, under an id that no order has."""
        self._request_id += 1
        future: Awaitable[Any] = self._ib.wrapper.startReq(self._request_id)
        self._ib.client.reqExecutions(self._request_id, ExecutionFilter())
        return future

    async def _watch(self) -> None:
        """Until the socket ends, falls silent or has to be given up; a snapshot whenever one is asked for."""
        beat = account = time.monotonic()
        while self._ib.isConnected() and not self._reconnect and not self._locked():
            await asyncio.sleep(CHECK_S)
            now_s = time.monotonic()
            if self.state is SessionState.READY and not self._resync:
                late = self._ears.orders.overdue(now_s)
                if late:
                    self._resync = f"no word on order {', '.join(map(str, late[:5]))}"
            if self._resync and self.state is not SessionState.DISCONNECTED:
                await self._sync(self._resync)
            if now_s - account >= ACCOUNT_S:
                account = now_s
                self._tell_account()
            if now_s - beat >= HEARTBEAT_S:
                beat = now_s
                await self._heartbeat()

    async def _heartbeat(self) -> None:
        self.health.beating = True
        try:
            await self.pacing.request()
            await asyncio.wait_for(self._ib.reqCurrentTimeAsync(), SILENCE_S)
        finally:
            self.health.beating = False

    # ---- what is said ------------------------------------------------------------------------------------------------

    def _new_epoch(self) -> None:
        # Wall milliseconds grow faster than epochs, over restarts too, so none is ever used twice.
        self._ears.epoch = max(self._ears.epoch + 1, time.time_ns() // 1_000_000)

    def _enter(self, state: SessionState, reason: str, next_order_id: int = 0) -> None:
        log.info("session %s: %s", state.value, reason)
        self.state, self.reason = state, reason
        event = SessionEvent(
            state=state,
            epoch=self._ears.epoch,
            next_order_id=next_order_id,
            account=self.sender.account if state is SessionState.READY else "",
            reason=reason,
            ts_ns=time.time_ns(),
        )
        self._say(BROADCAST, event)

    def _alert(self, severity: Any, code: str, text: str, owner: str) -> None:
        host, port, client_id, _ = self._address
        subject = f"session to {host}:{port} as client {client_id}"
        alert = Alert(severity=severity, code=code, subject=subject, text=text, owner=owner, ts_ns=time.time_ns())
        self._said.put_nowait((ALERTS, code, alert))

    def _say(self, key: str, message: Message) -> None:
        if not self._closing:
            self._said.put_nowait((BROKER_EVENTS, key, message))

    async def _pump(self) -> None:
        """Publish what was said, in its order, all that waits at once."""
        while True:
            said = [await self._said.get()]
            said += [self._said.get_nowait() for _ in range(min(self._said.qsize(), SAID_MAX))]
            await self._publish(*said)

    def _tell_account(self) -> None:
        account = self.sender.account
        message = self._account.news(account, self._ib.accountValues(account))
        if message is not None:
            self._say(account, message)

    # ---- what is heard -----------------------------------------------------------------------------------------------

    def _on_next_id(self, next_id: int) -> None:
        self._next_id = max(self._next_id, next_id)

    def _on_stranger(self, text: str) -> None:
        self._alert("CRITICAL", "UNKNOWN_POSITION", f"the account holds {text}", "trading desk")

    def _on_unread(self, text: str) -> None:
        log.error("unreadable: %s", text)
        self._alert("CRITICAL", "UNREADABLE", f"a message of the gateway is left out: {text}", "developers")

    def _on_hang_up(self, text: str) -> None:
        """The gateway has closed the connection, of a handshake with a reason in its first word: READY ends at once."""
        self._refusal = self._refusal or text or "the gateway closed the connection"
        self._refused.set()
        if self.state in (SessionState.READY, SessionState.SYNCING) and not self._closing:
            self._enter(SessionState.DISCONNECTED, self._down_reason(text or "the gateway closed the connection"))

    def _on_error(self, request_id: int, code: int, text: str) -> None:
        """Act on an error code as the table says."""
        row = lookup(code)
        order = self._ears.orders.get(request_id)
        known = code in ERRORS
        log.log(logging.INFO if known else logging.ERROR, "gateway: %s %s (%s): %s", code, text, request_id, row.action)
        if row.owner and (not known or self._codes.due(code, time.monotonic())):
            self._alert("WARNING", str(code), f"{row.meaning}: {text}", row.owner)
        # An error on an amend says nothing about the order, which may work on under its old terms.
        if row.action in (Action.REFUSED, Action.ASK) and self._ears.amend_refused(request_id, f"{code} {text}"):
            return
        match row.action:
            case Action.LINK_LOST:
                self._link_lost = True
                self._enter(SessionState.DISCONNECTED, f"{code} {text}")
            case Action.LINK_RESTORED:
                self._link_lost, self._resync = False, f"{code} {text}"
                self._ears.orders.reconnected()
                if self.state is SessionState.DISCONNECTED:
                    self._enter(SessionState.CONNECTING, f"{code} {text}")
            case Action.RECONNECT:
                self.health.violated(code)
                self._reconnect = f"{code} {text}"
            case Action.CLIENT_ID_BUSY:
                held = f"326: client id {self._address.client_id} is held by another connection"
                self._on_hang_up(held)
                if self._holder.refused(time.monotonic()):
                    self._alert("CRITICAL", "CLIENT_ID_HELD", f"{held}, for {HELD_S:.0f} s", "operations")
            case Action.REFUSED if order is not None:
                self._ears.status(order.intent_id, request_id, "Inactive", f"{code} {text}")
            case Action.NOT_FOUND if request_id in self._ears.probed:
                self._ears.status(self._ears.probed[request_id], request_id, "NotFound", f"{code} {text}")
                self._ears.orders.unknown_there(request_id)
                self._ears.orders.cancel_refused(request_id)
            case Action.CANCEL_LATE:
                self._ears.orders.cancel_refused(request_id)
            case Action.ASK:
                self._ears.orders.ask(request_id)
