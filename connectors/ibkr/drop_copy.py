"""A second, read-only connection: what the account looks like to somebody who does not trade it.

It reads positions and today's executions every two seconds and publishes them. It has a client id, a socket and a state
of its own, so an error of the trading session is not its error.

The executions of a day are thousands, so between two whole lists it asks for those of the last minute alone and keeps
the rest. What a minute does not show, a correction of an older execution or the end of the day, the next whole list
does: a minute later at most. Positions outside the catalogue are not in it: the trading session tells of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Final

from ib_insync import IB, ExecutionFilter, Fill

from connectors.ibkr.ears import UNSET, lots
from connectors.ibkr.session import BACK_OFF_S, CONNECT_TIMEOUT_S, SNAPSHOT_TIMEOUT_S, Address, Publish
from contracts.executions import parts
from contracts.instruments import BY_CON_ID, InstrumentSpec
from contracts.orders import DropCopy
from contracts.topics import BROADCAST, BROKER_EVENTS

log = logging.getLogger(__name__)

EVERY_S: Final = 2.0
"""Two of them confirm a break: an alert within 5 s of the event."""

WHOLE_EVERY_S: Final = 60.0

OVERLAP: Final = timedelta(seconds=60)
"""Executions and their corrections may come late and in any order."""


class UnreadableError(RuntimeError):
    """A quantity is no number: the read has failed, and is tried again."""


async def run(address: Address, publish: Publish) -> None:
    """Keep the connection and publish drop copies until cancelled."""
    # The library writes a line for each execution of the day, each time.
    logging.getLogger("ib_insync.wrapper").setLevel(logging.WARNING)
    attempt = 0
    while True:
        ib = IB()
        try:
            await ib.client.connectAsync(address.host, address.port, address.client_id, CONNECT_TIMEOUT_S)
            attempt, reader = 0, Reader(ib)
            while True:
                await publish((BROKER_EVENTS, BROADCAST, await reader.read()))
                await asyncio.sleep(EVERY_S)
        except (OSError, TimeoutError, ConnectionError, UnreadableError) as error:
            log.warning("drop copy: %s", error or type(error).__name__)
        finally:
            ib.disconnect()
        await asyncio.sleep(BACK_OFF_S[min(attempt, len(BACK_OFF_S) - 1)])
        attempt += 1


class Reader:
    """Copies over one connection. `_executed` has instrument and signed lots of each execution, by its execId."""

    def __init__(self, ib: IB) -> None:
        self._ib = ib
        self._executed: dict[str, tuple[str, int]] = {}
        self._newest: datetime | None = None
        self._whole_s = 0.0

    async def read(self) -> DropCopy:
        """One copy; TimeoutError or UnreadableError rather than one of which a part is missing."""
        await self._read_executions()
        self._ib.wrapper.positions.clear()
        await asyncio.wait_for(self._ib.reqPositionsAsync(), SNAPSHOT_TIMEOUT_S)
        held = [position for account in self._ib.wrapper.positions.values() for position in account.values()]
        self._ib.client.cancelPositions()
        positions = {
            BY_CON_ID[p.contract.conId].instrument: _lots(BY_CON_ID[p.contract.conId], p.position)
            for p in held
            if p.contract.conId in BY_CON_ID
        }
        latest = {parts(exec_id)[0]: self._executed[exec_id] for exec_id in sorted(self._executed, key=parts)}
        bought, sold = Counter[str](), Counter[str]()
        for instrument, signed in latest.values():
            (bought if signed > 0 else sold)[instrument] += abs(signed)
        return DropCopy(
            positions=positions,
            bought_lots=dict(bought),
            sold_lots=dict(sold),
            executions=len(latest),
            ts_ns=time.time_ns(),
        )

    async def _read_executions(self) -> None:
        now_s = time.monotonic()
        whole = self._newest is None or now_s - self._whole_s >= WHOLE_EVERY_S
        since = "" if self._newest is None or whole else f"{self._newest - OVERLAP:%Y%m%d %H:%M:%S} UTC"
        self._ib.wrapper.fills.clear()
        request = self._ib.reqExecutionsAsync(ExecutionFilter(time=since))
        fills: list[Fill] = await asyncio.wait_for(request, SNAPSHOT_TIMEOUT_S)
        if whole:
            self._executed, self._newest, self._whole_s = {}, None, now_s
        for fill in fills:
            when = fill.execution.time.astimezone(UTC)
            self._newest = max(self._newest or when, when)
            spec = BY_CON_ID.get(fill.contract.conId)
            if spec is not None:
                size = _lots(spec, fill.execution.shares)
                self._executed[fill.execution.execId] = (
                    spec.instrument,
                    size if fill.execution.side == "BOT" else -size,
                )


def _lots(spec: InstrumentSpec, units: float) -> int:
    """Lots of a quantity of the wire; IB sends NaN or 1.79e308 for one that is not set."""
    if not abs(units) < UNSET:
        raise UnreadableError(f"a quantity of {spec.instrument} is {units}, which is no number")
    return lots(spec, units)
