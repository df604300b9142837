"""The one session that may trade: connects, reads the snapshot, places orders, tells what it hears.

    DISCONNECTED -> CONNECTING -> SYNCING -> READY          LOCKED: an account that is not a paper account

Everything heard is told in wire order, through `publish`, as messages of the `broker_events` topic. Between SYNCING and
READY come the gateway's positions, open orders, completed orders and today's executions; READY says they are complete.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, Final

from ib_insync import Contract, LimitOrder

from connectors.ibkr.wire import hearing_ib
from contracts.base import Message
from contracts.instruments import BY_CON_ID, INSTRUMENTS, InstrumentSpec
from contracts.orders import (
    BrokerAccount,
    BrokerCommission,
    BrokerExecution,
    BrokerPosition,
    BrokerStatus,
    OrderCommand,
    OrderSent,
    SessionEvent,
    SessionState,
)
from contracts.topics import BROADCAST

log = logging.getLogger(__name__)

BACK_OFF_S: Final = (1, 2, 4, 8, 16)
CONNECT_TIMEOUT_S: Final = 4.0
PAPER_PREFIX: Final = "D"
"""Paper accounts begin with D (DU…, DF…); live ones with U or F."""

HEARTBEAT_S: Final = 5.0
"""A request for the time this often finds a half-open socket, which sends neither data nor an end."""

ACCOUNT_S: Final = 1.0
ORDER_REFUSED: Final = frozenset({201, 203})
COMMISSION_UNKNOWN: Final = Decimal("1e300")

Publish = Callable[[str, Message], Awaitable[None]]


class IbkrSession:
    """Implements `agents.ports.Broker` on ib_insync."""

    def __init__(self, host: str, port: int, client_id: int, publish: Publish) -> None:
        self._address = (host, port, client_id)
        self._publish = publish
        self._said: asyncio.Queue[tuple[str, Message]] = asyncio.Queue()
        self._ib = hearing_ib(self)
        self._ib.client.MaxRequests = 45
        self._intent_of_order: dict[int, str] = {}
        self._intent_of_execution: dict[str, str] = {}
        self._last_account: tuple[Decimal, ...] = ()
        self._account = ""
        self._closing = False
        self.state = SessionState.DISCONNECTED
        self.epoch = 0

    async def run(self) -> None:
        """Keep the session up until cancelled; ends with an error only if events cannot be published."""
        pump = asyncio.create_task(self._pump())
        keep = asyncio.create_task(self._keep_connected())
        try:
            done, _ = await asyncio.wait({pump, keep}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._closing = True
            pump.cancel()
            keep.cancel()
            self._ib.disconnect()

    async def place(self, command: OrderCommand) -> None:
        """Write the order to the socket, or say that it was not sent."""
        if self.state is not SessionState.READY:
            self._say_status(command.intent_id, command.order_id, 0, "NotSent", f"session is {self.state}")
            return
        spec = INSTRUMENTS[command.instrument]
        order = LimitOrder(
            command.side,
            float(command.quantity_lots * spec.lot_size),
            float(command.limit_price),
            orderId=command.order_id,
            orderRef=command.intent_id,
            tif=command.time_in_force,
            account=self._account,
        )
        self._intent_of_order[command.order_id] = command.intent_id
        self._ib.placeOrder(contract_of(spec), order)
        sent = OrderSent(intent_id=command.intent_id, order_id=command.order_id, epoch=self.epoch, ts_ns=time.time_ns())
        self._say(command.intent_id, sent)

    async def cancel(self, order_id: int, intent_id: str) -> None:
        """Write the cancel to the socket; the gateway answers with a status or an error."""
        if self.state is SessionState.READY:
            self._ib.client.cancelOrder(order_id, "")
        else:
            log.warning("cancel of order %s (%s) not sent: session is %s", order_id, intent_id, self.state)

    async def _keep_connected(self) -> None:
        attempt = 0
        while True:
            try:
                await self._connect()
                attempt = 0
                if self.state is SessionState.READY:
                    await self._watch()
                reason = "the connection ended"
            except (OSError, TimeoutError, ConnectionError) as error:
                reason = str(error) or type(error).__name__
            if self.state is SessionState.LOCKED:
                return
            self._ib.disconnect()
            self._enter(SessionState.DISCONNECTED, reason)
            await asyncio.sleep(BACK_OFF_S[min(attempt, len(BACK_OFF_S) - 1)])
            attempt += 1

    async def _connect(self) -> None:
        host, port, client_id = self._address
        # Wall seconds grow over restarts, so an epoch is never used twice.
        self.epoch = max(self.epoch + 1, int(time.time()))
        self._enter(SessionState.CONNECTING, f"{host}:{port} as client {client_id}")
        self._enter(SessionState.SYNCING, "reading the snapshot")
        await self._ib.connectAsync(host, port, clientId=client_id, timeout=CONNECT_TIMEOUT_S)
        accounts = self._ib.managedAccounts()
        if len(accounts) != 1 or not accounts[0].startswith(PAPER_PREFIX):
            self._ib.disconnect()
            self._enter(SessionState.LOCKED, f"{accounts} is not one paper account (they begin with {PAPER_PREFIX})")
            return
        self._account = accounts[0]
        self._tell_account()
        self._enter(SessionState.READY, "snapshot complete", accounts[0], self._ib.client.getReqId())

    async def _watch(self) -> None:
        """Until the socket ends or falls silent: account values every second, a request for the time every five."""
        beat = time.monotonic()
        while self._ib.isConnected():
            await asyncio.sleep(ACCOUNT_S)
            self._tell_account()
            if time.monotonic() - beat >= HEARTBEAT_S:
                await asyncio.wait_for(self._ib.reqCurrentTimeAsync(), CONNECT_TIMEOUT_S)
                beat = time.monotonic()

    def _enter(self, state: SessionState, reason: str, account: str = "", next_order_id: int = 0) -> None:
        if state is not self.state:
            log.info("session %s: %s", state.value, reason)
        self.state = state
        event = SessionEvent(
            state=state,
            epoch=self.epoch,
            next_order_id=next_order_id,
            account=account,
            reason=reason,
            ts_ns=time.time_ns(),
        )
        self._say(BROADCAST, event)

    def _say(self, key: str, message: Message) -> None:
        if not self._closing:
            self._said.put_nowait((key, message))

    async def _pump(self) -> None:
        """Publish what was said, in its order."""
        while True:
            key, message = await self._said.get()
            await self._publish(key, message)

    def _tell_account(self) -> None:
        values = {value.tag: value.value for value in self._ib.accountValues(self._account) if value.currency != "BASE"}
        wanted = ("NetLiquidation", "TotalCashValue", "BuyingPower")
        if any(tag not in values for tag in wanted):
            return
        amounts = tuple(Decimal(values[tag]) for tag in wanted)
        if amounts != self._last_account:
            self._last_account = amounts
            liquidation, cash, power = amounts
            message = BrokerAccount(
                account=self._account,
                net_liquidation=liquidation,
                cash=cash,
                buying_power=power,
                ts_ns=time.time_ns(),
            )
            self._say(self._account, message)

    def on_order_status(self, order_id: int, perm_id: int, client_id: int, status: str) -> None:
        intent_id = self._intent_of_order.get(order_id)
        if client_id == self._address[2] and intent_id is not None:
            self._say_status(intent_id, order_id, perm_id, status, "")

    def on_open_order(self, order: Any) -> None:
        if order.clientId == self._address[2] and order.orderRef:
            self._intent_of_order[order.orderId] = order.orderRef

    def on_completed_order(self, order: Any, state: Any) -> None:
        if is_intent_id(order.orderRef):
            self._say_status(order.orderRef, 0, order.permId, state.status, state.completedStatus)

    def on_execution(self, contract: Any, execution: Any) -> None:
        spec = BY_CON_ID.get(contract.conId)
        if spec is None or not is_intent_id(execution.orderRef):
            log.warning("execution %s of an order that is not ours: %s", execution.execId, execution)
            return
        self._intent_of_execution[execution.execId] = execution.orderRef
        message = BrokerExecution(
            intent_id=execution.orderRef,
            exec_id=execution.execId,
            order_id=max(execution.orderId, 0),
            perm_id=execution.permId,
            instrument=spec.instrument,
            side="BUY" if execution.side == "BOT" else "SELL",
            quantity_lots=lots(spec, execution.shares),
            price=Decimal(str(execution.price)),
            cumulative_lots=lots(spec, execution.cumQty),
            epoch=self.epoch,
            ts_ns=time.time_ns(),
        )
        self._say(execution.orderRef, message)

    def on_commission(self, report: Any) -> None:
        intent_id = self._intent_of_execution.get(report.execId)
        commission = Decimal(str(report.commission))
        # IB sends -1 or 1.79e308 while a commission is not known; the value follows.
        if intent_id is None or not 0 <= commission < COMMISSION_UNKNOWN:
            return
        message = BrokerCommission(
            intent_id=intent_id,
            exec_id=report.execId,
            commission=commission,
            currency=report.currency,
            ts_ns=time.time_ns(),
        )
        self._say(intent_id, message)

    def on_position(self, contract: Any, position: float) -> None:
        spec = BY_CON_ID.get(contract.conId)
        if spec is not None:
            lots_held = lots(spec, position)
            self._say(
                spec.instrument,
                BrokerPosition(instrument=spec.instrument, position_lots=lots_held, ts_ns=time.time_ns()),
            )

    def on_error(self, request_id: int, code: int, text: str) -> None:
        log.info("gateway says %s on %s: %s", code, request_id, text)
        intent_id = self._intent_of_order.get(request_id)
        if intent_id is not None and code in ORDER_REFUSED:
            self._say_status(intent_id, request_id, 0, "Inactive", f"{code} {text}")

    def _say_status(self, intent_id: str, order_id: int, perm_id: int, status: str, reason: str) -> None:
        message = BrokerStatus(
            intent_id=intent_id,
            order_id=order_id,
            perm_id=perm_id,
            status=status,
            epoch=self.epoch,
            snapshot=self.state is not SessionState.READY,
            reason=reason,
            ts_ns=time.time_ns(),
        )
        self._say(intent_id, message)


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


def lots(spec: InstrumentSpec, units: float) -> int:
    """Whole lots of a quantity from the wire, which is a float of units of the instrument."""
    return round(Decimal(str(units)) / spec.lot_size)


def is_intent_id(reference: str) -> bool:
    """Whether an orderRef is an intent of ours."""
    return len(reference) == 24 and all(c in "0123456789abcdef" for c in reference)
