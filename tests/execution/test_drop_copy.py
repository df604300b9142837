"""The drop copy reads what is new, and is what a whole list of the day would be, on a real socket."""

from __future__ import annotations

import asyncio
import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from ib_insync import IB, LimitOrder

from connectors.ibkr import drop_copy
from connectors.ibkr.drop_copy import Reader
from connectors.ibkr.sender import contract_of
from connectors.ibkr.session import Address
from contracts.instruments import INSTRUMENTS
from contracts.orders import DropCopy
from contracts.topics import BROADCAST, BROKER_EVENTS, Topic
from tests.gateway.gateway_harness import LocalGateway, local_gateway, until

HOUR_NS = 3_600_000_000_000


async def trade(local: LocalGateway, trader: IB, lots: int, side: str = "BUY") -> None:
    filled = len(local.gateway.broker.executions)
    trader.placeOrder(contract_of(INSTRUMENTS["SPY"]), LimitOrder(side, lots, 100.01 if side == "BUY" else 100.00))
    await until(lambda: len(local.gateway.broker.executions) > filled)


def an_hour_ago(local: LocalGateway) -> None:
    """All executions so far become an hour older."""
    executions = local.gateway.broker.executions
    executions[:] = [dataclasses.replace(one, ts_ns=one.ts_ns - HOUR_NS) for one in executions]


async def whole(ib: IB) -> DropCopy:
    """What somebody sees who asks for everything."""
    return await Reader(ib).read()


def same(one: DropCopy, other: DropCopy) -> bool:
    return one.model_copy(update={"ts_ns": other.ts_ns}) == other


async def test_a_copy_asks_for_what_is_new_and_is_what_a_whole_list_would_be() -> None:
    async with local_gateway() as local:
        trader, ib = IB(), IB()
        await trader.connectAsync("127.0.0.1", local.port, clientId=7)
        await ib.client.connectAsync("127.0.0.1", local.port, 8, 4.0)
        reader = Reader(ib)
        for lots in (10, 20, 30):
            await trade(local, trader, lots)
        an_hour_ago(local)
        await trade(local, trader, 5)
        assert (await reader.read()).executions == 4
        await trade(local, trader, 40, "SELL")
        copy = await reader.read()
        listed = len(ib.wrapper.fills)
        assert (copy.executions, copy.bought_lots, copy.sold_lots) == (5, {"SPY": 65}, {"SPY": 40})
        assert copy.positions == {"SPY": 25}
        assert listed == 2, "the three of an hour ago are not listed again"
        local.gateway.office.correct(local.gateway.broker.executions[-1], 10_001)
        copy = await reader.read()
        assert copy.executions == 5, "a correction is the same execution"
        assert same(copy, await whole(ib))
        trader.disconnect()
        ib.disconnect()


async def test_the_whole_list_brings_corrections_of_old_executions_and_the_end_of_the_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with local_gateway() as local:
        trader, ib = IB(), IB()
        await trader.connectAsync("127.0.0.1", local.port, clientId=7)
        await ib.client.connectAsync("127.0.0.1", local.port, 8, 4.0)
        reader, executions = Reader(ib), local.gateway.broker.executions
        await trade(local, trader, 10)
        an_hour_ago(local)
        await trade(local, trader, 20)
        await reader.read()
        old = local.gateway.office.correct(executions[0], 10_002)
        executions[0] = dataclasses.replace(old, lots=9)
        assert (await reader.read()).bought_lots == {"SPY": 30}
        monkeypatch.setattr(drop_copy, "WHOLE_EVERY_S", 0.0)
        assert (await reader.read()).bought_lots == {"SPY": 29}
        local.gateway.order_faults.midnight_ns = local.gateway.now_ns()
        copy = await reader.read()
        assert (copy.executions, copy.bought_lots) == (0, {})
        await trade(local, trader, 1)
        assert same(await reader.read(), await whole(ib))
        trader.disconnect()
        ib.disconnect()


@pytest.mark.parametrize("units", [float("nan"), float("inf"), 1.79e308])
async def test_a_position_that_is_no_number_is_a_read_that_failed_and_not_the_end_of_the_drop_copy(
    monkeypatch: pytest.MonkeyPatch, units: float
) -> None:
    said, reads, real = list[DropCopy](), list[int](), Reader.read

    async def read(self: Reader) -> DropCopy:
        reads.append(len(reads))
        wanted = self._ib.reqPositionsAsync

        async def positions() -> Any:
            held = await wanted()
            if len(reads) == 1:
                wrapper: Any = self._ib.wrapper
                wrapper.position("DU1", contract_of(INSTRUMENTS["SPY"]), units, 1.0)
            return held

        monkeypatch.setattr(self._ib, "reqPositionsAsync", positions)
        return await real(self)

    async def publish(*messages: Any) -> None:
        said.extend(message for _, _, message in messages)

    monkeypatch.setattr(Reader, "read", read)
    async with local_gateway() as local:
        looking = asyncio.create_task(drop_copy.run(Address("127.0.0.1", local.port, 8, simulated=True), publish))
        try:
            await until(lambda: said or looking.done())
            assert not looking.done(), looking
            assert len(reads) == 2
            assert said[0].positions == {}
        finally:
            looking.cancel()


async def test_a_position_that_was_closed_is_in_no_copy_any_more() -> None:
    async with local_gateway() as local:
        trader, ib = IB(), IB()
        await trader.connectAsync("127.0.0.1", local.port, clientId=7)
        await ib.client.connectAsync("127.0.0.1", local.port, 8, 4.0)
        reader = Reader(ib)
        await trade(local, trader, 10)
        assert (await reader.read()).positions == {"SPY": 10}
        await trade(local, trader, 10, "SELL")
        assert not any((await reader.read()).positions.values())
        trader.disconnect()
        ib.disconnect()


async def test_copies_go_on_after_each_loss_of_the_connection_ever_later_until_one_succeeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits_s: list[float] = []
    copies: list[DropCopy] = []
    sleep = asyncio.sleep

    async def note(delay_s: float) -> None:
        waits_s.append(delay_s)
        await sleep(0.01)

    async def publish(*said: tuple[Topic, str, DropCopy]) -> None:
        assert [(topic, key) for topic, key, _ in said] == [(BROKER_EVENTS, BROADCAST)]
        copies.extend(message for _, _, message in said)

    async with local_gateway() as local:
        monkeypatch.setattr(drop_copy, "asyncio", SimpleNamespace(sleep=note, wait_for=asyncio.wait_for))
        monkeypatch.setattr(drop_copy, "BACK_OFF_S", (11, 12, 13))
        monkeypatch.setattr(drop_copy, "CONNECT_TIMEOUT_S", 0.1)
        running = asyncio.create_task(drop_copy.run(Address("127.0.0.1", local.port, 8, simulated=True), publish))
        try:
            await until(lambda: len(copies) > 2)
            assert set(waits_s) == {drop_copy.EVERY_S}
            for for_s, least in ((0.8, 4), (0.1, 1)):
                waits_s.clear()
                local.arm("G10", mode="reset", for_s=for_s)
                await until(lambda: waits_s[-1:] == [drop_copy.EVERY_S] and 11 in waits_s)
                losses = [wait_s for wait_s in waits_s if wait_s != drop_copy.EVERY_S]
                assert len(losses) >= least
                assert losses == [11, 12, *[13] * len(losses)][: len(losses)]
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
