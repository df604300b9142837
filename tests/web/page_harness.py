"""A page whose view is filled by hand, and a reader of its stream."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from app.health import Health
from app.web.site import Site
from app.web.view import View
from app.workers import Worker
from contracts.controls import KillCommand, ResetCommand

WORKERS = (
    Worker("ingest", "flowgate-ingest-0", "10.0.0.1", 9102, 0),
    Worker("ingest", "flowgate-ingest-1", "10.0.0.2", 9102, 3, (41_210, 96_004)),
    Worker("risk", "flowgate-risk-0", "10.0.0.3", 9102, None),
)
HEALTH = Health(
    1_767_623_400_000_000_000,
    answer_ms=12.4,
    topics=("alerts: missing",),
    lag={
        ("gates", "gate_evidence", 0): 5,
        ("ingest", "market_raw", 0): 7,
        ("ingest", "market_raw", 1): 12_000,
        ("risk", "control", 0): 0,
    },
    workers=WORKERS,
    dead_letters={("market_raw", "CROSSED_BOOK"): 2},
)
"""One group lags, one worker restores its tables, one does not answer, one group has none, one topic is missing."""

AWAY = Health(1_767_623_405_000_000_000, "no Kafka answers at 10.0.0.9:9092; start it", workers=WORKERS)


Labels = frozenset[tuple[str, str]]


@dataclass
class Page:
    """A running page; `sent` are the commands that it gave to the log, `log_is_down` makes the log refuse them."""

    view: View
    address: str = ""
    sent: list[KillCommand | ResetCommand] = field(default_factory=list)
    log_is_down: bool = False
    site: Site | None = None
    runner: web.AppRunner | None = None

    async def stop(self) -> None:
        assert self.runner is not None
        await self.runner.cleanup()

    async def send(self, command: KillCommand | ResetCommand) -> int:
        if self.log_is_down:
            raise OSError("no broker")
        self.sent.append(command)
        return len(self.sent) - 1

    def look(self, health: Health) -> None:
        """What the page saw of Kafka and the workers."""
        assert self.site is not None
        self.site.health = health

    def put(self, table: str, key: str, state: Any, group: str = "risk") -> None:
        value = json.dumps({"partition": 0, "seen": {}, "state": state}).encode()
        self.view.fold(f"flowgate-{group}-{table}-changelog", key.encode(), value, int(time.time() * 1e3))

    def say(self, topic: str, message: dict[str, Any]) -> None:
        self.view.fold(topic, b"desk", json.dumps(message).encode(), int(time.time() * 1e3))


async def messages(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """Messages of the page's stream."""
    pending = b""
    async for chunk in response.content.iter_any():
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                yield json.loads(line[6:])


async def scraped(address: str) -> dict[tuple[str, Labels], float]:
    """All samples of a page's `/metrics`, by name and labels."""
    async with aiohttp.ClientSession(address) as client, client.get("/metrics") as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        families = text_string_to_metric_families(await response.text())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def at(name: str, **labels: str) -> tuple[str, Labels]:
    return name, frozenset(labels.items())
