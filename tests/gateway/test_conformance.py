"""Conformance cards: what a client may rely on. Run with an unmodified ib_insync (or raw frames) over TCP.

IB_GATEWAY_HOST and IB_GATEWAY_PORT point the same cards at a real paper gateway, in market hours; docs/reference/
gateway.md lists them.
"""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ib_insync import (
    IB,
    Contract,
    ExecutionFilter,
    LimitOrder,
    MarketOrder,
    Order,
    Stock,
    StopLimitOrder,
    StopOrder,
    Ticker,
    Trade,
)

from tests.gateway.gateway_harness import STK, Address, RawClient, until

pytestmark = pytest.mark.slow


SPY = Stock("SPY", "SMART", "USD", conId=756733)
QQQ = Stock("QQQ", "SMART", "USD", conId=320227571)


class Errors(list[tuple[int, int, str]]):
    """The errors a client has been sent: (id, code, text)."""

    def __init__(self, ib: IB) -> None:
        super().__init__()
        ib.errorEvent += lambda req_id, code, text, _: self.append((req_id, code, text))

    def codes(self, req_id: int | None = None) -> list[int]:
        return [code for id_, code, _ in self if req_id in (None, id_)]


async def quote(ib: IB, contract: Contract = SPY) -> Ticker:
    """A ticker with a bid and an ask."""
    ticker = ib.reqMktData(contract)
    await until(lambda: ticker.bid > 0 and ticker.ask > 0)
    return ticker


async def filled(trade: Trade) -> Trade:
    await until(lambda: trade.orderStatus.status == "Filled" and trade.fills)
    return trade


async def resting(ib: IB, side: str = "BUY", quantity: float = 1, away: float = 0.1, **options: Any) -> Trade:
    """A limit order far from the market, acknowledged."""
    ticker = await quote(ib)
    price = round(ticker.bid * (1 - away), 2) if side == "BUY" else round(ticker.ask * (1 + away), 2)
    trade = ib.placeOrder(SPY, LimitOrder(side, quantity, price, **options))
    await until(lambda: trade.orderStatus.status in ("PreSubmitted", "Submitted"))
    return trade


async def test_c001_the_version_answer_has_two_fields_and_never_exceeds_the_client(gateway: Address) -> None:
    for highest in (157, 163, 176, 178):
        raw = await RawClient.connect(gateway.port, gateway.host)
        answer = await raw.greet(f"v100..{highest}")
        assert len(answer) == 2
        assert 157 <= int(answer[0]) <= highest
        await raw.close()


async def test_c002_account_and_next_id_follow_startapi_and_nothing_comes_before(
    gateway: Address, client_id: int
) -> None:
    raw = await RawClient.connect(gateway.port, gateway.host)
    await raw.greet("v100..176")
    raw.send(71, 2, client_id, "")
    assert (await raw.receive())[0] == "15"
    assert (await raw.receive())[:2] == ["9", "1"]
    await raw.close()


async def test_c003_a_client_id_in_use_is_refused_with_326_and_the_first_stays(
    gateway: Address, ib: IB, client_id: int
) -> None:
    second = await RawClient.started(gateway.port, client_id, host=gateway.host)
    assert (await second.expect(4))[3] == "326"
    with pytest.raises(EOFError):
        await second.receive()
    assert await ib.reqCurrentTimeAsync()


async def test_c004_a_client_id_is_free_as_soon_as_its_socket_is_closed(gateway: Address, client_id: int) -> None:
    for _ in range(3):
        raw = await RawClient.started(gateway.port, client_id, host=gateway.host)
        await raw.expect(9)
        await raw.close()


async def test_c005_current_time_is_the_time(ib: IB) -> None:
    assert abs(await ib.reqCurrentTimeAsync() - datetime.now(UTC)) < timedelta(seconds=30)


async def test_c006_contract_details_name_the_one_contract(ib: IB) -> None:
    details = await ib.reqContractDetailsAsync(Stock("SPY", "SMART", "USD"))
    assert [d.contract.conId for d in details] == [756733]
    assert details[0].minTick == 0.01
    assert "LMT" in details[0].orderTypes.split(",")
    assert details[0].contract.primaryExchange == "ARCA"


