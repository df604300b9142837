"""Each fault of the catalogue happens as described, is counted, and the ledger keeps the truth."""

from __future__ import annotations

import asyncio
import inspect
import random
import sys
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from typing import Any

import pytest
from ib_insync import IB, LimitOrder, MarketOrder, Stock, Trade

from connectors.gateway import script
from connectors.gateway.faults import CATALOGUE, FaultError, Panel
from tests.gateway.gateway_harness import DEADLINE_S, LocalGateway, RawClient, local_gateway, place_order_fields, until

pytestmark = pytest.mark.slow


SPY = Stock("SPY", "SMART", "USD", conId=756733)


async def raw_client(local: LocalGateway, client_id: int = 5) -> RawClient:
    raw = await RawClient.started(local.port, client_id)
    await raw.expect(4, 2, -1, 2158)
    return raw


async def until_answered(raw: RawClient) -> list[list[str]]:
    """All messages before the answer to a question asked now."""
    raw.send(49, 1)
    messages: list[list[str]] = []
    while (fields := await raw.receive())[0] != "49":
        messages.append(fields)
    return messages


def kinds(messages: list[list[str]]) -> list[str]:
    return [fields[0] for fields in messages]


def resting(ib: IB, price: float = 99.0, quantity: float = 100, **options: Any) -> Trade:
    return ib.placeOrder(SPY, LimitOrder("BUY", quantity, price, **options))


async def submitted(trade: Trade) -> Trade:
    await until(lambda: trade.orderStatus.status == "Submitted")
    return trade


def errors_of(ib: IB) -> list[tuple[int, int]]:
    errors: list[tuple[int, int]] = []
    ib.errorEvent += lambda req_id, code, text, _: errors.append((req_id, code))
    return errors


async def test_g1_an_order_without_an_answer_appears_in_open_orders_or_never(local: LocalGateway) -> None:
    raw = await raw_client(local)
    local.arm("G1")
    raw.send(*place_order_fields(1, kind="LMT", limit=99))
    assert await until_answered(raw) == []
    raw.send(5, 1)
    assert (await raw.receive())[:2] == ["5", "1"]
    local.arm("G1", mode="dropped")
    raw.send(*place_order_fields(2, kind="LMT", limit=99))
    raw.send(16, 1)
    assert "2" not in [fields[1] for fields in await until_answered(raw) if fields[0] == "5"]
    assert [row.order_id for row in local.ledger.orders.values()] == [1]
    assert local.hits("G1") == 2


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("normal", ["5", "11", "59"]), ("early", ["5", "59", "11"]), ("twice", ["5", "11", "59", "59"])],
)
async def test_g2_a_market_order_fills_without_a_status(local: LocalGateway, mode: str, expected: list[str]) -> None:
    raw = await raw_client(local)
    local.arm("G2", mode=mode)
    raw.send(*place_order_fields(1))
    assert kinds(await until_answered(raw)) == expected
    assert local.hits("G2") == 2, "PreSubmitted and Filled were left out"


async def test_g2_the_commission_comes_late(local: LocalGateway) -> None:
    raw = await raw_client(local)
    local.arm("G2", mode="late", delay_s=0.05)
    raw.send(*place_order_fields(1))
    assert kinds(await until_answered(raw)) == ["5", "11"]
    await raw.expect(59)


async def test_g3_fills_of_a_lost_link_are_found_by_asking_alone(local: LocalGateway, local_ib: IB) -> None:
    errors = errors_of(local_ib)
    trade = await submitted(resting(local_ib, 100.01, 900))
    assert trade.filled() == 500
    local.arm("G3", for_s=0.1)
    local.market.book(asks=[("100.01", 100)])
    await until(lambda: (-1, 1102) in errors)
    assert errors[0] == (-1, 1100)
    assert trade.filled() == 500
    assert sum(execution.lots for execution in local.ledger.executions) == 600
    await local_ib.reqExecutionsAsync()
    await until(lambda: trade.filled() == 600)
    assert local.hits("G3") == 1


