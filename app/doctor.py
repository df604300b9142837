"""`python -m app doctor`: one look at Kafka and the desk's groups, for a person."""

from __future__ import annotations

import asyncio
import sys

from agents.catalogue import catalogue
from app import settings as settings_module
from app.health import examine


def main() -> int:
    """Print what there is; 1 when something is not well."""
    settings = settings_module.load()
    specs = catalogue("all", settings.desk, settings.configuration_hash)
    health = asyncio.run(examine(settings.kafka.access, settings.kafka.replication, settings.prefix, specs))
    sys.stdout.write("".join(f"{line}\n" for line in health.lines()))
    return 0 if health.well else 1
