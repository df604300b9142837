"""`python -m app topics`: the declared topics on the broker."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Iterable
from typing import Final

from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError

from app import settings as settings_module
from connectors.kafka.access import Access
from connectors.kafka.admin import administrator, create_missing, differences
from contracts.topics import MESSAGE_BYTES_MAX, TOPICS

LOOK_S: Final = 1.0
"""Time between two looks at a broker that has not all topics."""


def main(action: str) -> int:
    """`apply` creates what is missing; `check` and `diff` print each difference, and check returns 1 if there is one.

    Nothing is ever deleted or altered: a topic that differs is a person's decision.
    """
    kafka = settings_module.load().kafka
    topics = list(TOPICS.values())
    try:
        if action == "apply":
            created = asyncio.run(create_missing(kafka.access, topics, kafka.replication))
            sys.stdout.write(f"{len(created)} topics created, {len(topics) - len(created)} were there\n")
        lines = asyncio.run(differences(kafka.access, topics, kafka.replication))
    except KafkaError as error:
        sys.stderr.write(f"flowgate: {asyncio.run(unreachable(kafka.access, error))}\n")
        return 2
    sys.stdout.write("".join(f"{line}\n" for line in lines) or "all topics are as declared\n")
    return 1 if lines and action != "diff" else 0


async def unreachable(access: Access, error: Exception) -> str:
    """One sentence for a broker that does not answer, or does not let us in."""
    if isinstance(error, KafkaConnectionError | OSError | TimeoutError):
        error = await access.knock() or error
    place = f"Kafka at {access.bootstrap}"
    if isinstance(error, ssl.SSLCertVerificationError):
        trusted = access.ca or "this machine's list"
        return f"{place} shows a certificate that {trusted} did not sign; set FLOWGATE_KAFKA__CA to the broker's CA"
    closed = isinstance(error, KafkaConnectionError) and str(error).endswith("closed")
    if closed or isinstance(error, ssl.SSLError | ConnectionResetError):
        return (
            f"{place} ends the connection; set FLOWGATE_KAFKA__SECURITY, {access.security} now, to what its port speaks"
        )
    if "uthenti" in type(error).__name__ or "uthenti" in str(error):
        return f"{place} refuses the user; check FLOWGATE_KAFKA__USER and FLOWGATE_KAFKA__PASSWORD"
    if "uthoriz" in type(error).__name__:
        return f"{place} does not let this user do that ({error}); use the administrator's"
    if isinstance(error, MessageSizeTooLargeError):
        return f"the message is larger than the {MESSAGE_BYTES_MAX:,} bytes a topic takes; make it smaller"
    return f"no Kafka answers at {access.bootstrap}; start it or set FLOWGATE_KAFKA__BOOTSTRAP"


async def until_there(access: Access, names: Iterable[str]) -> None:
    """Return when the broker has all of these topics; say once which it has not, and what to run.

    A client does not say it: it waits in silence for a topic it reads, and asks ten times a second for one it writes.
    Returns too when no broker answers, as whoever connects next says that.
    """
    told: list[str] = []
    while missing := await _missing(access, names):
        if missing != told:
            sys.stderr.write(
                f"flowgate: Kafka at {access.bootstrap} has not, or hides from this user: {', '.join(missing)}; run "
                "python -m app topics --apply and, with users, security --apply; this worker then goes on by itself\n"
            )
            sys.stderr.flush()
            told = missing
        await asyncio.sleep(LOOK_S)


async def _missing(access: Access, names: Iterable[str]) -> list[str]:
    try:
        async with administrator(access) as admin:
            return sorted(set(names) - set(await admin.list_topics()))
    except (KafkaError, OSError):
        return []
