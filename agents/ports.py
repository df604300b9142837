"""What the desk needs from a broker: effects that its agents ask for, and who carries them out."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from contracts.orders import OrderCommand


class PlaceOrder(NamedTuple):
    """Give this order to the gateway, under its order id.

    `epoch` is the session whose READY found that it is still to be sent; 0 for a new order, which nobody has sent yet.
    """

    command: OrderCommand
    epoch: int = 0


class CountChild(NamedTuple):
    """This child of a parent was at the gateway before: a process that has just started does not know it."""

    parent_id: str
    order_id: int
    lots: int


class AmendOrder(NamedTuple):
    """Give a working order the quantity and the price of this command, under the id that it has."""

    command: OrderCommand


class CancelOrder(NamedTuple):
    """Ask the gateway to cancel this order."""

    order_id: int
    intent_id: str


class CancelAll(NamedTuple):
    """Ask the gateway to cancel every order of the account: the only command that reaches one we have no name for."""


class Latch(NamedTuple):
    """Which scopes are killed as of now, and which of these kills let the orders through that close positions.

    Nothing is sent before the first of these.
    """

    scopes: tuple[str, ...]
    flatten: tuple[str, ...] = ()


class Broker(Protocol):
    """The one owner of the order connection. What it hears goes to the `broker_events` topic."""

    async def place(self, command: OrderCommand, epoch: int = 0) -> None:
        """Write the order to the socket when it is its turn, unless a kill covers it then: that is said (NotSent).

        Nothing is done while the session is not READY, or another than `epoch`, and with a new order while its READY is
        not reconciled: READY asks for all that is still to be sent.
        """

    def count(self, parent_id: str, order_id: int, lots: int) -> None:
        """Hold these lots against their parent, as if this process had sent them."""

    def reconciled(self, epoch: int) -> None:
        """READY of this session has reached every order."""

    async def amend(self, command: OrderCommand) -> None:
        """Write the changed order to the socket under the same conditions."""

    async def cancel(self, order_id: int, intent_id: str) -> None:
        """Write the cancel to the socket, ahead of everything that waits for its turn."""

    async def cancel_all(self) -> None:
        """Write the cancel of everything to the socket, ahead of everything that waits for its turn."""

    async def latch(self, scopes: tuple[str, ...], *, flatten: tuple[str, ...]) -> None:
        """Take over the kills in force: block what they cover, and cancel what of it works."""
