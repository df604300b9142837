"""`python -m benchmarks.crashes`: kill -9 of the execution worker at each crash point, on real Kafka, and what is left.

A desk trades a synthetic market. At each point, RUNS times, the worker kills itself there and is started again, while
the market goes on. At the end the gateway's ledger judges: orders per intent, executions lost, cash and positions.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from app.demo import desk_settings
from app.processes import Child
from app.security import OPERATOR, user
from app.stack import PREFIX, Stack
from app.summary import reconcile
from app.watcher import Watcher, until
from connectors.crash import POINTS
from connectors.gateway import ledger
from connectors.market.source import describe

GROUPS = ("ingest", "signals", "portfolio", "execution", "risk", "gates")
DEATH_S = 40.0
READY_S = 60.0
QUIET_S = 30.0


async def campaign(points: list[str], runs: int, seed: int) -> int:
    """Run it; 0 when the books are equal at the end."""
    rng = random.Random(seed)
    stack = Stack(Path(tempfile.mkdtemp(prefix="flowgate-crashes-")), print, desk_settings(describe("synthetic")))
    try:
        await stack.start(GROUPS)
        status = await _campaign(stack, points, runs, rng)
    finally:
        stack.stop()
    if status == 0:
        shutil.rmtree(stack.folder)
    else:
        print(f"logs and ledger are kept in {stack.folder}")
    return status


async def _campaign(stack: Stack, points: list[str], runs: int, rng: random.Random) -> int:
    watcher = Watcher(stack.access(user(PREFIX, OPERATOR)))
    await watcher.start()
    follow = asyncio.create_task(watcher.follow())
    recovery: dict[str, list[float]] = defaultdict(list)
    missed: dict[str, int] = defaultdict(int)
    try:
        feed = stack.start_feed("synthetic", 7, 1.0, 10.0)
        for point in [point for _ in range(runs) for point in points]:
            count = rng.randrange(1, 5)
            seconds = await crash(stack, watcher, f"{POINTS[point]}:{count}")
            if seconds is None:
                missed[point] += 1
            else:
                recovery[point].append(seconds)
        stack.children.stop(feed)
        stack.children.forget(feed)
        await until(lambda: not watcher.seen.open_orders and not _differences(stack, watcher), QUIET_S)
        return _report(stack, watcher, recovery, missed)
    finally:
        follow.cancel()
        await watcher.stop()


async def crash(stack: Stack, watcher: Watcher, place: str) -> float | None:
    """Let the worker die at a place and start it again; seconds from its death to READY, None if it did not die."""
    await restart(stack, place)
    child = stack.workers["execution"]
    died = await until(lambda: child.process.poll() is not None, DEATH_S)
    began = time.monotonic()
    watcher.seen.session = "gone"
    await restart(stack, "")
    if not await until(lambda: watcher.seen.session == "READY", READY_S):
        raise RuntimeError(f"the session is {watcher.seen.session} {READY_S:.0f} s after a crash at {place}")
    return time.monotonic() - began if died else None


async def restart(stack: Stack, place: str) -> Child:
    """End the execution worker if it lives, and start one that dies at a place."""
    old = stack.workers["execution"]
    if old.process.poll() is None:
        old.process.kill()
    old.process.wait()
    stack.children.forget(old)
    stack.desk["FLOWGATE_CRASH_AT"] = place
    return stack.start_worker("execution")


def _differences(stack: Stack, watcher: Watcher) -> list[str]:
    return reconcile(watcher.seen, ledger.read(stack.ledger))


def _report(stack: Stack, watcher: Watcher, recovery: dict[str, list[float]], missed: dict[str, int]) -> int:
    for point in sorted(recovery.keys() | missed.keys()):
        seconds = sorted(recovery[point])
        span = f"READY after {seconds[0]:.1f} to {seconds[-1]:.1f} s" if seconds else "never hit"
        print(f"{point:<4} {POINTS[point]:<24} {len(seconds):>3} crashes, {span}, not hit {missed[point]} times")
    view = ledger.read(stack.ledger)
    refs = [order.order_ref for order in view.orders.values()]
    found = _differences(stack, watcher)
    twice = len(refs) - len(set(refs))
    print(f"orders {len(refs)}, intents with more than one {twice}, executions {len(view.executions)}")
    print(f"open orders of ours {len(watcher.seen.open_orders)}, differences to the ledger {len(found)}")
    for line in found:
        print(f"  {line}")
    return 1 if found or watcher.seen.open_orders else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", default=",".join(POINTS), help="comma-separated, of " + ", ".join(POINTS))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.runs} runs")
    return asyncio.run(campaign(options.points.split(","), options.runs, options.seed))


if __name__ == "__main__":
    sys.exit(main())