async def test_c007_an_unknown_contract_is_error_200(ib: IB) -> None:
    errors = Errors(ib)
    assert await ib.reqContractDetailsAsync(Stock("NOSUCHTHING", "SMART", "USD")) == []
    assert errors.codes() == [200]


async def test_c008_a_symbol_search_finds_by_prefix(ib: IB) -> None:
    found = await ib.reqMatchingSymbolsAsync("AAPL")
    assert "AAPL" in [description.contract.symbol for description in found or []]


async def test_c009_quotes_have_a_bid_below_an_ask_and_sizes(ib: IB) -> None:
    ticker = await quote(ib)
    assert 0 < ticker.bid < ticker.ask
    await until(lambda: ticker.bidSize > 0 and ticker.askSize > 0 and ticker.close > 0)


async def test_c010_a_snapshot_ends_by_itself(ib: IB) -> None:
    (ticker,) = await ib.reqTickersAsync(SPY)
    assert ticker.bid > 0
    assert ticker.ask > 0


async def test_c011_market_data_type_three_still_gives_quotes(ib: IB) -> None:
    ib.reqMarketDataType(3)
    ticker = await quote(ib, QQQ)
    assert ticker.marketDataType in (1, 3)


async def test_c012_depth_is_sorted_and_uncrossed(ib: IB) -> None:
    ticker = ib.reqMktDepth(SPY, numRows=3)
    await until(lambda: len(ticker.domBids) == 3 and len(ticker.domAsks) == 3)
    bids, asks = [row.price for row in ticker.domBids], [row.price for row in ticker.domAsks]
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]
    ib.cancelMktDepth(SPY)


async def test_c013_tick_by_tick_quotes_stream(ib: IB) -> None:
    ticker = ib.reqTickByTickData(SPY, "BidAsk")
    tick = (await until(lambda: ticker.tickByTicks))[0]
    assert 0 < tick.bidPrice < tick.askPrice
    ib.cancelTickByTickData(SPY, "BidAsk")


async def test_c014_tick_by_tick_trades_stream(ib: IB) -> None:
    ticker = ib.reqTickByTickData(SPY, "Last")
    tick = (await until(lambda: ticker.tickByTicks))[0]
    assert tick.price > 0
    assert tick.size > 0
    ib.cancelTickByTickData(SPY, "Last")


async def test_c015_real_time_bars_come_every_five_seconds(ib: IB) -> None:
    bars = ib.reqRealTimeBars(SPY, 5, "MIDPOINT", False)
    await until(lambda: bars, 15)
    assert bars[0].time.second % 5 == 0
    assert bars[0].low <= bars[0].close <= bars[0].high
    ib.cancelRealTimeBars(bars)


async def test_c016_historical_bars_are_ordered_and_consistent(ib: IB) -> None:
    await quote(ib)
    bars = await ib.reqHistoricalDataAsync(SPY, "", "1 D", "5 mins", "TRADES", useRTH=False, formatDate=2)
    assert len(bars) > 10
    assert [bar.date for bar in bars] == sorted({bar.date for bar in bars})
    assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars)


async def test_c017_history_kept_up_to_date_gets_updates(ib: IB) -> None:
    await quote(ib)
    updates: list[bool] = []
    bars = await ib.reqHistoricalDataAsync(SPY, "", "300 S", "5 secs", "MIDPOINT", False, 2, keepUpToDate=True)
    bars.updateEvent += lambda _, new: updates.append(new)
    await until(lambda: updates, 15)
    ib.cancelHistoricalData(bars)


async def test_c018_historical_ticks_end_before_now(ib: IB) -> None:
    await quote(ib)
    ticks = await ib.reqHistoricalTicksAsync(SPY, None, datetime.now(UTC), 10, "BID_ASK", useRth=False)
    assert 0 < len(ticks) <= 10
    assert all(tick.priceBid <= tick.priceAsk for tick in ticks)


async def test_c019_the_head_time_stamp_lies_in_the_past(ib: IB) -> None:
    await quote(ib)
    head = await ib.reqHeadTimeStampAsync(SPY, "TRADES", useRTH=True, formatDate=2)
    assert isinstance(head, datetime)
    assert head < datetime.now(UTC)


