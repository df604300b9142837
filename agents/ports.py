"""What the desk needs from a broker: effects that its agents ask for, and who carries them out."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from contracts.orders import OrderCommand


class PlaceOrder(NamedTuple):
    """Give this order to the gateway, under its order id."""

    command: OrderCommand


class AmendOrder(NamedTuple):
    """Give a working order the quantity and the price of this command, under the id that it has."""

    command: OrderCommand


class CancelOrder(NamedTuple):
    """Ask the gateway to cancel this order."""

    order_id: int
    intent_id: str


class Latch(NamedTuple):
    """Which scopes are killed as of now, and whether orders that make positions smaller may still go out.

    Nothing is sent before the first of these.
    """

    scopes: tuple[str, ...]
    flatten: bool = False


class Broker(Protocol):
    """The one owner of the order connection. What it hears goes to the `broker_events` topic."""

    async def place(self, command: OrderCommand) -> None:
        """Write the order to the socket if the session is READY and no kill covers it, else say NotSent."""

    async def amend(self, command: OrderCommand) -> None:
        """Write the changed order to the socket under the same conditions."""

    async def cancel(self, order_id: int, intent_id: str) -> None:
        """Write the cancel to the socket, ahead of everything that waits for its turn."""

    async def latch(self, scopes: tuple[str, ...], *, flatten: bool) -> None:
        """Take over the kills in force: block what they cover, and cancel what of it works."""
