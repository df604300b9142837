"""What the session says of itself, and who may write an order."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import Any

from app.stack import ROOT
from connectors.ibkr.ears import Ears
from connectors.ibkr.health import LOOP_DELAY_MS_MAX, Health
from connectors.ibkr.pacing import Pacing
from contracts.orders import SessionState
from tests.gateway.gateway_harness import until

BLOCKED_S = 0.4


def ignore(*_: Any) -> None:
    """Nobody listens."""


async def test_an_event_loop_that_is_blocked_is_measured_and_named_once() -> None:
    health = Health(Ears(1, ignore, ignore, ignore), Pacing())
    measuring = asyncio.create_task(health.measure())
    try:
        await until(lambda: health.loop_delay_ms_max > 0.0)
        assert health.report(SessionState.READY, "").reasons == ()
        threading.Event().wait(BLOCKED_S)  # what must not happen: nothing else runs meanwhile
        await until(lambda: health.loop_delay_ms_max > LOOP_DELAY_MS_MAX)
        report = health.report(SessionState.READY, "")
        assert report.loop_delay_ms_max > LOOP_DELAY_MS_MAX
        assert [reason.split("=")[0] for reason in report.reasons] == ["loop_delay_ms"]
        assert health.loop_delay_ms_max == 0.0, "each report is about its own second"
    finally:
        measuring.cancel()


def test_an_order_is_written_to_a_socket_by_the_sender_and_by_the_emergency_command_alone() -> None:
    """No way to the wire leads around admission, the kills and the count of children; the emergency only closes."""
    sources = [path for folder in ("agents", "app", "connectors/ibkr") for path in (ROOT / folder).rglob("*.py")]
    writers = {path.name for path in sources if re.search(r"placeOrder\(|bracketOrder\(", path.read_text())}
    assert writers == {"sender.py", "emergency.py"}
