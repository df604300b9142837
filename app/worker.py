"""The Faust application of one agent group: its agents, its tables, and for execution the broker session."""

from __future__ import annotations

import functools
import gc
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import faust
from yarl import URL

from agents.catalogue import catalogue
from agents.spec import AgentSpec
from app import settings as settings_module
from app import workers
from app.broker import own_the_broker, publisher, watch_the_broker
from app.build import build as build_hash
from app.build import say
from app.membership import Membership, claim
from app.recovery import Tables
from app.runtime import AgentShell, TableRows
from app.security import touched
from app.settings import Settings, SettingsError, agent_group
from app.stores import Table
from app.topics import until_there
from app.transport import WHOLE_BYTES_MAX, FlowControl, SingleTransport, Transport
from connectors.kafka.access import MECHANISM, Access
from contracts.topics import COMPRESSION, DEAD_LETTER_BYTES_MAX

log = logging.getLogger(__name__)

COMMIT_INTERVAL_S = 1.0
"""Offsets are committed this often: a crash repeats at most a second of input, and rows skip what they have."""

HEARTBEATS_PER_SESSION = 10
"""So many may be lost or late before a place is: one a second at a session of 10 s."""

GOODBYE_S = 8.0
"""An orderly end takes a second or two: the last batch, the offsets, leaving the group."""

GARBAGE_OBJECTS = 100_000
"""New objects after which the collector looks for circles among them: some 10 MB."""

CHANGELOG = {
    "segment.bytes": str(16 * 2**20),
    "min.cleanable.dirty.ratio": "0.1",
    "max.message.bytes": str(WHOLE_BYTES_MAX),
}
"""Kafka compacts closed segments only, and a segment is 1 GB unless told otherwise: a start would read all of it."""

WITH_STANDBY = ("portfolio", "risk", "gates")
"""Groups of one partition whose second worker keeps a copy of the tables: it takes over when the first is gone."""


class Application(faust.App):  # type: ignore[misc]
    """Faust's application, which works alone under its instance name or not at all."""

    access: Access
    membership: Membership
    topics_there: Callable[[], Awaitable[None]]
    answering: Callable[[], Awaitable[None]]

    async def on_first_start(self) -> None:
        self._claim = claim(self.conf.datadir)
        if self._claim is None:
            sys.stderr.write(
                f"flowgate: another process works in {self.conf.datadir}; end it first, or give this one a name of its "
                "own in FLOWGATE_INSTANCE\n"
            )
            sys.stderr.flush()
            os._exit(2)
        await self.topics_there()
        # A batch is thousands of objects that die together. By default the collector would go through the living after
        # each 700 new ones, which was an eighth of the processor time; what the imports made is never garbage.
        gc.freeze()
        gc.set_threshold(GARBAGE_OBJECTS, 50, 50)
        # Not one of Faust's tasks: those begin when the tables are restored, which is what is asked about.
        self.add_future(self.answering())
        await super().on_first_start()

    async def on_stop(self) -> None:
        # Faust's and aiokafka's own stop wait for a broker that is away, for ever.
        goodbye = threading.Timer(GOODBYE_S, _end_without_goodbye)
        goodbye.daemon = True
        goodbye.start()
        await super().on_stop()


def _end_without_goodbye() -> None:
    sys.stderr.write(
        f"flowgate: Kafka did not take leave within {GOODBYE_S:.0f} s; the worker ends without it, as after a crash: "
        "what was not acknowledged is done again\n"
    )
    sys.stderr.flush()
    os._exit(1)


class Sources(faust.Topic):  # type: ignore[misc]
    """A Faust topic that may stand for several; `faust -A app agents` asks for its one name."""

    def get_topic_name(self) -> str:
        return ", ".join(self.topics)


WORKER_BATCH_BYTES = 262_144
"""Most that one request takes for a partition. Agents do not wait to fill it: it is room for the outputs of a batch."""


@functools.cache
def main_app() -> Application:
    """The application of `AGENT_GROUP`; a wrong setting ends the process with one sentence."""
    try:
        settings = settings_module.load()
        return build(settings, agent_group(settings))
    except SettingsError as error:
        sys.stderr.write(f"flowgate: {error}\n")
        raise SystemExit(2) from None


def build(settings: Settings, group: str) -> Application:
    """The application of one group, with its agents and tables declared."""
    instance = f"{settings.prefix}-{group}-{settings.instance}"
    settings.data.mkdir(parents=True, exist_ok=True)  # Faust makes its own folder there, but no parents
    specs = catalogue(group, settings.desk, settings.configuration_hash, build_hash())
    batched = any(topic.batched for spec in specs for topic in spec.outputs)
    listener = workers.listen(settings.health.host, settings.health.port)
    consuming = Transport if settings.transport == "batched" else SingleTransport
    app = Application(
        f"{settings.prefix}-{group}",
        broker=f"kafka://{settings.kafka.bootstrap}",
        broker_credentials=credentials(settings.kafka.access),
        # A dead letter is larger than the record it holds.
        producer_max_request_size=DEAD_LETTER_BYTES_MAX,
        producer_max_batch_size=WORKER_BATCH_BYTES,
        producer_compression_type=COMPRESSION if batched else None,
        store=f"{settings.store}://",
        datadir=str(settings.data / instance),
        autodiscover=False,
        web_enabled=False,
        canonical_url=URL(f"http://{instance}:6066"),
        consumer_group_instance_id=instance,
        broker_client_id=workers.client_id(instance, listener),
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=COMMIT_INTERVAL_S,
        broker_session_timeout=settings.kafka.session_s,
        broker_heartbeat_interval=settings.kafka.session_s / HEARTBEATS_PER_SESSION,
        broker_max_poll_records=consuming.records_max,
        stream_buffer_maxsize=8,
        topic_replication_factor=settings.kafka.replication,
        table_standby_replicas=1 if group in WITH_STANDBY else 0,
        worker_redirect_stdouts=False,
        Topic=Sources,
        Table=Table,
        TableManager=Tables,
    )
    app.access = settings.kafka.access
    app.membership = Membership(settings.kafka.session_s)
    app.topics_there = functools.partial(until_there, settings.kafka.access, touched(settings.prefix, group, specs))
    app.transport = consuming(app.conf.broker_consumer, app)
    app.producer_transport = Transport(app.conf.broker_producer, app)
    app.flow_control = FlowControl()
    app.answering = functools.partial(
        workers.serve, listener, lambda: app.producer._producer, lambda: app.tables.recovery.restoring
    )
    app.task(functools.partial(say, settings, group, publisher(app)))
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
                extra_topic_configs=CHANGELOG,
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