async def test_g3_data_lost_means_subscribe_again(local: LocalGateway, local_ib: IB) -> None:
    errors = errors_of(local_ib)
    ticker = local_ib.reqMktData(SPY)
    await until(lambda: ticker.bid == 100.0)
    trade = await submitted(resting(local_ib, 100.01, 900))
    local.arm("G3", mode="sent", data="lost", for_s=0.05)
    local.market.book(asks=[("100.01", 100)])
    await until(lambda: (-1, 1101) in errors)
    assert trade.filled() == 600
    local.market.book(bids=[("100.00", 777)])
    await local_ib.reqCurrentTimeAsync()
    assert ticker.bidSize == 500


@pytest.mark.parametrize(("mode", "orders"), [("reached", 1), ("lost", 0)])
async def test_g4_the_socket_dies_with_the_order(local: LocalGateway, mode: str, orders: int) -> None:
    raw = await raw_client(local)
    local.arm("G4", mode=mode)
    raw.send(*place_order_fields(1))
    with pytest.raises(EOFError):
        await raw.receive()
    assert len(local.ledger.orders) == orders
    assert len(local.ledger.executions) == orders
    again = await raw_client(local)
    raw = again
    raw.send(7, 3, 9, 0, "", "", "", "", "", "")
    assert kinds(await until_answered(raw)) == ["11"] * orders + ["55"] + ["59"] * orders
    assert local.hits("G4") == 1


async def test_g4_the_socket_dies_with_the_cancel(local: LocalGateway) -> None:
    raw = await raw_client(local)
    raw.send(*place_order_fields(1, kind="LMT", limit=99))
    await raw.expect(3)
    local.arm("G4", on="cancel")
    raw.send(4, 1, 1, "")
    with pytest.raises(EOFError):
        await raw.receive()
    assert [row.status for row in local.ledger.orders.values()] == ["Cancelled"]


async def test_g5_an_amend_makes_two_live_orders_with_one_id(local: LocalGateway, local_ib: IB) -> None:
    trade = await submitted(resting(local_ib, orderRef="twin"))
    local.arm("G5")
    trade.order.lmtPrice = 98.0
    local_ib.placeOrder(SPY, trade.order)
    await until(lambda: len(local.ledger.orders) == 2)
    rows = list(local.ledger.orders.values())
    assert {(row.order_id, row.order_ref, row.status) for row in rows} == {(trade.order.orderId, "twin", "Submitted")}
    assert rows[0].perm_id != rows[1].perm_id
    local_ib.cancelOrder(trade.order)
    await until(lambda: "Cancelled" in [row.status for row in local.ledger.orders.values()])
    assert sorted(row.status for row in local.ledger.orders.values()) == ["Cancelled", "Submitted"]
    assert local.hits("G5") == 1


async def test_g6_another_sessions_order_shows_up_under_our_order_id(local: LocalGateway) -> None:
    raw = await raw_client(local)
    raw.send(*place_order_fields(1, kind="LMT", limit=99))
    await raw.expect(3)
    local.arm("G6")
    raw.send(5, 1)
    messages = await until_answered(raw)
    shown = [(fields[1], fields[24], fields[25]) for fields in messages if fields[0] == "5"]
    assert [order_id for order_id, _, _ in shown] == ["1", "1"]
    assert [client_id for _, client_id, _ in shown] == ["5", "999"]
    assert shown[0][2] != shown[1][2]
    assert local.hits("G6") == 1


async def test_g7_statuses_are_repeated_and_an_open_order_follows_the_fill(local: LocalGateway) -> None:
    raw = await raw_client(local)
    local.arm("G7", count=2, copies=3)
    raw.send(*place_order_fields(1))
    messages = await until_answered(raw)
    statuses = [fields[2] for fields in messages if fields[0] == "3"]
    assert statuses == ["PreSubmitted"] * 3 + ["Filled"] * 3
    last_open = [fields for fields in messages if fields[0] == "5"][-1]
    assert "Submitted" in last_open
    assert local.hits("G7") == 2


