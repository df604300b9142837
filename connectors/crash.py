"""Crash points: places where a process kills itself when it is told to, so that a crash can be repeated.

`FLOWGATE_CRASH_FILE` names a file, which may come and go while the process runs. `execution:claimed 3` in it means: die
with SIGKILL the third time from now that you come to that place; `execution:claiming 1 2.5` means: 2.5 ms after it, in
the middle of whatever goes on then. With `FLOWGATE_CRASH_BY=SIGSTOP` it freezes instead.
Without the first variable, which is always but in crash tests, a place costs one comparison.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Final

_FILE: Final = Path(os.environ["FLOWGATE_CRASH_FILE"]) if "FLOWGATE_CRASH_FILE" in os.environ else None
_SIGNAL: Final = signal.Signals[os.environ.get("FLOWGATE_CRASH_BY", "SIGKILL")]
_armed = ""
_left = 0

POINTS: Final[dict[str, tuple[str, ...]]] = {
    "P1": ("admission:read:order_intents",),
    "P2": ("admission:written",),
    "P3": ("execution:claiming",),
    "P4": ("execution:claimed",),
    "P5": ("sender:placed",),
    "P6": ("ears:status", "execution:read:broker_events"),
    "P7": ("execution:said", "execution:written"),
    "P8": ("ears:partial",),
    "P9": ("session:positions", "session:open_orders", "session:completed_orders", "session:executions"),
    "P10": ("sender:cancelled", "execution:claimed"),
    "P11": ("ears:partial",),
    "P12": ("worker:recovering",),
}
"""The places of each crash point. P13, a worker that is stopped and goes on later, needs none."""


def at(place: str) -> None:
    """Die or freeze here if this is the place, and the time has come."""
    if _FILE is not None:
        _strike(_FILE, place)


def _strike(file: Path, place: str) -> None:
    global _armed, _left
    try:
        text = file.read_text()
    except FileNotFoundError:
        return
    wanted, count, *delay_ms = text.split()
    if text != _armed:
        _armed, _left = text, int(count)
    if place != wanted:
        return
    _left -= 1
    if _left == 0:
        file.unlink()
        if delay_ms:
            threading.Timer(float(delay_ms[0]) / 1e3, _die).start()
        else:
            _die()


def _die() -> None:
    os.kill(os.getpid(), _SIGNAL)
