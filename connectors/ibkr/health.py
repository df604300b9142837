"""How the session is: what failed, what waits, how late the event loop is."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from math import ceil
from typing import Final

from connectors.ibkr.calendar import expected_outage
from connectors.ibkr.ears import Ears
from connectors.ibkr.pacing import Pacing
from contracts.base import Message
from contracts.orders import SessionHealth, SessionState
from contracts.topics import BROADCAST

TELL_S: Final = 1.0
BEAT_S: Final = 0.05
MEASURE_S: Final = 0.05
LOOP_DELAY_MS_MAX: Final = 250.0
"""An event loop this late is named among the reasons: something blocks it."""

ANSWERS: Final = 500
ANSWERS_S: Final = 300.0
"""The p95 is that of the last 500 acknowledgements of the last five minutes; without any there is none."""


class Health:
    """Counts since the start of the process, and the worst of the time since the last report."""

    def __init__(self, ears: Ears, pacing: Pacing, clock: Callable[[], float] = time.time) -> None:
        self._ears = ears
        self._pacing = pacing
        self._clock = clock
        self._answers: deque[tuple[float, float]] = deque(maxlen=ANSWERS)
        self.connection_failures = 0
        self.pacing_violations = 0
        self.loop_delay_ms_max = 0.0
        self.beating = False
        """The gateway owes the answer to a heartbeat."""

    def failed(self, *, login_waits: bool = False) -> None:
        """Count a connection that ended or was not made; a planned outage and a login that waits are no failure."""
        self.connection_failures += not login_waits and not expected_outage(self._clock())

    def violated(self, code: int) -> None:
        self.pacing_violations += code == 100

    async def measure(self) -> None:
        """Sleep, and see how much too late the loop comes back."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(MEASURE_S)
            delay_ms = (time.monotonic() - began - MEASURE_S) * 1e3
            self.loop_delay_ms_max = max(self.loop_delay_ms_max, delay_ms)

    async def tell(self, now: Callable[[], tuple[SessionState, str]], say: Callable[[str, Message], None]) -> None:
        """Say how the session is, every second in every state: connections fail while it is away.

        But not READY while the gateway owes a heartbeat: that word means that what it said before has come.
        """
        while True:
            await asyncio.sleep(TELL_S)
            while self.beating and now()[0] is SessionState.READY:
                await asyncio.sleep(BEAT_S)
            say(BROADCAST, self.report(*now()))

    def report(self, state: SessionState, reason: str) -> SessionHealth:
        """The message; begins a new period."""
        now_s = self._clock()
        self._answers.extend((now_s, ms) for ms in self._ears.answer_ms)
        self._ears.answer_ms = []
        answers = sorted(ms for heard_s, ms in self._answers if now_s - heard_s < ANSWERS_S)
        reasons = [] if state is SessionState.READY else [f"session is {state}: {reason}"]
        if self.loop_delay_ms_max > LOOP_DELAY_MS_MAX:
            reasons.append(f"loop_delay_ms={self.loop_delay_ms_max:.0f} loop_delay_ms_max={LOOP_DELAY_MS_MAX:.0f}")
        if self.pacing_violations:
            reasons.append(f"pacing_violations={self.pacing_violations}")
        report = SessionHealth(
            state=state,
            reasons=tuple(reasons),
            connection_failures=self.connection_failures,
            pacing_violations=self.pacing_violations,
            pacing_queue=self._pacing.queue,
            pacing_wait_ms_max=round(self._pacing.wait_ms_max, 3),
            loop_delay_ms_max=round(self.loop_delay_ms_max, 3),
            acknowledgement_ms_p95=round(answers[ceil(0.95 * len(answers)) - 1], 3) if answers else None,
            ts_ns=time.time_ns(),
        )
        self._pacing.wait_ms_max = self.loop_delay_ms_max = 0.0
        return report
