"""The input of the job, made once from a seed, and the outputs it must give."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from aiokafka import AIOKafkaProducer

from agents.spec import Record
from benchmarks.ofi_job.job import BUCKET_NS, STEP, decode
from contracts.topics import MARKET_PARTITIONS, market_partition

INSTRUMENTS = 20
EVENTS_PER_BUCKET = 200
"""Events of one instrument in 10 s: 20 updates of the best quote per second, as a liquid share has them."""

START_NS = 1_700_000_000_000_000_000
SILENT_BUCKETS = range(2, 4)
"""The first instrument says nothing in these: its empty buckets are outputs too."""

DEFECTS: Sequence[dict[str, object]] = (
    {"bid_lots": -5},
    {"ask_ticks": 0},
    {"bid_ticks": "10000"},
    {"ask_lots": 1.5},
    {"source": "elsewhere"},
    {"instrument": "lower"},
    {"schema_version": 99},
    {"surprise": 1},
    {"seq": None},
)
"""What is wrong with the records that every contestant must refuse; each would change an output."""


@dataclass(frozen=True)
class Message:
    """One record of the input topic."""

    partition: int
    key: bytes
    value: bytes


def names(count: int = INSTRUMENTS) -> list[str]:
    """Instruments, as many in each partition."""
    chosen: list[list[str]] = [[] for _ in range(MARKET_PARTITIONS)]
    number = 0
    while sum(map(len, chosen)) < count:
        name = f"SYN{number:05d}"
        home = chosen[market_partition(name)]
        if len(home) < -(-count // MARKET_PARTITIONS):
            home.append(name)
        number += 1
    return sorted(name for home in chosen for name in home)


def make(events: int, seed: int, instruments: int = INSTRUMENTS) -> list[Message]:
    """`events` quotes with the defects among the first of them, then one quote per instrument that closes its bucket.

    Event time never goes back. A random walk moves the bid by at most a tick, the spread is 1 to 3 ticks.
    """
    rng = np.random.default_rng(seed)
    universe = names(instruments)
    gap_ns = BUCKET_NS // (EVENTS_PER_BUCKET * INSTRUMENTS)
    times = START_NS + 1 + np.cumsum(rng.integers(1, 2 * gap_ns, events))
    since = (times - START_NS) % BUCKET_NS
    times -= np.where(since < gap_ns, since, 0)  # so that each bucket ends with an event on its very boundary
    buckets = (times - START_NS) // BUCKET_NS
    who = rng.integers(0, instruments, events)
    silent = (who == 0) & (buckets >= SILENT_BUCKETS.start) & (buckets < SILENT_BUCKETS.stop)
    who[silent] = rng.integers(1, instruments, int(silent.sum()))
    moves = rng.integers(-1, 2, events)
    spreads, bid_lots, ask_lots = (rng.integers(low, high, events) for low, high in ((1, 4), (0, 900), (0, 900)))
    bids = [10_000 + 10 * number for number in range(instruments)]
    messages: list[Message] = []
    last_ns = int(times[-1])
    columns = (times.tolist(), who.tolist(), moves.tolist(), spreads.tolist(), bid_lots.tolist(), ask_lots.tolist())
    for seq, (ts, number, move, spread, bid_size, ask_size) in enumerate(zip(*columns, strict=True)):
        bid = bids[number] = max(100, bids[number] + move)
        quote = _quote(universe[number], seq, ts, bid, bid_size, bid + spread, ask_size)
        messages.append(_message(universe[number], quote))
        if seq % 50 == 49 and seq // 50 < len(DEFECTS):
            messages.append(_message(universe[number], {**quote, "bid_lots": 777, **DEFECTS[seq // 50]}))
    messages.insert(len(DEFECTS), Message(0, b"nothing", b'{"type":"quote",'))
    for number, name in enumerate(universe):
        quote = _quote(name, events + number, last_ns + BUCKET_NS, bids[number], 1, bids[number] + 1, 1)
        messages.append(_message(name, quote))
    return messages


def _quote(instrument: str, seq: int, ts: int, bid: int, bid_lots: int, ask: int, ask_lots: int) -> dict[str, object]:
    return {
        "type": "quote",
        "schema_version": 1,
        "source": "synthetic",
        "instrument": instrument,
        "seq": seq,
        "ts_event_ns": ts,
        "ts_ingest_ns": ts + 1_000,
        "bid_ticks": bid,
        "bid_lots": bid_lots,
        "ask_ticks": ask,
        "ask_lots": ask_lots,
    }


def _message(instrument: str, quote: dict[str, object]) -> Message:
    value = json.dumps(quote, separators=(",", ":")).encode()
    return Message(market_partition(instrument), instrument.encode(), value)


def expected(messages: Sequence[Message]) -> list[str]:
    """The outputs of the job in canonical form, by the step alone, without a broker."""
    rows: dict[str, object] = {}
    outputs = []
    for offset, message in enumerate(messages):
        quote = decode(message.value)
        if quote is None:
            continue
        record = Record(quote, "", message.partition, offset, message.value)
        rows[quote.instrument], results = STEP(rows.get(quote.instrument), record)
        outputs += [canonical(out.message.model_dump_json().encode()) for out in results]
    return sorted(outputs)


def canonical(value: bytes) -> str:
    """An output without the accidents of its JSON: order of fields, 1.0 or 1.00."""
    return json.dumps(json.loads(value), sort_keys=True)


def refused(messages: Sequence[Message]) -> int:
    """How many records are not valid quotes."""
    return sum(decode(message.value) is None for message in messages)


async def load(bootstrap: str, topic: str, messages: Sequence[Message]) -> None:
    """Write the messages, in order, in batches of Kafka's default size."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks=1)
    await producer.start()
    try:
        for partition in range(MARKET_PARTITIONS):
            batch = producer.create_batch()
            for message in messages:
                if message.partition != partition:
                    continue
                if batch.append(key=message.key, value=message.value, timestamp=None) is None:
                    await producer.send_batch(batch, topic, partition=partition)
                    batch = producer.create_batch()
                    batch.append(key=message.key, value=message.value, timestamp=None)
            await producer.send_batch(batch, topic, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()
