"""`python -m app topics`: the declared topics on the broker."""

from __future__ import annotations

import asyncio
import sys

from aiokafka.errors import KafkaError

from app import settings as settings_module
from connectors.kafka.admin import create_missing, differences
from contracts.topics import TOPICS


def main(*, apply: bool) -> int:
    """Create what is missing (`apply`), or print each difference and return 1 if there is one."""
    kafka = settings_module.load().kafka
    try:
        if apply:
            created = asyncio.run(create_missing(kafka.bootstrap, list(TOPICS.values()), kafka.replication))
            sys.stdout.write(f"{len(created)} topics created, {len(TOPICS) - len(created)} were there\n")
            return 0
        lines = asyncio.run(differences(kafka.bootstrap, list(TOPICS.values())))
    except KafkaError:
        sys.stderr.write(
            f"flowgate: no Kafka answers at {kafka.bootstrap}; start it or set FLOWGATE_KAFKA__BOOTSTRAP\n"
        )
        return 2
    sys.stdout.write("".join(f"{line}\n" for line in lines) or "all topics are as declared\n")
    return 1 if lines else 0