async def test_g8_the_client_id_stays_busy_for_a_while(local: LocalGateway) -> None:
    local.arm("G8", count=2)
    for _ in range(2):
        raw = await RawClient.started(local.port, 5)
        assert (await raw.receive())[3] == "326"
        with pytest.raises(EOFError):
            await raw.receive()
    await raw_client(local)
    assert local.hits("G8") == 2


async def test_g8_the_handshake_is_slow_or_mute(local: LocalGateway) -> None:
    local.arm("G8", mode="slow", delay_s=0.1)
    start = asyncio.get_running_loop().time()
    await raw_client(local)
    assert asyncio.get_running_loop().time() - start >= 0.1
    local.arm("G8", mode="mute")
    raw = await RawClient.connect(local.port)
    greeting = asyncio.create_task(raw.greet("v100..178"))
    await until(lambda: local.hits("G8") == 2)
    await raw_client(local, 6)
    assert not greeting.done()
    greeting.cancel()


async def test_g9_farms_flap_while_orders_trade(local: LocalGateway, local_ib: IB) -> None:
    errors = errors_of(local_ib)
    local.arm("G9", for_s=0.1, every_s=0.02)
    trade = local_ib.placeOrder(SPY, MarketOrder("BUY", 10))
    await until(lambda: trade.orderStatus.status == "Filled")
    await until(lambda: [code for _, code in errors].count(2103) >= 2 and errors[-1] == (-1, 2106))
    assert local_ib.isConnected()
    assert local.hits("G9") >= 4


async def test_g10_a_reset_closes_every_socket_and_the_gateway_comes_back(local: LocalGateway) -> None:
    clients = [await raw_client(local, n) for n in (1, 2)]
    local.arm("G10", for_s=1.0)
    for raw in clients:
        with pytest.raises(EOFError):
            await raw.receive()
    refused = await RawClient.connect(local.port)
    with pytest.raises((EOFError, ConnectionError)):
        await refused.greet("v100..178")
    await until(lambda: not local.gateway.link_faults.closed)
    await raw_client(local, 1)
    assert local.hits("G10") == 2


async def test_g10_connected_but_not_logged_in_means_silence(local: LocalGateway) -> None:
    local.arm("G10", mode="unauthenticated", for_s=1.0)
    raw = await RawClient.started(local.port, 1)
    with pytest.raises(TimeoutError):
        await raw.receive(0.1)
    await until(lambda: not local.gateway.link_faults.no_login)
    await raw_client(local, 2)


async def test_g11_a_rate_violation_ends_the_connection_and_history_is_paced(local: LocalGateway) -> None:
    raw = await raw_client(local)
    local.arm("G11", mode="162")
    raw.send(20, 31, 756733, *[""] * 11, 0, "", "1 min", "3600 S", 0, "MIDPOINT", 1, 0, "")
    assert (await raw.expect(4))[2:4] == ["31", "162"]
    local.arm("G11")
    raw.send(49, 1)
    assert (await raw.receive())[3] == "100"
    with pytest.raises(EOFError):
        await raw.receive()
    assert local.hits("G11") == 2


async def test_g11_the_sixty_first_historical_request_in_ten_minutes_is_162(local: LocalGateway) -> None:
    raw = await raw_client(local)
    local.gateway.history_pacing._requests.extend((asyncio.get_running_loop().time(), "x", str(n)) for n in range(60))
    raw.send(20, 31, 756733, *[""] * 11, 0, "", "1 min", "3600 S", 0, "MIDPOINT", 1, 0, "")
    assert (await raw.expect(4))[2:4] == ["31", "162"]
    assert local.hits("G11") == 1


