"""A page whose view is filled by hand, and a reader of its stream."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from app.web.view import View
from contracts.controls import KillCommand, ResetCommand


@dataclass
class Page:
    """A running page; `sent` are the commands that it gave to the log, `log_is_down` makes the log refuse them."""

    view: View
    address: str = ""
    sent: list[KillCommand | ResetCommand] = field(default_factory=list)
    log_is_down: bool = False
    runner: web.AppRunner | None = None

    async def stop(self) -> None:
        assert self.runner is not None
        await self.runner.cleanup()

    async def send(self, command: KillCommand | ResetCommand) -> int:
        if self.log_is_down:
            raise OSError("no broker")
        self.sent.append(command)
        return len(self.sent) - 1

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
