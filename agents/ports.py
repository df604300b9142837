"""What the desk needs from a broker: effects that the execution agent asks for, and who carries them out."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from contracts.orders import OrderCommand


class PlaceOrder(NamedTuple):
    """Give this order to the gateway, under its order id."""

    command: OrderCommand


class CancelOrder(NamedTuple):
    """Ask the gateway to cancel this order."""

    order_id: int
    intent_id: str


class Broker(Protocol):
    """The one owner of the order connection. What it hears goes to the `broker_events` topic."""

    async def place(self, command: OrderCommand) -> None:
        """Write the order to the socket if the session is READY, else say NotSent."""

    async def cancel(self, order_id: int, intent_id: str) -> None:
        """Write the cancel to the socket."""
