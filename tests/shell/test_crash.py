"""A worker that dies anywhere loses and doubles nothing: the shell on a fake log, killed at every send.

The log keeps what a broker would keep (acknowledged records, the changelog, the committed offset); the worker's memory
is thrown away at the crash. Downstream, a reader that keeps positions as rows do must see each output once, in order.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from agents import ofi, signals
from agents.parameters import Signals
from agents.spec import AgentSpec
from app.runtime import AgentShell, TableRows
from contracts.base import Message
from contracts.market import Heartbeat, Quote
from contracts.topics import BROADCAST, MARKET_EVENTS, OFI_EVENTS, SIGNAL_EVENTS
from tests.shell.fake_log import FakeApp, FakeLog, FakeTable, Killed, Raw, seen_once

SECOND = 1_000_000_000


OFI_SPEC = AgentSpec("ofi", "signals", "", (MARKET_EVENTS,), ofi.make(SECOND), ofi.key, ofi.OFI, OFI_EVENTS)
PARAMETERS = Signals(half_life_buckets=3, ic_prior=0.02, ic_prior_buckets=10)
SIGNAL_SPEC = AgentSpec(
    "signals", "signals", "", (OFI_EVENTS,), signals.make(PARAMETERS), signals.key, signals.SIGNALS, SIGNAL_EVENTS
)


def market(seed: int, events: int) -> list[tuple[str, Message]]:
    """Quotes of two instruments with a heartbeat each second."""
    rng = random.Random(seed)
    out: list[tuple[str, Message]] = []
    now, beat = 100 * SECOND, 101
    for seq in range(events):
        now += rng.randrange(SECOND // 5)
        while now >= beat * SECOND:
            out.append((BROADCAST, Heartbeat(partition=0, ts_event_ns=beat * SECOND, ts_ingest_ns=beat * SECOND)))
            beat += 1
        bid = 10_000 + rng.randrange(-5, 5)
        quote = Quote(
            source="synthetic",
            instrument=rng.choice(("SPY", "MSFT")),
            seq=seq,
            ts_event_ns=now,
            ts_ingest_ns=now,
            bid_ticks=bid,
            bid_lots=rng.randrange(1, 900),
            ask_ticks=bid + 1,
            ask_lots=rng.randrange(1, 900),
        )
        out.append((quote.instrument, quote))
    return out


def written(topic: str, messages: Sequence[tuple[str, Message]]) -> list[Raw]:
    return [
        Raw(topic, 0, offset, key.encode(), message.model_dump_json().encode(), ())
        for offset, (key, message) in enumerate(messages)
    ]


async def work(spec: AgentSpec, log: FakeLog, source: Sequence[Raw], batches: Sequence[int], committed: int) -> int:
    """One life of a worker from the committed offset on; returns the offset it would have committed."""
    assert spec.table is not None
    shell = AgentShell(FakeApp(log), spec, TableRows(spec.table, FakeTable(log)), None)
    taken = committed
    for number, size in enumerate(batches):
        batch = source[taken : taken + size]
        try:
            # Rows of several batches are written at once, whatever else goes on, and then these are acknowledged.
            before = taken
            if batch:
                writing = [shell.write_late()] if number % 3 == 2 else []
                await asyncio.gather(shell.process([(source[0].topic, 0, batch)]), *writing)
                committed = before if writing else committed
            else:
                await shell.write_late()
                committed = taken
            taken += len(batch)
        except Killed:
            return committed
        if not batch:
            break
    return committed


def run(spec: AgentSpec, source: Sequence[Raw], seed: int, dies_at: int, kept: bool) -> tuple[FakeLog, bool]:
    """A run with one crash; the worker is started again until it reaches the end. Tells whether it really died."""
    rng = random.Random(seed)
    batches = [rng.randrange(1, 12) for _ in range(len(source))]
    log = FakeLog(dies_at=dies_at, kept=kept)
    committed = asyncio.run(work(spec, log, source, batches, 0))
    died = committed < len(source)
    if died:
        log.dies_at = -1
        # The commit of the last batch may be lost too: offsets are committed once a second.
        committed = max(0, committed - rng.randrange(0, 12))
        committed = asyncio.run(work(spec, log, source, batches, committed))
    assert committed == len(source)
    return log, died


def table(log: FakeLog) -> dict[bytes, bytes]:
    return {raw.key: raw.value for raw in log.topics["changelog"]}


@pytest.mark.parametrize("kept", [False, True], ids=["send lost", "send kept, acknowledgement lost"])
@pytest.mark.parametrize(("spec", "output"), [(OFI_SPEC, OFI_EVENTS), (SIGNAL_SPEC, SIGNAL_EVENTS)])
def test_a_crash_at_any_send_leaves_tables_and_outputs_as_if_undisturbed(
    spec: AgentSpec, output: Any, kept: bool
) -> None:
    seed = 11
    print(f"seed {seed}")  # noqa: T201
    source = written(MARKET_EVENTS.name, market(seed, 120))
    if spec is SIGNAL_SPEC:
        undisturbed, _ = run(OFI_SPEC, source, seed, -1, kept)
        source = undisturbed.topics[OFI_EVENTS.name]
    calm, _ = run(spec, source, seed, -1, kept)
    assert seen_once(calm.topics[output.name]) == [(raw.key, raw.value) for raw in calm.topics[output.name]]
    deaths = 0
    for dies_at in range(1, calm.sends + 1):
        log, died = run(spec, source, seed, dies_at, kept)
        deaths += died
        assert table(log) == table(calm), f"table differs after a crash at send {dies_at}"
        assert seen_once(log.topics[output.name]) == seen_once(calm.topics[output.name]), f"crash at send {dies_at}"
    assert deaths == calm.sends


def test_without_positions_a_crash_would_double_outputs() -> None:
    """The control: the raw topic does hold repeats after a crash, so the check above can fail."""
    source = written(MARKET_EVENTS.name, market(11, 120))
    calm, _ = run(OFI_SPEC, source, 11, -1, kept=True)
    doubled = 0
    for dies_at in range(1, calm.sends + 1):
        log, _ = run(OFI_SPEC, source, 11, dies_at, kept=True)
        doubled += len(log.topics[OFI_EVENTS.name]) > len(calm.topics[OFI_EVENTS.name])
    assert doubled > 0