async def test_c020_a_market_order_fills_with_executions_and_commission(ib: IB) -> None:
    await quote(ib)
    trade = await filled(ib.placeOrder(SPY, MarketOrder("BUY", 10, orderRef="c020")))
    assert trade.filled() == 10
    assert sum(fill.execution.shares for fill in trade.fills) == 10
    await until(lambda: all(fill.commissionReport.commission > 0 for fill in trade.fills))
    assert trade.fills[0].execution.orderRef == "c020"
    assert trade.fills[0].execution.side == "BOT"
    assert trade.order.permId == trade.fills[0].execution.permId > 0


async def test_c021_a_resting_order_is_submitted_and_cancelled_with_202(ib: IB) -> None:
    errors = Errors(ib)
    trade = await resting(ib)
    ib.cancelOrder(trade.order)
    await until(lambda: trade.orderStatus.status == "Cancelled" and errors)
    assert errors.codes(trade.order.orderId) == [202]
    assert trade.fills == []


async def test_c022_a_cancel_of_an_unknown_order_is_10147(ib: IB) -> None:
    errors = Errors(ib)
    ib.client.cancelOrder(900_000)
    await until(lambda: errors)
    assert errors.codes(900_000) == [10147]


async def test_c023_a_cancel_of_a_filled_order_is_10148(ib: IB) -> None:
    errors = Errors(ib)
    await quote(ib)
    trade = await filled(ib.placeOrder(SPY, MarketOrder("BUY", 1)))
    ib.client.cancelOrder(trade.order.orderId)
    await until(lambda: errors)
    assert errors.codes(trade.order.orderId) == [10148]


async def test_c024_an_amend_changes_price_and_quantity_of_the_same_order(ib: IB) -> None:
    trade = await resting(ib, quantity=5)
    perm_id = trade.order.permId
    trade.order.lmtPrice = round(trade.order.lmtPrice - 1, 2)
    trade.order.totalQuantity = 7
    ib.placeOrder(SPY, trade.order)
    await until(lambda: trade.orderStatus.remaining == 7)
    await ib.reqAllOpenOrdersAsync()
    assert trade.order.permId == perm_id
    assert trade.order.totalQuantity == 7
    ib.cancelOrder(trade.order)
    await until(trade.isDone)


async def test_c025_an_immediate_order_that_cannot_fill_is_cancelled(ib: IB) -> None:
    ticker = await quote(ib)
    trade = ib.placeOrder(SPY, LimitOrder("BUY", 1, round(ticker.bid * 0.9, 2), tif="IOC"))
    await until(lambda: trade.orderStatus.status == "Cancelled")
    assert trade.filled() == 0


async def test_c026_a_stop_waits_as_presubmitted(ib: IB) -> None:
    ticker = await quote(ib)
    trade = ib.placeOrder(SPY, StopOrder("SELL", 1, round(ticker.bid * 0.9, 2)))
    await until(lambda: trade.orderStatus.status == "PreSubmitted")
    ib.cancelOrder(trade.order)
    await until(lambda: trade.orderStatus.status == "Cancelled")


async def test_c027_a_stop_limit_keeps_both_prices(ib: IB) -> None:
    ticker = await quote(ib)
    stop, limit = round(ticker.ask * 1.1, 2), round(ticker.ask * 1.11, 2)
    trade = ib.placeOrder(SPY, StopLimitOrder("BUY", 1, limit, stop))
    await until(lambda: trade.orderStatus.status == "PreSubmitted")
    assert (trade.order.lmtPrice, trade.order.auxPrice, trade.order.orderType) == (limit, stop, "STP LMT")
    ib.cancelOrder(trade.order)
    await until(trade.isDone)


async def test_c028_bracket_children_wait_and_die_with_their_parent(ib: IB) -> None:
    ticker = await quote(ib)
    price = round(ticker.bid * 0.9, 2)
    trades = [
        ib.placeOrder(SPY, order)
        for order in ib.bracketOrder(
            "BUY", 1, price, takeProfitPrice=round(price * 1.2, 2), stopLossPrice=round(price * 0.9, 2)
        )
    ]
    await until(lambda: all(t.orderStatus.status in ("PreSubmitted", "Submitted") for t in trades))
    assert [t.orderStatus.status for t in trades[1:]] == ["PreSubmitted", "PreSubmitted"]
    ib.cancelOrder(trades[0].order)
    await until(lambda: all(t.orderStatus.status == "Cancelled" for t in trades))


