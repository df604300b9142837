"""`python -m app kill | reset | resolve`: an operator's hand on the desk, also when Kafka is down.

A kill takes three ways at once, and any one of them is enough to stop new orders:

    the kill file      the execution worker blocks and cancels within a tenth of a second, without Kafka
    the control topic  admission denies, the latch blocks and cancels, the switch of the risk group is set
    the gateway        for the whole account: IB's global cancel, on a connection of our own, worker dead or alive

Each is tried whatever became of the others, and one that fails says so in a sentence. A flatten is the desk's, which
knows its own orders; what it has not closed in time, or without Kafka, is closed straight at the gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import Any

from aiokafka import AIOKafkaProducer
from pydantic import ValidationError

from app import killfile
from app.settings import Settings
from connectors.ibkr import emergency
from connectors.ibkr.session import Address
from contracts.base import Message
from contracts.controls import KillCommand, ResetCommand, ResolveCommand
from contracts.instruments import INSTRUMENTS
from contracts.topics import CONTROL

SCOPES = "account, strategy:X, instrument:X and order:INTENT_ID"
KAFKA_S = 3.0
CANCEL_S = 10.0
FLATTEN_S = 30.0
BLOCKED_S = 0.5
"""The worker looks at the kill file ten times a second."""

NOTHING = 3
"""Exit status of a kill of which no way has worked."""


def kill(settings: Settings, order: killfile.Kill) -> int:
    """Stop. 0 when all that was asked for has happened, 1 when something is left to do by hand, `NOTHING`."""
    try:
        _command(order, flatten=False)
    except ValidationError:
        return _fail(f"{order.scope!r} is no scope, or a name or a reason is missing; scopes are {SCOPES}")
    return asyncio.run(_kill(settings, order))


async def _kill(settings: Settings, order: killfile.Kill) -> int:
    """Each way, whatever became of the one before."""
    part = order.scope != "account"
    written = _write(settings, order, flatten=order.flatten and part)
    recorded = await _control(settings, _command(order, flatten=order.flatten and part))
    reached, done = (False, True) if part else await _at_the_gateway(settings, order, recorded)
    if not (written or recorded or reached):
        _fail("NOTHING was stopped: neither the kill file, nor Kafka, nor the gateway took it; use TWS or telephone")
        return NOTHING
    if part and not recorded:
        _tell(f"the worker cancels what {order.scope} covers; only `--scope account` works with the worker dead too")
        if order.flatten:
            done = _undone(f"nothing closes the positions of {order.scope}, as that needs Kafka; use TWS")
    if not (written or recorded):
        done = _undone("nothing blocks new orders: end the execution worker, and keep it from starting")
    if order.disconnect and not _disconnect(settings, order):
        done = False
    return 0 if done else 1


def _write(settings: Settings, order: killfile.Kill, *, flatten: bool, disconnect: bool = False) -> bool:
    """Put a line into the kill file; False when the disk does not take it."""
    path = settings.data / killfile.NAME
    try:
        killfile.add(settings.data, order._replace(flatten=flatten, disconnect=disconnect))
    except OSError as error:
        return _undone(f"the kill file {path} cannot be written ({error}); the other ways are tried")
    _tell(f"kill file written: {path}")
    return True


def _disconnect(settings: Settings, order: killfile.Kill) -> bool:
    if order.scope != "account":
        return _undone("the session is not told to disconnect: a rollback is of the whole account")
    if not _write(settings, order, flatten=False, disconnect=True):
        return _undone("the session is not told to disconnect: end the execution worker by hand")
    _tell("the session is told to disconnect and stays so until a reset; logs and ledger stay where they are")
    return True


async def _at_the_gateway(settings: Settings, order: killfile.Kill, recorded: bool) -> tuple[bool, bool]:
    """Cancel everything, and close it where that is asked for: (the gateway took it, nothing is left to do)."""
    gateway = settings.gateway
    address = Address(gateway.host, gateway.port, gateway.drop_copy_client_id + 1, gateway.simulated)
    reached = False
    try:
        async with emergency.connection(address) as ib:
            before, left, ms = await emergency.cancel_all(ib, CANCEL_S)
            reached = True
            _tell(f"global cancel: {before} orders were open, {left} are, after {ms:.0f} ms")
            flat = not order.flatten or await _flatten(settings, order, ib, recorded)
            return True, flat and not left
    except emergency.EmergencyError as error:
        _fail(str(error))
        if order.flatten and recorded and await _ask_the_desk(settings, order):
            _fail("the desk is asked to flatten; look at TWS whether it does")
    except Exception as error:  # whatever it is, what comes behind has to be tried
        _fail(str(error) or "the gateway does not answer; use TWS or telephone")
    return reached, False


async def _flatten(settings: Settings, order: killfile.Kill, ib: Any, recorded: bool) -> bool:
    """By the desk, if it does it in time, or else straight at the gateway; whether nothing is left."""
    if recorded:
        if await _ask_the_desk(settings, order):
            held = await emergency.until_flat(ib, FLATTEN_S)
            _tell(f"flatten by the desk: left {held or 'nothing'}")
            if not INSTRUMENTS.keys() & held.keys():
                return not held
        # Both at once would turn the positions: a kill without flatten blocks the desk's orders before ours go out.
        _write(settings, order, flatten=False)
        await _control(settings, _command(order, flatten=False))
        await asyncio.sleep(BLOCKED_S)
        _, left, _ = await emergency.cancel_all(ib, CANCEL_S)
        if left:
            return _undone(f"{left} orders are still open, so positions are not closed by hand; use TWS")
    held = await emergency.flatten(ib, FLATTEN_S)
    _tell(f"flatten straight at the gateway: left {held or 'nothing'}")
    return not held


async def _ask_the_desk(settings: Settings, order: killfile.Kill) -> bool:
    _write(settings, order, flatten=True)
    return await _control(settings, _command(order, flatten=True))


def reset(settings: Settings, scope: str, operator: str, reason: str) -> int:
    """Allow trading again: a named operator, with a reason. Needs Kafka, as the record of it does."""
    try:
        command = ResetCommand(scope=scope, operator=operator, reason=reason, ts_ns=time.time_ns())
    except ValidationError:
        return _fail(f"{scope!r} is no scope, or a name or a reason is missing; scopes are {SCOPES}")
    if not asyncio.run(_control(settings, command)):
        return _fail("a reset needs Kafka, for its record; the kill stays in force")
    try:
        lifted = killfile.remove(settings.data, scope)
    except OSError as error:
        return _fail(f"the kill file cannot be changed ({error}), so its kills stay in force")
    _tell(f"{lifted} kills lifted from the kill file")
    return 0


def resolve(
    settings: Settings, intent_id: str | None, instrument: str | None, operator: str, reason: str, *, cash: bool
) -> int:
    """Settle an UNKNOWN or overfilled order, or take the broker's position or cash, by a named operator."""
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
    producer = None
    try:
        options = settings.kafka.access.options()
        producer = AIOKafkaProducer(**options, acks="all", request_timeout_ms=int(KAFKA_S * 1e3))
        async with asyncio.timeout(KAFKA_S):
            await producer.start()
            await producer.send_and_wait(CONTROL.name, command.model_dump_json().encode(), b"switch")
    except Exception as error:  # a certificate that is missing, say: the other ways have to be tried
        _tell(f"Kafka did not take the command ({str(error) or type(error).__name__})")
        return False
    finally:
        if producer is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(producer.stop(), KAFKA_S)
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


def _undone(sentence: str) -> bool:
    """Say what has not happened; False."""
    _fail(sentence)
    return False


def _fail(sentence: str) -> int:
    sys.stderr.write(f"flowgate: {sentence}\n")
    return 1
