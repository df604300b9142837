"""Straight to the gateway, with nothing of the desk between: cancel everything, close everything.

It uses a client id of its own, so it works while the trading session is up, hung or dead. Orders belong to the client
id that placed them: another one cannot cancel them singly (10147), but IB's global cancel reaches all of them.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, Final

from ib_insync import IB, ExecutionFilter, MarketOrder

from connectors.ibkr.guard import refusal
from connectors.ibkr.sender import contract_of
from connectors.ibkr.session import CONNECT_TIMEOUT_S, SNAPSHOT_TIMEOUT_S, Address
from contracts.instruments import BY_CON_ID, INSTRUMENTS

POLL_S: Final = 0.05

REFERENCE: Final = "emergency flatten"
"""What the orders that close positions by hand have for a reference."""

INTENT: Final = re.compile("[0-9a-f]{24}")
CLIENT_ID_BUSY: Final = 326


class EmergencyError(RuntimeError):
    """The gateway could not be used; the message says why."""


class BusyError(EmergencyError):
    """Another connection has our client id."""


@asynccontextmanager
async def connection(address: Address) -> AsyncIterator[IB]:
    """A connection under the guard of the account."""
    ib = IB()
    codes: list[int] = []
    ib.errorEvent += lambda _request, code, _text, _contract: codes.append(code)
    try:
        try:
            await ib.client.connectAsync(address.host, address.port, address.client_id, CONNECT_TIMEOUT_S)
        except (OSError, TimeoutError, ConnectionError) as error:
            if CLIENT_ID_BUSY in codes:
                raise BusyError(f"client id {address.client_id} is in use") from None
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


async def closed_by_hand(ib: IB) -> bool:
    """Whether `flatten` has executed anything today: the desk may not know yet what is held."""
    ib.wrapper.fills.clear()
    fills = await asyncio.wait_for(ib.reqExecutionsAsync(ExecutionFilter()), SNAPSHOT_TIMEOUT_S)
    return any(fill.execution.orderRef == REFERENCE for fill in fills)


async def flatten(ib: IB, deadline_s: float) -> dict[str, float]:
    """One market order against each position of the catalogue; what is left of all when the time is over."""
    for name, units in (await positions(ib)).items():
        if name not in INSTRUMENTS:
            continue
        order = MarketOrder("SELL" if units > 0 else "BUY", abs(units), orderRef=REFERENCE)
        ib.client.placeOrder(ib.client.getReqId(), contract_of(INSTRUMENTS[name]), order)
    return await until_flat(ib, deadline_s)


async def until_flat(ib: IB, deadline_s: float, names: Collection[str] = INSTRUMENTS.keys()) -> dict[str, float]:
    """Wait for positions in these instruments to be closed; what is left of all when the time is over."""
    ends = time.monotonic() + deadline_s
    while set(names) & (left := await positions(ib)).keys() and time.monotonic() < ends:
        await asyncio.sleep(POLL_S * 4)
    return left


async def until_cancelled(ib: IB, scope: str, deadline_s: float) -> tuple[bool, int]:
    """Wait for the open orders that a kill of a part may cover to end; (its order is known, how many are left).

    The gateway knows the intent of an order, but not its strategy, nor whose child it is: what it cannot tell apart
    counts. There is one order in an instrument at a time, so the children of an intent are in its own.
    """
    kind, _, name = scope.partition(":")
    home = await _instruments_of(ib, name) if kind == "order" else {name}
    ends = time.monotonic() + deadline_s
    while True:
        left = [
            trade
            for trade in await _open_orders(ib)
            if INTENT.fullmatch(trade.order.orderRef) and (kind == "strategy" or _name(trade.contract) in home)
        ]
        if not left or time.monotonic() >= ends:
            return bool(home), len(left)
        await asyncio.sleep(POLL_S)


async def _instruments_of(ib: IB, intent_id: str) -> set[str]:
    """Where the gateway has seen the order of this intent today; one instrument, or none."""
    ib.wrapper.fills.clear()
    seen = [(trade.contract, trade.order.orderRef) for trade in await _open_orders(ib)]
    over = await asyncio.wait_for(ib.reqCompletedOrdersAsync(False), SNAPSHOT_TIMEOUT_S)
    seen += [(trade.contract, trade.order.orderRef) for trade in over]
    fills = await asyncio.wait_for(ib.reqExecutionsAsync(ExecutionFilter()), SNAPSHOT_TIMEOUT_S)
    seen += [(fill.contract, fill.execution.orderRef) for fill in fills]
    return {_name(contract) for contract, reference in seen if reference == intent_id}


async def _open_orders(ib: IB) -> list[Any]:
    """All open orders of all clients."""
    ib.wrapper.trades.clear()
    found: list[Any] = await asyncio.wait_for(ib.reqAllOpenOrdersAsync(), SNAPSHOT_TIMEOUT_S)
    return found
