"""How most desks begin: submit, wait for the library to say done, save; when it does not, submit again.

It is here to fail: what it gets wrong shows that the faults are real, and that the invariants can see it.
"""

from __future__ import annotations

import asyncio

from ib_insync import IB, LimitOrder

from connectors.ibkr.sender import contract_of
from contracts.instruments import INSTRUMENTS

PATIENCE_S = 0.6
TRIES = 3


class NaiveExecutor:
    """Submit, then save. `saved` is what it believes to have bought, by intent."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ib = IB()
        self.saved: dict[str, float] = {}

    async def buy(self, intent_id: str, shares: int) -> None:
        """Buy until it believes that it has."""
        for _ in range(TRIES):
            try:
                if not self._ib.isConnected():
                    self._ib = IB()
                    await self._ib.connectAsync("127.0.0.1", self._port, clientId=1, timeout=2)
                order = LimitOrder("BUY", shares, 100.05, orderRef=intent_id, tif="IOC")
                trade = self._ib.placeOrder(contract_of(INSTRUMENTS["SPY"]), order)
                async with asyncio.timeout(PATIENCE_S):
                    while not trade.isDone() and self._ib.isConnected():
                        await asyncio.sleep(0.01)
                if trade.orderStatus.status == "Filled":
                    self.saved[intent_id] = trade.filled()
                    return
            except (TimeoutError, ConnectionError, OSError):
                continue

    def close(self) -> None:
        self._ib.disconnect()
