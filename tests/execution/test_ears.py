"""What of the gateway's words is about our orders, and what becomes of it on the topic."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.ibkr.ears import Ears, is_intent_id, lots
from contracts.instruments import INSTRUMENTS
from contracts.orders import BrokerCommission, BrokerExecution, BrokerPosition, BrokerStatus
from tests.execution.order_parts import INTENT

SPY = SimpleNamespace(conId=INSTRUMENTS["SPY"].con_id)
STRANGE = SimpleNamespace(conId=1)
UNSET = 1.7976931348623157e308


class Listener:
    """Ears of client 1 in session 5, after its snapshot; what they said, and the positions that they do not know."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.strangers: list[str] = []
        self.ears = Ears(1, lambda _, m: self.said.append(m), lambda *_: None, lambda _: None, self.strangers.append)
        self.ears.epoch, self.ears.snapshot = 5, False

    def open(self, **changes: Any) -> Listener:
        values = {"clientId": 1, "orderRef": INTENT, "orderId": 7, "permId": 900, "totalQuantity": 100.0}
        terms = {"orderType": "LMT", "lmtPrice": 600.1}
        self.ears.on_open_order(changes.pop("contract", SPY), SimpleNamespace(**(values | terms | changes)))
        return self

    def status(self, word: str = "Submitted", filled: float = 0.0, perm_id: int = 900, client_id: int = 1) -> Listener:
        self.ears.on_order_status(7, word, filled, perm_id, client_id)
        return self

    def executed(self, contract: Any = SPY, **changes: Any) -> Listener:
        values = {"execId": "e.1.01", "orderRef": INTENT, "clientId": 1, "orderId": 7, "permId": 900, "side": "BOT"}
        numbers = {"shares": 40.0, "price": 600.05, "cumQty": 40.0}
        self.ears.on_execution(contract, SimpleNamespace(**(values | numbers | changes)))
        return self


@pytest.mark.parametrize("change", [{"clientId": 2}, {"clientId": 0, "orderRef": ""}, {"contract": STRANGE}])
def test_an_order_of_another_client_of_a_person_or_of_a_strange_contract_is_not_taken_for_ours(change: Any) -> None:
    heard = Listener().open(**change)
    assert heard.ears.orders.working() == []
    assert heard.status().said == []


def test_a_status_of_another_client_under_our_order_id_says_nothing_of_our_order() -> None:
    assert Listener().open().status(client_id=2).said == []
    assert Listener().status().said == [], "an order that nobody has named"


def test_a_status_says_where_the_order_stands_and_the_terms_that_were_named_for_that_very_order() -> None:
    [word] = Listener().open().status("Submitted", 40.0).said
    assert isinstance(word, BrokerStatus)
    assert (word.intent_id, word.order_id, word.perm_id, word.status) == (INTENT, 7, 900, "Submitted")
    assert (word.filled_lots, word.order_lots, word.limit_price) == (40, 100, Decimal("600.1"))
    assert (word.epoch, word.snapshot) == (5, False)
    [word] = Listener().open().status(perm_id=901).said
    assert (word.perm_id, word.order_lots, word.limit_price) == (901, 0, None)


@pytest.mark.parametrize(
    ("terms", "price"),
    [
        ({"lmtPrice": 0.5}, Decimal("0.5")),
        ({"lmtPrice": UNSET}, None),
        ({"lmtPrice": 0.0}, None),
        ({"orderType": "MKT"}, None),
    ],
)
def test_only_a_limit_order_has_a_limit(terms: Any, price: Any) -> None:
    [word] = Listener().open(**terms).status().said
    assert word.limit_price == price


def test_only_the_first_answer_to_an_order_is_an_acknowledgement() -> None:
    heard = Listener().open().status().status()
    assert len(heard.ears.answer_ms) == 1
    assert 0.0 <= heard.ears.answer_ms[0] < 1e3
    heard.ears.orders.amend(7, (120, Decimal("600.1")), 0.0)
    assert len(heard.status().ears.answer_ms) == 1, "of the amend nothing is known yet"


