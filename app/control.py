"""An operator's command on its way to the control topic, and what the command line says of it."""

from __future__ import annotations

import contextlib
import sys
from asyncio import timeout, wait_for
from collections.abc import Collection
from typing import Final

from aiokafka import AIOKafkaProducer

from app.settings import Reach
from contracts.base import Message
from contracts.controls import FLATTEN
from contracts.instruments import INSTRUMENTS
from contracts.topics import CONTROL

SCOPES: Final = "account, strategy:X, instrument:X and order:INTENT_ID"
KAFKA_S: Final = 3.0

SLIP: Final = 2
"""Exit status of a command that was typed wrong: it has done nothing."""


async def send(settings: Reach, command: Message) -> bool:
    """Put a command on the control topic; False when Kafka does not take it in time."""
    producer = None
    try:
        options = settings.kafka.access.options()
        producer = AIOKafkaProducer(**options, acks="all", request_timeout_ms=int(KAFKA_S * 1e3))
        async with timeout(KAFKA_S):
            await producer.start()
            await producer.send_and_wait(CONTROL.name, command.model_dump_json().encode(), b"switch")
    except Exception as error:  # a certificate that is missing, say: the other ways have to be tried
        tell(f"Kafka did not take the command ({str(error) or type(error).__name__})")
        return False
    finally:
        if producer is not None:
            with contextlib.suppress(Exception):
                await wait_for(producer.stop(), KAFKA_S)
    tell("the command is on the control topic")
    return True


def unknown(scope: str, strategies: Collection[str] | None) -> str:
    """Why nothing can be in this scope, empty when something can. `strategies` are None when they cannot be read."""
    kind, _, name = scope.partition(":")
    if kind == "instrument" and name not in INSTRUMENTS:
        return f"no instrument {name!r} is in the catalogue; it has {', '.join(sorted(INSTRUMENTS))}"
    if kind == "strategy" and strategies is not None and name not in {*strategies, FLATTEN}:
        return f"no strategy {name!r} is in the settings; they have {', '.join(sorted(strategies)) or 'none'}"
    return ""


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def undone(sentence: str) -> bool:
    """Say what has not happened; False."""
    fail(sentence)
    return False


def fail(sentence: str, status: int = 1) -> int:
    sys.stderr.write(f"flowgate: {sentence}\n")
    return status
