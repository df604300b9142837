"""A market at given rates, one after another, with a heartbeat in every partition at each end of a bucket.

    python -m benchmarks.latency.feed BOOTSTRAP TOPIC SECONDS RATE...

Prints one line per phase: rate, begin and end in wall nanoseconds, events sent. Nothing lingers: a record goes out when
it is due, so that the latency is that of the hops.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from decimal import Decimal

from aiokafka import AIOKafkaProducer

from benchmarks.latency.phases import WARM_UP_RATE, WARM_UP_S
from contracts.market import Heartbeat, RawBook
from contracts.topics import BROADCAST, MARKET_PARTITIONS, market_partition

SEED = 7
BUCKET_NS = 250_000_000
INSTRUMENTS = ("AAPL", "MSFT", "QQQ", "SPY")
TICK = Decimal("0.01")
MOVES_PER_S = 40
"""Price changes of all instruments together, at any rate: a jump of volatility would trip the kill switch."""


class Market:
    """Random walks of the best quotes; event time is wall time."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self._random = random.Random(SEED)
        self._bids = dict.fromkeys(INSTRUMENTS, 20_000)
        self._seqs = dict.fromkeys(INSTRUMENTS, 0)
        self._bucket = time.time_ns() // BUCKET_NS

    async def run(self, rate: int, seconds: float) -> tuple[int, int, int]:
        """Begin, end and number of the events of `seconds` at `rate` events a second."""
        begin_ns = time.time_ns()
        sent = 0
        while (now_ns := time.time_ns()) < begin_ns + seconds * 1e9:
            await self._heartbeats(now_ns)
            due = int((now_ns - begin_ns) / 1e9 * rate)
            while sent < due:
                await self._quote(INSTRUMENTS[sent % len(INSTRUMENTS)], rate)
                sent += 1
            await asyncio.sleep(0.001)
        return begin_ns, time.time_ns(), sent

    async def _heartbeats(self, now_ns: int) -> None:
        bucket = now_ns // BUCKET_NS
        if bucket == self._bucket:
            return
        self._bucket = bucket
        for partition in range(MARKET_PARTITIONS):
            beat = Heartbeat(partition=partition, ts_event_ns=bucket * BUCKET_NS, ts_ingest_ns=time.time_ns())
            await self._send(BROADCAST, partition, beat)

    async def _quote(self, name: str, rate: int) -> None:
        draw = self._random
        if draw.random() < MOVES_PER_S / rate:
            self._bids[name] += 1 if draw.random() < 0.5 else -1
        bid = self._bids[name]
        now_ns = time.time_ns()
        self._seqs[name] += 1
        book = RawBook(
            source="synthetic",
            instrument=name,
            seq=self._seqs[name],
            # After a heartbeat nothing of its bucket may follow.
            ts_event_ns=max(now_ns, self._bucket * BUCKET_NS + 1),
            ts_ingest_ns=now_ns,
            bids=((str(bid * TICK), str(draw.randrange(100, 9_000))),),
            asks=((str((bid + 1) * TICK), str(draw.randrange(100, 9_000))),),
        )
        await self._send(name, market_partition(name), book)

    async def _send(self, key: str, partition: int, message: RawBook | Heartbeat) -> None:
        value = message.model_dump_json().encode()
        await self._producer.send(self._topic, value, key.encode(), partition)


async def main(bootstrap: str, topic: str, seconds: float, rates: list[int]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, linger_ms=0)
    await producer.start()
    try:
        market = Market(producer, topic)
        await market.run(WARM_UP_RATE, WARM_UP_S)
        for rate in rates:
            begin_ns, end_ns, sent = await market.run(rate, seconds)
            print(f"phase {rate} {begin_ns} {end_ns} {sent}", flush=True)
    finally:
        await producer.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), [int(rate) for rate in sys.argv[4:]]))
