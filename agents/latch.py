"""The latch: which kills are in force, told to the broker connection, which blocks and cancels what they cover.

It stands beside admission and execution and waits for neither: a kill does not queue behind orders. After a restart it
speaks again as soon as the session is READY, so a kill whose cancels were half sent is carried to its end; before it
has spoken nothing is sent at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.ports import Latch
from agents.spec import UNCHANGED, Record
from contracts.controls import KillCommand, ResetCommand, SwitchEvent, TradingState
from contracts.orders import SessionEvent, SessionState
from tables.rows import TableSpec


@dataclass(slots=True)
class LatchRow:
    """Kills by scope, with who and why; `halted` while the switch of the risk group is."""

    kills: dict[str, str] = field(default_factory=dict)
    flatten: bool = False
    halted: bool = False


LATCH = TableSpec("latch", LatchRow, "kills in force, by scope, one row")


def key(message: Any) -> str | None:
    known = KillCommand | ResetCommand | SwitchEvent | SessionEvent
    return "desk" if isinstance(message, known) else None


def step(row: LatchRow | None, record: Record) -> tuple[LatchRow, Sequence[Any]]:
    """One command, or one word of the switch or of the session."""
    row = row or LatchRow()
    message = record.message
    match message:
        case KillCommand():
            row.kills[message.scope] = f"{message.operator}: {message.reason}"
            row.flatten = row.flatten or message.flatten
        case ResetCommand():
            row.kills.pop(message.scope, None)
            row.flatten = row.flatten and bool(row.kills)
        case SwitchEvent():
            row.halted = message.state is TradingState.HALTED
        case SessionEvent() if message.state is not SessionState.READY:
            return row, UNCHANGED
    scopes = tuple(sorted(row.kills.keys() | ({"account"} if row.halted else set())))
    return row, (Latch(scopes, row.flatten),)
