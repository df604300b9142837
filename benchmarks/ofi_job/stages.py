"""Where the shell's processor time goes: each piece of the work alone, in memory, on the same events."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from agents import ofi
from agents.spec import AgentSpec
from app.decoding import decode
from app.runtime import AgentShell, Folded, TableRows
from benchmarks.ofi_job.job import STEP
from benchmarks.ofi_job.workload import Message
from contracts.topics import MARKET_EVENTS, MARKET_PARTITIONS, OFI_EVENTS

BATCH_RECORDS: Final = 4_000
KAFKA_BATCH_BYTES: Final = 16_384
ROUNDS: Final = 5
SPEC = AgentSpec("ofi", "signals", "", (MARKET_EVENTS,), STEP, ofi.key, ofi.OFI, OFI_EVENTS)


class NoTable:
    """A table that nothing was ever written to."""

    def __init__(self) -> None:
        self.data: Mapping[bytes, bytes] = {}

    def on_recover(self, callback: Any) -> None:
        """There is no recovery."""


def measure(messages: Sequence[Message]) -> dict[str, float]:
    """Microseconds of processor time per event of each piece, the least of some rounds."""
    wire = [packed([message for message in messages if message.partition == p]) for p in range(MARKET_PARTITIONS)]
    records = [parsed(data) for data in wire]
    lots = [
        (partition, own[begin : begin + BATCH_RECORDS])
        for partition, own in enumerate(records)
        for begin in range(0, len(own), BATCH_RECORDS)
    ]
    decoded = [record for partition, lot in lots for record in decode(MARKET_EVENTS, partition, lot)[0]]

    def read_all() -> None:
        for partition, lot in lots:
            decode(MARKET_EVENTS, partition, lot)

    def step_all() -> None:
        states: dict[str, Any] = {}
        for record in decoded:
            name = record.message.instrument
            states[name] = STEP(states.get(name), record)[0]

    def fold_all() -> None:
        assert SPEC.table is not None
        shell = AgentShell(None, SPEC, TableRows(SPEC.table, NoTable()), None)
        for partition, lot in lots:
            shell._fold_batch(MARKET_EVENTS.name, partition, lot, Folded())

    spent = least_us(
        {
            "parsing": lambda: [parsed(data) for data in wire],
            "reading": read_all,
            "step": step_all,
            "folding": fold_all,
        },
        len(messages),
    )
    return {**spent, "folding": max(0.0, spent["folding"] - spent["reading"] - spent["step"])}


def packed(messages: Sequence[Message]) -> bytes:
    """Batches of the broker's with these messages."""
    done, begin, batch = bytearray(), 0, BatchBuilder(KAFKA_BATCH_BYTES, 0)

    def close() -> None:
        # Where in the partition a batch begins is for the broker to say.
        done.extend(begin.to_bytes(8, "big") + bytes(batch._build())[8:])

    for number, message in enumerate(messages):
        if batch.append(timestamp=None, key=message.key, value=message.value) is None:
            close()
            begin, batch = number, BatchBuilder(KAFKA_BATCH_BYTES, 0)
            batch.append(timestamp=None, key=message.key, value=message.value)
    close()
    return bytes(done)


def parsed(data: bytes) -> list[Any]:
    """The records of some batches, their checksums looked at."""
    batches, found = MemoryRecords(data), []
    while batches.has_next():
        batch = batches.next_batch()
        assert batch.validate_crc()
        found += batch
    return found


def least_us(pieces: Mapping[str, Callable[[], object]], events: int) -> dict[str, float]:
    """Processor time of each piece's fastest round, per event; the collector looks on as rarely as in a worker."""
    least = dict.fromkeys(pieces, float("inf"))
    gc.collect()
    gc.disable()
    try:
        for name in [*pieces] * ROUNDS:
            began = time.process_time()
            pieces[name]()
            least[name] = min(least[name], time.process_time() - began)
    finally:
        gc.enable()
    return {name: 1e6 * seconds / events for name, seconds in least.items()}


NAMES: Final = {
    "parsing": "Kafka's batches to records, with their checksums",
    "reading": "JSON to a struct, checked against the contract",
    "step": "the step: the last quote, the open bucket",
    "folding": "around the step: which row, has it seen this, what came of it",
}


def table(spent: Mapping[str, float], cpu_us: float) -> str:
    """The pieces, and what is left of the processor time that a whole worker took."""
    rest = "the rest: Kafka client, Faust, outputs and rows on their way, garbage"
    lines = [(NAMES[name], us) for name, us in spent.items()] + [(rest, cpu_us - sum(spent.values()))]
    return "\n".join(
        ["| where the shell's time goes | us per event | |", "|---|--:|--:|"]
        + [f"| {name} | {us:.2f} | {us / cpu_us:.0%} |" for name, us in lines]
    )
