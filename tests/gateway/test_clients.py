"""Clients the project does not use: IB's own `ibapi` and the fork `ib_async` connect, trade and reconcile unchanged."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import ib_async
import pytest
from ibapi.client import EClient
from ibapi.contract import Contract
from ibapi.execution import ExecutionFilter
from ibapi.order import Order
from ibapi.wrapper import EWrapper

from tests.gateway.gateway_harness import DEADLINE_S, Address, until

pytestmark = pytest.mark.slow


class OfficialClient(EWrapper, EClient):  # type: ignore[misc]
    """IB's client in its reader thread, writing down what it is told."""

    def __init__(self) -> None:
        EClient.__init__(self, self)
        self.next_id = 0
        self.events: list[tuple[str, tuple[Any, ...]]] = []
        self._arrived = threading.Condition()

    def _note(self, name: str, *args: Any) -> None:
        with self._arrived:
            self.events.append((name, args))
            self._arrived.notify_all()

    def wait(self, condition: Callable[[], Any]) -> Any:
        """Wait for what the reader thread brings; AssertionError after the deadline."""
        with self._arrived:
            assert self._arrived.wait_for(condition, DEADLINE_S), self.events[-10:]
            return condition()

    def seen(self, name: str) -> list[tuple[Any, ...]]:
        return [args for event, args in self.events if event == name]

    def nextValidId(self, orderId: int) -> None:  # noqa: N802, N803
        self.next_id = orderId
        self._note("nextValidId", orderId)

    def error(self, *args: Any) -> None:
        self._note("error", *args)

    def contractDetails(self, reqId: int, contractDetails: Any) -> None:  # noqa: N802, N803
        self._note("contractDetails", contractDetails)

    def tickPrice(self, reqId: int, tickType: int, price: float, attrib: Any) -> None:  # noqa: N802, N803
        self._note("tickPrice", tickType, price)

    def updateMktDepth(self, *args: Any) -> None:  # noqa: N802
        self._note("updateMktDepth", *args)

    def openOrder(self, orderId: int, contract: Contract, order: Order, state: Any) -> None:  # noqa: N802, N803
        self._note("openOrder", orderId, order, state.status)

    def orderStatus(self, orderId: int, status: str, filled: float, remaining: float, *rest: Any) -> None:  # noqa: N802, N803
        self._note("orderStatus", orderId, status, filled, remaining)

    def execDetails(self, reqId: int, contract: Contract, execution: Any) -> None:  # noqa: N802, N803
        self._note("execDetails", reqId, contract, execution)

    def execDetailsEnd(self, reqId: int) -> None:  # noqa: N802, N803
        self._note("execDetailsEnd", reqId)

    def commissionReport(self, commissionReport: Any) -> None:  # noqa: N802, N803
        self._note("commissionReport", commissionReport)

    def position(self, account: str, contract: Contract, position: float, avgCost: float) -> None:  # noqa: N803
        self._note("position", contract.symbol, position, avgCost)

    def positionEnd(self) -> None:  # noqa: N802
        self._note("positionEnd")

    def accountSummary(self, reqId: int, account: str, tag: str, value: str, currency: str) -> None:  # noqa: N802, N803
        self._note("accountSummary", tag, value)

    def accountSummaryEnd(self, reqId: int) -> None:  # noqa: N802, N803
        self._note("accountSummaryEnd", reqId)

    def openOrderEnd(self) -> None:  # noqa: N802
        self._note("openOrderEnd")

    def completedOrder(self, contract: Contract, order: Order, state: Any) -> None:  # noqa: N802
        self._note("completedOrder", order, state)

    def completedOrdersEnd(self) -> None:  # noqa: N802
        self._note("completedOrdersEnd")

    def historicalData(self, reqId: int, bar: Any) -> None:  # noqa: N802, N803
        self._note("historicalData", bar)

    def historicalDataEnd(self, reqId: int, start: str, end: str) -> None:  # noqa: N802, N803
        self._note("historicalDataEnd", reqId)


@pytest.fixture
def official(gateway: Address, client_id: int) -> Iterator[OfficialClient]:
    client = OfficialClient()
    client.connect(gateway.host, gateway.port, client_id)
    reader = threading.Thread(target=client.run, daemon=True)
    reader.start()
    client.wait(lambda: client.next_id)
    yield client
    client.disconnect()
    reader.join(DEADLINE_S)
    assert not reader.is_alive()


def spy() -> Contract:
    contract = Contract()
    contract.symbol, contract.secType, contract.exchange, contract.currency = "SPY", "STK", "SMART", "USD"
    return contract


def order(action: str, quantity: float, kind: str, limit: float = 0.0, ref: str = "") -> Order:
    result = Order()
    result.action, result.totalQuantity, result.orderType, result.lmtPrice = action, quantity, kind, limit
    result.eTradeOnly = result.firmQuoteOnly = False
    result.orderRef = ref
    return result


