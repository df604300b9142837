"""A worker frozen in the middle of a batch, past its session: another takes over, then the first comes to itself."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.desk import TRANSPORT, Desk, Market, Result, differences, finished, frozen, left, send, until

SESSION_S = 3.0
"""Short, so that a test need not wait long for the other worker to take over."""

PLACES = ("ofi:read:market_events", "ofi:said")
"""Before its outputs have gone out, and between them and its rows."""


@dataclass
class Awake:
    """What came of the frozen worker: its exit status (None: it lived), and what the run left behind."""

    status: int | None
    result: Result


async def run_zombie(calm: Result, market: Market, place: str, transport: str = TRANSPORT, without: str = "") -> Awake:
    """Freeze at `place`, let another worker finish the market, wake the first and wait for what it does.

    A worker without protection is waited for until what it does can be seen, as it does not end.
    """
    desk = Desk(Path(tempfile.mkdtemp(prefix="flowgate-chaos-")), transport, SESSION_S)
    try:
        await desk.start_broker()
        await desk.start_workers(("ingest",))
        zombie = await desk.ready(desk.start_special("signals", 0, without))
        half = len(market) // 2
        await send(desk.bootstrap, market[:half], 4_000.0)
        desk.freeze_at(place)
        # Slowly, so that most of it is still to come when the worker freezes: rows of the end would be old for nobody.
        sending = asyncio.create_task(send(desk.bootstrap, market[half:], 400.0))
        await until(lambda: frozen(zombie), f"frozen at {place}")
        await desk.ready(desk.start_worker("signals", 1))
        await sending
        await finished(desk)
        zombie.process.send_signal(signal.SIGCONT)
        desk.children.forget(zombie)
        try:
            status = await _after_waking(desk, calm, zombie.process.poll, bool(without))
        finally:
            zombie.process.kill()
            zombie.process.wait()
        return Awake(status, await left(desk))
    finally:
        desk.stop()


async def _after_waking(desk: Desk, calm: Result, poll, unprotected: bool) -> int | None:  # type: ignore[no-untyped-def]
    if not unprotected:
        await until(lambda: poll() is not None, "the zombie ended")
        return int(poll())
    for _ in range(100):
        if differences(calm, await left(desk)):
            return None
        await asyncio.sleep(0.2)
    return None
