"""Children of a stack: one that asks to be started again is, any other that ends is an error."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.membership import LOST_PLACE_STATUS
from app.processes import AGAIN_STATUS, ChildDiedError, Children


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    running = Children(tmp_path / "logs")
    yield running
    running.stop_all()


async def test_a_worker_that_lost_its_place_is_started_again(children: Children, tmp_path: Path) -> None:
    assert AGAIN_STATUS == LOST_PLACE_STATUS
    mark = tmp_path / "was here"
    script = f"import pathlib, signal, sys; p = pathlib.Path({str(mark)!r}); there = p.exists(); p.touch(); " + (
        f"signal.pause() if there else sys.exit({AGAIN_STATUS})"
    )
    child = children.start("worker", [sys.executable, "-c", script], {})
    first = child.process
    assert await asyncio.to_thread(first.wait, 30) == AGAIN_STATUS
    children.check()
    assert child.process.pid != first.pid
    assert child.process.poll() is None


async def test_a_child_that_ends_otherwise_is_an_error_with_its_last_lines(children: Children) -> None:
    child = children.start("worker", [sys.executable, "-c", "import sys; sys.exit('no such table')"], {})
    await asyncio.to_thread(child.process.wait, 30)
    with pytest.raises(ChildDiedError, match=r"worker ended with status 1; its last lines:\nno such table"):
        children.check()
