"""The workers of the groups: Kafka says who is there and from where, and each worker says how it is.

A worker listens on a port and puts it behind its name in its Kafka client id, as `flowgate-ingest-0:9102`. The members
of a consumer group and their hosts are Kafka's to know, so nobody keeps a list of addresses: not the demo with its free
ports, not a cluster that scales a group out. A worker is asked directly, so it also answers while Kafka is away.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import aiohttp
from aiohttp import web
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

ASK_S: Final = 1.0
"""A worker that takes longer to say one number is not well: its loop is stuck, or nobody can reach it."""


@dataclass(frozen=True, order=True)
class Worker:
    """A member of a group, where it answers, and the batches its producer holds; None when it did not say.

    `restoring`: (read, to read) changelog records, while it restores its tables.
    """

    group: str
    instance: str
    host: str
    port: int
    queued: int | None = None
    restoring: tuple[int, int] | None = None


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; on a free port when the one wanted is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return socket.create_server((host, 0), family=family)


def client_id(instance: str, listener: socket.socket) -> str:
    """The Kafka client id of a worker that answers on `listener`."""
    return f"{instance}:{listener.getsockname()[1]}"


async def serve(
    listener: socket.socket,
    producer: Callable[[], AIOKafkaProducer | None],
    restoring: Callable[[], tuple[int, int] | None],
) -> None:
    """Answer `GET /health` until cancelled."""

    async def health(_request: web.Request) -> web.Response:
        holding = producer()
        batches = queued(holding) if holding is not None else 0
        return web.json_response({"producer_queue_batches": batches, "restoring_records": restoring()})

    app = web.Application()
    app.add_routes([web.get("/health", health)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=ASK_S)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def queued(producer: AIOKafkaProducer) -> int:
    """Batches that a producer holds and Kafka has not acknowledged: they stay while the broker is slow or away."""
    accumulator = producer._message_accumulator
    waiting: Iterable[Sequence[Any]] = accumulator._batches.values()
    return sum(map(len, waiting)) + len(accumulator._pending_batches)


async def members(admin: AIOKafkaAdminClient, prefix: str, groups: Iterable[str]) -> list[Worker]:
    """The workers that are in their groups now, not yet asked."""
    found = []
    for group in groups:
        # One at a time: aiokafka 0.14 reads the answer about several groups wrongly.
        for response in await admin.describe_consumer_groups([f"{prefix}-{group}"]):
            for _error, _group, _state, _type, _protocol, joined, *_ in response.groups:
                for _id, client, host, *_ in joined:
                    instance, _, port = client.rpartition(":")
                    if port.isdecimal():
                        found.append(Worker(group, instance, host.lstrip("/"), int(port)))
    return sorted(found)


async def ask(workers: Iterable[Worker]) -> tuple[Worker, ...]:
    """The same workers with what each says of itself."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ASK_S)) as session:
        return tuple(await asyncio.gather(*(_ask(session, worker) for worker in workers)))


async def _ask(session: aiohttp.ClientSession, worker: Worker) -> Worker:
    host = f"[{worker.host}]" if ":" in worker.host else worker.host
    try:
        async with session.get(f"http://{host}:{worker.port}/health") as response:
            said = await response.json()
            read_of = said["restoring_records"]
            restoring = (int(read_of[0]), int(read_of[1])) if read_of is not None else None
            return replace(worker, queued=int(said["producer_queue_batches"]), restoring=restoring)
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError):
        return replace(worker, queued=None, restoring=None)
