"""The Faust application of one agent group: its agents, its tables, and for execution the broker session."""

from __future__ import annotations

import functools
import logging
import os
import sys
import time
from typing import Any

import faust
from yarl import URL

from agents.catalogue import catalogue
from agents.ports import Broker, CancelOrder, PlaceOrder
from agents.spec import AgentSpec
from app import settings as settings_module
from app.runtime import SENT_HEADER, AgentShell, TableRows
from app.settings import Settings, SettingsError, agent_group
from app.transport import Transport
from contracts.base import Message
from contracts.topics import BROKER_EVENTS

log = logging.getLogger(__name__)

COMMIT_INTERVAL_S = 1.0
"""Offsets are committed this often: a crash repeats at most a second of input, and rows skip what they have."""

SESSION_TIMEOUT_S = 30.0
"""Static members come back in 2 to 4 s under the same id; only a worker that stays away this long loses its place."""


class Sources(faust.Topic):  # type: ignore[misc]
    """A Faust topic that may stand for several; `faust -A app agents` asks for its one name."""

    def get_topic_name(self) -> str:
        return ", ".join(self.topics)


@functools.cache
def main_app() -> faust.App:
    """The application of `AGENT_GROUP`; a wrong setting ends the process with one sentence."""
    try:
        settings = settings_module.load()
        return build(settings, agent_group(settings))
    except SettingsError as error:
        sys.stderr.write(f"flowgate: {error}\n")
        raise SystemExit(2) from None


def build(settings: Settings, group: str) -> faust.App:
    """The application of one group, with its agents and tables declared."""
    instance = f"{settings.prefix}-{group}-{settings.instance}"
    settings.data.mkdir(parents=True, exist_ok=True)  # Faust makes its own folder there, but no parents
    app = faust.App(
        f"{settings.prefix}-{group}",
        broker=f"kafka://{settings.kafka.bootstrap}",
        store="memory://",
        datadir=str(settings.data / instance),
        autodiscover=False,
        web_enabled=False,
        canonical_url=URL(f"http://{instance}:6066"),
        consumer_group_instance_id=instance,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=COMMIT_INTERVAL_S,
        broker_session_timeout=SESSION_TIMEOUT_S,
        broker_heartbeat_interval=3.0,
        broker_max_poll_records=4000,
        stream_buffer_maxsize=8,
        topic_replication_factor=settings.kafka.replication,
        table_standby_replicas=0,
        worker_redirect_stdouts=False,
        Topic=Sources,
    )
    app.transport = Transport(app.conf.broker_consumer, app)
    app.producer_transport = Transport(app.conf.broker_producer, app)
    tables: dict[str, TableRows] = {}
    effects = None
    if group in ("execution", "all"):
        effects = _own_the_broker(app, settings)
    for spec in catalogue(group, settings.desk, settings.configuration_hash):
        _declare(app, spec, tables, effects if spec.name == "execution" else None)
    if group in ("web", "all"):
        from app.web import serve

        app.task(functools.partial(serve, settings))
    return app


def _declare(app: faust.App, spec: AgentSpec, tables: dict[str, TableRows], effects: Any) -> None:
    rows = None
    if spec.table is not None:
        if spec.table.name not in tables:
            table = app.Table(
                spec.table.name,
                help=spec.table.help,
                partitions=spec.table.partitions,
                key_type=bytes,
                value_type=bytes,
            )
            tables[spec.table.name] = TableRows(spec.table, table)
        rows = tables[spec.table.name]
    shell = AgentShell(app, spec, rows, effects)
    channel = app.topic(
        *(topic.name for topic in spec.sources),
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
    )

    async def agent(stream: Any) -> None:
        try:
            await shell.run(stream)
        except Exception:
            # A bug stops the agent at once: rows in memory may be ahead of the changelog, so the process goes with it.
            log.critical("agent %s stopped", spec.name, exc_info=True)
            logging.shutdown()
            os._exit(70)

    agent.__doc__, agent.__name__, agent.__qualname__ = spec.help, spec.name, spec.name
    app.agent(channel, name=spec.name)(agent)


def _own_the_broker(app: faust.App, settings: Settings) -> Any:
    """Start the session once the tables are back; returns what carries out the execution agent's effects."""
    from connectors.ibkr.session import IbkrSession

    async def publish(key: str, message: Message) -> None:
        headers = [(SENT_HEADER, str(time.time_ns()).encode())]
        value = message.model_dump_json().encode()
        await (await app.producer.send(BROKER_EVENTS.name, key.encode(), value, 0, None, headers))

    gateway = settings.gateway
    session = IbkrSession(gateway.host, gateway.port, gateway.client_id, publish)

    async def keep_session() -> None:
        await app.tables.wait_until_recovery_completed()
        await session.run()

    app.task(keep_session)

    async def effects(wanted: Any) -> None:
        await carry_out(session, wanted)

    return effects


async def carry_out(broker: Broker, wanted: Any) -> None:
    """Effects of the execution agent, in order."""
    for effect in wanted:
        match effect:
            case PlaceOrder(command):
                await broker.place(command)
            case CancelOrder(order_id, intent_id):
                await broker.cancel(order_id, intent_id)
