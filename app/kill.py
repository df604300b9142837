"""`python -m app kill | reset | resolve`: an operator's hand on the desk, also when Kafka is down.

A kill takes three ways at once, and any one of them is enough to stop new orders:

    the kill file      the execution worker blocks and cancels within a tenth of a second, without Kafka
    the control topic  admission denies, the latch blocks and cancels, the switch of the risk group is set
    the gateway        for the whole account: IB's global cancel, on a connection of our own, worker dead or alive
"""

from __future__ import annotations

import asyncio
import sys
import time

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from app import killfile
from app.settings import Settings
from connectors.ibkr import emergency
from connectors.ibkr.session import Address
from contracts.base import Message
from contracts.controls import KillCommand, ResetCommand, ResolveCommand
from contracts.topics import CONTROL

SCOPES = "account, strategy:X, instrument:X and order:INTENT_ID"
KAFKA_S = 3.0
CANCEL_S = 10.0
FLATTEN_S = 30.0


def kill(settings: Settings, order: killfile.Kill) -> int:
    """Stop; 0 when all that was asked for has happened, 1 when something is left to do by hand."""
    try:
        _command(order, flatten=False)
    except ValidationError:
        return _fail(f"{order.scope!r} is no scope, or a name or a reason is missing; scopes are {SCOPES}")
    killfile.add(settings.data, order._replace(disconnect=False))
    _tell(f"kill file written: {settings.data / killfile.NAME}")
    return asyncio.run(_kill(settings, order))


async def _kill(settings: Settings, order: killfile.Kill) -> int:
    recorded = await _control(settings, _command(order, flatten=order.flatten and order.scope != "account"))
    if order.scope != "account":
        if not recorded:
            _tell(
                f"the worker cancels what {order.scope} covers; only `--scope account` works with the worker dead too"
            )
        return 0
    address = Address(
        settings.gateway.host,
        settings.gateway.port,
        settings.gateway.drop_copy_client_id + 1,
        settings.gateway.simulated,
    )
    try:
        async with emergency.connection(address) as ib:
            before, left, ms = await emergency.cancel_all(ib, CANCEL_S)
            _tell(f"global cancel: {before} orders were open, {left} are, after {ms:.0f} ms")
            held: dict[str, float] = {}
            if order.flatten:
                by_desk = recorded and await _control(settings, _command(order, flatten=True))
                wait = emergency.until_flat if by_desk else emergency.flatten
                held = await wait(ib, FLATTEN_S)
                _tell(f"flatten {'by the desk' if by_desk else 'straight at the gateway'}: left {held or 'nothing'}")
    except (emergency.EmergencyError, TimeoutError, ConnectionError) as error:
        return _fail(str(error) or "the gateway does not answer; use TWS or telephone")
    if order.disconnect:
        killfile.add(settings.data, order)
        _tell("the session is told to disconnect and stays so until a reset; logs and ledger stay where they are")
    return 1 if left or held else 0


def reset(settings: Settings, scope: str, operator: str, reason: str) -> int:
    """Allow trading again: a named operator, with a reason. Needs Kafka, as the record of it does."""
    try:
        command = ResetCommand(scope=scope, operator=operator, reason=reason, ts_ns=time.time_ns())
    except ValidationError:
        return _fail(f"{scope!r} is no scope, or a name or a reason is missing; scopes are {SCOPES}")
    if not asyncio.run(_control(settings, command)):
        return _fail("a reset needs Kafka, for its record; the kill stays in force")
    _tell(f"{killfile.remove(settings.data, scope)} kills lifted from the kill file")
    return 0


def resolve(
    settings: Settings, intent_id: str | None, instrument: str | None, operator: str, reason: str, *, cash: bool
) -> int:
    """Settle an UNKNOWN order, or take the broker's position or cash, by a named operator."""
    try:
        command = ResolveCommand(
            intent_id=intent_id,
            instrument=instrument,
            cash=cash,
            operator=operator,
            reason=reason,
            ts_ns=time.time_ns(),
        )
    except ValidationError as error:
        return _fail(_sentence(error))
    return 0 if asyncio.run(_control(settings, command)) else _fail("resolving needs Kafka, for its record")


def _command(order: killfile.Kill, *, flatten: bool) -> KillCommand:
    return KillCommand(
        scope=order.scope, operator=order.operator, reason=order.reason, flatten=flatten, ts_ns=time.time_ns()
    )


async def _control(settings: Settings, command: Message) -> bool:
    """Put a command on the control topic; False when Kafka does not take it in time."""
    producer = AIOKafkaProducer(**settings.kafka.access.options(), acks="all", request_timeout_ms=int(KAFKA_S * 1e3))
    try:
        async with asyncio.timeout(KAFKA_S):
            await producer.start()
            await producer.send_and_wait(CONTROL.name, command.model_dump_json().encode(), b"switch")
    except (KafkaError, OSError, TimeoutError) as error:
        _tell(f"Kafka did not take the command ({str(error) or type(error).__name__})")
        return False
    finally:
        await producer.stop()
    _tell("the command is on the control topic")
    return True


def _sentence(error: ValidationError) -> str:
    """What is wrong with the first option, and what it must be."""
    first = error.errors()[0]
    name = str(first["loc"][0]).removesuffix("_id")
    form = {"intent": "24 hexadecimal digits, as the decisions show it", "instrument": "a name such as SPY"}
    return f"--{name} {first['input']!r} is not right: it is {form.get(name, 'a text that is not empty')}"


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _fail(sentence: str) -> int:
    sys.stderr.write(f"flowgate: {sentence}\n")
    return 1
