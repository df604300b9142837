"""The only place that writes an order to the socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ib_insync import Contract, Order

from connectors import crash
from connectors.ibkr.ears import Ears
from connectors.ibkr.open_orders import ANSWER_S, CANCEL_AGAIN_S, OpenOrder
from connectors.ibkr.pacing import Pacing
from contracts.base import Message
from contracts.controls import FLATTEN, covers
from contracts.instruments import INSTRUMENTS, InstrumentSpec
from contracts.orders import STALE_NS, OrderCommand, OrderSent, SessionState

log = logging.getLogger(__name__)

PARENTS_MAX: Final = 10_000
SINGLY_MAX: Final = 5
"""Up to so many orders are cancelled one by one, which leaves orders of other clients and of people alone."""

REST_S: Final = 300.0
"""Dead-man timer of an order that rests: the API has no cancel on disconnect, so it ends by itself, also when nobody is
there to end it. An amend begins the time anew; a strategy that wants it for longer asks again.
"""

GLOBAL_CANCEL_S: Final = 0.5

CANCEL_SOON_S: Final = 1.0
"""A person who kills again has his cancel written again, if the last one is older."""

CARRIED_OUT_S: Final = 10.0
"""A killed order that works for longer after its cancel was asked for needs a person."""


class LostOwnershipError(RuntimeError):
    """Another process owns the order connection now."""


class Sender:
    """Implements `agents.ports.Broker`. Nothing goes out unless the session is READY and the kills are known.

    An order id is written at most once in a session: a command that comes again finds it in `_written`. A socket that
    has ended takes nothing and is no error here: what was to go out is owed to the next READY.
    `_killed` and `_held` have the scopes of the kills in force, and whether each lets the orders of a flatten through;
    `_stopping` since when the cancel of an order under one of them is asked for, infinite once that was told.
    """

    def __init__(
        self,
        client: Any,
        ears: Ears,
        pacing: Pacing,
        state: Callable[[], SessionState],
        say: Callable[[str, Message], None],
    ) -> None:
        self._client = client
        self._ears = ears
        self._pacing = pacing
        self._state = state
        self._say = say
        self._written: dict[int, int] = {}
        self._children: dict[str, dict[int, int]] = {}
        self._owed: dict[int, str] = {}
        self._owes_all = False
        self._killed: dict[str, bool] | None = None
        self._held: dict[str, bool] = {}
        self._stopping: dict[int, float] = {}
        self._latched_epoch = 0
        self._queue: deque[tuple[OrderCommand, int, float]] = deque()
        self._news = asyncio.Event()
        self._reconciled = 0
        self.account = ""

    async def place(self, command: OrderCommand, epoch: int = 0) -> None:
        """Give the order its turn: it is written, said to be not sent, or left to the next READY.

        READY reaches the row of every order, behind what its snapshot said, and asks for those that are still to be
        sent, in the order of their ids: the gateway takes none below the last one. So a new order does not go out
        before; and a READY from before a restart, which is read again, says nothing about this session.
        """
        if self._may_send(command, epoch):
            self._queue.append((command, epoch, self._pacing.enter()))
            self._drain()
            self._news.set()

    async def run(self) -> None:
        """Write the orders that wait for their turn, until cancelled.

        Who asks for an order does not wait with it: what comes behind, a kill above all, is heard at once.
        """
        while True:
            self._news.clear()
            delay_s = self._drain()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), delay_s)

    def _drain(self) -> float | None:
        """Write what may be written now; seconds until the next order may, None if none waits for its turn."""
        while self._queue and self._killed is not None:
            command, epoch, since_s = self._queue[0]
            sendable = self._may_send(command, epoch)
            refusal = self._refusal(command) or self._excess(command)
            delay_s = self._pacing.order_in_s()
            if sendable and not refusal and delay_s > 0:
                return delay_s
            self._queue.popleft()
            self._pacing.leave(since_s)
            if sendable and refusal:
                self._ears.status(command.intent_id, command.order_id, "NotSent", refusal)
            elif sendable:
                self._send(command)
        return None

    def _may_send(self, command: OrderCommand, epoch: int) -> bool:
        """Whether READY of this session wants this order sent, and it was not."""
        if self._written.get(command.order_id) == self._ears.epoch:
            log.warning("order %s is written already; it is not written again", command.order_id)
            return False
        if self._state() is not SessionState.READY or (epoch or self._reconciled) != self._ears.epoch:
            log.warning("order %s (%s) waits for READY", command.order_id, command.intent_id)
            return False
        return True

    def _withdraw(self, order_id: int) -> bool:
        """Take an order that waits for its turn out of the queue."""
        for waiting in self._queue:
            command, _, since_s = waiting
            if command.order_id == order_id:
                self._queue.remove(waiting)
                self._pacing.leave(since_s)
                self._ears.status(command.intent_id, order_id, "NotSent", "cancelled before it was sent")
                return True
        return False

    def _send(self, command: OrderCommand) -> None:
        spec, now_s, epoch = INSTRUMENTS[command.instrument], time.monotonic(), self._ears.epoch
        if not self._write(command, spec):
            return
        order = OpenOrder(
            command.intent_id,
            spec,
            command.strategy,
            command.quantity_lots,
            now_s,
            now_s + ANSWER_S,
            parent_id=command.parent_id or "",
        )
        self._ears.orders.add(command.order_id, order)
        self._written[command.order_id] = epoch
        if command.parent_id is not None:
            self.count(command.parent_id, command.order_id, command.quantity_lots)
        crash.at("sender:placed")
        sent = OrderSent(intent_id=command.intent_id, order_id=command.order_id, epoch=epoch, ts_ns=time.time_ns())
        self._say(command.intent_id, sent)

    def count(self, parent_id: str, order_id: int, lots: int) -> None:
        """Hold a child against its parent; one that comes again counts once."""
        self._children.setdefault(parent_id, {})[order_id] = lots

    def reconciled(self, epoch: int) -> None:
        """READY of this session has reached every order: new ones may go out.

        Epochs grow, and READY is on the log for all to see. One that is later than ours is another owner's: it has the
        client id and has reconciled, so we have lost both, and go. LostOwnershipError ends the process.
        """
        if self._ears.epoch and epoch > self._ears.epoch:
            raise LostOwnershipError(f"session {epoch} of another owner is READY; ours is {self._ears.epoch}")
        self._reconciled = epoch
        self._news.set()

    async def amend(self, command: OrderCommand) -> None:
        """Write the changed order under its id, if it is still open here, or say that it was not sent."""
        await self._pacing.order()
        order = self._ears.orders.get(command.order_id)
        refusal = self._refusal(command) or ("the order is over" if order is None or order.done else "")
        if self._reconciled != self._ears.epoch:
            # The row still waits for READY, which would take the new terms for refused: its snapshot is older.
            refusal = refusal or "the snapshot of this session has not reached every order"
        if order is not None and not refusal and not self._write(command, order.spec):
            refusal = "the connection has ended"
        if order is None or refusal:
            log.warning("amend of order %s not sent: %s", command.order_id, refusal)
            self._ears.status(command.intent_id, command.order_id, "AmendNotSent", refusal)
            return
        self._ears.orders.amend(command.order_id, (command.quantity_lots, command.limit_price), time.monotonic())

    async def cancel(self, order_id: int, intent_id: str) -> None:
        """Write the cancel to the socket, as soon as the session is READY; the gateway answers to it."""
        if self._withdraw(order_id):
            return
        await self._pacing.cancel()
        if self._to_socket(lambda: self._client.cancelOrder(order_id, "")):
            self._owed.pop(order_id, None)
            self._ears.probed[order_id] = intent_id
            self._ears.orders.cancelled(order_id, time.monotonic())
            crash.at("sender:cancelled")
        else:
            log.warning("cancel of order %s (%s) waits for READY", order_id, intent_id)
            self._owed[order_id] = intent_id

    async def cancel_all(self) -> None:
        """IB's global cancel: one message, which reaches orders of people and of other clients too; or at READY."""
        await self._pacing.cancel()
        self._owes_all = not self._to_socket(self._client.reqGlobalCancel)
        if self._owes_all:
            log.warning("the cancel of all orders waits for READY")

    async def pay(self) -> None:
        """Write the cancels that were asked for while the session was not READY. One too many does no harm.

        Orders that the snapshot brought under a kill without Kafka are cancelled too; the latch speaks for itself.
        """
        if self._owes_all:
            await self.cancel_all()
        for scope, spares in self._held.items():
            await self.stop(scope, spares=spares)
        for order_id, intent_id in list(self._owed.items()):
            await self.cancel(order_id, intent_id)

    async def latch(self, scopes: tuple[str, ...], *, flatten: tuple[str, ...] = ()) -> None:
        """Take over the kills in force, and cancel what works under them.

        The first word of an epoch is that of READY, which comes by itself; what follows are somebody's commands.
        """
        again_s = CANCEL_AGAIN_S if self._latched_epoch != self._ears.epoch else CANCEL_SOON_S
        self._latched_epoch = self._ears.epoch
        self._killed = {scope: scope in flatten for scope in scopes}
        self._news.set()
        for scope, spares in self._killed.items():
            await self.stop(scope, spares=spares, again_s=again_s)

    async def hold(self, scopes: dict[str, bool]) -> None:
        """Block and cancel these scopes as well, each with whether it flattens: kills that came without Kafka."""
        self._held = scopes
        self._news.set()
        for scope, spares in scopes.items():
            await self.stop(scope, spares=spares, again_s=CANCEL_SOON_S)

    async def stop(self, scope: str, *, spares: bool = False, again_s: float = CANCEL_AGAIN_S) -> int:
        """Cancel the working orders of a scope, but those of a flatten that it `spares`; returns their number.

        Of the whole account with one message, IB's global cancel, which no pacing delays; what still works after it has
        had its time, and every other scope, order by order. A cancel younger than `again_s` is not written again: a
        gateway that refuses it is asked with a snapshot, whose READY leads here.
        """
        found, now_s = self._working(scope, spares), time.monotonic()
        self._stopping |= {order_id: self._stopping.get(order_id, now_s) for order_id, _ in found}
        wanted = {order_id for order_id, order in found if now_s - order.cancel_s >= again_s}
        if scope == "account" and len(wanted) > SINGLY_MAX and self._state() is SessionState.READY:
            await self.cancel_all()
            await asyncio.sleep(GLOBAL_CANCEL_S)
        for order_id, order in self._working(scope, spares):
            if order_id in wanted:
                await self.cancel(order_id, order.intent_id)
        return len(found)

    def outlived(self, now_s: float) -> list[str]:
        """Orders that work long after a kill asked for their cancel, each named once while it is killed."""
        kills = (*(self._killed or {}).items(), *self._held.items())
        killed = {order_id: order for scope, spares in kills for order_id, order in self._working(scope, spares)}
        self._stopping = {order_id: since_s for order_id, since_s in self._stopping.items() if order_id in killed}
        late = [
            order_id
            for order_id, since_s in self._stopping.items()
            if now_s - since_s >= CARRIED_OUT_S and killed[order_id].listed
        ]
        self._stopping |= dict.fromkeys(late, float("inf"))
        return [f"order {key} of {killed[key].spec.instrument} ({killed[key].intent_id})" for key in late]

    def _working(self, scope: str, spares: bool) -> list[tuple[int, OpenOrder]]:
        return [
            (order_id, order)
            for order_id, order in self._ears.orders.working()
            if _covers(scope, order.strategy, order.spec.instrument, order.intent_id, order.parent_id)
            and not (spares and order.strategy == FLATTEN)
        ]

    def _refusal(self, command: OrderCommand) -> str:
        """Why this command must not go out now; empty when it may."""
        if self._state() is not SessionState.READY:
            return f"session is {self._state()}"
        if self._killed is None:
            return "the kill switch has not spoken yet"
        killed = [
            scope
            for scope, spares in (*self._killed.items(), *self._held.items())
            if _covers(scope, command.strategy, command.instrument, command.intent_id, command.parent_id or "")
            and not (spares and command.strategy == FLATTEN)
        ]
        if killed:
            return f"killed: {', '.join(killed)}"
        age_ns = time.time_ns() - command.ts_ingest_ns
        if age_ns > STALE_NS:
            # It lay on its topic while no worker ran, say: the row of a new order knows no time but its own.
            return f"stale: {age_ns / 1e9:.0f} s after the event that led to it"
        return ""

    def _excess(self, command: OrderCommand) -> str:
        """The last hop counts children against their parent, whatever was counted before; empty when they fit.

        A child that is sent again is one child. Of those from before a restart READY has told (`count`).
        """
        if command.parent_id is None:
            return ""
        written = self._children.get(command.parent_id, {})
        here = sum(lots for order_id, lots in written.items() if order_id != command.order_id)
        sent = max(here, command.parent_sent_lots)
        if sent + command.quantity_lots > command.parent_lots:
            return f"children exceed their parent: {sent}+{command.quantity_lots}>{command.parent_lots}"
        return ""

    def _to_socket(self, write: Callable[[], None]) -> bool:
        """Write now, if the session is READY; False when nothing was written."""
        if self._state() is not SessionState.READY:
            return False
        try:
            write()
        except ConnectionError as error:
            log.warning("nothing was written: %s", error)
            return False
        return True

    def _write(self, command: OrderCommand, spec: InstrumentSpec) -> bool:
        """Write an order; False when nothing was written."""
        if len(self._written) > PARENTS_MAX:
            self._written = dict(list(self._written.items())[-PARENTS_MAX // 2 :])
            self._children = dict(list(self._children.items())[-PARENTS_MAX // 2 :])
        market = command.order_type == "MARKET"
        order = Order(
            action=command.side,
            totalQuantity=float(command.quantity_lots * spec.lot_size),
            orderType="MKT" if market else "LMT",
            orderRef=command.intent_id,
            tif=command.time_in_force,
            account=self.account,
        )
        if command.time_in_force == "DAY":
            order.tif, order.goodTillDate = "GTD", f"{datetime.now(UTC) + timedelta(seconds=REST_S):%Y%m%d-%H:%M:%S}"
        if not market:
            order.lmtPrice = float(command.limit_price)
        return self._to_socket(lambda: self._client.placeOrder(command.order_id, contract_of(spec), order))


def _covers(scope: str, strategy: str, instrument: str, intent_id: str, parent_id: str) -> bool:
    """Whether a kill stops this order, by its own name or, of a child, by that of the intent it is a part of."""
    return any(covers(scope, strategy, instrument, name) for name in (intent_id, parent_id))


def contract_of(spec: InstrumentSpec) -> Contract:
    """The IB contract of an instrument; the conId makes it unambiguous."""
    return Contract(
        conId=spec.con_id,
        symbol=spec.symbol,
        secType=spec.sec_type,
        exchange=spec.exchange,
        primaryExchange=spec.primary_exchange,
        currency=spec.currency,
    )
