"""Crash points: places where a process kills itself when it is told to, so that a crash can be repeated.

`FLOWGATE_CRASH_AT=execution:claimed:3` dies with SIGKILL the third time it comes to that place. Unset, which is always
but in crash tests, a place costs one comparison.
"""

from __future__ import annotations

import os
import signal
from typing import Final

_PLACE, _, _COUNT = os.environ.get("FLOWGATE_CRASH_AT", "").rpartition(":")
_left = int(_COUNT or 0)

POINTS: Final = {
    "P1": "admission:read",
    "P2": "admission:written",
    "P3": "execution:claiming",
    "P4": "execution:claimed",
    "P5": "execution:carried_out",
    "P6": "execution:read",
    "P7": "execution:said",
    "P9": "session:snapshot",
}
"""Where each crash point lies. P8 is P7 at a later count; P10 to P13 need no place of their own."""


def at(place: str) -> None:
    """Die here if this is the place, and the time has come."""
    global _left
    if place == _PLACE:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
