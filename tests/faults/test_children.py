"""A parent cut into children by participation, on a real socket: what goes out adds up to it, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.faults.desk_harness import MiniDesk, mini_desk

pytestmark = pytest.mark.slow

PARENT_LOTS = 200
SHARE_LOTS = 94
"""MSFT trades 22,000,000 a day, so 940 a second of trading, and the desk takes a tenth of that."""


@contextlib.asynccontextmanager
async def market(desk: MiniDesk) -> AsyncIterator[None]:
    """Buckets that go on, faster than time does: the 30 that a parent lives take 9 s."""

    async def buckets() -> None:
        while True:
            desk.mark()
            await asyncio.sleep(0.3)

    running = asyncio.create_task(buckets())
    try:
        yield
    finally:
        running.cancel()


def at_the_broker(desk: MiniDesk) -> list[int]:
    """Lots of each order of the ledger, in the order they came."""
    return [order.lots for order in desk.gateway.ledger.orders.values()]


async def test_the_children_add_up_to_their_parent_at_the_broker() -> None:
    async with mini_desk() as desk:
        desk.intend("MSFT", lots=PARENT_LOTS)
        async with market(desk):
            await desk.until(lambda: desk.position("MSFT") == PARENT_LOTS, "the whole parent")
            await asyncio.sleep(0.5)
        assert at_the_broker(desk) == [SHARE_LOTS, SHARE_LOTS, PARENT_LOTS - 2 * SHARE_LOTS]
        await desk.settled()


@pytest.mark.parametrize("fault", ["crash", "G1", "G4"])
async def test_a_crash_or_a_lost_order_in_the_middle_doubles_no_child(fault: str) -> None:
    async with mini_desk() as desk:
        desk.intend("MSFT", lots=PARENT_LOTS)
        await desk.until(lambda: desk.position("MSFT") == SHARE_LOTS, "the first child")
        if fault == "crash":
            await desk.is_ready()
            desk.mark()
            await desk.crash()
            await desk.start()
        else:
            desk.gateway.arm(fault, count=1)
        async with market(desk):
            await desk.until(lambda: desk.position("MSFT") == PARENT_LOTS, "the whole parent")
        assert sum(at_the_broker(desk)) == PARENT_LOTS
        assert max(at_the_broker(desk)) <= SHARE_LOTS
        await desk.settled()