async def test_c029_one_order_of_a_group_cancels_the_other(ib: IB) -> None:
    ticker = await quote(ib)
    far = LimitOrder("BUY", 1, round(ticker.bid * 0.9, 2), ocaGroup=f"c029-{ib.client.clientId}", ocaType=1)
    near = MarketOrder("BUY", 1, ocaGroup=far.ocaGroup, ocaType=1)
    waiting = ib.placeOrder(SPY, far)
    await until(lambda: waiting.orderStatus.status in ("PreSubmitted", "Submitted"))
    await filled(ib.placeOrder(SPY, near))
    await until(lambda: waiting.orderStatus.status == "Cancelled")


async def test_c030_what_if_answers_margins_and_places_nothing(ib: IB) -> None:
    await quote(ib)
    before = len(await ib.reqAllOpenOrdersAsync())
    state = await ib.whatIfOrderAsync(SPY, MarketOrder("BUY", 100))
    assert float(state.initMarginChange) > 0
    assert 0 < state.commission < 10
    assert len(await ib.reqAllOpenOrdersAsync()) == before


async def test_c031_a_good_till_date_order_expires(ib: IB) -> None:
    end = datetime.now(UTC) + timedelta(seconds=2)
    trade = await resting(ib, tif="GTD", goodTillDate=end.strftime("%Y%m%d %H:%M:%S UTC"))
    await until(lambda: trade.orderStatus.status == "Cancelled", 30)


async def test_c032_global_cancel_ends_all_open_orders(ib: IB) -> None:
    trades = [await resting(ib, away=0.1 + n / 100) for n in range(3)]
    ib.reqGlobalCancel()
    await until(lambda: all(trade.orderStatus.status == "Cancelled" for trade in trades))


async def test_c033_open_orders_are_the_clients_own_and_all_open_orders_are_all(gateway: Address, ib: IB) -> None:
    trade = await resting(ib)
    other = IB()
    await other.connectAsync(gateway.host, gateway.port, clientId=ib.client.clientId + 500, timeout=10)
    own = await other.reqOpenOrdersAsync()
    everything = await other.reqAllOpenOrdersAsync()
    assert trade.order.permId not in [t.order.permId for t in own]
    assert trade.order.permId in [t.order.permId for t in everything]
    other.disconnect()
    ib.cancelOrder(trade.order)
    await until(trade.isDone)


async def test_c034_a_client_cannot_cancel_another_clients_order(gateway: Address, ib: IB) -> None:
    trade = await resting(ib)
    other = IB()
    await other.connectAsync(gateway.host, gateway.port, clientId=ib.client.clientId + 500, timeout=10)
    errors = Errors(other)
    other.client.cancelOrder(trade.order.orderId)
    await until(lambda: errors)
    assert errors.codes(trade.order.orderId) == [10147]
    assert trade.orderStatus.status == "Submitted"
    other.disconnect()
    ib.cancelOrder(trade.order)
    await until(trade.isDone)


async def test_c035_completed_orders_list_what_is_done(ib: IB) -> None:
    await quote(ib)
    done = await filled(ib.placeOrder(SPY, MarketOrder("BUY", 2)))
    trade = await resting(ib)
    ib.cancelOrder(trade.order)
    await until(trade.isDone)
    completed = {t.order.permId: t for t in await ib.reqCompletedOrdersAsync(apiOnly=False)}
    assert completed[done.order.permId].orderStatus.status == "Filled"
    assert completed[done.order.permId].order.filledQuantity == 2
    assert completed[trade.order.permId].orderStatus.status == "Cancelled"


async def test_c036_executions_obey_their_filter(ib: IB) -> None:
    await quote(ib)
    await quote(ib, QQQ)
    await filled(ib.placeOrder(SPY, MarketOrder("BUY", 1)))
    await filled(ib.placeOrder(QQQ, MarketOrder("SELL", 1)))
    mine = await ib.reqExecutionsAsync(ExecutionFilter(clientId=ib.client.clientId))
    spy = await ib.reqExecutionsAsync(ExecutionFilter(clientId=ib.client.clientId, symbol="SPY"))
    sold = await ib.reqExecutionsAsync(ExecutionFilter(clientId=ib.client.clientId, side="SELL"))
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y%m%d-%H:%M:%S")
    assert {fill.contract.symbol for fill in mine} == {"SPY", "QQQ"}
    assert {fill.contract.symbol for fill in spy} == {"SPY"}
    assert {fill.execution.side for fill in sold} == {"SLD"}
    assert await ib.reqExecutionsAsync(ExecutionFilter(clientId=ib.client.clientId, time=later)) == []


