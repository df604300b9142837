"""`python -m app topics`: the declared topics on the broker."""

from __future__ import annotations

import asyncio
import sys

from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from app import settings as settings_module
from connectors.kafka.admin import create_missing, differences
from contracts.topics import MESSAGE_BYTES_MAX, TOPICS


def main(action: str) -> int:
    """`apply` creates what is missing; `check` and `diff` print each difference, and check returns 1 if there is one.

    Nothing is ever deleted or altered: a topic that differs is a person's decision.
    """
    kafka = settings_module.load().kafka
    topics = list(TOPICS.values())
    try:
        if action == "apply":
            created = asyncio.run(create_missing(kafka.access, topics, kafka.replication))
            sys.stdout.write(f"{len(created)} topics created, {len(topics) - len(created)} were there\n")
        lines = asyncio.run(differences(kafka.access, topics, kafka.replication))
    except KafkaError as error:
        sys.stderr.write(f"flowgate: {unreachable(kafka.bootstrap, error)}\n")
        return 2
    sys.stdout.write("".join(f"{line}\n" for line in lines) or "all topics are as declared\n")
    return 1 if lines and action != "diff" else 0


def unreachable(bootstrap: str, error: Exception) -> str:
    """One sentence for a broker that does not answer, or does not let us in."""
    if "uthenti" in type(error).__name__ or "uthenti" in str(error):
        return f"Kafka at {bootstrap} refuses the user; check FLOWGATE_KAFKA__USER and FLOWGATE_KAFKA__PASSWORD"
    if "uthoriz" in type(error).__name__:
        return f"Kafka at {bootstrap} does not let this user do that ({error}); use the administrator's"
    if isinstance(error, MessageSizeTooLargeError):
        return f"the message is larger than the {MESSAGE_BYTES_MAX:,} bytes a topic takes; make it smaller"
    return f"no Kafka answers at {bootstrap}; start it or set FLOWGATE_KAFKA__BOOTSTRAP"
