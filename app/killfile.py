"""The kill file: kills that hold without Kafka, one JSON line each, beside the worker's data.

A command line writes it, the execution worker looks at it ten times a second. It survives restarts of everything.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import ValidationError

from contracts.controls import KillCommand

NAME: Final = "KILLED"

LOCK_S: Final = 1.0
"""A change takes milliseconds; a command that holds the lock for longer has been stopped."""

LOCK_POLL_S: Final = 0.01


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


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Wait until no other command changes the file, for `LOCK_S` at most; whether that is so. Its end ends the lock."""
    handle = os.open(folder, os.O_RDONLY)  # the folder, as a reset puts another file in the place of the old one
    try:
        ends, alone = time.monotonic() + LOCK_S, False
        while not alone and time.monotonic() < ends:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alone = True
            except OSError:  # held by another command, or a disk that knows no locks
                time.sleep(LOCK_POLL_S)
        yield alone
    finally:
        os.close(handle)


def add(folder: Path, kill: Kill) -> None:
    """Append a kill, and have the disk confirm it; OSError when it does not.

    A kill does not wait for a lock that nobody gives back.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder), (folder / NAME).open("a", encoding="utf-8") as file:
        # On a line of its own, also behind one that a full disk has torn.
        file.write(f"\n{json.dumps(kill._asdict())}\n")
        file.flush()
        os.fsync(file.fileno())


def remove(folder: Path, scope: str) -> int:
    """Lift the kills of a scope; returns how many there were. OSError when the file cannot be changed.

    A kill that another operator adds at the same time waits, and is in the new file.
    """
    if not folder.exists():
        return 0
    with _alone(folder) as alone:
        if not alone:
            raise OSError(f"another command holds {folder}, or it cannot be locked")
        return _remove(folder, scope)


def _remove(folder: Path, scope: str) -> int:
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