async def test_c037_positions_move_with_fills(ib: IB) -> None:
    def held() -> float:
        return float(sum(p.position for p in ib.positions() if p.contract.conId == SPY.conId))

    await quote(ib)
    before = held()
    await filled(ib.placeOrder(SPY, MarketOrder("BUY", 3)))
    await until(lambda: held() == before + 3)


async def test_c038_the_account_reports_its_values(ib: IB) -> None:
    rows = {row.tag: row for row in await ib.accountSummaryAsync()}
    assert float(rows["NetLiquidation"].value) > 0
    assert rows["NetLiquidation"].currency == "USD"
    assert {"NetLiquidation", "TotalCashValue", "BuyingPower", "MaintMarginReq"} <= {
        row.tag for row in ib.accountValues()
    }


async def test_c039_profit_and_loss_streams(ib: IB) -> None:
    await quote(ib)
    await filled(ib.placeOrder(SPY, MarketOrder("BUY", 1)))
    account = ib.managedAccounts()[0]
    pnl, single = ib.reqPnL(account), ib.reqPnLSingle(account, "", SPY.conId)
    await until(lambda: not math.isnan(pnl.dailyPnL) and single.position)
    assert not math.isnan(single.value)
    ib.cancelPnL(account)
    ib.cancelPnLSingle(account, "", SPY.conId)


async def test_c040_an_order_id_at_or_below_the_last_one_is_103(ib: IB) -> None:
    errors = Errors(ib)
    trade = await resting(ib)
    ib.cancelOrder(trade.order)
    await until(trade.isDone)
    ib.placeOrder(SPY, LimitOrder("BUY", 1, trade.order.lmtPrice, orderId=trade.order.orderId - 1))
    await until(lambda: 103 in errors.codes(trade.order.orderId - 1))


async def test_c041_a_price_between_ticks_is_110(ib: IB) -> None:
    errors = Errors(ib)
    ib.placeOrder(SPY, LimitOrder("BUY", 1, 100.001))
    await until(lambda: 110 in errors.codes())


async def test_c042_an_order_type_nobody_knows_is_387(ib: IB) -> None:
    errors = Errors(ib)
    ib.placeOrder(SPY, Order(action="BUY", totalQuantity=1, orderType="NONSENSE"))
    await until(lambda: 387 in errors.codes())


async def test_c043_an_order_beyond_buying_power_is_201_and_inactive(ib: IB) -> None:
    errors = Errors(ib)
    ticker = await quote(ib)
    trade = ib.placeOrder(SPY, LimitOrder("BUY", 100_000, ticker.bid))
    await until(lambda: trade.orderStatus.status == "Inactive")
    await until(lambda: 201 in errors.codes(trade.order.orderId))


async def test_c044_a_reconnect_finds_orders_fills_and_a_higher_id(gateway: Address, ib: IB) -> None:
    await quote(ib)
    done = await filled(ib.placeOrder(SPY, MarketOrder("BUY", 1, orderRef="c044")))
    open_ = await resting(ib, orderRef="c044-open")
    client_id = ib.client.clientId
    ib.disconnect()
    again = IB()
    await again.connectAsync(gateway.host, gateway.port, clientId=client_id, timeout=10)
    assert "c044-open" in [trade.order.orderRef for trade in again.openTrades()]
    assert done.fills[0].execution.execId in [fill.execution.execId for fill in again.fills()]
    assert again.client.getReqId() > open_.order.orderId
    mine = next(trade for trade in again.openTrades() if trade.order.orderRef == "c044-open")
    again.cancelOrder(mine.order)
    await until(lambda: mine.orderStatus.status == "Cancelled")
    again.disconnect()


