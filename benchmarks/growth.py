"""`python -m benchmarks.growth`: the OFI job at 10 to 10,000 instruments, with tables in memory and in RocksDB.

Each size has the same number of events and of outputs, so that only the number of rows grows. After its run the worker
is killed and started again: what its changelog has grown to is what it has to read.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.processes import Child, ChildDiedError
from app.stack import WORKER_READY
from benchmarks import page
from benchmarks.ofi_job import java, workload
from benchmarks.ofi_job.contestants import shell
from benchmarks.ofi_job.job import BUCKET_NS, Place
from benchmarks.ofi_job.race import ROOT, Race, RaceError, check, peak_rss_mib, rate
from contracts.topics import MARKET_EVENTS, OFI_EVENTS, market_partition

SEED = 7
SIZES = (10, 100, 1_000, 10_000)
STORES = ("memory", "rocksdb")
EVENTS_PER_OUTPUT = 10
BUCKETS_MIN = 8
"""All outputs of a bucket come at its end: with fewer buckets a share of them is not that share of the events."""

READY_S = 120.0
RESTORED = re.compile(r"tables restored: ([\d,]+) changelog records in ([\d.]+) s")
COMMAND = [sys.executable, "-m", "benchmarks.ofi_job.shell", "worker", "--without-web", "--loglevel", "info"]


@dataclass(frozen=True)
class Size:
    """One run: rates in events/s, CPU in microseconds per event, what a start after a kill read and took."""

    instruments: int
    store: str
    events_per_s: float
    cpu_us: float
    rss_mib: float
    restored: int
    restored_s: float
    ready_s: float
    ready_rss_mib: float


def make(events: int, seed: int, instruments: int) -> list[workload.Message]:
    """Quotes of all instruments in turn, so many of each in a bucket, and one of each that closes the last bucket."""
    rng = np.random.default_rng(seed)
    universe = workload.names(instruments)
    gap_ns = BUCKET_NS // (EVENTS_PER_OUTPUT * instruments)
    columns = (rng.integers(low, high, events).tolist() for low, high in ((1, 4), (0, 900), (0, 900)))
    messages = []
    for seq, (spread, bid_lots, ask_lots) in enumerate(zip(*columns, strict=True)):
        messages.append(_quote(universe[seq % instruments], seq, seq * gap_ns, spread, bid_lots, ask_lots))
    end_ns = events * gap_ns + BUCKET_NS
    return messages + [_quote(name, events + number, end_ns, 1, 1, 1) for number, name in enumerate(universe)]


def _quote(name: str, seq: int, since_ns: int, spread: int, bid_lots: int, ask_lots: int) -> workload.Message:
    ts = workload.START_NS + 1 + since_ns
    quote = {
        "type": "quote",
        "schema_version": 1,
        "source": "synthetic",
        "instrument": name,
        "seq": seq,
        "ts_event_ns": ts,
        "ts_ingest_ns": ts + 1_000,
        "bid_ticks": 10_000,
        "bid_lots": bid_lots,
        "ask_ticks": 10_000 + spread,
        "ask_lots": ask_lots,
    }
    return workload.Message(market_partition(name), name.encode(), json.dumps(quote, separators=(",", ":")).encode())


class Growth(Race):
    """The race's broker; each size brings its own input."""

    async def load(self, events: int, instruments: int) -> list[str]:
        """Put the input of one size in place of the last; returns the outputs it must give."""
        messages = make(events, SEED, instruments)
        await self._delete([MARKET_EVENTS.name])
        await self._create([MARKET_EVENTS.name])
        await workload.load(self.bootstrap, MARKET_EVENTS.name, messages)
        return workload.expected(messages)

    async def measure(self, events: int, instruments: int, store: str, expected: Sequence[str]) -> Size:
        """One run and one start after a kill; RaceError if the outputs are not the expected ones."""
        name = f"{store}-{instruments}"
        await self._fresh_output()
        folder = self.folder / name
        folder.mkdir()
        place = Place(self.bootstrap, MARKET_EVENTS.name, OFI_EVENTS.name, f"job-{name}", str(folder))
        environment = {"PYTHONPATH": str(ROOT), **place.environment, **shell().environment(place, 0)}
        environment["FLOWGATE_STORE"] = store
        worker = self.children.start(name, COMMAND, environment, cwd=ROOT)
        try:
            cpu_s = await self._until_written([worker], len(expected))
            rss_mib = peak_rss_mib(worker.process.pid)
        finally:
            worker.process.kill()
            worker.process.wait()
            self.children.forget(worker)
        outputs = await self._outputs()
        # Where the kill came before the last commit, the next start repeats outputs: these are from before it.
        check(name, [value for _, value in outputs], expected)
        began = time.monotonic()
        again = self.children.start(f"{name}-again", COMMAND, environment, cwd=ROOT)
        try:
            await self._until_ready(again)
            ready_s = time.monotonic() - began
            ready_rss_mib = peak_rss_mib(again.process.pid)
            found = RESTORED.search(again.log.read_text())
        finally:
            self.children.stop(again)
            self.children.forget(again)
        await self._delete([topic for topic in await self._topics() if place.group in topic])
        return Size(
            instruments,
            store,
            rate(events, [stamp for stamp, _ in outputs]),
            1e6 * cpu_s / events,
            rss_mib,
            int(found[1].replace(",", "")) if found else 0,
            float(found[2]) if found else 0.0,
            ready_s,
            ready_rss_mib,
        )

    async def _until_ready(self, worker: Child) -> None:
        deadline = time.monotonic() + READY_S
        while not WORKER_READY.search(worker.log.read_text()):
            self.children.check()
            if time.monotonic() > deadline:
                raise RaceError(f"{worker.name} was not ready after {READY_S:.0f} s:\n{worker.last_lines()}")
            await asyncio.sleep(0.02)


