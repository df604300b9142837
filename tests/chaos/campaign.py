"""Kill and freeze workers under load, and compare with an undisturbed run.

python -m tests.chaos.campaign --kills 50 --seed 1 [--transport single] [--control]

Each round sends the same recorded market (fixed stamps) to `market_raw`, while one worker of the ingest group and two
of the signals group are killed, frozen for a moment, or frozen past their session at seeded moments. Who has ended is
started again, as a supervisor would. When all is committed, the states of all tables and the outputs that a row-keeping
reader takes must equal those of the undisturbed run, byte for byte. With `--control`, workers without a protection and
a stock Faust worker go through the same kills, and must differ.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from app.membership import LOST_PLACE_STATUS
from app.processes import Child
from app.stack import ROOT
from contracts.topics import MARKET_RAW
from tests.chaos.desk import (
    GROUPS,
    TRANSPORT,
    TRANSPORTS,
    Desk,
    Market,
    Result,
    collect,
    differences,
    lag,
    read,
    recording,
    send,
    until,
)

PLACES = (("ingest", 0), ("signals", 0), ("signals", 1))
SESSION_S = 6.0
FREEZES_FRAC = 0.2
ZOMBIES_FRAC = 0.1
BATCH = 8
RATE = 250.0
"""Records a second: the market lasts as long as a round, so that every kill comes under load."""

STOCK = "stock"


@dataclass
class Disturbances:
    """What was done to the workers: kills as (group, when in ms), moments of frost, and frost past the session."""

    kills: list[tuple[str, float]] = field(default_factory=list)
    freezes: int = 0
    zombies: int = 0

    @property
    def count(self) -> int:
        return len(self.kills) + self.freezes + self.zombies


async def run(
    market: Market, count: int, seed: int, rate: float, transport: str = TRANSPORT, without: str = ""
) -> tuple[Result, Disturbances]:
    """One run with `count` disturbances at seeded moments, the market sent at `rate` records a second."""
    desk = Desk(Path(tempfile.mkdtemp(prefix="flowgate-chaos-")), transport, SESSION_S)
    rng = random.Random(seed)
    done = Disturbances()
    try:
        await desk.start_broker()
        workers = {place: desk.start_special(*place, without) for place in PLACES}
        for worker in workers.values():
            await desk.ready(worker)
        sending = asyncio.create_task(send(desk.bootstrap, market, rate))
        while done.count < count:
            await asyncio.sleep(rng.uniform(0.2, 2.0))
            place = rng.choice(PLACES)
            await disturb(desk, workers, place, rng, done, without)
        await sending
        return await collect(desk), done
    finally:
        desk.stop()


async def disturb(
    desk: Desk,
    workers: dict[tuple[str, int], Child],
    place: tuple[str, int],
    rng: random.Random,
    done: Disturbances,
    without: str,
) -> None:
    """Kill or freeze one worker, and start it again if it has ended."""
    worker, how = workers[place], rng.random()
    if how < FREEZES_FRAC:
        worker.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(rng.uniform(0.5, 3.0))
        worker.process.send_signal(signal.SIGCONT)
        done.freezes += 1
        return
    if how < FREEZES_FRAC + ZOMBIES_FRAC:
        worker.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(SESSION_S + rng.uniform(0.5, 3.0))
        worker.process.send_signal(signal.SIGCONT)
        done.zombies += 1
        await until(lambda: worker.process.poll() is not None, f"{worker.name} ended after it lost its place")
        if worker.process.poll() != LOST_PLACE_STATUS:
            raise RuntimeError(f"{worker.name} ended with {worker.process.poll()}:\n{worker.last_lines()}")
    else:
        worker.process.kill()
        done.kills.append((place[0], time.time() * 1_000))
    worker.process.wait()
    desk.children.forget(worker)
    worker.log.rename(worker.log.with_suffix(f".{worker.process.pid}.log"))
    workers[place] = await desk.ready(desk.start_special(*place, without))


async def undisturbed(market: Market) -> Result:
    result, _ = await run(market, 0, 0, 4_000.0)
    return result


async def run_scaling(market: Market, rate: float) -> Result:
    """One run in which both groups grow from one worker to four and shrink to one, while data flows."""
    desk = Desk(Path(tempfile.mkdtemp(prefix="flowgate-chaos-")))
    try:
        await desk.start_broker()
        await desk.start_workers(GROUPS)
        sending = asyncio.create_task(send(desk.bootstrap, market, rate))
        more: list[Child] = []
        for instance in (1, 2, 3):
            fresh = [desk.start_worker(group, instance) for group in GROUPS]
            more += [await desk.ready(worker) for worker in fresh]
        for worker in more:
            await asyncio.to_thread(desk.end, worker)
        assert not sending.done(), "the data ended before the workers did"
        await sending
        return await collect(desk)
    finally:
        desk.stop()


async def run_stock(market: Market, kills: int, seed: int, rate: float) -> int:
    """What a stock Faust worker has counted after it was killed so often: the market has `len(market)` records."""
    desk = Desk(Path(tempfile.mkdtemp(prefix="flowgate-chaos-")))
    rng = random.Random(seed)
    command = [sys.executable, "-m", "tests.chaos.stock", "worker", "--without-web", "--loglevel", "info"]
    try:
        await desk.start_broker()
        worker = await desk.ready(desk.children.start("worker-stock", command, desk.env, cwd=ROOT))
        sending = asyncio.create_task(send(desk.bootstrap, market, rate))
        for number in range(kills):
            await asyncio.sleep(rng.uniform(1.0, 2.0))
            worker.process.kill()
            worker.process.wait()
            desk.children.forget(worker)
            name = f"worker-stock-{number + 1}"
            worker = await desk.ready(desk.children.start(name, command, desk.env, cwd=ROOT))
        await sending
        while await lag(desk, STOCK, MARKET_RAW.name):
            desk.children.check()
            await asyncio.sleep(0.2)
        changelog = await read(desk.bootstrap, f"{STOCK}-counts-changelog")
        return sum({record.key: int(record.value) for record in changelog}.values())
    finally:
        desk.stop()


def campaign(market: Market, kills: int, seed: int, transport: str) -> int:
    """Rounds of a few disturbances until there were `kills`; 0 when all rounds equal the undisturbed run."""
    calm = asyncio.run(undisturbed(market))
    back: list[float] = []
    total, failed, number = Disturbances(), 0, 0
    while len(total.kills) < kills:
        result, done = asyncio.run(run(market, BATCH, seed * 1_000 + number, RATE, transport))
        lines = differences(calm, result)
        seconds = [found for kill in done.kills if (found := result.back_s(*kill)) is not None]
        back += seconds
        total.kills += done.kills
        total.freezes, total.zombies = total.freezes + done.freezes, total.zombies + done.zombies
        failed, number = failed + bool(lines), number + 1
        what = f"{len(done.kills)} kills, {done.freezes} freezes, {done.zombies} zombies"
        tell(f"seed {seed * 1_000 + number - 1}: {what}, {result.repeats} repeats sent, {lines or 'equal'}")
    back.sort()
    tell(
        f"{transport}: {len(total.kills)} kills, {total.freezes} freezes, {total.zombies} zombies, {failed} rounds "
        f"differ; every partition processed again after a kill: p50 {back[len(back) // 2]:.1f} s, "
        f"p95 {back[int(0.95 * (len(back) - 1))]:.1f} s, max {back[-1]:.1f} s ({len(back)} measured)"
    )
    return 1 if failed else 0


def control(market: Market, kills: int, seed: int) -> int:
    """The same kills where they must be seen; 0 when they are."""
    calm = asyncio.run(undisturbed(market))
    result, done = asyncio.run(run(market, kills, seed, RATE, without="positions"))
    lines = differences(calm, result)
    tell(f"rows without positions, {len(done.kills)} kills: {lines or 'equal'}")
    counted = asyncio.run(run_stock(market, kills, seed, RATE))
    tell(f"stock Faust, {kills} kills: counted {counted:,} of {len(market):,} records")
    return 0 if lines and counted != len(market) else 1


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--records", type=int, default=12_000)
    parser.add_argument("--transport", choices=TRANSPORTS, default=TRANSPORT)
    parser.add_argument("--control", action="store_true")
    options = parser.parse_args()
    market = recording(options.seed, options.records)
    if options.control:
        return control(market, min(options.kills, BATCH), options.seed)
    return campaign(market, options.kills, options.seed, options.transport)


if __name__ == "__main__":
    sys.exit(main())
