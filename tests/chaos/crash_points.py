"""`python -m tests.chaos.crash_points --runs 10`: kill -9 of the execution worker at every crash point, on real Kafka.

One stack serves all runs. A run trades, lets the worker die at one place, starts it again while the market goes on,
waits for READY and for the end of all orders, and has the gateway's ledger judge (`tests.chaos.verdicts`).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.stack import ROOT
from app.summary import percentile
from app.watcher import until
from connectors.crash import POINTS
from tests.chaos import verdicts
from tests.chaos.floor import BIDS, QUIET_S, READY_S, SESSION_S, UNIVERSE, Floor

DEATH_S: Final = 30.0
EACH: Final = ("P9", "P10")
"""Points whose places are stories of their own."""

READY_S_MAX: Final = 10.0
AWAY: Final = "99.90"
"""A price that is not reached, and near enough for admission."""

FLATTEN_LOTS: Final = 60
PAGE: Final = ROOT / "docs" / "reference" / "execution.md"
MEANINGS: Final = {
    "P1": "intent read",
    "P2": "verdict written",
    "P3": "claim sent, not acknowledged",
    "P4": "claim acknowledged, nothing on the socket",
    "P5": "bytes written, no callback",
    "P6": "permId seen, report not produced",
    "P7": "report produced, offset not committed",
    "P8": "between partial fills",
    "P9": "in reconciliation, after each of its four reads",
    "P10": "half of the cancels of a kill sent; a cancel claimed, not sent",
    "P11": "flatten half filled",
    "P12": "while tables recover",
    "P13": "frozen, and awake again beside its successor",
}


@dataclass
class Tally:
    """What the runs of one point came to."""

    runs: int = 0
    missed: int = 0
    orders: int = 0
    not_sent: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    ready_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)


@dataclass
class Run:
    """One run: what dies where, and what the judge found besides the books."""

    floor: Floor
    place: str
    number: int
    rng: random.Random
    ready_s: float = 0.0
    cpu_s: float = 0.0
    broken: verdicts.Broken = field(default_factory=list)

    async def die(self, count: int, delay_ms: float = 0.0) -> bool:
        """Arm the place and wait for the death there; a worker that did not die is killed, and False comes back."""
        self.floor.arm(self.place, count, delay_ms)
        return await self.dead()

    async def dead(self) -> bool:
        process = self.floor.worker.process
        died = await until(lambda: process.poll() is not None, DEATH_S)
        if not died:
            self.floor.crash_file.unlink(missing_ok=True)
            process.kill()
            process.wait()
        return died

    async def back(self) -> None:
        """Start the worker again and wait for READY."""
        died_ns = time.time_ns()
        self.floor.start_worker()
        if not await until(lambda: self.floor.tape.ready_ns > died_ns, READY_S):
            raise TimeoutError(f"the session is {self.floor.tape.seen.session} {READY_S:.0f} s after {self.place}")
        self.ready_s = (self.floor.tape.ready_ns - died_ns) / 1e9
        self.cpu_s = cpu_s(self.floor.worker.process.pid)

    async def trade(self) -> None:
        """Orders in flight, and more of them to come."""
        floor, sent = self.floor, self.floor.tape.seen.sent
        floor.trading = True
        if not await until(lambda: floor.tape.seen.sent > sent + 3, DEATH_S):
            raise TimeoutError(f"nothing is traded: denied {dict(floor.tape.seen.denied)}")


async def trading(run: Run) -> bool:
    """P1 to P7: the worker dies in the middle of orders."""
    await run.trade()
    delay_ms = float(run.number % 3) if run.place == "execution:claiming" else 0.0
    died = await run.die(run.rng.randrange(1, 6), delay_ms)
    await run.back()
    return died


async def partial(run: Run) -> bool:
    """P8: orders that rest fill in parts, also while nobody is there."""
    await run.floor.rest(BIDS[0])
    run.floor.printing = True
    died = await run.die(run.rng.randrange(1, 6))
    await run.back()
    return died


async def restarting(run: Run) -> bool:
    """P9, P12: the worker is killed under load, and its successor dies while it starts."""
    await run.trade()
    await asyncio.sleep(run.rng.uniform(0.0, 0.3))
    run.floor.worker.process.kill()
    await run.dead()
    run.floor.arm(run.place, run.rng.randrange(1, 400) if run.place == "worker:recovering" else 1)
    run.floor.start_worker()
    died = await run.dead()
    await run.back()
    return died


async def cancelling(run: Run) -> bool:
    """P10: a kill dies with half of its cancels sent, or a strategy's cancel when its row is written and no more."""
    floor = run.floor
    intents = await floor.rest(AWAY)
    if run.place == "execution:claimed":
        floor.arm(run.place, 1)
        await floor.cancel(intents)
        died = await run.dead()
        await run.back()
        return died
    scope = "account" if run.number // 2 % 2 else "strategy:ofi"
    floor.arm(run.place, (len(intents) + 1) // 2)
    await floor.kill(scope)
    return await _killed(run, scope, lambda: all(floor.state(intent) == "CANCELLED" for intent in intents))


async def flattening(run: Run) -> bool:
    """P11: the orders that close the positions of a kill are filled in part."""
    floor = run.floor
    floor.side = "BUY"
    await run.trade()
    if not await until(lambda: all(floor.position(name) >= FLATTEN_LOTS for name in UNIVERSE), QUIET_S):
        held = {name: floor.position(name) for name in UNIVERSE}
        raise TimeoutError(f"no positions to flatten: {held}, denied {dict(floor.tape.seen.denied)}")
    floor.trading, floor.side = False, ""
    await quiet(floor)
    floor.arm(run.place, run.rng.randrange(1, 5))
    await floor.kill("account", flatten=True)
    return await _killed(run, "account", lambda: not any(floor.position(name) for name in UNIVERSE), flatten=True)


async def _killed(run: Run, scope: str, done: Callable[[], bool], *, flatten: bool = False) -> bool:
    """The death, the way back under the kill with intents that keep coming, what the kill asked for, and the reset."""
    died = await run.dead()
    before = run.floor.ledger
    run.floor.trading = True
    await run.back()
    if not await until(done, QUIET_S):
        run.broken.append(("I4", f"the kill of {scope} was not carried to its end"))
    run.floor.trading = False
    run.broken += verdicts.silence(before, run.floor.ledger, flatten=flatten)
    await run.floor.reset(scope)
    return died


async def frozen(run: Run) -> bool:
    """P13: the worker is stopped, its place is given away, and it wakes beside the one that has it."""
    floor, old = run.floor, run.floor.worker
    await run.trade()
    old.process.send_signal(signal.SIGSTOP)
    try:
        floor.succeed()
        await asyncio.sleep(SESSION_S + run.rng.uniform(2.0, 6.0))
        if not await until(lambda: "326" in floor.worker.log.read_text(errors="replace"), READY_S):
            raise TimeoutError("the successor was not told that the client id is taken")
    finally:
        woken_ns = time.time_ns()
        old.process.send_signal(signal.SIGCONT)
    ended = await until(lambda: old.process.poll() is not None, READY_S)
    if not ended:
        old.process.kill()
        run.broken.append(("I1", "two owners: the old worker lives on beside its successor"))
    if not await until(lambda: floor.tape.ready_ns > woken_ns, READY_S):
        raise TimeoutError(f"the session is {floor.tape.seen.session} {READY_S:.0f} s after the old owner woke up")
    run.ready_s, run.cpu_s = (floor.tape.ready_ns - woken_ns) / 1e9, cpu_s(floor.worker.process.pid)
    return ended


SCENARIOS: Final[dict[str, Callable[[Run], Awaitable[bool]]]] = {
    **dict.fromkeys(("P1", "P2", "P3", "P4", "P5", "P6", "P7"), trading),
    "P8": partial,
    "P9": restarting,
    "P10": cancelling,
    "P11": flattening,
    "P12": restarting,
    "P13": frozen,
}


def judge(floor: Floor) -> verdicts.Broken:
    """All that is broken now; while orders are still on their way, that is no verdict yet."""
    tape, ledger = floor.tape, floor.ledger
    found = verdicts.books(tape.seen, ledger) + verdicts.children(tape.commands, ledger)
    found += verdicts.traces(tape.decisions, ledger) + verdicts.ends(tape.states, ledger)
    open_orders = [name for name in tape.commands if floor.state(name) not in ("FILLED", "CANCELLED", "REJECTED")]
    found += [("I9", f"order {name} has no end, it is {floor.state(name) or 'unheard of'}") for name in open_orders]
    if tape.cash != ledger.cash:
        found.append(("I3", f"cash: the account says {tape.cash}, the ledger {ledger.cash}"))
    return found


async def quiet(floor: Floor) -> verdicts.Broken:
    """Wait for the end of all orders and for equal books; what is still broken when the time is over."""
    deadline = time.monotonic() + QUIET_S
    while (found := judge(floor)) and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    return found


async def run_point(floor: Floor, point: str, place: str, number: int, rng: random.Random, tally: Tally) -> None:
    """One run of one point."""
    before = len(floor.ledger.orders), len(_not_sent(floor))
    run = Run(floor, place, number, rng)
    died = await SCENARIOS[point](run)
    floor.trading = False
    broken = run.broken + await quiet(floor)
    floor.printing = False
    tally.runs += died
    tally.missed += not died
    tally.orders += len(floor.ledger.orders) - before[0]
    tally.not_sent += len(_not_sent(floor)) - before[1]
    tally.ready_s.append(run.ready_s)
    tally.cpu_s.append(run.cpu_s)
    for invariant, line in broken:
        tally.broken[invariant] += 1
        sys.stdout.write(f"  {point} {place} run {number}: {invariant} {line}\n")


def cpu_s(pid: int) -> float:
    """Processor seconds of a process so far: what a start costs, whatever else the machine does."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _not_sent(floor: Floor) -> set[str]:
    """Admitted orders that the gateway has never seen, though all of them have ended."""
    return floor.tape.commands.keys() - {row.order_ref for row in floor.ledger.orders.values()}


def plan(points: Sequence[str], runs: int) -> dict[str, list[str]]:
    """The places of the runs of each point: `runs` shared among its places, but that many for each of P9 and P10."""
    places = {point: POINTS.get(point, ("",)) for point in points}
    return {
        point: [where[number % len(where)] for number in range(runs * (len(where) if point in EACH else 1))]
        for point, where in places.items()
    }


async def campaign(
    planned: dict[str, list[str]], seed: int, told: Callable[[dict[str, Tally]], None] = lambda _tallies: None
) -> dict[str, Tally]:
    """All runs, on one stack; `told` hears of each point that is done."""
    rng, tallies = random.Random(seed), defaultdict[str, Tally](Tally)
    floor = Floor(Path(tempfile.mkdtemp(prefix="flowgate-crashes-")), lambda _line: None)
    kept = True
    try:
        await floor.start()
        for point, places in planned.items():
            for number, place in enumerate(places):
                await run_point(floor, point, place, number, rng, tallies[point])
            sys.stdout.write(f"{line_of(point, tallies[point])}\n")
            sys.stdout.flush()
            told(tallies)
        kept = any(tally.broken or tally.missed for tally in tallies.values())
    finally:
        await floor.stop()
        if kept:
            sys.stdout.write(f"logs and ledger are kept in {floor.stack.folder}\n")
        else:
            shutil.rmtree(floor.stack.folder, ignore_errors=True)
    return dict(tallies)


COLUMNS: Final = (
    "point", "dies", "runs", "orders", "not sent", "I1", "I2", "I3", "others", "READY p50, p95, max", "CPU p50"
)  # fmt: skip
HEAD: Final = f"| {' | '.join(COLUMNS)} |\n{'| --- ' * len(COLUMNS)}|"


def line_of(point: str, tally: Tally) -> str:
    """One row of the table."""
    times = sorted(tally.ready_s)
    spans = ", ".join(f"{value:.1f}" for value in (percentile(times, 0.5), percentile(times, 0.95), times[-1]))
    three = " | ".join(str(tally.broken[name]) for name in ("I1", "I2", "I3"))
    others = sum(tally.broken.values()) - sum(tally.broken[name] for name in ("I1", "I2", "I3"))
    counts = f"{tally.runs} | {tally.orders} | {tally.not_sent}"
    cpu = percentile(sorted(tally.cpu_s), 0.5)
    return f"| {point} | {MEANINGS[point]} | {counts} | {three} | {others} | {spans} s | {cpu:.1f} s |"


def write(tallies: dict[str, Tally]) -> None:
    """Put the rows into the table of the documents; points that were not run keep theirs."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition("<!-- crash points: begin -->\n")
    table, _, after = rest.partition("<!-- crash points: end -->")
    rows = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("| P")}
    rows |= {point: line_of(point, tally) for point, tally in tallies.items()}
    table = "\n".join([HEAD, *(rows[point] for point in MEANINGS if point in rows)])
    PAGE.write_text(
        f"{before}<!-- crash points: begin -->\n{table}\n<!-- crash points: end -->{after}", encoding="utf-8"
    )


def main() -> int:
    """Run the campaign and print the table; 1 if an invariant broke, a point was missed or READY came too late."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", default=",".join(SCENARIOS), help="comma-separated, of " + ", ".join(SCENARIOS))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args()
    sys.stdout.write(f"seed {options.seed}\n{HEAD}\n")
    told = write if options.write else lambda _tallies: None
    tallies = asyncio.run(campaign(plan(options.points.split(","), options.runs), options.seed, told))
    late = [point for point, tally in tallies.items() if max(tally.ready_s) >= READY_S_MAX]
    failed = [point for point, tally in tallies.items() if tally.broken or tally.missed]
    sys.stdout.write(
        f"broken or missed: {failed or 'none'}; READY after {READY_S_MAX:.0f} s or later: {late or 'none'}\n"
    )
    return 1 if failed or late else 0


if __name__ == "__main__":
    sys.exit(main())
