"""The orders this session knows to be open, and which of them the gateway owes an answer."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from contracts.instruments import InstrumentSpec
from contracts.orders import CANCEL_AGAIN_NS

ANSWER_S: Final = 3.0
"""An order that got no word in this time is asked for with a snapshot; an answer takes milliseconds."""

EXECUTIONS_S: Final = 2.0
"""A status that says filled comes together with its executions; this much later they are lost."""

LIFE_S: Final = 10.0
"""Dead-man timer of an order for immediate execution: no order of ours works for longer without being asked about."""


CANCEL_AGAIN_S: Final = CANCEL_AGAIN_NS / 1e9

NEVER_S: Final = float("-inf")

Terms = tuple[int, Decimal | None]
"""Quantity in lots and limit price, None of an order without one."""


@dataclass(slots=True)
class OpenOrder:
    """One order; `due_s` is when the gateway has to have said more (monotonic clock), infinite when it owes nothing.

    `terms` are those that the gateway named last, for the order of the permanent id `terms_perm_id`; `amend` those that
    were asked for and that it has not named yet. `cancel_s` is when its cancel was last written to this connection,
    `refused` whether the gateway refused one, `listed` whether the last snapshot had it.
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
    cancel_s: float = NEVER_S
    refused: bool = False
    listed: bool = True


class OpenOrders:
    """By order id. An order leaves when its executions are complete, or when the gateway says that it is over.

    `_probes` has cancels of orders that are not known here, and when the gateway has to have answered: it was asked
    whether it knows them. `_named` has what it named since the last snapshot began, which ended at `_read_s`.
    """

    def __init__(self) -> None:
        self._orders: dict[int, OpenOrder] = {}
        self._probes: dict[int, float] = {}
        self._named: set[int] = set()
        self._read_s = NEVER_S

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
        self._named.add(order_id)
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

    def cancelled(self, order_id: int, now_s: float) -> None:
        """A cancel was written: the gateway owes an answer, soon for the first one, and goes on owing it."""
        order = self._orders.get(order_id)
        if order is None:
            self._probes.setdefault(order_id, now_s + CANCEL_AGAIN_S)
        elif not order.done:
            if order.cancel_s == NEVER_S:
                order.asked, order.due_s = 0, min(order.due_s, now_s + ANSWER_S)
            elif now_s - order.cancel_s >= CANCEL_AGAIN_S:
                order.asked, order.due_s = 0, now_s + CANCEL_AGAIN_S
            order.cancel_s = now_s

    def cancel_refused(self, order_id: int) -> None:
        """A snapshot tells what is true; after the first of them a refusal brings one only every while."""
        order = self._orders.get(order_id)
        if order is None or order.done:
            return
        order.due_s = min(order.due_s, self._read_s + CANCEL_AGAIN_S) if order.refused else 0.0
        order.refused = True

    def unknown_there(self, order_id: int) -> None:
        """The gateway says that it knows no such order: the answer to a probe."""
        self._probes.pop(order_id, None)

    def reconnected(self) -> None:
        """What was written before the connection or the link to IB came back may be lost: no cancel was written."""
        for order in self._orders.values():
            order.cancel_s, order.refused = NEVER_S, False

    def overdue(self, now_s: float) -> list[int]:
        late = [order_id for order_id, order in self._orders.items() if order.due_s <= now_s]
        return late + [order_id for order_id, due_s in self._probes.items() if due_s <= now_s]

    def reading(self) -> None:
        """A snapshot begins."""
        self._named.clear()

    def asked(self, now_s: float) -> None:
        """A snapshot has been read: forget what is over, ask about the rest again later, and ever more rarely.

        Whoever still waits for the answer to a probe asks again at READY.
        """
        self._orders = {order_id: order for order_id, order in self._orders.items() if not order.done}
        self._probes, self._read_s = {}, now_s
        for order_id, order in self._orders.items():
            order.listed = order_id in self._named
            order.asked += 1
            order.due_s = now_s + LIFE_S * order.asked
