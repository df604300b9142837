"""An order that rests ends by itself when nobody is there any more to end it (C13)."""

from __future__ import annotations

import time

import pytest

from connectors.ibkr import sender
from contracts.orders import OrderState
from tests.faults.desk_harness import mini_desk
from tests.faults.test_kill import work

pytestmark = pytest.mark.slow


async def test_an_order_that_rests_dies_at_the_broker_when_the_desk_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sender.REST_S == 300.0
    monkeypatch.setattr(sender, "REST_S", 2.0)
    async with mini_desk() as desk:
        [intent] = await work(desk, 1)
        await desk.crash()
        (row,) = [order for order in desk.gateway.ledger.orders.values() if order.order_ref == intent]
        placed_s = time.monotonic()
        assert row.status == "Submitted"
        await desk.until(lambda: desk.gateway.ledger.orders[row.perm_id].status == "Cancelled", "its end", 5.0)
        assert time.monotonic() - placed_s < 4.0
        assert desk.order(intent).state is OrderState.ACKNOWLEDGED, "nobody has told the desk"