async def test_g12_a_cancel_is_acknowledged_late(local: LocalGateway, local_ib: IB) -> None:
    trade = await submitted(resting(local_ib))
    local.arm("G12", delay_s=0.05)
    local_ib.cancelOrder(trade.order)
    await until(lambda: "PendingCancel" in [row.status for row in local.ledger.orders.values()])
    await until(lambda: trade.orderStatus.status == "Cancelled")
    assert local.hits("G12") == 1


@pytest.mark.parametrize("code", ["10147", "10148"])
async def test_g12_a_cancel_is_answered_with_an_error_and_the_order_lives(
    local: LocalGateway, local_ib: IB, code: str
) -> None:
    errors = errors_of(local_ib)
    trade = await submitted(resting(local_ib))
    local.arm("G12", mode=code)
    local_ib.cancelOrder(trade.order)
    await until(lambda: (trade.order.orderId, int(code)) in errors)
    assert [row.status for row in local.ledger.orders.values()] == ["Submitted"]


@pytest.mark.parametrize("code", ["201", "203", "321"])
async def test_g13_an_accepted_order_is_rejected(local: LocalGateway, local_ib: IB, code: str) -> None:
    errors = errors_of(local_ib)
    local.arm("G13", mode=code)
    trade = await submitted(resting(local_ib))
    await until(lambda: (trade.order.orderId, int(code)) in errors)
    assert [row.status for row in local.ledger.orders.values()] == ["Inactive"]
    assert local.hits("G13") == 1


async def test_g13_an_inactive_order_revives_and_can_fill(local: LocalGateway, local_ib: IB) -> None:
    local.arm("G13", mode="revive")
    trade = await submitted(resting(local_ib))
    await until(lambda: local.hits("G13") == 1)
    await until(lambda: [row.status for row in local.ledger.orders.values()] == ["Submitted"])
    local.market.trade("98.99", 100, "SELL")
    await until(lambda: trade.orderStatus.status == "Filled")


async def test_g14_positions_are_partial_or_have_no_end(local: LocalGateway) -> None:
    raw = await raw_client(local)
    raw.send(*place_order_fields(1))
    raw.send(*place_order_fields(2, contract=(0, "QQQ", *("STK", "", 0.0, "", "", "SMART", "", "USD", "", ""))))
    await until_answered(raw)
    local.arm("G14", mode="partial")
    raw.send(61, 1)
    assert kinds(await until_answered(raw)) == ["61", "62"]
    local.arm("G14", mode="unended")
    raw.send(61, 1)
    assert kinds(await until_answered(raw)) == ["61", "61"]
    local.arm("G14", delay_s=0.05)
    raw.send(61, 1)
    assert kinds(await until_answered(raw)) == []
    await raw.expect(62)
    assert local.hits("G14") == 3


async def test_g15_contract_details_are_never_answered(local: LocalGateway) -> None:
    raw = await raw_client(local)
    local.arm("G15")
    raw.send(9, 8, 3, 756733, *[""] * 11, 0, "", "", "")
    assert await until_answered(raw) == []
    assert local.hits("G15") == 1


async def test_g16_a_manual_order_has_id_zero_until_client_zero_binds_it(local: LocalGateway) -> None:
    raw = await raw_client(local)
    local.arm("G16", ticks=9000, lots=7)
    raw.send(16, 1)
    shown = next(fields for fields in await until_answered(raw) if fields[0] == "5")
    assert (shown[1], shown[24]) == ("0", "0")
    zero = await raw_client(local, 0)
    zero.send(15, 1, 1)
    bound = await zero.expect(100)
    assert int(bound[3]) < 0
    zero.send(4, 1, int(bound[3]), "")
    await zero.expect(3, bound[3], "Cancelled")
    assert local.hits("G16") == 1


async def test_g16_our_order_is_cancelled_and_our_position_changed_by_hand(local: LocalGateway, local_ib: IB) -> None:
    trade = await submitted(resting(local_ib))
    local.arm("G16", mode="cancel")
    await until(lambda: trade.orderStatus.status == "Cancelled")
    local.arm("G16", mode="position", lots=40, side="SELL")
    await until(lambda: [p.position for p in local_ib.positions()] == [-40])
    assert local.ledger.positions == {"SPY": -40}
    assert local.ledger.cash == local.gateway.account.cash
    assert local.hits("G16") == 2


