"""Child processes of a stack: started with a log each, watched, and ended in order."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

STOP_S = 10.0
"""A worker commits and leaves its group in 1 to 2 s; one that needs longer is killed."""

AGAIN_STATUS = os.EX_TEMPFAIL
"""A worker that lost its place in its group ends so, as when the broker or the machine was asleep for a while."""

PR_SET_PDEATHSIG = 1


class ChildDiedError(RuntimeError):
    """A child ended by itself; the message has its name, its exit status and its last lines."""


@dataclass
class Child:
    """A running process and its log file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    spawn: Callable[[], subprocess.Popen[bytes]]
    started: float = field(default_factory=time.monotonic)

    def last_lines(self, count: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])


class Children:
    """All children of one stack. Ends them in the reverse of the order in which they were started."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: list[Child] = []
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str], cwd: Path | None = None) -> Child:
        log = self._logs / f"{name}.log"

        def spawn() -> subprocess.Popen[bytes]:
            with log.open("ab") as output:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **env},
                    cwd=cwd,
                    # A session of its own: Ctrl-C reaches the parent alone, which ends the children in order.
                    start_new_session=True,
                    preexec_fn=_die_with_parent if sys.platform == "linux" else None,
                )

        child = Child(name, spawn(), log, spawn)
        self._children.append(child)
        return child

    def check(self) -> None:
        """ChildDiedError if one has ended; one that asks for it is started again."""
        for child in self._children:
            status = child.process.poll()
            if status == AGAIN_STATUS:
                child.process = child.spawn()
            elif status is not None:
                raise ChildDiedError(f"{child.name} ended with status {status}; its last lines:\n{child.last_lines()}")

    def forget(self, child: Child) -> None:
        """No longer watch a child that has ended as it should, or was ended on purpose."""
        self._children.remove(child)

    def stop(self, child: Child) -> None:
        """End one child: SIGTERM, and SIGKILL when that is not enough."""
        if child.process.poll() is None:
            child.process.send_signal(signal.SIGTERM)
        try:
            child.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()

    def stop_all(self, keep_last: Sequence[str] = ()) -> None:
        """End all: everything at once but `keep_last`, which others need to end well; those after, in reverse order."""
        first = [child for child in self._children if child.name not in keep_last]
        for child in first:
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
        for child in [*first, *reversed([child for child in self._children if child.name in keep_last])]:
            self.stop(child)
        self._children.clear()

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._children)


def _die_with_parent() -> None:
    """If the parent is killed outright, the kernel ends the child too."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