async def test_c045_an_unknown_message_is_505_and_the_connection_lives(gateway: Address, client_id: int) -> None:
    raw = await RawClient.started(gateway.port, client_id, host=gateway.host)
    raw.send(9_999, 1)
    assert (await raw.expect(4, 2, None, 505))[3] == "505"
    raw.send(49, 1)
    await raw.expect(49)
    await raw.close()


async def test_c046_quantity_zero_is_434(ib: IB) -> None:
    errors = Errors(ib)
    ib.placeOrder(SPY, LimitOrder("BUY", 0, 100))
    await until(lambda: 434 in errors.codes())


async def test_c047_the_data_farms_report_themselves_at_the_start(gateway: Address, client_id: int) -> None:
    raw = await RawClient.started(gateway.port, client_id, host=gateway.host)
    for code in (2104, 2106, 2158):
        await raw.expect(4, 2, -1, code)
    await raw.close()


async def test_c048_an_unknown_account_is_321(ib: IB) -> None:
    errors = Errors(ib)
    ib.placeOrder(SPY, LimitOrder("BUY", 1, 100, account="DU0000000"))
    await until(lambda: 321 in errors.codes() or 201 in errors.codes() or 435 in errors.codes())


async def test_c049_more_than_fifty_messages_a_second_end_the_connection_with_100(
    gateway: Address, client_id: int
) -> None:
    raw = await RawClient.started(gateway.port, client_id, host=gateway.host)
    await raw.expect(9)
    for _ in range(60):
        raw.send(49, 1)
    await raw.expect(4, 2, -1, 100)
    with pytest.raises(EOFError):
        await raw.expect("never")


async def test_c050_the_fourth_depth_subscription_is_309(gateway: Address, client_id: int) -> None:
    raw = await RawClient.started(gateway.port, client_id, host=gateway.host)
    for req_id in range(101, 105):
        raw.send(10, 5, req_id, *STK, 3, 0, "")
    assert (await raw.expect(4, 2, 104))[3] == "309"
    await raw.close()


async def test_c051_a_generic_tick_nobody_knows_is_321(ib: IB) -> None:
    errors = Errors(ib)
    ib.reqMktData(SPY, "99999")
    await until(lambda: 321 in errors.codes())


async def test_c052_an_order_that_is_not_transmitted_waits_until_it_is(ib: IB) -> None:
    ticker = await quote(ib)
    order = LimitOrder("BUY", 1, round(ticker.bid * 0.9, 2), transmit=False)
    trade = ib.placeOrder(SPY, order)
    await ib.reqCurrentTimeAsync()
    assert trade.orderStatus.status == "PendingSubmit"
    order.transmit = True
    ib.placeOrder(SPY, order)
    await until(lambda: trade.orderStatus.status == "Submitted")
    ib.cancelOrder(order)
    await until(trade.isDone)


async def test_c053_a_bracket_wakes_when_its_parent_fills_and_one_child_ends_the_other(ib: IB) -> None:
    ticker = await quote(ib)
    orders = ib.bracketOrder(
        "BUY", 1, round(ticker.ask * 1.01, 2), round(ticker.bid * 0.95, 2), round(ticker.bid * 0.9, 2)
    )
    parent, profit, loss = (ib.placeOrder(SPY, order) for order in orders)
    await filled(parent)
    await filled(profit)
    await until(lambda: loss.orderStatus.status == "Cancelled")


async def test_c054_a_depth_subscription_that_is_cancelled_falls_silent(gateway: Address, client_id: int) -> None:
    raw = await RawClient.started(gateway.port, client_id, host=gateway.host)
    raw.send(10, 5, 7, *STK, 3, 0, "")
    await raw.expect(12)
    raw.send(11, 1, 7, 0)
    raw.send(11, 1, 7, 0)
    assert (await raw.expect(4, 2, 7))[3] == "310"
    raw.send(49, 1)
    assert (await raw.receive())[0] == "49"
    await raw.close()


async def test_c055_thirty_two_clients_trade_at_once(gateway: Address) -> None:
    gateway.control()
    already = gateway.control().status()["connections"]
    clients = [await RawClient.started(gateway.port, 700 + n) for n in range(32 - already)]
    for raw in clients:
        await raw.expect(9)
    extra = await RawClient.connect(gateway.port)
    with pytest.raises(EOFError):
        await extra.greet("v100..178")
    await asyncio.gather(*(raw.close() for raw in clients))
