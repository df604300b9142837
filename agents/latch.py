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
    """Kills by scope, with who and why; those of them that flatten; `halted` while the switch of the risk group is.

    The last kill of a scope counts: one without flatten ends the flatten of the one before.
    """

    kills: dict[str, str] = field(default_factory=dict)
    flattening: list[str] = field(default_factory=list)
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
            row.flattening = [scope for scope in row.flattening if scope != message.scope]
            row.flattening += [message.scope] if message.flatten else []
        case ResetCommand():
            row.kills.pop(message.scope, None)
            row.flattening = [scope for scope in row.flattening if scope != message.scope]
        case SwitchEvent():
            row.halted = message.state is TradingState.HALTED
        case SessionEvent() if message.state is not SessionState.READY:
            return row, UNCHANGED
    scopes = tuple(sorted(row.kills.keys() | ({"account"} if row.halted else set())))
    flattening = set(row.flattening)
    if row.halted and row.flattening and "account" not in row.kills:
        flattening.add("account")  # a switch that tripped by itself does not stop what a person wants closed
    return row, (Latch(scopes, tuple(sorted(flattening))),)
