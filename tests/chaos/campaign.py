"""Kill workers under load and compare with an undisturbed run: `python -m tests.chaos.campaign --kills 50 --seed 1`.

One run sends the same recorded market (fixed stamps) to `market_raw` while workers of the ingest and signals groups are
killed or frozen at seeded moments and started again. When the last heartbeat has come out at the end, the states of all
tables and the outputs a row-keeping reader takes must equal those of the undisturbed run, byte for byte.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from app.decoding import origin
from app.demo import desk_settings
from app.stack import WORKER_READY, Stack
from connectors.market.source import describe, open_source
from contracts.market import Heartbeat
from contracts.topics import BROADCAST, MARKET_RAW, OFI_EVENTS, SIGNAL_EVENTS, market_partition
from tables.rows import Row, any_row

GROUPS = ("ingest", "signals")
TABLES = {"ingest": ("sequences",), "signals": ("ofi", "signals")}
FINISH_S = 120.0


@dataclass
class Result:
    """What one run left behind. `back_s` are the times from a kill to processing again."""

    tables: dict[str, dict[str, Any]]
    outputs: dict[str, list[tuple[bytes, bytes]]]
    repeats: int = 0
    kills: int = 0
    back_s: list[float] = field(default_factory=list)


def recording(seed: int, records: int) -> list[tuple[bytes, bytes, int]]:
    """(key, value, partition) of the first records of the synthetic market and of heartbeats that close its end."""
    market = list(islice(open_source("synthetic", seed=seed), records))
    last = max(record.ts_event_ns for record in market)
    market += [Heartbeat(partition=p, ts_event_ns=last + 10**10, ts_ingest_ns=last + 10**10) for p in range(4)]
    out = []
    for record in market:
        beat = isinstance(record, Heartbeat)
        key = BROADCAST if isinstance(record, Heartbeat) else record.instrument
        partition = record.partition if isinstance(record, Heartbeat) else market_partition(key)
        assert beat or partition >= 0
        out.append((key.encode(), record.model_dump_json().encode(), partition))
    return out


async def run(
    market: Sequence[tuple[bytes, bytes, int]], kills: int, seed: int, rate: float, transport: str = "batched"
) -> Result:
    """One run with `kills` kills at seeded moments, the market sent at `rate` records a second."""
    folder = Path(tempfile.mkdtemp(prefix="flowgate-chaos-"))
    stack = new_stack(folder, transport)
    rng = random.Random(seed)
    try:
        await stack.start_broker()
        await stack.start_workers(GROUPS)
        sending = asyncio.create_task(send(stack.bootstrap, market, rate))
        back = []
        for _ in range(kills):
            await asyncio.sleep(rng.uniform(0.2, 2.0))
            back.append(await kill_one(stack, rng))
        await sending
        return await collect(stack, market, back)
    finally:
        stack.stop()


def new_stack(folder: Path, transport: str = "batched") -> Stack:
    """A desk whose parts start silently."""
    desk = {**desk_settings(describe("synthetic")), "FLOWGATE_TRANSPORT": transport}
    return Stack(folder, lambda _line: None, desk)


async def run_scaling(market: Sequence[tuple[bytes, bytes, int]], rate: float) -> Result:
    """One run in which the signals group grows from one worker to four and shrinks to one, while data flows."""
    stack = new_stack(Path(tempfile.mkdtemp(prefix="flowgate-chaos-")))
    try:
        await stack.start_broker()
        await stack.start_workers(GROUPS)
        sending = asyncio.create_task(send(stack.bootstrap, market, rate))
        more = []
        for instance in (1, 2, 3):
            more.append(stack.start_worker("signals", instance))
            await stack.until_logged(more[-1], WORKER_READY)
        for worker in more:
            await asyncio.to_thread(stack.children.stop, worker)
            stack.children.forget(worker)
        await sending
        return await collect(stack, market, [])
    finally:
        stack.stop()


async def kill_one(stack: Stack, rng: random.Random) -> float:
    """Kill or freeze one worker; a frozen one comes to itself again beside nobody: its successor waits for its end."""
    group = rng.choice(GROUPS)
    worker = stack.workers[group]
    began = time.monotonic()
    if rng.random() < 0.2:
        worker.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(rng.uniform(0.5, 3.0))
        worker.process.send_signal(signal.SIGCONT)
        return 0.0
    worker.process.kill()
    worker.process.wait()
    stack.children.forget(worker)
    worker.log.rename(worker.log.with_suffix(f".{worker.process.pid}.log"))
    await stack.until_logged(stack.start_worker(group), WORKER_READY)
    return time.monotonic() - began


async def send(bootstrap: str, market: Sequence[tuple[bytes, bytes, int]], rate: float) -> None:
    """Send the recording at an even pace."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    await producer.start()
    try:
        began = time.monotonic()
        for number, (key, value, partition) in enumerate(market):
            await producer.send(MARKET_RAW.name, value, key=key, partition=partition)
            if number % 50 == 0:
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        await producer.flush()
    finally:
        await producer.stop()


