"""When a person has to be told of what goes on for too long: each watch says so once, or once in a while."""

from __future__ import annotations

from typing import Final

OUTAGE_S: Final = 4.0
"""A session that has not been READY for so long is an alert, which is out within 5 s; a short reset is none."""

HELD_S: Final = 60.0
"""The gateway sees the end of an old connection within seconds: who holds the client id for longer is alive."""

CODE_AGAIN_S: Final = 3600.0
"""An error code is told again after this time: the second rejection of a day is another one."""


class OutageWatch:
    """How long the session has not been READY without a reason that somebody knows."""

    def __init__(self, now_s: float) -> None:
        self._fine_s = now_s
        self._told = False

    def fine(self, now_s: float) -> None:
        """READY, locked, or kept away by an operator."""
        self._fine_s, self._told = now_s, False

    def late(self, now_s: float, *, planned: bool) -> bool:
        """Not READY; True if a person has to be told now. A planned outage is no reason as long as it lasts."""
        if self._told or planned or now_s - self._fine_s < OUTAGE_S:
            return False
        self._told = True
        return True


class HolderWatch:
    """How long the gateway has said that another connection has our client id (326)."""

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._told = False

    def refused(self, now_s: float) -> bool:
        """Error 326 came; True if a person has to be told now."""
        self._since_s = now_s if self._since_s is None else self._since_s
        if self._told or now_s - self._since_s <= HELD_S:
            return False
        self._told = True
        return True

    def over(self) -> None:
        """The client id is ours."""
        self._since_s, self._told = None, False


class CodeWatch:
    """Error codes of the gateway, and when each was told last."""

    def __init__(self) -> None:
        self._told_s: dict[int, float] = {}

    def due(self, code: int, now_s: float) -> bool:
        """Whether the owner of a code has to be told now."""
        if now_s - self._told_s.get(code, float("-inf")) < CODE_AGAIN_S:
            return False
        self._told_s[code] = now_s
        return True
