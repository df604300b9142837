"""The floor: an aiokafka loop that does the job by hand, a fetch at a time, and nothing else."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from agents.spec import Record
from benchmarks.ofi_job.job import STATE, STEP, Place, decode

COMMIT_INTERVAL_S = 1.0


async def run(place: Place) -> None:
    """Until SIGTERM: outputs first, then each changed row once, then the offsets once a second."""
    changelog = f"{place.group}-changelog"
    consumer = AIOKafkaConsumer(
        place.source,
        bootstrap_servers=place.bootstrap,
        group_id=place.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(bootstrap_servers=place.bootstrap, acks="all", enable_idempotence=True)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    rows: dict[str, Any] = {}
    await producer.start()
    await consumer.start()
    committed = time.monotonic()
    try:
        while not stopping.is_set():
            for tp, batch in (await consumer.getmany(timeout_ms=200, max_records=16_000)).items():
                changed, pending = set(), []
                for raw in batch:
                    quote = decode(raw.value)
                    if quote is None:
                        continue
                    name = quote.instrument
                    rows[name], outputs = STEP(rows.get(name), Record(quote, tp.topic, tp.partition, 0, b""))
                    changed.add(name)
                    for out in outputs:
                        value = out.message.model_dump_json().encode()
                        pending.append(await producer.send(place.target, value, name.encode(), tp.partition))
                await asyncio.gather(*pending)
                pending = [
                    await producer.send(changelog, STATE.dump_json(rows[name]), name.encode(), tp.partition)
                    for name in sorted(changed)
                ]
                await asyncio.gather(*pending)
            if time.monotonic() - committed >= COMMIT_INTERVAL_S:
                await consumer.commit()
                committed = time.monotonic()
        await consumer.commit()
    finally:
        await consumer.stop()
        await producer.stop()


if __name__ == "__main__":
    asyncio.run(run(Place.of_environment()))
