"""The page of the desk: reads the tables' changelogs, shows them, and lets an operator stop trading."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import replace
from typing import Any, Final

from aiohttp import web
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from agents.catalogue import GROUPS
from agents.gates.stages import STAGES
from app.health import examine
from app.settings import Settings, agent_group
from app.web.reader import Reader
from app.web.site import Site, is_local
from app.web.view import View
from app.workers import listen
from connectors.kafka.access import Access
from contracts.controls import KillCommand, ResetCommand
from contracts.instruments import INSTRUMENTS
from contracts.topics import CONTROL

log = logging.getLogger(__name__)

EXAMINE_S: Final = 5.0
"""Time between two looks at Kafka and the workers; each opens a connection or two."""

SHUTDOWN_S: Final = 1.0
"""Longest wait for open streams at the end; each ends by itself within a tick."""


async def serve(settings: Settings) -> None:
    """Show the desk until cancelled; logs `page http://HOST:PORT/` when it listens."""
    # Under "all" one worker runs every group, and its tables carry that name.
    groups = ["all"] if agent_group(settings) == "all" else list(GROUPS)
    view = View(settings.prefix, groups)
    sender = Sender(settings.kafka.access)
    page = settings.web
    site = Site(view, facts(settings), sender.send, is_local(page.host), page.commands, page.origin)
    if not site.local:
        log.warning("%s", exposure(settings))
    runner = web.AppRunner(site.application(), access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        listener = listen(settings.web.host, settings.web.port)
        await web.SockSite(runner, listener).start()
        log.info("page %s", url(listener))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(Reader(settings.kafka.access, view).run())
            tasks.create_task(keep_looking(site, settings))
    finally:
        await runner.cleanup()
        await sender.stop()


async def keep_looking(site: Site, settings: Settings) -> None:
    """Put the health of Kafka and the workers on the page, until cancelled."""
    kafka = settings.kafka
    while True:
        health = await examine(kafka.access, kafka.replication, settings.prefix, site.health)
        site.health = replace(health, dead_letters=dict(site.view.dead_letters.counts))
        await asyncio.sleep(EXAMINE_S)


def exposure(settings: Settings) -> str:
    """One sentence about a page that others than this machine can reach."""
    place = f"the page listens on {settings.web.host} and has no login"
    if settings.web.commands:
        return f"{place}: whoever reaches it can stop and resume trading; keep a proxy that signs people in before it"
    return f"{place}, so it only shows; set FLOWGATE_WEB__COMMANDS=true behind a proxy that signs people in"


class Sender:
    """Puts commands on the `control` topic. It connects with the first one, so a page without Kafka still shows."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._producer: AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()

    async def send(self, command: KillCommand | ResetCommand) -> int:
        """Offset of the command in the topic; OSError when Kafka does not answer."""
        try:
            async with self._lock:
                if self._producer is None:
                    self._producer = await self._connect()
            key, value = CONTROL.record_key(command).encode(), command.model_dump_json().encode()
            sent = await self._producer.send_and_wait(CONTROL.name, key=key, value=value, partition=0)
        except KafkaError as error:
            raise OSError(str(error)) from error
        return int(sent.offset)

    async def _connect(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(**self._access.options(), enable_idempotence=True)
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def stop(self) -> None:
        if self._producer is not None:
            await self._producer.stop()


def url(listener: socket.socket) -> str:
    """Address of the page on a socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def facts(settings: Settings) -> dict[str, Any]:
    """What the page must know of the desk and no topic says."""
    desk = settings.desk
    return {
        "profile": settings.profile,
        "bucket_ms": desk.market.bucket_ms,
        "bars_per_year": desk.market.bars_per_year,
        "universe": sorted(desk.market.universe),
        "instruments": {
            name: {"tick": str(spec.tick_size), "lot": str(spec.lot_size), "name": spec.long_name}
            for name, spec in INSTRUMENTS.items()
        },
        "stages": [
            {
                "number": stage.number,
                "title": stage.title,
                "required": stage.number in (desk.limits.gates_required or ()),
                "criteria": [criterion.name for criterion in stage.criteria],
            }
            for stage in STAGES
        ],
    }
