"""The whole desk on one machine: embedded Kafka, simulated gateway, one worker per group, the feed.

The demo runs it for a person, the tests run it as their fixture.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from agents.catalogue import GROUPS
from app import security
from app.build import build
from app.processes import Child, ChildDiedError, Children
from connectors.kafka import acls
from connectors.kafka.access import MECHANISM, Access
from connectors.kafka.admin import create_missing
from connectors.kafka.broker import ADMINISTRATOR, EmbeddedBroker
from contracts.topics import TOPICS

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "flowgate"
READY_S = 60.0
"""Longest wait for a part to be ready; a worker takes 2 to 5 s here, more when the machine is busy."""

WORKER_READY = re.compile(r"\[\^Worker\]: Ready")
GATEWAY_READY = re.compile(r"gateway ready port=(\d+) ctl=(\d+) account=(\w+)")
WEB_READY = re.compile(r"page (http://\S+)")

Tell = Callable[[str], None]


@dataclass
class Stack:
    """A running desk. `env` reaches it from any further process.

    When `secure`, every process has a Kafka user of its own, with the rights of `app.security`.
    """

    folder: Path
    tell: Tell
    desk: dict[str, str] = field(default_factory=dict)
    secure: bool = False
    broker: EmbeddedBroker | None = None
    gateway_port: int = 0
    gateway_ctl: int = 0
    page: str = ""

    def __post_init__(self) -> None:
        self.children = Children(self.folder / "logs")
        self.workers: dict[str, Child] = {}
        names = [ADMINISTRATOR, *security.users(PREFIX)] if self.secure else []
        self.passwords = {name: secrets.token_urlsafe(16) for name in names}

    def access(self, user: str) -> Access:
        """The way in of one user; without security there is one for all."""
        if not self.secure:
            return Access(self.bootstrap)
        return Access(self.bootstrap, "SASL_PLAINTEXT", user, self.passwords[user])

    @property
    def administrator(self) -> Access:
        """Who creates topics and rights, and may do anything."""
        return self.access(ADMINISTRATOR)

    @property
    def ledger(self) -> Path:
        return self.folder / "gateway-ledger.jsonl"

    @property
    def bootstrap(self) -> str:
        assert self.broker is not None
        return self.broker.bootstrap

    @property
    def env(self) -> dict[str, str]:
        return self.env_of(security.OPERATOR)

    def env_of(self, name: str) -> dict[str, str]:
        """The environment of a process of a group, or of another user of the desk."""
        access = self.access(security.user(PREFIX, name))
        return {
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "FLOWGATE_PROFILE": "dev",
            "FLOWGATE_KAFKA__BOOTSTRAP": access.bootstrap,
            "FLOWGATE_KAFKA__SECURITY": access.security,
            "FLOWGATE_KAFKA__USER": access.user,
            "FLOWGATE_KAFKA__PASSWORD": access.password,
            "FLOWGATE_GATEWAY__PORT": str(self.gateway_port),
            "FLOWGATE_DATA": str(self.folder / "faust"),
            # The files of a checkout may change while the desk runs, and a worker that comes back is of the same desk.
            "FLOWGATE_BUILD": build(),
            **self.desk,
        }

    async def start(self, groups: tuple[str, ...] = tuple(GROUPS)) -> None:
        """Broker, topics, gateway, workers; returns when all are ready."""
        await self.start_broker()
        await self.start_gateway()
        await self.start_workers(groups)

    async def start_broker(self) -> None:
        began = time.monotonic()
        self.broker = await asyncio.to_thread(EmbeddedBroker.prepare, self.folder / "kafka", self.tell, self.passwords)
        self.children.start("kafka", self.broker.command, {})
        await self._until(self._broker_answers, "kafka")
        created = await create_missing(self.administrator, list(TOPICS.values()), replication=1)
        self._say("kafka", f"{self.bootstrap}, {len(created)} topics created", began)
        if self.secure:
            began = time.monotonic()
            rights = await asyncio.to_thread(security.rights)
            await acls.create(self.administrator, rights)
            self._say("security", f"{len(self.passwords)} users, {len(rights)} rights granted", began)

    async def start_gateway(self) -> None:
        began = time.monotonic()
        source = f"kafka://{self.bootstrap}/market_raw"
        options = ["--port", "0", "--ctl-port", "0", "--source", source, "--ledger", str(self.ledger)]
        command = [sys.executable, "-m", "connectors.gateway", *options]
        child = self.children.start("gateway", command, self._gateway_env())
        match = await self.until_logged(child, GATEWAY_READY)
        self.gateway_port, self.gateway_ctl = int(match[1]), int(match[2])
        self._say("gateway", f"port {self.gateway_port}, account {match[3]}", began)

    async def start_workers(self, groups: tuple[str, ...]) -> None:
        began = time.monotonic()
        for group in groups:
            self.start_worker(group)
        for group in groups:
            await self.until_logged(self.workers[group], WORKER_READY)
            self._say(f"worker {group}", GROUPS[group], began)
        if "web" in groups:
            self.page = (await self.until_logged(self.workers["web"], WEB_READY))[1]

    def start_worker(self, group: str, instance: int = 0) -> Child:
        """One more worker of a group; a worker that takes the place of another has its `instance` number."""
        command = [sys.executable, "-m", "faust", "-A", "app", "worker", "--without-web", "--loglevel", "info"]
        env = {**self.env_of(group), "AGENT_GROUP": group, "FLOWGATE_INSTANCE": f"dev-{instance}"}
        name = f"worker-{group}" if instance == 0 else f"worker-{group}-{instance}"
        child = self.children.start(name, command, env, cwd=ROOT)
        if instance == 0:
            self.workers[group] = child
        return child

    def start_feed(self, source: str, seed: int, speed: float, warm_up_s: float = 0.0) -> Child:
        options = ["--source", source, "--seed", str(seed), "--speed", str(speed), "--warm-up", str(warm_up_s)]
        return self.children.start("feed", [sys.executable, "-m", "app", "feed", *options], self.env_of(security.FEED))

    def _gateway_env(self) -> dict[str, str]:
        access = self.access(security.user(PREFIX, security.GATEWAY))
        env = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        if self.secure:
            env |= {
                "KAFKA_SASL_USERNAME": access.user,
                "KAFKA_SASL_PASSWORD": access.password,
                "KAFKA_SASL_MECHANISM": MECHANISM,
                "KAFKA_SECURITY_PROTOCOL": access.security,
            }
        return env

    def stop(self) -> None:
        """End everything; the broker last, so that workers can commit."""
        self.children.stop_all(keep_last=("kafka", "gateway"))

    async def _broker_answers(self) -> bool:
        host, _, port = self.bootstrap.partition(":")
        try:
            _reader, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            return False
        writer.close()
        return True

    async def until_logged(self, child: Child, pattern: re.Pattern[str]) -> re.Match[str]:
        """Wait until the log of a child has `pattern`."""
        found: list[re.Match[str]] = []

        async def logged() -> bool:
            match = pattern.search(child.log.read_text(errors="replace"))
            if match:
                found.append(match)
            return match is not None

        await self._until(logged, child.name)
        return found[0]

    async def _until(self, condition, name: str) -> None:  # type: ignore[no-untyped-def]
        deadline = time.monotonic() + READY_S
        while not await condition():
            self.children.check()
            if time.monotonic() > deadline:
                last = next(child for child in self.children if child.name == name).last_lines()
                raise ChildDiedError(f"{name} was not ready after {READY_S:.0f} s; its last lines:\n{last}")
            await asyncio.sleep(0.05)

    def _say(self, name: str, text: str, began: float) -> None:
        self.tell(f"{name:<18} {time.monotonic() - began:5.1f} s  {text}")
