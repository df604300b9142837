"""`python -m app doctor`: one look at Kafka, the desk's groups and its dead letters, for a person."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace

from aiokafka.errors import KafkaError

from app import settings as settings_module
from app.deadletters import collect, counted
from app.health import Health, examine
from app.settings import Settings
from app.topics import unreachable


def main() -> int:
    """Print what there is; 1 when something is not well."""
    health = asyncio.run(_look(settings_module.load()))
    sys.stdout.write("".join(f"{line}\n" for line in health.lines()))
    return 0 if health.well else 1


async def _look(settings: Settings) -> Health:
    access = settings.kafka.access
    health = await examine(access, settings.kafka.replication, settings.prefix)
    if health.problem or any(line.startswith("dlq_") for line in health.topics):
        return health
    try:
        return replace(health, dead_letters=counted(await collect(access)))
    except KafkaError as error:
        return replace(health, problem=await unreachable(access, error))
