"""Straight to the gateway, with nothing of the desk between: cancel everything, close everything.

It uses a client id of its own, so it works while the trading session is up, hung or dead. Orders belong to the client
id that placed them: another one cannot cancel them singly (10147), but IB's global cancel reaches all of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from ib_insync import IB, MarketOrder

from connectors.ibkr.guard import refusal
from connectors.ibkr.sender import contract_of
from connectors.ibkr.session import CONNECT_TIMEOUT_S, SNAPSHOT_TIMEOUT_S, Address
from contracts.instruments import BY_CON_ID, INSTRUMENTS

POLL_S: Final = 0.05


class EmergencyError(RuntimeError):
    """The gateway could not be used; the message says why."""


@asynccontextmanager
async def connection(address: Address) -> AsyncIterator[IB]:
    """A connection under the guard of the account."""
    ib = IB()
    try:
        try:
            await ib.client.connectAsync(address.host, address.port, address.client_id, CONNECT_TIMEOUT_S)
        except (OSError, TimeoutError, ConnectionError) as error:
            text = str(error) or "no answer"
            raise EmergencyError(
                f"no gateway at {address.host}:{address.port} ({text}); use TWS or telephone"
            ) from None
        refused = refusal(ib.managedAccounts(), address.port, simulated=address.simulated)
        if refused:
            raise EmergencyError(refused)
        yield ib
    finally:
        ib.disconnect()


async def cancel_all(ib: IB, deadline_s: float) -> tuple[int, int, float]:
    """Global cancel; (orders open before, orders still open, milliseconds until none was or the time was over)."""
    before = len(await _open_orders(ib))
    began = time.monotonic()
    ib.client.reqGlobalCancel()
    left = before
    while time.monotonic() - began < deadline_s:
        left = len(await _open_orders(ib))
        if not left:
            break
        await asyncio.sleep(POLL_S)
    return before, left, (time.monotonic() - began) * 1e3


async def positions(ib: IB) -> dict[str, float]:
    """Open positions in units, by instrument, or by symbol and conId if the catalogue does not have it.

    TimeoutError rather than a part of them.
    """
    ib.wrapper.positions.clear()
    await asyncio.wait_for(ib.reqPositionsAsync(), SNAPSHOT_TIMEOUT_S)
    held = [position for account in ib.wrapper.positions.values() for position in account.values()]
    return {_name(position.contract): position.position for position in held if position.position}


def _name(contract: Any) -> str:
    spec = BY_CON_ID.get(contract.conId)
    return spec.instrument if spec is not None else f"{contract.symbol} (conId {contract.conId}, not in the catalogue)"


async def flatten(ib: IB, deadline_s: float) -> dict[str, float]:
    """One market order against each position of the catalogue; what is left of all when the time is over."""
    for name, units in (await positions(ib)).items():
        if name not in INSTRUMENTS:
            continue
        order = MarketOrder("SELL" if units > 0 else "BUY", abs(units), orderRef="emergency flatten")
        ib.client.placeOrder(ib.client.getReqId(), contract_of(INSTRUMENTS[name]), order)
    return await until_flat(ib, deadline_s)


async def until_flat(ib: IB, deadline_s: float) -> dict[str, float]:
    """Wait for positions of the catalogue to be closed; what is left of all when the time is over."""
    ends = time.monotonic() + deadline_s
    while INSTRUMENTS.keys() & (left := await positions(ib)).keys() and time.monotonic() < ends:
        await asyncio.sleep(POLL_S * 4)
    return left


async def _open_orders(ib: IB) -> list[Any]:
    """All open orders of all clients."""
    ib.wrapper.trades.clear()
    found: list[Any] = await asyncio.wait_for(ib.reqAllOpenOrdersAsync(), SNAPSHOT_TIMEOUT_S)
    return found
