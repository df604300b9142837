"""Our own pacing, below IB's 50 messages a second, so that waiting is visible and a kill never waits behind orders.

Every message to the socket is counted over a sliding window. Orders may use `ORDERS_MAX` of it, cancels all of
`MESSAGES_MAX`; a cancel that waits goes before any order that waits.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

WINDOW_S: Final = 1.25
"""IB counts over one second where messages arrive. The rest is for the way there: a burst that is held up for a
quarter of a second must not meet the next one.
"""

MESSAGES_MAX: Final = 48
ORDERS_MAX: Final = 40
"""8 messages of each window belong to cancels, heartbeats and snapshots: 40 / 1.25 = 32 orders a second."""


class Pacing:
    """The messages of the last window, who waits, and for how long the longest has waited."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sent: deque[float] = deque()
        self._cancels_waiting = 0
        self.queue = 0
        self.wait_ms_max = 0.0

    def count(self) -> None:
        """A message went to the socket."""
        self._sent.append(self._clock())

    def free_in_s(self, limit: int) -> float:
        """Seconds until fewer than `limit` messages lie within the window; 0 when that is so now."""
        now, sent = self._clock(), self._sent
        while sent and now - sent[0] >= WINDOW_S:
            sent.popleft()
        return 0.0 if len(sent) < limit else sent[len(sent) - limit] + WINDOW_S - now

    def order_in_s(self) -> float:
        """Seconds until an order may be written; 0 when one may now."""
        return max(self.free_in_s(ORDERS_MAX), 0.001 if self._cancels_waiting else 0.0)

    def enter(self) -> float:
        """Somebody begins to wait; the moment, for `leave`."""
        self.queue += 1
        return self._clock()

    def leave(self, since_s: float) -> None:
        """Who began to wait at `since_s` waits no more."""
        self.queue -= 1
        self.wait_ms_max = max(self.wait_ms_max, (self._clock() - since_s) * 1e3)

    async def order(self) -> None:
        """Return when an order may be written."""
        await self._turn(self.order_in_s)

    async def request(self) -> None:
        """Return when a request that is no order may be written: snapshots come when much else goes wrong."""
        await self._turn(lambda: self.free_in_s(MESSAGES_MAX))

    async def cancel(self) -> None:
        """Return when a cancel may be written."""
        self._cancels_waiting += 1
        try:
            await self._turn(lambda: self.free_in_s(MESSAGES_MAX))
        finally:
            self._cancels_waiting -= 1

    async def _turn(self, wait_s: Callable[[], float]) -> None:
        began = self.enter()
        try:
            while (delay := wait_s()) > 0:
                await asyncio.sleep(delay)
        finally:
            self.leave(began)
