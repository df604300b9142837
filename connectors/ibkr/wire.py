"""ib_insync with ears: what the gateway said, before the library makes sense of it.

ib_insync marks an order as cancelled on any error that carries its id, while the gateway may fill it. The desk's truth
is therefore the raw messages: orderStatus, openOrder, completedOrder, execDetails, commissionReport, position.
"""

from __future__ import annotations

from typing import Any, Protocol

from ib_insync import IB, Client, Wrapper


class Listener(Protocol):
    """Hears raw messages, in wire order."""

    def on_order_status(self, order_id: int, perm_id: int, client_id: int, status: str) -> None: ...
    def on_open_order(self, order: Any) -> None: ...
    def on_completed_order(self, order: Any, state: Any) -> None: ...
    def on_execution(self, contract: Any, execution: Any) -> None: ...
    def on_commission(self, report: Any) -> None: ...
    def on_position(self, contract: Any, position: float) -> None: ...
    def on_error(self, request_id: int, code: int, text: str) -> None: ...


class HearingWrapper(Wrapper):  # type: ignore[misc]
    """Passes each message on to the listener after the library has seen it."""

    listener: Listener

    def orderStatus(
        self,
        orderId: int,
        status: str,
        filled: float,
        *rest: Any,
    ) -> None:
        super().orderStatus(orderId, status, filled, *rest)
        _remaining, _average, perm_id, _parent, _last, client_id = rest[:6]
        self.listener.on_order_status(orderId, perm_id, client_id, status)

    def openOrder(self, orderId: int, contract: Any, order: Any, orderState: Any) -> None:
        super().openOrder(orderId, contract, order, orderState)
        self.listener.on_open_order(order)

    def completedOrder(self, contract: Any, order: Any, orderState: Any) -> None:
        super().completedOrder(contract, order, orderState)
        self.listener.on_completed_order(order, orderState)

    def execDetails(self, reqId: int, contract: Any, execution: Any) -> None:
        super().execDetails(reqId, contract, execution)
        self.listener.on_execution(contract, execution)

    def commissionReport(self, commissionReport: Any) -> None:
        super().commissionReport(commissionReport)
        self.listener.on_commission(commissionReport)

    def position(self, account: str, contract: Any, posSize: float, avgCost: float) -> None:
        super().position(account, contract, posSize, avgCost)
        self.listener.on_position(contract, posSize)

    def error(self, reqId: int, errorCode: int, errorString: str, *rest: Any) -> None:
        super().error(reqId, errorCode, errorString, *rest)
        self.listener.on_error(reqId, errorCode, errorString)


def hearing_ib(listener: Listener) -> IB:
    """An IB whose wrapper tells `listener`. The client is made anew, as its decoder binds the wrapper's methods."""
    ib = IB()
    ib.wrapper = HearingWrapper(ib)
    ib.wrapper.listener = listener
    ib.client = Client(ib.wrapper)
    ib.client.apiEnd += ib.disconnectedEvent
    return ib
