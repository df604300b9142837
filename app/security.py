"""`python -m app security`: one Kafka user for each agent group, with the rights its agents need and no others.

The rights come from the agent catalogue: a group reads the sources of its agents, writes their outputs and the
dead-letter topics it keeps, and owns its changelogs. So a stolen `signals` credential can falsify signals, which
admission's limits bound, and cannot write an intent, a verdict or a command.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from typing import Final

from aiokafka.errors import KafkaError

from agents.catalogue import GROUPS, catalogue
from agents.spec import AgentSpec
from app import settings as settings_module
from app.topics import unreachable
from connectors.kafka.acls import Acl, create
from contracts import topics as t

CONNECTION_OUTPUTS: Final = {
    "execution": (t.BROKER_EVENTS, t.ALERTS),
    "risk": (t.BROKER_EVENTS, t.ALERTS),
    "web": (t.CONTROL,),
}
"""What a group writes beside its agents: the order session, the drop copy, the operator's page."""

FEED, GATEWAY, OPERATOR = "feed", "gateway", "operator"
"""Users that run no agents: the market source, the simulated gateway, a person at the command line."""

READERS: Final = ("web", OPERATOR)
"""They show everything, so they may read every topic; the page also reads changelogs."""


def users(prefix: str) -> list[str]:
    """All users but the administrator, who creates topics and rights and replays dead letters."""
    return [user(prefix, name) for name in (*GROUPS, FEED, GATEWAY, OPERATOR)]


def user(prefix: str, name: str) -> str:
    """The Kafka user of a group."""
    return f"{prefix}-{name}"


def acls(prefix: str, specs: Iterable[AgentSpec]) -> list[Acl]:
    """The rights of all users."""
    granted: set[Acl] = set()
    for spec in specs:
        name = user(prefix, spec.group)
        granted |= {Acl(name, "topic", topic.name, "READ") for topic in spec.sources}
        written = [*spec.outputs, *(source.dead_letters for source in spec.sources if source.keeper == spec.name)]
        written += [t.MERGE_ORDER] if spec.merges else []
        granted |= {Acl(name, "topic", topic.name, "WRITE") for topic in written if topic is not None}
    for group in GROUPS:
        name = user(prefix, group)
        # The application id is also the consumer group, and the beginning of the names of its changelogs.
        granted.add(Acl(name, "group", name, "READ"))
        granted.add(Acl(name, "topic", f"{name}-", "READ", "prefixed"))
        granted.add(Acl(name, "topic", f"{name}-", "WRITE", "prefixed"))
        granted.add(Acl(name, "topic", f"{name}-", "CREATE", "prefixed"))
        said = (t.WORKERS, *CONNECTION_OUTPUTS.get(group, ()))
        granted |= {Acl(name, "topic", topic.name, "WRITE") for topic in said}
    granted |= {Acl(user(prefix, FEED), "topic", t.MARKET_RAW.name, right) for right in ("READ", "WRITE")}
    granted.add(Acl(user(prefix, GATEWAY), "topic", t.MARKET_RAW.name, "READ"))
    granted.add(Acl(user(prefix, OPERATOR), "topic", t.CONTROL.name, "WRITE"))
    for reader in READERS:
        granted.add(Acl(user(prefix, reader), "topic", "*", "READ"))
        granted.add(Acl(user(prefix, reader), "topic", "*", "DESCRIBE_CONFIGS"))
        granted.add(Acl(user(prefix, reader), "group", f"{prefix}-", "DESCRIBE", "prefixed"))
    return sorted(granted)


def touched(prefix: str, group: str, specs: Iterable[AgentSpec]) -> list[str]:
    """Topics that a group reads or writes."""
    named = (acl for acl in acls(prefix, specs) if acl.name in t.TOPICS)
    return sorted({acl.name for acl in named if group == "all" or acl.user == user(prefix, group)})


def rights() -> list[Acl]:
    """The rights of all users of the desk that is set."""
    settings = settings_module.load()
    return acls(settings.prefix, catalogue("all", settings.desk, settings.configuration_hash))


def main(*, apply: bool) -> int:
    """Print the rights, or grant them on the broker; that needs the administrator's user."""
    wanted, kafka = rights(), settings_module.load().kafka
    if not apply:
        sys.stdout.write("".join(f"{acl}\n" for acl in wanted))
        return 0
    try:
        asyncio.run(create(kafka.access, wanted))
    except KafkaError as error:
        sys.stderr.write(f"flowgate: {asyncio.run(unreachable(kafka.access, error))}\n")
        return 2
    sys.stdout.write(f"{len(wanted)} rights granted\n")
    return 0
