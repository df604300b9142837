"""A worker that stays in its first batch until the file `FLOWGATE_GO` is there, and says how far it has fetched.

python -m tests.shell.slow worker --without-web
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from app import worker
from app.runtime import AgentShell

LOOK_S = 0.1
GO = os.environ.get("FLOWGATE_GO", "")
process = AgentShell.process


async def stuck(self: AgentShell, batches: Sequence[tuple[str, int, Sequence[Any]]]) -> None:
    """As the real one, but not yet."""
    while not os.access(GO, os.F_OK):
        await asyncio.sleep(LOOK_S)
    await process(self, batches)


async def say(app: Any) -> None:
    """Records handed to Faust so far, of all partitions."""
    while True:
        consumer = app.consumer._thread._consumer
        print(f"fetched {sum([await consumer.position(tp) for tp in consumer.assignment()])}", flush=True)  # noqa: T201
        await asyncio.sleep(LOOK_S)


if __name__ == "__main__":
    AgentShell.process = stuck  # type: ignore[method-assign]
    main_app = worker.main_app()
    main_app.task(lambda: say(main_app))
    main_app.main()
