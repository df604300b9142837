"""Bare aiokafka hops: read a record, write it to the next topic, await the acknowledgement, nothing else.

    python -m benchmarks.latency.bare BOOTSTRAP all|heartbeats FROM TO [all|heartbeats FROM TO]...

`heartbeats` passes on heartbeats alone, as the desk's agents behind the first hop publish once per bucket.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from contracts.topics import BROADCAST


async def hop(bootstrap: str, producer: AIOKafkaProducer, passes: str, source: str, target: str) -> None:
    """One hop, forever."""
    consumer = AIOKafkaConsumer(source, bootstrap_servers=bootstrap, group_id=f"{source}-to-{target}")
    await consumer.start()
    print(f"ready {source}", flush=True)
    try:
        while True:
            pending = [
                await producer.send(target, raw.value, raw.key, raw.partition)
                for batch in (await consumer.getmany(timeout_ms=1_000)).values()
                for raw in batch
                if passes == "all" or raw.key == BROADCAST.encode()
            ]
            await asyncio.gather(*pending)
    finally:
        await consumer.stop()


async def main(bootstrap: str, hops: list[str]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=0)
    await producer.start()
    tasks = [asyncio.create_task(hop(bootstrap, producer, *hops[i : i + 3])) for i in range(0, len(hops), 3)]
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    waiter = asyncio.create_task(stopping.wait())
    await asyncio.wait([waiter, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
    await producer.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