async def test_g17_a_commission_is_unknown_first(local: LocalGateway) -> None:
    raw = await raw_client(local)
    local.arm("G17", delay_s=0.02)
    raw.send(*place_order_fields(1))
    assert (await raw.expect(59))[3] == "1.7976931348623157E308"
    assert (await raw.expect(59))[3] == "1"
    assert local.hits("G17") == 1


async def test_g17_an_execution_is_corrected_under_the_same_stem(local: LocalGateway) -> None:
    raw = await raw_client(local)
    local.arm("G17", mode="correction", delay_s=0.02, ticks=3)
    raw.send(*place_order_fields(1))
    first, second = await raw.expect(11), await raw.expect(11)
    assert (first[14][-3:], second[14][-3:], first[14][:-3] == second[14][:-3]) == (".01", ".02", True)
    assert (first[20], second[20]) == ("100.01", "100.04")
    assert [execution.ticks for execution in local.ledger.executions] == [10004]
    assert local.ledger.cash == local.gateway.account.cash
    assert local.ledger.realized_pnl == local.gateway.account.realized


async def test_g18_a_competing_session_stops_quotes_and_ids_jump(local: LocalGateway, local_ib: IB) -> None:
    errors = errors_of(local_ib)
    ticker = local_ib.reqMktData(SPY)
    await until(lambda: ticker.bid == 100.0)
    local.arm("G18", for_s=1.0)
    await until(lambda: 10197 in [code for _, code in errors])
    local.market.book(bids=[("99.95", 100)])
    await local_ib.reqCurrentTimeAsync()
    assert ticker.bid == 100.0
    await until(local.gateway.link_faults.data_flows)
    local.market.book(bids=[("99.95", 100)])
    await until(lambda: ticker.bid == 99.95)
    before = local.gateway.broker.next_id(1)
    local.arm("G18", mode="ids", ids=500)
    assert local.gateway.broker.next_id(1) == before + 500
    assert local.hits("G18") == 2


async def test_g19_a_flatten_is_refused_in_a_halt_and_goes_through_after_it(local: LocalGateway, local_ib: IB) -> None:
    opened = local_ib.placeOrder(SPY, MarketOrder("BUY", 10))
    await until(lambda: opened.orderStatus.status == "Filled")
    local.arm("G19", for_s=1.0)
    refused = local_ib.placeOrder(SPY, MarketOrder("SELL", 10))
    await until(lambda: refused.orderStatus.status == "Inactive")
    await until(lambda: not local.gateway.link_faults.halted)
    flat = local_ib.placeOrder(SPY, MarketOrder("SELL", 10))
    await until(lambda: flat.orderStatus.status == "Filled")
    assert local.hits("G19") == 1


async def test_g20_yesterdays_executions_are_not_listed(local: LocalGateway) -> None:
    raw = await raw_client(local)
    raw.send(*place_order_fields(1))
    await until_answered(raw)
    local.arm("G20")
    raw.send(*place_order_fields(2))
    await until_answered(raw)
    raw.send(7, 3, 9, 0, "", "", "", "", "", "")
    assert [fields[2] for fields in await until_answered(raw) if fields[0] == "11"] == ["2"]
    assert len(local.ledger.executions) == 2
    assert local.hits("G20") == 1


async def test_g21_ids_roll_back_and_are_issued_again(local: LocalGateway) -> None:
    raw = await raw_client(local)
    for order_id in (1, 2, 3):
        raw.send(*place_order_fields(order_id, kind="LMT", limit=99))
    await until_answered(raw)
    local.arm("G21", ids=2)
    with pytest.raises(EOFError):
        await raw.receive()
    raw = await RawClient.started(local.port, 5)
    assert (await raw.expect(9))[2] == "2"
    raw.send(*place_order_fields(2, kind="LMT", limit=98))
    await raw.expect(3, 2)
    assert sorted(row.order_id for row in local.ledger.orders.values()) == [1, 2, 2, 3]
    assert local.hits("G21") == 1