def test_ibapi_sees_contracts_quotes_depth_and_history(official: OfficialClient) -> None:
    official.reqContractDetails(1, spy())
    details = official.wait(lambda: official.seen("contractDetails"))[0][0]
    assert (details.contract.conId, details.minTick, details.longName) == (756733, 0.01, "SPDR S&P 500 ETF TRUST")
    official.reqMktData(2, spy(), "233", False, False, [])
    official.wait(lambda: {1, 2} <= {kind for kind, _ in official.seen("tickPrice")})
    official.reqMktDepth(3, spy(), 3, False, [])
    official.wait(lambda: len(official.seen("updateMktDepth")) >= 6)
    official.reqHistoricalData(4, spy(), "", "3600 S", "5 mins", "TRADES", 0, 1, False, [])
    official.wait(lambda: official.seen("historicalDataEnd"))
    assert len(official.seen("historicalData")) >= 11
    assert official.isConnected()


def test_ibapi_trades_and_reconciles(official: OfficialClient) -> None:
    first = official.next_id
    official.placeOrder(first, spy(), order("BUY", 100, "MKT", ref="ibapi-1"))
    report = official.wait(lambda: official.seen("commissionReport"))[0][0]
    execution = official.seen("execDetails")[0][2]
    assert (execution.orderId, execution.side, execution.orderRef) == (first, "BOT", "ibapi-1")
    assert report.execId == execution.execId
    assert report.commission > 0
    official.wait(lambda: (first, "Filled", 100.0, 0.0) in official.seen("orderStatus"))

    official.placeOrder(first + 1, spy(), order("BUY", 10, "LMT", 1.0))
    official.wait(lambda: (first + 1, "Submitted", 0.0, 10.0) in official.seen("orderStatus"))
    official.reqOpenOrders()
    official.wait(lambda: official.seen("openOrderEnd"))
    listed = [o for order_id, o, status in official.seen("openOrder") if (order_id, status) == (first + 1, "Submitted")]
    assert listed[-1].totalQuantity == 10
    official.cancelOrder(first + 1)
    official.wait(lambda: (first + 1, "Cancelled", 0.0, 10.0) in official.seen("orderStatus"))

    official.reqExecutions(7, ExecutionFilter())
    official.wait(lambda: official.seen("execDetailsEnd"))
    assert execution.execId in [e.execId for req_id, _, e in official.seen("execDetails") if req_id == 7]
    official.reqPositions()
    official.wait(lambda: official.seen("positionEnd"))
    assert [position for symbol, position, _ in official.seen("position") if symbol == "SPY"][-1] != 0
    official.reqCompletedOrders(False)
    official.wait(lambda: official.seen("completedOrdersEnd"))
    refs = {o.orderRef: (o.filledQuantity, state.status) for o, state in official.seen("completedOrder")}
    assert refs["ibapi-1"] == (100.0, "Filled")
    official.reqAccountSummary(9, "All", "NetLiquidation,TotalCashValue")
    official.wait(lambda: official.seen("accountSummaryEnd"))
    assert {tag for tag, _ in official.seen("accountSummary")} == {"NetLiquidation", "TotalCashValue"}


def test_ibapi_reconnects_with_the_same_client_id(gateway: Address, official: OfficialClient, client_id: int) -> None:
    """Its socket closes up to a second late, while its reader waits: 326 until then, and the same id in the end."""
    official.disconnect()
    deadline = time.monotonic() + DEADLINE_S
    while True:
        again = OfficialClient()
        again.connect(gateway.host, gateway.port, client_id)
        reader = threading.Thread(target=again.run, daemon=True)
        reader.start()
        again.wait(lambda: again.next_id or any(326 in args for args in again.seen("error")))  # noqa: B023 - used at once
        again.disconnect()
        reader.join(DEADLINE_S)
        if again.next_id:
            break
        assert time.monotonic() < deadline, "the client id is still busy"


async def test_ib_async_trades_and_reconciles(gateway: Address, client_id: int) -> None:
    ib = ib_async.IB()
    await ib.connectAsync(gateway.host, gateway.port, clientId=client_id, timeout=10)
    assert ib.client.serverVersion() == 178
    contract = ib_async.Stock("SPY", "SMART", "USD")
    await ib.qualifyContractsAsync(contract)
    ticker, depth = ib.reqMktData(contract), ib.reqMktDepth(contract, 3)
    await until(lambda: ticker.bid > 0 and len(depth.domBids) == 3)
    trade = ib.placeOrder(contract, ib_async.MarketOrder("BUY", 100, orderRef="async-ü"))
    await until(lambda: trade.orderStatus.status == "Filled" and trade.fills[0].commissionReport.commission)
    waiting = ib.placeOrder(contract, ib_async.LimitOrder("BUY", 5, 1.0, orderRef="async-2"))
    await until(lambda: waiting.orderStatus.status == "Submitted")
    ib.disconnect()

    again = ib_async.IB()
    await again.connectAsync(gateway.host, gateway.port, clientId=client_id, timeout=10)
    assert trade.fills[0].execution.execId in [fill.execution.execId for fill in again.fills()]
    found = next(t for t in again.openTrades() if t.order.orderRef == "async-2")
    again.cancelOrder(found.order)
    await until(lambda: found.orderStatus.status == "Cancelled")
    completed = await again.reqCompletedOrdersAsync(False)
    assert {"async-ü", "async-2"} <= {t.order.orderRef for t in completed}
    assert any(p.contract.symbol == "SPY" and p.position for p in await again.reqPositionsAsync())
    await asyncio.wait_for(again.reqHistoricalDataAsync(contract, "", "1 D", "1 hour", "MIDPOINT", False), DEADLINE_S)
    again.disconnect()
