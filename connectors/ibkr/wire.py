"""ib_insync with ears: what the gateway said, without what the library makes of it.

ib_insync marks an order as cancelled on any error that carries its id, while the gateway may fill it. The desk's truth
is the raw messages: orderStatus, openOrder, completedOrder, execDetails, commissionReport, position. They go to the
listener alone, so the library keeps no orders of its own, and memory does not grow with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ib_insync import IB, Client, Wrapper


class Listener(Protocol):
    """Hears raw messages, in wire order. Quantities are units of the instrument."""

    def on_order_status(self, order_id: int, status: str, filled: float, perm_id: int, client_id: int) -> None: ...
    def on_open_order(self, contract: Any, order: Any) -> None: ...
    def on_completed_order(self, contract: Any, order: Any, state: Any) -> None: ...
    def on_execution(self, contract: Any, execution: Any) -> None: ...
    def on_commission(self, report: Any) -> None: ...
    def on_position(self, contract: Any, position: float) -> None: ...
    def on_next_id(self, next_id: int) -> None: ...
    def on_unreadable(self, what: tuple[Any, ...], error: Exception) -> None: ...
    def on_error(self, request_id: int, code: int, text: str) -> None: ...


class HearingWrapper(Wrapper):  # type: ignore[misc]
    """Passes order, execution and position messages to the listener instead of the library's own books."""

    listener: Listener

    def _tell(self, hear: Callable[..., None], *what: Any) -> None:
        """The library would write an error of the listener to its log, and go on as if the message had not been."""
        try:
            hear(*what)
        except (ValueError, ArithmeticError) as error:
            self.listener.on_unreadable(what, error)

    def orderStatus(self, orderId: int, status: str, filled: float, *rest: Any) -> None:
        _remaining, _average, perm_id, _parent, _last, client_id = rest[:6]
        self._tell(self.listener.on_order_status, orderId, status, filled, perm_id, client_id)

    def openOrder(self, orderId: int, contract: Any, order: Any, orderState: Any) -> None:
        self._tell(self.listener.on_open_order, contract, order)

    def completedOrder(self, contract: Any, order: Any, orderState: Any) -> None:
        self._tell(self.listener.on_completed_order, contract, order, orderState)

    def execDetails(self, reqId: int, contract: Any, execution: Any) -> None:
        self._tell(self.listener.on_execution, contract, execution)

    def commissionReport(self, commissionReport: Any) -> None:
        self._tell(self.listener.on_commission, commissionReport)

    def position(self, account: str, contract: Any, posSize: float, avgCost: float) -> None:
        self._tell(self.listener.on_position, contract, posSize)

    def nextValidId(self, reqId: int) -> None:
        self.listener.on_next_id(reqId)

    def error(self, reqId: int, errorCode: int, errorString: str, *rest: Any) -> None:
        if reqId in self._futures:
            # The library would call the request complete; a snapshot that failed is not an empty one.
            self._endReq(reqId, ConnectionError(f"{errorCode} {errorString}"), success=False)
        self.listener.on_error(reqId, errorCode, errorString)


class CountingClient(Client):  # type: ignore[misc]
    """Counts every message to the socket. Our own pacing stands before it, so the library's throttle is off."""

    MaxRequests = 0
    count: Callable[[], None]

    def sendMsg(self, msg: str) -> None:
        super().sendMsg(msg)
        self.count()


def hearing_ib(listener: Listener, count: Callable[[], None]) -> IB:
    """An IB whose wrapper tells `listener`. The client is made anew, as its decoder binds the wrapper's methods."""
    ib = IB()
    ib.wrapper = HearingWrapper(ib)
    ib.wrapper.listener = listener
    ib.client = CountingClient(ib.wrapper)
    ib.client.count = count
    ib.client.apiEnd += ib.disconnectedEvent
    return ib
