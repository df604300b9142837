"""Who we are to Kafka: the address, and the user and password where the broker asks for them."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError

MECHANISM: Final = "SCRAM-SHA-256"
"""The broker keeps a salted hash, and the password never crosses the wire."""

BACK_OFF_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Waits before a process tries Kafka again; the last one repeats."""

KNOCK_S: Final = 3.0
"""A broker that is there says who it is, and lets a user in or not, in milliseconds."""

Security = Literal["PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL"]


@dataclass(frozen=True)
class Access:
    """A way in. `ca` is the certificate that signed the broker's; None trusts the machine's own list."""

    bootstrap: str
    security: Security = "PLAINTEXT"
    user: str = ""
    password: str = field(default="", repr=False)
    ca: Path | None = None

    def options(self) -> dict[str, Any]:
        """Arguments of an aiokafka client."""
        options: dict[str, Any] = {"bootstrap_servers": self.bootstrap, "security_protocol": self.security}
        if self.security != "PLAINTEXT":
            options["sasl_mechanism"] = MECHANISM
            options["sasl_plain_username"], options["sasl_plain_password"] = self.user, self.password
        if self.security == "SASL_SSL":
            options["ssl_context"] = self.ssl_context()
        return options

    def ssl_context(self) -> ssl.SSLContext:
        """TLS that checks the broker's certificate and name."""
        return ssl.create_default_context(cafile=str(self.ca) if self.ca else None)

    async def knock(self) -> Exception | None:
        """What one connection to the first address ends with, None if it gets in.

        A Kafka client that cannot get in says only that it has tried all addresses, whatever stood in the way.
        """
        options = self.options()
        host, _, port = options.pop("bootstrap_servers").split(",")[0].rpartition(":")
        try:
            async with asyncio.timeout(KNOCK_S):
                connection = await create_conn(host, int(port), **options)
        except (OSError, KafkaError, TimeoutError) as error:
            return error
        connection.close()
        return None
