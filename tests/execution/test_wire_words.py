"""Words of the gateway that nobody expects: each is understood, or somebody is told that it is left out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agents.orders import S
from connectors.ibkr.errors import Action, lookup
from connectors.ibkr.session import Address, IbkrSession
from contracts.controls import Alert
from contracts.executions import parts
from contracts.instruments import INSTRUMENTS
from contracts.orders import BrokerCommission, BrokerExecution, SessionState
from tests.execution.order_parts import INTENT, Life, commission, execution, sent, status

SPY = SimpleNamespace(conId=INSTRUMENTS["SPY"].con_id)


class Wire:
    """A session whose library is told what came from the wire; `said` is what it tells the desk."""

    def __init__(self) -> None:
        async def publish(*_: Any) -> None:
            raise AssertionError("nothing runs here")

        self.session = IbkrSession(Address("127.0.0.1", 4002, 1), publish)
        self.wrapper = self.session._ib.wrapper

    @property
    def said(self) -> list[Any]:
        waiting = self.session._said
        return [waiting.get_nowait()[2] for _ in range(waiting.qsize())]

    def execute(self, exec_id: str = "0000e0d5.01.01.01", **changes: Any) -> None:
        values = {
            "execId": exec_id,
            "orderRef": INTENT,
            "clientId": 1,
            "orderId": 7,
            "permId": 900,
            "side": "BOT",
            "shares": 10.0,
            "cumQty": 10.0,
            "price": 600.05,
        }
        self.wrapper.execDetails(-1, SPY, SimpleNamespace(**(values | changes)))

    def commission(self, **changes: Any) -> None:
        values = {"execId": "0000e0d5.01.01.01", "commission": 1.0, "currency": "USD"} | changes
        self.wrapper.commissionReport(SimpleNamespace(**values))


@pytest.mark.parametrize(
    ("exec_id", "wanted"),
    [
        ("0000e0d5.65a1b2c3.01.02", ("0000e0d5.65a1b2c3.01", 2)),
        ("4711", ("4711", 0)),
        ("simulated", ("simulated", 0)),
        ("0000e0d5.65a1b2c3.01.0a", ("0000e0d5.65a1b2c3.01.0a", 0)),
        (".01", (".01", 0)),
        ("", ("", 0)),
    ],
)
def test_only_a_number_behind_a_dot_is_a_revision(exec_id: str, wanted: tuple[str, int]) -> None:
    assert parts(exec_id) == wanted


def test_executions_whose_names_have_no_revision_are_executions_each() -> None:
    """Taken for revisions of one another, all but the first would be lost."""
    life = Life(sent(), status("Submitted"))
    for name, lots in (("4711", 30), ("4712", 20), ("4711", 30)):
        life.hear(execution(lots).model_copy(update={"exec_id": name}))
    assert life.order.filled_lots == 50


def test_a_bust_takes_its_lots_back() -> None:
    life = Life(sent(), status("Submitted"), execution(30), execution(0, revision=2), execution(40, number=2))
    assert (life.order.filled_lots, life.order.state) == (40, S.PARTIALLY_FILLED)
    assert [(report.kind, report.fill_lots) for report in life.reports if report.kind != "STATE"] == [
        ("FILL", 30),
        ("CORRECTION", 0),
        ("FILL", 40),
    ]
    only = Life(sent(), status("Submitted"), execution(0))
    assert (only.order.filled_lots, only.order.state) == (0, S.ACKNOWLEDGED), "nothing is filled by a bust"


async def test_a_bust_on_the_wire_is_an_execution_of_no_lots() -> None:
    wire = Wire()
    wire.execute(shares=0.0, cumQty=0.0)
    (message,) = wire.said
    assert isinstance(message, BrokerExecution)
    assert message.quantity_lots == 0


async def test_a_commission_without_a_currency_is_in_that_of_its_instrument() -> None:
    wire = Wire()
    wire.execute()
    wire.commission(currency="")
    _, message = wire.said
    assert isinstance(message, BrokerCommission)
    assert (message.currency, message.intent_id) == ("USD", commission("1").intent_id)


@pytest.mark.parametrize("price", [float("nan"), float("inf"), 0.0, -600.05])
async def test_an_execution_that_no_contract_holds_is_an_alert_that_names_it(price: float) -> None:
    """The library writes an error of its listener to its own log, and goes on as if nothing had been said."""
    wire = Wire()
    wire.execute(price=price)
    (message,) = wire.said
    assert isinstance(message, Alert)
    assert (message.severity, message.code) == ("CRITICAL", "UNREADABLE")
    assert "0000e0d5.01.01.01" in message.text
    wire.execute("0000e0d5.02.01.01")
    assert [type(message) for message in wire.said] == [BrokerExecution], "what comes next is heard"


async def test_tws_that_has_lost_the_server_sends_nothing_until_it_says_that_it_is_back() -> None:
    wire = Wire()
    wire.session.state = SessionState.READY
    wire.wrapper.error(-1, 2110, "Connectivity between TWS and server is broken. It will be restored automatically.")
    assert (lookup(2110).action, wire.session.state) == (Action.LINK_LOST, SessionState.DISCONNECTED)
    wire.wrapper.error(-1, 1102, "restored, data maintained")
    assert wire.session.state is SessionState.CONNECTING
