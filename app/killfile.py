"""The kill file: kills that hold without Kafka, one JSON line each, beside the worker's data.

A command line writes it, the execution worker looks at it ten times a second. It survives restarts of everything.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import ValidationError

from contracts.controls import KillCommand

NAME: Final = "KILLED"


class Kill(NamedTuple):
    """One line: what is killed, by whom, why; the last one of a scope says whether orders that flatten may go out.

    `disconnect` ends the session as well.
    """

    scope: str
    operator: str
    reason: str
    flatten: bool = False
    disconnect: bool = False


def read(folder: Path) -> list[Kill]:
    """Kills in force, in their order. What cannot be read kills the account: it was meant to kill something."""
    path = folder / NAME
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        return [_unreadable(f"{path} cannot be read: {error}")]
    kills = [_line(line, f"line {number} of {path}") for number, line in enumerate(lines, 1) if line.strip()]
    return kills or [_unreadable(f"{path} is empty")]


def _line(line: bytes, place: str) -> Kill:
    try:
        kill = Kill(**json.loads(line))
        KillCommand(scope=kill.scope, operator=kill.operator, reason=kill.reason, flatten=kill.flatten, ts_ns=0)
        if not isinstance(kill.disconnect, bool):
            raise ValueError("disconnect is neither true nor false")
    except ValidationError as error:
        first = error.errors()[0]
        return _unreadable(f"{place} is no kill: {first['loc'][0]} {first['input']!r}: {first['msg']}")
    except (ValueError, TypeError, RecursionError) as error:
        return _unreadable(f"{place} is no kill: {error}")
    return kill


def _unreadable(why: str) -> Kill:
    return Kill("account", "kill file", why)


def add(folder: Path, kill: Kill) -> None:
    """Append a kill, and have the disk confirm it; OSError when it does not."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NAME).open("a", encoding="utf-8") as file:
        # On a line of its own, also behind one that a full disk has torn.
        file.write(f"\n{json.dumps(kill._asdict())}\n")
        file.flush()
        os.fsync(file.fileno())


def remove(folder: Path, scope: str) -> int:
    """Lift the kills of a scope; returns how many there were."""
    kills = read(folder)
    left = [kill for kill in kills if kill.scope != scope]
    path = folder / NAME
    if left:
        fresh = path.with_suffix(".new")
        fresh.write_text("".join(json.dumps(kill._asdict()) + "\n" for kill in left), encoding="utf-8")
        fresh.replace(path)
    else:
        path.unlink(missing_ok=True)
    return len(kills) - len(left)
