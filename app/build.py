"""What this worker runs, said to all: the hash of the desk's source, and of the settings that decide trades.

Execution refuses orders while workers differ. The hash is of the files that are installed, so that nobody has to keep a
label right: the same release gives the same hash in any container and any checkout. `FLOWGATE_BUILD` goes before it,
for who starts all workers of a desk from files that may change under them.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from agents.catalogue import GROUPS
from app.settings import Settings
from contracts.controls import WorkerState
from contracts.topics import WORKERS

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCES: Final = ("agents", "app", "connectors", "contracts", "quant", "tables")
EVERY_S: Final = 5.0


@functools.cache
def build() -> str:
    """SHA-256 over the names and bytes of all Python files of the desk, as they were when this process started."""
    given = os.environ.get("FLOWGATE_BUILD")
    if given:
        return given
    digest = hashlib.sha256()
    for path in sorted(path for name in SOURCES for path in (ROOT / name).rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()}\n{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


async def say(settings: Settings, group: str, publish: Callable[..., Awaitable[None]]) -> None:
    """Say who this worker is and what it runs, until cancelled."""
    worker = f"{settings.prefix}-{group}-{settings.instance}"
    groups = tuple(GROUPS) if group == "all" else (group,)
    while True:
        state = WorkerState(
            worker=worker,
            groups=groups,
            build=build(),
            configuration_hash=settings.configuration_hash,
            ts_ns=time.time_ns(),
        )
        await publish((WORKERS, worker, state))
        await asyncio.sleep(EVERY_S)
