"""`python -m benchmarks.start`: what a worker of each group needs to start, and to come back after kill -9."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.catalogue import GROUPS
from app.processes import Child, ChildDiedError
from app.stack import ROOT, WORKER_READY, Stack
from benchmarks import page

RUNS = 5
READY_S = 60.0
LOOK_S = 0.01
IMPORTS = [sys.executable, "-c", "from app.worker import main_app; main_app()"]


@dataclass(frozen=True)
class Start:
    """Medians of one group. `imports_ms`: processor time until the application is made, before it speaks to Kafka."""

    group: str
    imports_ms: float
    first_s: float
    again_s: float
    cpu_ms: float
    rss_mib: float


async def measure(stack: Stack, group: str, runs: int) -> Start:
    """Start a worker, kill it when it is ready, start it again, end it in order; so many times."""
    imports, first, again = [], [], []
    for _ in range(runs):
        imports.append(await asyncio.to_thread(imports_ms, {**os.environ, **stack.env_of(group), "AGENT_GROUP": group}))
        worker, ready = await started(stack, group)
        first.append(ready)
        worker.process.kill()
        worker.process.wait()
        stack.children.forget(worker)
        worker, ready = await started(stack, group)
        again.append(ready)
        await asyncio.to_thread(stack.children.stop, worker)
        stack.children.forget(worker)
    medians = [statistics.median(column) for column in zip(*again, strict=True)]
    return Start(group, statistics.median(imports), statistics.median(wall for wall, _, _ in first), *medians)


def imports_ms(env: dict[str, str]) -> float:
    """Processor time of a process that imports and declares what a worker does, and ends."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(IMPORTS, env=env, cwd=ROOT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


async def started(stack: Stack, group: str) -> tuple[Child, tuple[float, float, float]]:
    """A worker that is ready, with the seconds it took, its processor time in ms and its memory in MiB."""
    began, worker = time.monotonic(), stack.start_worker(group)
    written = worker.log.stat().st_size  # by those before it; it has not come to its own first line yet
    while not WORKER_READY.search(worker.log.read_text(errors="replace")[written:]):
        stack.children.check()
        if time.monotonic() > began + READY_S:
            raise ChildDiedError(f"{group} was not ready after {READY_S:.0f} s:\n{worker.last_lines()}")
        await asyncio.sleep(LOOK_S)
    return worker, (time.monotonic() - began, *used(worker.process.pid))


def used(pid: int) -> tuple[float, float]:
    """Processor time in ms and resident memory in MiB of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks, pages = int(fields[11]) + int(fields[12]), int(fields[21])
    return 1e3 * ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def table(starts: Sequence[Start]) -> str:
    """One line per group."""
    lines = [
        "| group | CPU of imports, ms | first start to ready, s | after kill -9, s | CPU until ready, ms | RSS, MiB |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {s.group} | {s.imports_ms:,.0f} | {s.first_s:.1f} | {s.again_s:.1f} | {s.cpu_ms:,.0f} | {s.rss_mib:,.0f} |"
        for s in starts
    ]
    return "\n".join(lines)


def words(runs: int) -> str:
    return f"""\
Medians of {runs} runs, one worker at a time on an empty desk. *Imports* is a process that declares a worker's agents
and ends before it speaks to Kafka: nearly all that a start costs. *Ready* is joined, restored, and at work. Each group
imports its own agents; `portfolio` needs the optimiser, which is half of its start, and `signals`, `execution` and
`risk` need numpy, the last two for the library that speaks to the broker. Execution's session to the gateway is READY
a moment later ([crash points](execution.md))."""


async def run(groups: Sequence[str], runs: int) -> list[Start]:
    with tempfile.TemporaryDirectory(prefix="start-") as folder:
        stack = Stack(Path(folder), lambda _line: None)
        try:
            await stack.start_broker()
            await stack.start_gateway()
            found = []
            for group in groups:
                found.append(await measure(stack, group, runs))
                tell(table(found[-1:]).splitlines()[-1])
            return found
        finally:
            stack.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--groups", default=",".join(GROUPS), help="the page is written for all of them only")
    options = parser.parse_args()
    groups = tuple(options.groups.split(","))
    load_before = os.getloadavg()[0]
    try:
        found = asyncio.run(run(groups, options.runs))
    except ChildDiedError as error:
        sys.stderr.write(f"benchmark: {error}\n")
        return 1
    body = f"{page.machine('embedded Kafka', load_before)}\n\n{table(found)}\n\n{words(options.runs)}"
    tell(f"\n{body}")
    if groups == tuple(GROUPS):
        page.write("Start", body)
    return 0


def tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
