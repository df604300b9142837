"""TLS as paper and prod use it: SASL_SSL with the broker's CA, on a real broker with real certificates."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.processes import Children
from app.stack import ROOT
from connectors.kafka.access import Access, Security
from connectors.kafka.broker import ADMINISTRATOR, EmbeddedBroker, KeyStore, java

pytestmark = pytest.mark.stack

PASSWORD = secrets.token_urlsafe(16)


def keytool(folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """One command of the key tool that comes with the Java runtime."""
    command = [str(Path(java()).with_name("keytool")), *arguments, "-storepass", PASSWORD]
    return subprocess.run(command, cwd=folder, input=stdin, capture_output=True, check=True).stdout


def authority(folder: Path, name: str) -> Path:
    """A certificate authority; returns the file with its certificate."""
    key = ["-genkeypair", "-alias", name, "-keyalg", "EC", "-groupname", "secp256r1", "-validity", "2"]
    keytool(folder, *key, "-dname", f"CN={name}", "-ext", "bc:c", "-keystore", f"{name}.p12")
    certificate = folder / f"{name}.pem"
    certificate.write_bytes(keytool(folder, "-exportcert", "-rfc", "-alias", name, "-keystore", f"{name}.p12"))
    return certificate


def signed(folder: Path, name: str, by: str) -> KeyStore:
    """A key store for 127.0.0.1, signed by an authority of this folder."""
    store = ["-alias", name, "-keystore", f"{name}.p12"]
    keytool(folder, "-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-dname", f"CN={name}", *store)
    asked = keytool(folder, "-certreq", *store)
    issuer = ["-alias", by, "-keystore", f"{by}.p12", "-ext", "san=ip:127.0.0.1", "-validity", "2"]
    answer = keytool(folder, "-gencert", "-rfc", *issuer, stdin=asked)
    root = ["-importcert", "-noprompt", "-alias", by, "-file", f"{by}.pem", "-keystore", f"{name}.p12"]
    keytool(folder, *root)
    keytool(folder, "-importcert", *store, stdin=answer)
    return KeyStore(folder / f"{name}.p12", PASSWORD)


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    """The administrator's way into a broker that speaks TLS alone."""
    folder = tmp_path_factory.mktemp("tls")
    ca = authority(folder, "ours")
    authority(folder, "another")
    children = Children(folder / "logs")
    try:
        broker = EmbeddedBroker.prepare(
            folder / "kafka", print, {ADMINISTRATOR: PASSWORD}, signed(folder, "broker", by="ours")
        )
        kafka = children.start("kafka", broker.command, {})
        way_in = Access(broker.bootstrap, "SASL_SSL", ADMINISTRATOR, PASSWORD, ca)
        asyncio.run(_answers(way_in, children))
        assert kafka.process.poll() is None
        yield way_in
    finally:
        children.stop_all()


async def _answers(access: Access, children: Children) -> None:
    async with asyncio.timeout(60):
        while await access.knock() is not None:
            children.check()
            await asyncio.sleep(0.1)


def command(access: Access, *arguments: str) -> tuple[int, str]:
    """Exit status and output of `python -m app ...` with these settings."""
    done = subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env={**os.environ, **settings(access)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def settings(access: Access) -> dict[str, str]:
    values = {
        "BOOTSTRAP": access.bootstrap,
        "SECURITY": access.security,
        "USER": access.user,
        "PASSWORD": access.password,
        "CA": str(access.ca or ""),
    }
    return {f"FLOWGATE_KAFKA__{name}": value for name, value in values.items() if value}


def test_with_the_broker_s_ca_commands_and_a_worker_get_in(access: Access, tmp_path: Path) -> None:
    status, output = command(access, "topics", "--apply")
    assert (status, "all topics are as declared" in output) == (0, True), output
    children = Children(tmp_path / "logs")
    env = {**settings(access), "AGENT_GROUP": "gates", "FLOWGATE_DATA": str(tmp_path / "faust")}
    worker = [sys.executable, "-m", "faust", "-A", "app", "worker", "--without-web", "--loglevel", "info"]
    child = children.start("worker", worker, env, cwd=ROOT)
    try:
        asyncio.run(_ready(children, child.log))
        status, output = command(access, "doctor")
        assert (status, "queue    flowgate-gates-dev-0 0 batches" in output) == (0, True), output
    finally:
        children.stop_all()


async def _ready(children: Children, log: Path) -> None:
    async with asyncio.timeout(60):
        while "[^Worker]: Ready" not in await asyncio.to_thread(log.read_text, errors="replace"):
            children.check()
            await asyncio.sleep(0.1)


def refusal(access: Access) -> str:
    """What a command says to a person who cannot get in: one line."""
    status, output = command(access, "topics", "--check")
    assert status == 2
    assert output.count("\n") == 1, output
    return output.replace(access.bootstrap, "KAFKA").strip()


def test_a_broker_whose_certificate_another_has_signed_is_not_believed(access: Access) -> None:
    assert access.ca is not None
    wrong = access.ca.with_name("another.pem")
    assert refusal(replace(access, ca=wrong)) == (
        f"flowgate: Kafka at KAFKA shows a certificate that {wrong} did not sign; "
        "set FLOWGATE_KAFKA__CA to the broker's CA"
    )
    assert "this machine's list did not sign" in refusal(replace(access, ca=None))


@pytest.mark.parametrize("security", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_nobody_gets_in_without_tls(access: Access, security: Security) -> None:
    assert refusal(replace(access, security=security, ca=None)) == (
        "flowgate: Kafka at KAFKA ends the connection; "
        f"set FLOWGATE_KAFKA__SECURITY, {security} now, to what its port speaks"
    )


def test_a_wrong_password_is_named_as_such(access: Access) -> None:
    assert refusal(replace(access, password="wrong")) == (
        "flowgate: Kafka at KAFKA refuses the user; check FLOWGATE_KAFKA__USER and FLOWGATE_KAFKA__PASSWORD"
    )
