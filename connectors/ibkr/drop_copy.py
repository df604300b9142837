"""A second, read-only connection: what the account looks like to somebody who does not trade it.

It reads positions and today's executions every two seconds and publishes them. It has a client id, a socket and a state
of its own, so an error of the trading session is not its error.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

from ib_insync import IB

from connectors.ibkr.ears import lots
from connectors.ibkr.session import BACK_OFF_S, CONNECT_TIMEOUT_S, SNAPSHOT_TIMEOUT_S, Address
from contracts.base import Message
from contracts.instruments import BY_CON_ID
from contracts.orders import DropCopy
from contracts.topics import BROADCAST, BROKER_EVENTS, Topic

log = logging.getLogger(__name__)

EVERY_S: Final = 2.0
"""Two of them confirm a break: an alert within 5 s of the event."""


async def run(address: Address, publish: Callable[[Topic, str, Message], Awaitable[None]]) -> None:
    """Keep the connection and publish drop copies until cancelled."""
    # The library writes a line for each execution of the day, each time.
    logging.getLogger("ib_insync.wrapper").setLevel(logging.WARNING)
    attempt = 0
    while True:
        ib = IB()
        try:
            await ib.client.connectAsync(address.host, address.port, address.client_id, CONNECT_TIMEOUT_S)
            attempt = 0
            while True:
                await publish(BROKER_EVENTS, BROADCAST, await read(ib))
                await asyncio.sleep(EVERY_S)
        except (OSError, TimeoutError, ConnectionError) as error:
            log.warning("drop copy: %s", error or type(error).__name__)
        finally:
            ib.disconnect()
        await asyncio.sleep(BACK_OFF_S[min(attempt, len(BACK_OFF_S) - 1)])
        attempt += 1


async def read(ib: IB) -> DropCopy:
    """One copy; TimeoutError rather than one of which a part is missing."""
    ib.wrapper.positions.clear()
    ib.wrapper.fills.clear()
    fills = await asyncio.wait_for(ib.reqExecutionsAsync(), SNAPSHOT_TIMEOUT_S)
    await asyncio.wait_for(ib.reqPositionsAsync(), SNAPSHOT_TIMEOUT_S)
    held = [position for account in ib.wrapper.positions.values() for position in account.values()]
    ib.client.cancelPositions()
    latest: dict[str, Any] = {}
    for fill in sorted(fills, key=lambda fill: str(fill.execution.execId)):
        latest[fill.execution.execId.rpartition(".")[0]] = fill
    executed: Counter[str] = Counter()
    for fill in latest.values():
        spec = BY_CON_ID.get(fill.contract.conId)
        if spec is not None:
            sign = 1 if fill.execution.side == "BOT" else -1
            executed[spec.instrument] += sign * lots(spec, fill.execution.shares)
    positions = {
        BY_CON_ID[p.contract.conId].instrument: lots(BY_CON_ID[p.contract.conId], p.position)
        for p in held
        if p.contract.conId in BY_CON_ID
    }
    return DropCopy(positions=positions, executed_lots=dict(executed), executions=len(latest), ts_ns=time.time_ns())
