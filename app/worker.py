"""The Faust application of one agent group: its agents, its tables, and for execution the broker session."""

from __future__ import annotations

import functools
import logging
import os
import sys
from typing import Any

import faust
from yarl import URL

from agents.catalogue import catalogue
from agents.spec import AgentSpec
from app import settings as settings_module
from app.broker import own_the_broker, watch_the_broker
from app.runtime import AgentShell, TableRows
from app.settings import Settings, SettingsError, agent_group
from app.transport import FlowControl, SingleTransport, Transport
from connectors.kafka.access import MECHANISM, Access
from contracts.topics import COMPRESSION, DEAD_LETTER_BYTES_MAX

log = logging.getLogger(__name__)

COMMIT_INTERVAL_S = 1.0
"""Offsets are committed this often: a crash repeats at most a second of input, and rows skip what they have."""

SESSION_TIMEOUT_S = 30.0
"""Static members come back in 2 to 4 s under the same id; only a worker that stays away this long loses its place."""


class Sources(faust.Topic):  # type: ignore[misc]
    """A Faust topic that may stand for several; `faust -A app agents` asks for its one name."""

    def get_topic_name(self) -> str:
        return ", ".join(self.topics)


WORKER_BATCH_BYTES = 262_144
"""Most that one request takes for a partition. Agents do not wait to fill it: it is room for the outputs of a batch."""


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
    specs = catalogue(group, settings.desk, settings.configuration_hash)
    batched = any(topic.batched for spec in specs for topic in spec.outputs)
    app = faust.App(
        f"{settings.prefix}-{group}",
        broker=f"kafka://{settings.kafka.bootstrap}",
        broker_credentials=credentials(settings.kafka.access),
        # A dead letter is larger than the record it holds.
        producer_max_request_size=DEAD_LETTER_BYTES_MAX,
        producer_max_batch_size=WORKER_BATCH_BYTES,
        producer_compression_type=COMPRESSION if batched else None,
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
    consuming = Transport if settings.transport == "batched" else SingleTransport
    app.transport = consuming(app.conf.broker_consumer, app)
    app.producer_transport = Transport(app.conf.broker_producer, app)
    app.flow_control = FlowControl()
    tables: dict[str, TableRows] = {}
    effects = None
    if group in ("execution", "all"):
        effects = own_the_broker(app, settings)
    if group in ("risk", "all"):
        watch_the_broker(app, settings)
    for spec in specs:
        _declare(app, spec, tables, effects if spec.name in ("execution", "latch") else None)
    if group in ("web", "all"):
        from app.web import serve

        app.task(functools.partial(serve, settings))
    return app


def credentials(access: Access) -> faust.SASLCredentials | None:
    """What Faust shows the broker; None where the broker asks for nothing."""
    if access.security == "PLAINTEXT":
        return None
    context = access.ssl_context() if access.security == "SASL_SSL" else None
    return faust.SASLCredentials(
        username=access.user, password=access.password, mechanism=MECHANISM, ssl_context=context
    )


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