async def collect(stack: Stack, market: Sequence[tuple[bytes, bytes, int]], back: list[float]) -> Result:
    """Wait for the last heartbeats to come out at the end, let the workers commit, read tables and outputs."""
    last = [value for key, value, _ in market if key == BROADCAST.encode()][-4:]
    deadline = time.monotonic() + FINISH_S
    while True:
        records = await read(stack.bootstrap, SIGNAL_EVENTS.name)
        if set(last) <= {record.value for record in records}:
            break
        stack.children.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"the last heartbeats did not come out within {FINISH_S:.0f} s")
        await asyncio.sleep(0.2)
    for group in GROUPS:
        stack.children.stop(stack.workers[group])
        stack.children.forget(stack.workers[group])
    outputs, repeats = {}, 0
    for topic in (OFI_EVENTS.name, SIGNAL_EVENTS.name):
        records = await read(stack.bootstrap, topic)
        outputs[topic] = taken_once(records)
        repeats += len(records) - len(outputs[topic])
    tables = {}
    for group, names in TABLES.items():
        for name in names:
            changelog = await read(stack.bootstrap, f"flowgate-{group}-{name}-changelog")
            tables[name] = {record.key.decode(): any_row(record.value)["state"] for record in changelog}
    return Result(tables, outputs, repeats, len(back), [seconds for seconds in back if seconds])


def taken_once(records: Sequence[Any]) -> list[tuple[bytes, bytes]]:
    """Messages that are no repeats, by stream and key: the order in which streams meet in one partition is free."""
    readers: dict[tuple[bytes, str], Row[None]] = {}
    taken: list[tuple[str, bytes, bytes]] = []
    for record in records:
        stream, position = origin(record)
        row = readers.setdefault((record.key, stream), Row(0, {}))
        if not row.is_repeat(stream, position):
            row.seen[stream] = position
            taken.append((stream, record.key, record.value))
    return [(key, value) for _, key, value in sorted(taken, key=lambda item: item[:2])]


async def read(bootstrap: str, topic: str) -> list[Any]:
    """All records of a topic."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        await consumer.seek_to_beginning()
        records: list[Any] = []
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                records += batch
        return sorted(records, key=lambda record: (record.partition, record.offset))
    finally:
        await consumer.stop()


def differences(calm: Result, disturbed: Result) -> list[str]:
    """What differs, one line each."""
    lines = [f"table {name}" for name in calm.tables if calm.tables[name] != disturbed.tables[name]]
    for topic, records in calm.outputs.items():
        other = disturbed.outputs[topic]
        if records != other:
            lines.append(f"{topic}: {len(records)} outputs undisturbed, {len(other)} here")
    return lines


def main() -> int:
    """Run the campaign in rounds of a few kills and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--records", type=int, default=12_000)
    options = parser.parse_args()
    market = recording(options.seed, options.records)
    calm = asyncio.run(run(market, 0, options.seed, 1_000.0))
    back: list[float] = []
    done, failed, round_ = 0, 0, 0
    while done < options.kills:
        seed = options.seed * 1_000 + round_
        result = asyncio.run(run(market, min(5, options.kills - done), seed, 600.0))
        lines = differences(calm, result)
        done, back, failed, round_ = done + result.kills, back + result.back_s, failed + bool(lines), round_ + 1
        sys.stdout.write(f"seed {seed}: {result.kills} kills, {result.repeats} repeats sent, {lines or 'equal'}\n")
    back.sort()
    sys.stdout.write(
        f"{done} kills and freezes, {failed} rounds differ; back after a kill: "
        f"p50 {back[len(back) // 2]:.1f} s, p95 {back[int(0.95 * (len(back) - 1))]:.1f} s, max {back[-1]:.1f} s\n"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
