"""What the gateway says, as messages of the `broker_events` topic. camelCase ends here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from connectors import crash
from connectors.ibkr.open_orders import ANSWER_S, OpenOrder, OpenOrders, Terms
from contracts.base import Message
from contracts.instruments import BY_CON_ID, InstrumentSpec
from contracts.orders import BrokerCommission, BrokerExecution, BrokerPosition, BrokerStatus

log = logging.getLogger(__name__)

COMMISSION_UNKNOWN: Final = -1.0
UNSET: Final = 1e300
PRICE_DECIMALS: Final = 8
EXECUTIONS_MAX: Final = 100_000
"""Executions whose intent is remembered for a late commission; a day has fewer."""

Say = Callable[[str, Message], None]


class Ears:
    """Translates, and keeps `orders` up to date. `epoch` and `snapshot` stamp what is heard; the session sets them.

    `probed` has the intents of the orders whose cancel was asked for, also of such that the gateway may not know;
    `strangers` the conIds of the positions that are not in the catalogue and were told of (`on_stranger`).
    """

    def __init__(
        self,
        client_id: int,
        say: Say,
        on_error: Callable[[int, int, str], None],
        on_next_id: Callable[[int], None],
        on_stranger: Callable[[str], None] = log.warning,
        on_unread: Callable[[str], None] = log.warning,
    ) -> None:
        self._client_id = client_id
        self._say = say
        self.on_error = on_error
        self.on_next_id = on_next_id
        self._on_stranger = on_stranger
        self._on_unread = on_unread
        self.strangers: set[int] = set()
        self._orders_of: dict[str, tuple[str, str]] = {}
        self._early: dict[str, Any] = {}
        self.orders = OpenOrders()
        self.probed: dict[int, str] = {}
        self.epoch = 0
        self.snapshot = True
        self.answer_ms: list[float] = []

    def status(
        self,
        intent_id: str,
        order_id: int,
        status: str,
        reason: str,
        perm_id: int = 0,
        filled_lots: int = 0,
        terms: Terms = (0, None),
    ) -> None:
        """Say where an order stands, in the gateway's word or one of ours (NotSent, NotFound, Amend...)."""
        message = BrokerStatus(
            intent_id=intent_id,
            order_id=order_id,
            perm_id=perm_id,
            status=status,
            epoch=self.epoch,
            snapshot=self.snapshot,
            reason=reason,
            ts_ns=time.time_ns(),
            filled_lots=filled_lots,
            order_lots=terms[0],
            limit_price=terms[1],
        )
        self._say(intent_id, message)

    def amend_refused(self, order_id: int, text: str) -> bool:
        """Whether an error is the answer to an amend: say so, and have a snapshot tell the terms in force."""
        order = self.orders.get(order_id)
        if order is None or order.amend is None:
            return False
        self.orders.amend_refused(order_id)
        self.status(order.intent_id, order_id, "AmendRefused", text)
        return True

    def on_open_order(self, contract: Any, order: Any) -> None:
        spec = BY_CON_ID.get(contract.conId)
        if order.clientId != self._client_id or spec is None or not is_intent_id(order.orderRef):
            return
        size = lots(spec, order.totalQuantity)
        if self.orders.get(order.orderId) is None:
            now_s = time.monotonic()
            known = OpenOrder(order.orderRef, spec, "", size, now_s, now_s + ANSWER_S)
            self.orders.add(order.orderId, known)
        priced = order.orderType == "LMT" and 0 < order.lmtPrice < UNSET
        price = round(Decimal(str(order.lmtPrice)), PRICE_DECIMALS) if priced else None
        self.orders.named(order.orderId, order.permId, (size, price))

    def on_order_status(self, order_id: int, status: str, filled: float, perm_id: int, client_id: int) -> None:
        order = self.orders.get(order_id)
        if client_id != self._client_id or order is None:
            return
        now_s = time.monotonic()
        if not order.answered and order.amend is None:
            self.answer_ms.append((now_s - order.sent_s) * 1e3)
        filled_lots = lots(order.spec, filled)
        self.orders.status(order_id, status, filled_lots, now_s)
        terms = order.terms if order.terms_perm_id == perm_id else (0, None)
        self.status(order.intent_id, order_id, status, "", perm_id, filled_lots, terms)
        crash.at("ears:status")

    def on_completed_order(self, contract: Any, order: Any, state: Any) -> None:
        spec = BY_CON_ID.get(contract.conId)
        if spec is not None and is_intent_id(order.orderRef):
            filled_lots = lots(spec, order.filledQuantity) if 0 < order.filledQuantity < 1e300 else 0
            self.status(order.orderRef, 0, state.status, state.completedStatus, order.permId, filled_lots)

    def on_execution(self, contract: Any, execution: Any) -> None:
        spec = BY_CON_ID.get(contract.conId)
        if spec is None or not is_intent_id(execution.orderRef):
            log.warning("execution %s of an order that is not ours: %s", execution.execId, execution)
            return
        if len(self._orders_of) >= EXECUTIONS_MAX:
            self._orders_of.clear()
        self._orders_of[execution.execId] = execution.orderRef, spec.currency
        if execution.clientId == self._client_id:
            self.orders.executed(execution.orderId, lots(spec, execution.cumQty))
        message = BrokerExecution(
            intent_id=execution.orderRef,
            exec_id=execution.execId,
            order_id=max(execution.orderId, 0),
            perm_id=execution.permId,
            instrument=spec.instrument,
            side="BUY" if execution.side == "BOT" else "SELL",
            quantity_lots=lots(spec, execution.shares),
            price=round(Decimal(str(execution.price)), PRICE_DECIMALS),
            cumulative_lots=lots(spec, execution.cumQty),
            epoch=self.epoch,
            ts_ns=time.time_ns(),
        )
        self._say(execution.orderRef, message)
        order = self.orders.get(execution.orderId)
        if order is not None and not order.done:
            crash.at("ears:partial")
        early = self._early.pop(execution.execId, None)
        if early is not None:
            self.on_commission(early)

    def on_commission(self, report: Any) -> None:
        """A commission may come before its execution, whose intent it does not name: it waits."""
        order = self._orders_of.get(report.execId)
        # IB sends -1 or 1.79e308 while a commission is not known; the value follows. Any other below 0 is a rebate.
        if report.commission == COMMISSION_UNKNOWN or not abs(report.commission) < UNSET:
            return
        commission = round(Decimal(str(report.commission)), PRICE_DECIMALS)
        if order is None:
            if len(self._early) < EXECUTIONS_MAX:
                self._early[report.execId] = report
            return
        intent_id, currency = order
        message = BrokerCommission(
            intent_id=intent_id,
            exec_id=report.execId,
            commission=commission,
            currency=report.currency or currency,
            ts_ns=time.time_ns(),
        )
        self._say(intent_id, message)

    def on_unreadable(self, what: tuple[Any, ...], error: Exception) -> None:
        """A message that no contract holds. What it was about is missing from then on, and reconciliation finds it."""
        reason = str(error).replace("\n", " ")
        self._on_unread(f"{' '.join(map(str, what))[:400]}: {reason[:400]}")

    def on_position(self, contract: Any, position: float) -> None:
        spec = BY_CON_ID.get(contract.conId)
        if spec is not None:
            message = BrokerPosition(
                instrument=spec.instrument, position_lots=lots(spec, position), ts_ns=time.time_ns()
            )
            self._say(spec.instrument, message)
        elif position and contract.conId not in self.strangers:
            self.strangers.add(contract.conId)
            self._on_stranger(f"{position:g} of {contract}, which is not in the catalogue: no limit counts it")


def lots(spec: InstrumentSpec, units: float) -> int:
    """Whole lots of a quantity from the wire, which is a float of units of the instrument."""
    return round(Decimal(str(units)) / spec.lot_size)


def is_intent_id(reference: str) -> bool:
    """Whether an orderRef is an intent of ours."""
    return len(reference) == 24 and all(c in "0123456789abcdef" for c in reference)
