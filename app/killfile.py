"""The kill file: kills that hold without Kafka, one JSON line each, beside the worker's data.

A command line writes it, the execution worker looks at it ten times a second. It survives restarts of everything.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final, NamedTuple

NAME: Final = "KILLED"


class Kill(NamedTuple):
    """One line: what is killed, by whom, why; `disconnect` ends the session as well."""

    scope: str
    operator: str
    reason: str
    flatten: bool = False
    disconnect: bool = False


def read(folder: Path) -> list[Kill]:
    """Kills in force. A file that cannot be read kills the account: it was meant to kill something."""
    path = folder / NAME
    try:
        return [Kill(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        return [Kill("account", "kill file", f"{path} cannot be read: {error}")]


def add(folder: Path, kill: Kill) -> None:
    """Append a kill, and have the disk confirm it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps(kill._asdict()) + "\n")
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
