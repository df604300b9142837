"""Market data by hand: what a line sends, and what it does not send again."""

from __future__ import annotations

import asyncio
from typing import Any

from ib_insync import IB, Stock

from tests.gateway.gateway_harness import STK, LocalGateway, RawClient, local_gateway, place_order_fields, until

SPY = Stock("SPY", "SMART", "USD", conId=756733)


async def subscriber(local: LocalGateway, *requests: tuple[object, ...], client_id: int = 5) -> RawClient:
    raw = await RawClient.started(local.port, client_id)
    await raw.expect(4, 2, -1, 2158)
    for request in requests:
        raw.send(*request)  # type: ignore[arg-type]
    raw.send(49, 1)
    await raw.expect(49)
    return raw


async def news(raw: RawClient) -> list[list[str]]:
    """What has been sent until now."""
    raw.send(49, 1)
    messages = []
    while (fields := await raw.receive())[0] != "49":
        messages.append(fields)
    return messages


def quotes(req_id: int, generic: str = "", snapshot: int = 0) -> tuple[object, ...]:
    return (1, 11, req_id, *STK, 0, generic, snapshot, 0, "")


async def test_a_size_that_moves_alone_is_sent_alone(local: LocalGateway) -> None:
    raw = await subscriber(local, quotes(7))
    local.market.book(bids=[("100.00", 600)], asks=[("100.01", 500)])
    assert await news(raw) == [["2", "6", "7", "0", "600"]]
    local.market.book(bids=[("99.99", 600)], asks=[("100.01", 500)])
    assert await news(raw) == [["1", "6", "7", "1", "99.99", "600", "1"]]
    local.market.book(bids=[("99.99", 600)], asks=[("100.01", 500)])
    assert await news(raw) == []


async def test_a_trade_brings_last_volume_and_the_generic_ticks_asked_for(local: LocalGateway) -> None:
    raw = await subscriber(local, quotes(7, "233,293,236"))
    local.market.trade("100.01", 40, "BUY")
    local.market.trade("100.00", 60, "SELL")
    messages = await news(raw)
    last = [fields[4:6] for fields in messages if fields[:4] == ["1", "6", "7", "4"]]
    assert last == [["100.01", "40"], ["100", "60"]]
    volumes = [fields[4] for fields in messages if fields[:4] == ["46", "6", "7", "48"]]
    assert volumes[1].split(";")[:2] == ["100.00", "60"]
    assert volumes[1].split(";")[3:] == ["100", "100.004000", "true"], "volume and its average price"
    assert ["45", "6", "7", "54", "2"] in messages


async def test_delayed_data_comes_under_the_delayed_tick_types(local: LocalGateway) -> None:
    raw = await subscriber(local, (59, 1, 3))
    raw.send(*quotes(7))  # type: ignore[arg-type]
    messages = await news(raw)
    assert ["58", "1", "7", "3"] in messages
    assert ["1", "6", "7", "66", "100", "500", "0"] in messages
    assert not any(fields[0] == "1" and fields[3] in ("1", "2") for fields in messages)


async def test_a_snapshot_ends_and_sends_nothing_more(local: LocalGateway) -> None:
    raw = await subscriber(local)
    raw.send(*quotes(7, snapshot=1))  # type: ignore[arg-type]
    assert (await news(raw))[-1] == ["57", "1", "7"]
    local.market.book(bids=[("99.00", 1)])
    assert await news(raw) == []


async def test_a_halt_is_tick_forty_nine(local: LocalGateway) -> None:
    raw = await subscriber(local, quotes(7))
    local.market.halt(halted=True)
    local.market.halt(halted=False)
    assert await news(raw) == [["45", "6", "7", "49", "1"], ["45", "6", "7", "49", "0"]]


async def test_depth_rows_are_inserted_at_the_end_updated_in_place_and_deleted_from_the_end(
    local: LocalGateway,
) -> None:
    raw = await subscriber(local)
    raw.send(10, 5, 8, *STK, 3, 0, "")
    assert [(f[3], f[4], f[5], f[6]) for f in await news(raw)] == [
        ("0", "0", "1", "100"), ("1", "0", "1", "99.99"), ("0", "0", "0", "100.01"), ("1", "0", "0", "100.02"),
    ]  # fmt: skip
    local.market.book(bids=[("99.98", 5)])
    assert [(f[3], f[4], f[5]) for f in await news(raw)] == [("0", "1", "1"), ("1", "2", "1")]
    local.market.book(bids=[("99.98", 5), ("99.97", 5), ("99.96", 5), ("99.95", 5)])
    assert [(f[3], f[4], f[5]) for f in await news(raw)] == [("1", "0", "1"), ("2", "0", "1")]


async def test_smart_depth_names_the_market_maker(local: LocalGateway) -> None:
    raw = await subscriber(local)
    raw.send(10, 5, 8, *STK, 1, 1, "")
    assert (await news(raw))[0] == ["13", "1", "8", "0", "ARCA", "0", "1", "100", "500", "1"]


