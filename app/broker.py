"""The broker connection inside a worker: who owns it, what it publishes, and who carries out what agents ask of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import faust

from agents.ports import AmendOrder, Broker, CancelAll, CancelOrder, CountChild, Latch, PlaceOrder
from agents.spec import SENT_HEADER
from app import killfile
from app.settings import Settings
from contracts.base import Message
from contracts.orders import SessionEvent, SessionState
from contracts.topics import EXEC_REPORTS, Topic

if TYPE_CHECKING:
    from connectors.ibkr.session import IbkrSession

log = logging.getLogger(__name__)

KILL_FILE_S: Final = 0.1

PLACE_S: Final = 0.5
"""A standby looks this often whether its turn has come."""

Effects = Callable[[Sequence[Any]], Awaitable[None]]


def own_the_broker(app: faust.App, settings: Settings) -> Effects:
    """Start the session once the tables are back; returns what carries out the effects of the agents."""
    from connectors.ibkr.session import Address, IbkrSession

    gateway = settings.gateway
    address = Address(gateway.host, gateway.port, gateway.client_id, gateway.simulated)
    session = IbkrSession(address, publisher(app))

    async def keep_session() -> None:
        await app.tables.wait_until_recovery_completed()
        await session.run()

    async def watch_kill_file() -> None:
        await obey(session, settings.data)

    app.task(keep_session)
    app.task(watch_kill_file)

    async def effects(wanted: Sequence[Any]) -> None:
        await carry_out(session.sender, wanted)

    return effects


async def obey(session: IbkrSession, folder: Path) -> None:
    """Do what the kill file says, until cancelled. It is looked at before the session is READY for the first time."""
    known: list[killfile.Kill] = []
    while True:
        kills = killfile.read(folder)
        if kills != known:
            known = kills
            said = "; ".join(f"{kill.scope} by {kill.operator}: {kill.reason}" for kill in kills)
            log.warning("kill file: %s", said or "lifted")
            await session.sender.hold({kill.scope: kill.flatten for kill in kills})  # the last of each scope counts
            session.stay_away(any(kill.disconnect for kill in kills))
        await asyncio.sleep(KILL_FILE_S)


def watch_the_broker(app: faust.App, settings: Settings) -> None:
    """Start the drop copy: the same account over a second connection, in another process than the orders."""
    from connectors.ibkr import drop_copy
    from connectors.ibkr.session import Address

    gateway = settings.gateway
    address = Address(gateway.host, gateway.port, gateway.drop_copy_client_id, gateway.simulated)

    async def copy() -> None:
        await app.tables.wait_until_recovery_completed()
        # The gateway has one place for this client id, and it is not the standby's.
        while not any(tp.topic == EXEC_REPORTS.name for tp in app.assignor.assigned_actives()):
            await asyncio.sleep(PLACE_S)
        await drop_copy.run(address, publisher(app))

    app.task(copy)


def publisher(app: faust.App) -> Callable[..., Awaitable[None]]:
    """What sends messages, as (topic, key, message), in their order, and awaits that Kafka has them all."""

    async def publish(*said: tuple[Topic, str, Message]) -> None:
        headers = [(SENT_HEADER, str(time.time_ns()).encode())]
        records = [(t.name, 0, key.encode(), message.model_dump_json().encode(), headers) for t, key, message in said]
        await asyncio.gather(*await app.producer.hand_over(records))

    return publish


async def carry_out(broker: Broker, wanted: Sequence[Any]) -> None:
    """Effects in their order, but new orders by id: the gateway takes none below the last one."""
    orders = iter(sorted((e for e in wanted if isinstance(e, PlaceOrder)), key=lambda place: place.command.order_id))
    for effect in wanted:
        match next(orders) if isinstance(effect, PlaceOrder) else effect:
            case PlaceOrder(command, epoch):
                await broker.place(command, epoch)
            case SessionEvent(state=SessionState.READY, epoch=epoch):
                broker.reconciled(epoch)
            case CountChild(parent_id, order_id, lots):
                broker.count(parent_id, order_id, lots)
            case AmendOrder(command):
                await broker.amend(command)
            case CancelOrder(order_id, intent_id):
                await broker.cancel(order_id, intent_id)
            case CancelAll():
                await broker.cancel_all()
            case Latch(scopes, flatten):
                await broker.latch(scopes, flatten=flatten)
