"""A worker whose broker is gone: it keeps quiet while it waits, and it ends when it is told to."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from pathlib import Path

import pytest

from app.stack import Stack
from app.worker import GOODBYE_S

pytestmark = pytest.mark.stack

AWAY_S = 5.0
LINES_MAX = 400
"""Each client tries a few times and says so; a loop without a wait would write thousands of lines a second."""


@pytest.mark.parametrize("group", ["signals", "risk"])
async def test_a_worker_without_a_broker_is_quiet_and_ends_at_sigterm(tmp_path: Path, group: str) -> None:
    stack = Stack(tmp_path, print)
    try:
        await stack.start_broker()
        await stack.start_gateway()
        await stack.start_workers((group,))
        worker = stack.workers[group]
        (kafka,) = [child for child in stack.children._children if child.name == "kafka"]
        kafka.process.kill()
        kafka.process.wait()
        stack.children.forget(kafka)
        before, until = lines(worker.log), time.monotonic() + AWAY_S
        while time.monotonic() < until:
            await asyncio.sleep(0.1)
        worker.process.send_signal(signal.SIGTERM)
        try:
            status = await asyncio.to_thread(worker.process.wait, GOODBYE_S + 10)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still there {GOODBYE_S + 10:.0f} s after SIGTERM")
        stack.children.forget(worker)
        assert status >= 0
        assert lines(worker.log) - before < LINES_MAX
    finally:
        stack.stop()


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")