@pytest.mark.parametrize("code", [10349, 321, 103, 10147, 10148])
async def test_g22_the_client_calls_a_live_order_cancelled_and_the_broker_fills_it(
    local: LocalGateway, local_ib: IB, code: int
) -> None:
    local.arm("G22", mode=code)
    trade = resting(local_ib)
    await until(lambda: trade.orderStatus.status == "Cancelled")
    assert [row.status for row in local.ledger.orders.values()] == ["Submitted"]
    local.market.trade("98.99", 100, "SELL")
    await until(lambda: trade.orderStatus.status == "Filled")
    assert local.hits("G22") == 1


@pytest.mark.parametrize("mode", ["pending", "cancelled"])
async def test_g23_a_fill_comes_after_the_cancel(local: LocalGateway, local_ib: IB, mode: str) -> None:
    trade = await submitted(resting(local_ib))
    local.arm("G23", mode=mode, delay_s=0.05)
    local_ib.cancelOrder(trade.order)
    await until(lambda: trade.orderStatus.status == {"pending": "PendingCancel", "cancelled": "Cancelled"}[mode])
    await until(lambda: trade.orderStatus.status == "Filled")
    assert [row.status for row in local.ledger.orders.values()] == ["Filled"]
    assert local.hits("G23") == 1


async def test_g24_a_half_open_socket_says_nothing_and_keeps_its_client_id(local: LocalGateway) -> None:
    raw = await raw_client(local)
    local.arm("G24", for_s=1.0)
    raw.send(49, 1)
    with pytest.raises(TimeoutError):
        await raw.receive(0.05)
    second = await RawClient.started(local.port, 5)
    assert (await second.receive())[3] == "326"
    with pytest.raises(EOFError):
        await raw.receive()
    await raw_client(local)
    assert local.hits("G24") == 1


async def test_g25_a_snapshot_comes_after_its_time_out(local: LocalGateway) -> None:
    raw = await raw_client(local)
    local.arm("G25", delay_s=0.1)
    raw.send(61, 1)
    assert await until_answered(raw) == []
    await raw.expect(62)
    assert local.hits("G25") == 1


