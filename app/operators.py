"""`python -m app reset | resolve`: what a named operator settles. It needs Kafka, as the record of it does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from typing import Final

from pydantic import ValidationError

from app import killfile
from app.control import SCOPES, SLIP, fail, send, tell, unknown
from app.settings import Reach
from contracts.controls import ResetCommand, ResolveCommand
from contracts.instruments import INSTRUMENTS

TAKEN_IF: Final = {
    "intent": "that order is UNKNOWN, filled too much or never spoken of; `python -m app explain {name}` shows its end",
    "instrument": "a position break of {name} is open; the page shows whether its lock has ended",
    "cash": "a cash break is open; the page shows whether it has ended",
}


def reset(
    settings: Reach,
    scope: str,
    operator: str,
    reason: str,
    strategies: Collection[str] | None = None,
    *,
    reducing: bool = False,
) -> int:
    """Allow trading again: a named operator, with a reason; `reducing`, only to make positions smaller."""
    if reducing and scope != "account":
        return fail("--reducing is for the whole account: leave --scope out", SLIP)
    try:
        command = ResetCommand(scope=scope, operator=operator, reason=reason, ts_ns=time.time_ns(), reducing=reducing)
    except ValidationError:
        return fail(f"{scope!r} is no scope, or a name or a reason is missing; scopes are {SCOPES}", SLIP)
    # What was killed once can be lifted, also when its strategy has left the settings since.
    killed = {kill.scope for kill in killfile.read(settings.data)}
    if scope not in killed and (why := unknown(scope, strategies)):
        return fail(why, SLIP)
    if not asyncio.run(send(settings, command)):
        return fail("a reset needs Kafka, for its record; the kill stays in force")
    try:
        lifted = killfile.remove(settings.data, scope)
    except OSError as error:
        return fail(f"the kill file cannot be changed ({error}), so its kills stay in force")
    tell(f"{lifted} kills lifted from the kill file")
    if scope == "account":
        tell("the switch stays HALTED, with an alert (RESET_REFUSED), while what would trip it again still holds")
    return 0


def resolve(
    settings: Reach, intent_id: str | None, instrument: str | None, operator: str, reason: str, *, cash: bool
) -> int:
    """Settle an UNKNOWN or overfilled order, or take the broker's position or cash, by a named operator."""
    try:
        command = ResolveCommand(
            intent_id=intent_id,
            instrument=instrument,
            cash=cash,
            operator=operator,
            reason=reason,
            ts_ns=time.time_ns(),
        )
    except ValidationError as error:
        return fail(_sentence(error), SLIP)
    if instrument is not None and instrument not in INSTRUMENTS:
        return fail(unknown(f"instrument:{instrument}", None), SLIP)
    if not asyncio.run(send(settings, command)):
        return fail("resolving needs Kafka, for its record")
    what = "cash" if cash else "intent" if intent_id is not None else "instrument"
    tell(f"sent, and not yet done: the desk takes it only if {TAKEN_IF[what].format(name=intent_id or instrument)}")
    return 0


def _sentence(error: ValidationError) -> str:
    """What is wrong with the first option, and what it must be."""
    first = error.errors()[0]
    name = str(first["loc"][0]).removesuffix("_id")
    form = {"intent": "24 hexadecimal digits, as the decisions show it", "instrument": "a name such as SPY"}
    return f"--{name} {first['input']!r} is not right: it is {form.get(name, 'a text that is not empty')}"
