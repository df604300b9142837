"""A secured broker with the ingest group alone: the least desk that turns raw records into events."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import pytest

from app.stack import Stack


@pytest.fixture(scope="session")
def ingest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka with users and rights, and the ingest worker as one of them."""
    desk = Stack(tmp_path_factory.mktemp("ingest"), _tell, secure=True)
    try:
        asyncio.run(_start(desk))
        yield desk
    finally:
        desk.stop()


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


async def _start(desk: Stack) -> None:
    await desk.start_broker()
    await desk.start_workers(("ingest",))
