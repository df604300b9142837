"""What the sender owes the gateway while the session is away."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from connectors.ibkr.pacing import Pacing
from connectors.ibkr.sender import Sender
from contracts.orders import SessionState


class Wire:
    """Keeps the cancels that were written."""

    def __init__(self) -> None:
        self.cancels: list[int] = []

    def cancelOrder(self, order_id: int, _time: str) -> None:  # noqa: N802 - the client library's name
        self.cancels.append(order_id)


async def test_a_cancel_asked_for_during_a_snapshot_is_sent_once_after_it() -> None:
    state, wire = [SessionState.SYNCING], Wire()
    ears: Any = SimpleNamespace(probed={})
    sender = Sender(wire, ears, Pacing(), lambda: state[0], lambda _key, _message: None)
    await sender.cancel(7, "a" * 24)
    assert wire.cancels == []
    state[0] = SessionState.READY
    await sender.pay()
    await sender.pay()
    assert wire.cancels == [7]