def table(sizes: Sequence[Size]) -> str:
    """One line per run."""
    lines = [
        "| instruments | store | events/s | CPU, us per event | peak RSS, MiB | changelog records to read after a kill "
        "| read in, s | start to ready, s | RSS when ready, MiB |\n|--:|---|--:|--:|--:|--:|--:|--:|--:|"
    ]
    lines += [
        f"| {size.instruments:,} | {size.store} | {size.events_per_s:,.0f} | {size.cpu_us:.1f} "
        f"| {size.rss_mib:,.0f} | {size.restored:,} | {size.restored_s:.1f} | {size.ready_s:.1f} "
        f"| {size.ready_rss_mib:,.0f} |"
        for size in sizes
    ]
    return "\n".join(lines)


def words(events: int) -> str:
    return f"""\
The OFI job with {events:,} events and {events // EVENTS_PER_OUTPUT:,} outputs at every size (seed {SEED}): the
instruments take turns, {EVENTS_PER_OUTPUT} quotes of each in a bucket. All outputs are compared with the pure step's,
and timed as in the OFI job. With more instruments fewer events share a row that is written for them, and the outputs
of a bucket come all at once: that, and not the number of rows, is what 10,000 instruments cost. Then the worker is
killed and started again: in memory it reads the changelog from its beginning, RocksDB knows how far it was."""


async def run(events: int, sizes: Sequence[int]) -> list[Size]:
    with tempfile.TemporaryDirectory(prefix="growth-") as folder:
        growth = Growth(Path(folder), tell)
        try:
            await growth.start(1_000, 1_000, SEED, workload.INSTRUMENTS)
            found = []
            for instruments in sizes:
                expected = await growth.load(events, instruments)
                for store in STORES:
                    found.append(await growth.measure(events, instruments, store, expected))
                    tell(table(found[-1:]).splitlines()[-1])
            return found
        finally:
            growth.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--events", type=int, default=800_000)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="the page is written for all of them only")
    options = parser.parse_args()
    sizes = tuple(int(size) for size in options.sizes.split(","))
    bucket = EVENTS_PER_OUTPUT * max(sizes)
    if options.events % bucket or options.events < BUCKETS_MIN * bucket:
        parser.error(f"--events must be a multiple of {bucket:,}, at least {BUCKETS_MIN} times it: whole buckets")
    load_before = os.getloadavg()[0]
    try:
        found = asyncio.run(run(options.events, sizes))
    except (RaceError, ChildDiedError) as error:
        sys.stderr.write(f"benchmark: {error}\n")
        return 1
    body = f"{page.machine(java.version(), load_before)}\n\n{table(found)}\n\n{words(options.events)}"
    tell(f"\n{body}")
    if sizes == SIZES:
        page.write("Growth", body)
    return 0


def tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