def test_an_error_is_the_answer_to_an_amend_only_where_one_was_asked_for() -> None:
    """A refusal that was taken for one of an amend would leave its order open for ever."""
    heard = Listener().open()
    assert (heard.ears.amend_refused(7, "201 no"), heard.ears.amend_refused(8, "201 no"), heard.said) == (
        False,
        False,
        [],
    )
    heard.ears.orders.amend(7, (120, Decimal("600.1")), 0.0)
    assert heard.ears.amend_refused(7, "201 no")
    assert [(word.status, word.reason) for word in heard.said] == [("AmendRefused", "201 no")]
    order = heard.ears.orders.get(7)
    assert order is not None
    assert (order.amend, order.due_s) == (None, 0.0)


@pytest.mark.parametrize(("filled", "said"), [(40.0, 40), (UNSET, 0), (0.0, 0)])
def test_a_completed_order_of_ours_is_a_word_on_its_intent(filled: float, said: int) -> None:
    heard = Listener()
    state = SimpleNamespace(status="Cancelled", completedStatus="Cancelled by Trader")
    order = SimpleNamespace(orderRef=INTENT, permId=900, filledQuantity=filled)
    heard.ears.on_completed_order(SPY, order, state)
    heard.ears.on_completed_order(STRANGE, order, state)
    heard.ears.on_completed_order(SPY, SimpleNamespace(orderRef="by hand", permId=1, filledQuantity=1.0), state)
    assert [(m.intent_id, m.status, m.reason, m.perm_id, m.filled_lots) for m in heard.said] == [
        (INTENT, "Cancelled", "Cancelled by Trader", 900, said)
    ]


@pytest.mark.parametrize(("word", "side"), [("BOT", "BUY"), ("SLD", "SELL")])
def test_an_execution_has_its_side_its_size_its_price_and_its_session(word: str, side: str) -> None:
    [fill] = Listener().executed(side=word, orderId=-1, cumQty=70.0).said
    assert isinstance(fill, BrokerExecution)
    assert (fill.intent_id, fill.exec_id, fill.order_id, fill.perm_id) == (INTENT, "e.1.01", 0, 900)
    assert (fill.instrument, fill.side, fill.quantity_lots, fill.cumulative_lots) == ("SPY", side, 40, 70)
    assert (fill.price, fill.epoch) == (Decimal("600.05"), 5)


def test_an_execution_of_somebody_else_is_not_booked() -> None:
    assert Listener().executed(orderRef="by hand").executed(STRANGE).said == []


def test_an_execution_of_another_client_does_not_fill_the_order_that_has_its_id_here() -> None:
    heard = Listener().open().executed(clientId=2, shares=100.0, cumQty=100.0)
    assert len(heard.said) == 1, "it is booked under its intent"
    assert len(heard.ears.orders.working()) == 1
    assert heard.executed(execId="e.2.01", shares=100.0, cumQty=100.0).ears.orders.working() == []


def test_a_commission_that_comes_before_its_execution_waits_for_it_and_is_said_once() -> None:
    heard = Listener()
    early = SimpleNamespace(execId="e.1.01", commission=1.25, currency="USD")
    heard.ears.on_commission(early)
    assert heard.said == []
    heard.executed().executed()
    assert [type(m) for m in heard.said] == [BrokerExecution, BrokerCommission, BrokerExecution]
    assert (heard.said[1].intent_id, heard.said[1].commission, heard.said[1].currency) == (
        INTENT,
        Decimal("1.25"),
        "USD",
    )


def test_a_position_is_said_and_a_strange_one_is_told_once_while_it_is_held() -> None:
    heard = Listener()
    heard.ears.on_position(SPY, -10.0)
    for size in (0.0, 5.0, 7.0):
        heard.ears.on_position(STRANGE, size)
    assert [(m.instrument, m.position_lots) for m in heard.said if isinstance(m, BrokerPosition)] == [("SPY", -10)]
    assert len(heard.said) == len(heard.strangers) == 1
    assert heard.strangers[0].startswith("5 of ")


def test_an_intent_is_told_from_what_people_write_and_lots_from_floats() -> None:
    assert is_intent_id("0123456789abcdef01234567")
    assert not any(is_intent_id(text) for text in ("", "a" * 23, "a" * 25, "A" * 24, "a" * 23 + "g"))
    assert [lots(INSTRUMENTS["SPY"], units) for units in (9.999999999, 10.0000001, -3.0)] == [10, 10, -3]