async def test_the_hundred_and_first_market_data_line_is_101() -> None:
    async with local_gateway() as local:
        lines = {5: 40, 6: 40, 7: 20}
        clients = [await subscriber(local, *(quotes(n) for n in range(n)), client_id=c) for c, n in lines.items()]
        assert len(local.gateway.hub.lines["SPY"]) == 100
        clients[2].send(*quotes(900))  # type: ignore[arg-type]
        assert (await clients[2].expect(4))[2:4] == ["900", "101"]


async def test_feed_latency_delays_the_data_and_not_the_orders() -> None:
    async with local_gateway(feed_s=0.1) as local:
        raw = await subscriber(local)
        raw.send(*quotes(7))  # type: ignore[arg-type]
        raw.send(*place_order_fields(1))
        kinds = [(await raw.receive())[0] for _ in range(6)]
        assert kinds == ["5", "3", "11", "5", "3", "59"]
        start = asyncio.get_running_loop().time()
        assert (await raw.receive())[0] == "81"
        assert asyncio.get_running_loop().time() - start > 0.02


async def test_bars_and_ticks_show_what_was_traded(local: LocalGateway, local_ib: IB) -> None:
    local.market.trade("100.03", 40, "BUY")
    local.market.trade("100.01", 60, "SELL")
    ticks = await local_ib.reqHistoricalTicksAsync(SPY, "19700101 00:00:01 UTC", "", 10, "TRADES", False)
    assert [(tick.price, tick.size) for tick in ticks] == [(100.03, 40), (100.01, 60)]
    bars = await local_ib.reqHistoricalDataAsync(SPY, "", "120 S", "1 min", "TRADES", False, 2)
    traded = [(bar.high, bar.low, bar.volume) for bar in bars][-1]
    assert traded == (100.03, 100.01, 100)
    assert bars[-1].average == 100.018


async def test_history_before_the_start_repeats_and_ends_where_the_market_begins(
    local: LocalGateway, local_ib: IB
) -> None:
    first = await local_ib.reqHistoricalDataAsync(SPY, "", "2 D", "1 hour", "MIDPOINT", False, 2)
    second = await local_ib.reqHistoricalDataAsync(SPY, "", "3 D", "1 hour", "MIDPOINT", False, 2)
    assert [(b.date, b.open, b.close) for b in first[1:-1]] == [
        (b.date, b.open, b.close) for b in second[-len(first) + 1 : -1]
    ]
    assert abs(first[-2].close / 100.005 - 1) < 0.02


async def test_history_out_of_reach_is_162_and_does_not_hold_up_the_gateway(local: LocalGateway, local_ib: IB) -> None:
    errors: list[int] = []
    local_ib.errorEvent += lambda req_id, code, text, _: errors.append(code)
    start = asyncio.get_running_loop().time()
    assert not await local_ib.reqHistoricalDataAsync(SPY, "20010101 00:00:00 UTC", "60 S", "1 secs", "MIDPOINT", False)
    assert errors == [162]
    assert asyncio.get_running_loop().time() - start < 1


async def test_a_master_client_hears_of_all_orders() -> None:
    async with local_gateway(master_client=9) as local:
        master, raw = await subscriber(local, client_id=9), await subscriber(local)
        raw.send(*place_order_fields(1))
        await raw.expect(59)
        assert [fields[0] for fields in await news(master)] == ["5", "3", "11", "5", "3", "59"]


async def test_a_request_that_is_known_and_not_served_gets_a_real_gateways_answer(local: LocalGateway) -> None:
    raw = await subscriber(local)
    answers: dict[tuple[Any, ...], list[str | None]] = {
        (18, 1, 1): ["4", "2", None, "321"],
        (52, 2, 31): ["4", "2", "31", "430"],
        (78, 32, "SPY", "", "STK", 756733): ["76", "32"],
        (79, 33): ["77", "33", "0"],
        (83, 34, "9c0001"): ["82", "34", "0"],
        (84, 35, "BRFG", "x"): ["4", "2", "35", "10172"],
        (85,): ["85", "0"],
        (86, 36, 756733, "BRFG", "", "", 5, ""): ["87", "36", "0"],
        (100, 37): ["4", "2", "37", "10276"],
        (67, 1, 38): ["67", "1", "38", ""],
        (22, 39): ["4", "2", "39", "162"],
    }
    for request, expected in answers.items():
        raw.send(*request)
        (answer,) = await news(raw)
        assert [got for got, want in zip(answer, expected, strict=False) if want is not None] == [
            want for want in expected if want is not None
        ]


async def test_positions_and_values_follow_a_fill_within_seconds(local: LocalGateway, local_ib: IB) -> None:
    raw = await subscriber(local)
    raw.send(*place_order_fields(1))
    await raw.expect(59)
    await until(lambda: [(p.contract.symbol, p.position) for p in local_ib.positions()] == [("SPY", 100)])
    await until(lambda: [item.position for item in local_ib.portfolio()] == [100])
