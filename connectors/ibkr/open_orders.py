"""The orders this session knows to be open, and which of them the gateway owes an answer."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from contracts.instruments import InstrumentSpec

ANSWER_S: Final = 3.0
"""An order that got no word in this time is asked for with a snapshot; an answer takes milliseconds."""

EXECUTIONS_S: Final = 2.0
"""A status that says filled comes together with its executions; this much later they are lost."""

LIFE_S: Final = 10.0
"""Dead-man timer of an order for immediate execution: no order of ours works for longer without being asked about."""


Terms = tuple[int, Decimal | None]
"""Quantity in lots and limit price, None of an order without one."""


@dataclass(slots=True)
class OpenOrder:
    """One order; `due_s` is when the gateway has to have said more (monotonic clock), infinite when it owes nothing.

    `terms` are those that the gateway named last, for the order of the permanent id `terms_perm_id`; `amend` those that
    were asked for and that it has not named yet.
    """

    intent_id: str
    spec: InstrumentSpec
    strategy: str
    lots: int
    sent_s: float
    due_s: float
    answered: bool = False
    done: bool = False
    executed_lots: int = 0
    asked: int = 0
    terms: Terms = (0, None)
    terms_perm_id: int = 0
    amend: Terms | None = None
    parent_id: str = ""


class OpenOrders:
    """By order id. An order leaves when its executions are complete, or when the gateway says that it is over."""

    def __init__(self) -> None:
        self._orders: dict[int, OpenOrder] = {}

    def add(self, order_id: int, order: OpenOrder) -> None:
        self._orders[order_id] = order

    def get(self, order_id: int) -> OpenOrder | None:
        return self._orders.get(order_id)

    def working(self) -> list[tuple[int, OpenOrder]]:
        """Orders that may still fill, oldest first."""
        return [(order_id, order) for order_id, order in self._orders.items() if not order.done]

    def amend(self, order_id: int, terms: Terms, now_s: float) -> None:
        """New terms are on their way: the gateway owes an answer, and either quantity may be in force until then."""
        order = self._orders[order_id]
        order.amend, order.lots = terms, max(order.lots, terms[0])
        order.answered, order.sent_s, order.due_s = False, now_s, now_s + ANSWER_S

    def named(self, order_id: int, perm_id: int, terms: Terms) -> None:
        """The gateway named the terms of an order."""
        order = self._orders[order_id]
        order.terms, order.terms_perm_id = terms, perm_id
        if order.amend == terms:
            order.amend = None
        if order.amend is None and terms[0]:
            order.lots = terms[0]

    def amend_refused(self, order_id: int) -> None:
        """Only a snapshot tells which terms are in force."""
        order = self._orders[order_id]
        order.amend = None
        self.ask(order_id)

    def answered(self, order_id: int) -> None:
        """The gateway said something about the order; it must be over within its life."""
        order = self._orders.get(order_id)
        if order is not None and not order.answered and order.amend is None:
            order.answered, order.due_s = True, order.sent_s + LIFE_S

    def status(self, order_id: int, status: str, filled_lots: int, now_s: float) -> None:
        order = self._orders.get(order_id)
        if order is None:
            return
        self.answered(order_id)
        over = status in ("Filled", "Cancelled", "ApiCancelled")
        order.done = over
        if order.executed_lots < filled_lots:
            order.due_s = min(order.due_s, now_s + EXECUTIONS_S)
        elif over:
            order.due_s = float("inf")

    def executed(self, order_id: int, cumulative_lots: int) -> None:
        order = self._orders.get(order_id)
        if order is None:
            return
        self.answered(order_id)
        order.executed_lots = max(order.executed_lots, cumulative_lots)
        if order.executed_lots >= order.lots:
            order.done, order.due_s = True, float("inf")

    def ask(self, order_id: int) -> None:
        """Ask about this order as soon as possible."""
        order = self._orders.get(order_id)
        if order is not None and not order.done:
            order.due_s = 0.0

    def overdue(self, now_s: float) -> list[int]:
        return [order_id for order_id, order in self._orders.items() if order.due_s <= now_s]

    def asked(self, now_s: float) -> None:
        """A snapshot has been read: forget what is over, ask about the rest again later, and ever more rarely."""
        self._orders = {order_id: order for order_id, order in self._orders.items() if not order.done}
        for order in self._orders.values():
            order.asked += 1
            order.due_s = now_s + LIFE_S * order.asked
