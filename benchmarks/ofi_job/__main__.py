"""`python -m benchmarks.ofi_job`: run the contestants, compare their outputs, print the table, write the page."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import pstats
import sys
import tempfile
from pathlib import Path
from statistics import median

from app.processes import ChildDiedError
from benchmarks import page
from benchmarks.competitors import CompetitorsUnavailableError
from benchmarks.ofi_job import java, report, stages, workload
from benchmarks.ofi_job.contestants import NAMES, Contestant, field
from benchmarks.ofi_job.race import Race, RaceError, Result
from connectors.kafka.jars import JarsUnavailableError

SEED = 7
INSTRUMENTS = 20
PART = 10
"""Stock Faust gets a tenth of the events."""

PROFILED = 100_000
"""Events of which the pieces of the work are timed."""

EVENTS_MIN = 40_000
"""Less is over before anything can be measured: a tenth of it is one bucket."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ofi_job", description=__doc__)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default=",".join(NAMES), help=f"of {','.join(NAMES)}; the page is not written")
    parser.add_argument("--profile", action="store_true", help="profile the main thread of this project's worker")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := set(chosen).difference(NAMES):
        parser.error(f"--only has {', '.join(sorted(unknown))}; choose from {','.join(NAMES)}")
    if options.events < EVENTS_MIN or options.runs < 1:
        parser.error(f"--events must be at least {EVENTS_MIN} and --runs at least 1")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # retries while a fresh topic gets its leader
    try:
        if options.profile:
            asyncio.run(_profile(options.events))
        else:
            asyncio.run(_compare(chosen, options.events, options.runs))
    except (RaceError, ChildDiedError, JarsUnavailableError, CompetitorsUnavailableError, java.CompileError) as error:
        sys.stderr.write(f"benchmark: {error}\n")
        return 1
    return 0


async def _profile(events: int) -> None:
    with tempfile.TemporaryDirectory(prefix="ofi-job-") as folder:
        race = Race(Path(folder), tell)
        try:
            (shell,) = field(["shell"], Path(folder), tell)
            await race.start(events, events // PART, SEED, INSTRUMENTS)
            target = Path(folder) / "profile"
            result = await race.run(shell, target)
            tell(f"{result.events_per_s:,.0f} events/s under the profiler")
            pstats.Stats(str(target)).sort_stats("tottime").print_stats(25)
        finally:
            race.stop()


async def _compare(chosen: list[str], events: int, runs: int) -> None:
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="ofi-job-") as folder:
        race = Race(Path(folder), tell)
        try:
            contestants = field(chosen, Path(folder), tell)
            tell(f"writing {events:,} events")
            await race.start(events, events // PART, SEED, INSTRUMENTS)
            results: dict[Contestant, list[Result]] = {contestant: [] for contestant in contestants}
            for number in range(runs):
                for contestant in contestants:
                    result = await race.run(contestant)
                    results[contestant].append(result)
                    tell(f"run {number + 1}  {contestant.name:<8} done, {result.outputs:,} outputs as expected")
        finally:
            race.stop()
    where = page.machine(java.version(), load_before)
    table = report.table(results)
    for own in (runs for contestant, runs in results.items() if contestant.name == "shell"):
        spent = stages.measure(workload.make(PROFILED, SEED, INSTRUMENTS))
        table += f"\n\n{stages.table(spent, median(run.cpu_us for run in own))}"
    tell(f"\n{where}\n\n{table}")
    if set(chosen) == set(NAMES):
        outputs = max(run.outputs for own in results.values() for run in own)
        words = report.words(events, events // PART, INSTRUMENTS, outputs, runs, SEED)
        page.write("The OFI job", f"{where}\n\n{table}\n\n{words}")


def tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