async def test_a_storm_of_faults_leaves_the_ledger_true_and_the_gateway_alive(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seed = SystemRandom().randrange(2**32)
    print(f"seed={seed}")  # noqa: T201
    rng = random.Random(seed)
    async with local_gateway(pacing=False, seed=seed % 1000) as local:
        for fault in ("G1", "G2", "G3", "G5", "G6", "G7", "G12", "G13", "G17", "G22", "G23"):
            quick = {name: 0.01 for name in ("delay_s", "for_s") if name in CATALOGUE[fault].defaults}
            local.arm(fault, rate=0.2, **quick)
        local.arm("G4", rate=0.02)
        raw = await raw_client(local)
        for number in range(1, 401):
            if raw.reader.at_eof() or raw.writer.transport.is_closing():
                raw = await RawClient.started(local.port, 5)
            side, price = rng.choice(["BUY", "SELL"]), round(rng.uniform(99.97, 100.04), 2)
            order_id = local.gateway.broker.next_id(5)
            raw.send(*place_order_fields(order_id, side, rng.randrange(1, 50), rng.choice(["MKT", "LMT"]), price))
            if number % 3 == 0:
                raw.send(4, 1, rng.randrange(1, order_id + 1), "")
            if number % 5 == 0:
                raw.send(*place_order_fields(rng.randrange(1, order_id + 1), side, 60, "LMT", price))
            if number % 7 == 0:
                raw.send(5, 1)
            local.market.book([("100.00", 400 + number)], [("100.01", 400 + number)])
            local.market.trade("100.00", 20, "SELL")
            await asyncio.sleep(0)
        await until(lambda: local.gateway.link_faults.down is None)
        view, account, broker = local.ledger, local.gateway.account, local.gateway.broker
        assert view.cash == account.cash
        assert view.realized_pnl == account.realized
        assert view.positions == {name: p.lots for name, p in sorted(account.positions.items()) if p.lots}
        assert account.equity(broker.mark) == account.cash_start + account.realized + account.unrealized(broker.mark)
        for row in view.orders.values():
            fills = sum(execution.lots for execution in view.executions if execution.perm_id == row.perm_id)
            assert fills == row.filled <= row.lots
        await raw_client(local, 6)
        assert sum(local.gateway.panel.hits.values()) > 100
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


def test_every_fault_of_the_catalogue_has_a_test_of_its_own() -> None:
    names = [name for name, _ in inspect.getmembers(sys.modules[__name__], inspect.isfunction)]
    assert [fault for fault in CATALOGUE if not any(name.startswith(f"test_{fault.lower()}_") for name in names)] == []


def test_a_mode_that_yaml_reads_as_a_number_is_understood() -> None:
    panel = Panel(0)
    panel.arm("G13", mode=203)
    assert panel.peek("G13") == {"mode": "203", "delay_s": 0.05}


def test_the_same_seed_strikes_on_the_same_occasions_whatever_else_is_armed() -> None:
    def strikes(*others: str) -> list[bool]:
        panel = Panel(42)
        panel.arm("G7", rate=0.3)
        for other in others:
            panel.arm(other, rate=0.5)
        result = []
        for _ in range(200):
            for other in others:
                panel.strike(other)
            result.append(panel.strike("G7") is not None)
        return result

    assert strikes() == strikes("G1", "G22")
    assert 30 < sum(strikes()) < 90


@pytest.mark.parametrize(
    ("fault", "options", "message"),
    [
        ("G99", {}, "no fault G99"),
        ("G7", {"rate": 2.0}, "rate of G7"),
        ("G7", {"count": 0}, "count of G7"),
        ("G7", {"copies": "x"}, "wants copies like 2"),
        ("G7", {"nonsense": 1}, "no argument nonsense"),
        ("G1", {"mode": "x"}, "knows mode as one of"),
        ("G19", {"symbol": "NOPE"}, "knows symbol as one of"),
        ("G2", {"delay_s": -1}, "wants delay_s from 0 up"),
        ("G16", {"lots": 0}, "wants lots from 1 up"),
        ("G7", {"copies": True}, "wants copies like 2"),
    ],
)
def test_a_fault_that_cannot_be_armed_says_why_in_one_sentence(
    fault: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(FaultError, match=message):
        Panel(0).arm(fault, **options)


async def test_a_script_plays_faults_in_time_and_after_orders(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text("- {fault: G22, after_orders: 1, mode: 10349}\n- {fault: G9, at_s: 0.02, for_s: 0.01}\n")
    async with local_gateway() as local:
        play = asyncio.create_task(script.play(local.gateway, script.load(path)))
        await until(lambda: local.hits("G9"))
        raw = await raw_client(local)
        raw.send(*place_order_fields(1, kind="LMT", limit=99))
        await asyncio.wait_for(play, DEADLINE_S)
        raw.send(*place_order_fields(2, kind="LMT", limit=99))
        assert (await raw.expect(4, 2, 2))[3] == "10349"


@pytest.mark.parametrize(
    "text", ["{", "just text", "- 7", "- {fault: G99}", "- {fault: G7, copies: x}", "- {clear: G99}"]
)
def test_a_script_that_is_wrong_is_refused_before_the_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    with pytest.raises(FaultError):
        script.load(path)


async def test_executions_keep_their_time_zone(local: LocalGateway, local_ib: IB) -> None:
    trade = local_ib.placeOrder(SPY, MarketOrder("BUY", 10))
    await until(lambda: trade.fills)
    assert abs((trade.fills[0].execution.time - datetime.now(UTC)).total_seconds()) < 5
