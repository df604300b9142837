"""A kill that the gateway does not carry out, on a real socket: no storm, a person is told, and it is carried out."""

from __future__ import annotations

import time
from typing import Any

import pytest

from connectors.ibkr import open_orders, sender
from contracts.orders import OrderState, SessionState
from tests.faults.desk_harness import MiniDesk, mini_desk
from tests.faults.test_kill import kill, work

pytestmark = pytest.mark.slow

AGAIN_S = 2.0
"""What is ten seconds otherwise."""


@pytest.fixture(autouse=True)
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (open_orders, "CANCEL_AGAIN_S"),
        (open_orders, "LIFE_S"),
        (sender, "CANCEL_AGAIN_S"),
        (sender, "CARRIED_OUT_S"),
    ):
        monkeypatch.setattr(module, name, AGAIN_S)


def snapshots(desk: MiniDesk) -> int:
    return desk.epoch_states.count(SessionState.READY)


def told(desk: MiniDesk) -> list[str]:
    return [alert.text for _, alert in desk.alerts if alert.code == "KILL_NOT_CARRIED_OUT"]


@pytest.mark.parametrize("mode", ["10147", "10148"])
async def test_a_kill_whose_cancel_is_refused_makes_no_storm_and_is_told_and_carried_out_when_it_can_be(
    mode: Any,
) -> None:
    async with mini_desk() as desk:
        [order] = await work(desk, 1)
        desk.gateway.arm("G12", rate=1.0, mode=mode)
        began, before = time.monotonic(), snapshots(desk)
        kill(desk, "instrument:SPY")
        await desk.until(lambda: told(desk), "the alert", 2 * AGAIN_S)
        await desk.until(lambda: snapshots(desk) >= before + 3, "two more snapshots", 4 * AGAIN_S)
        periods = (time.monotonic() - began) / AGAIN_S
        assert snapshots(desk) - before <= periods + 2
        assert desk.gateway.hits("G12") <= periods + 2
        assert len(told(desk)) == 1
        assert order in told(desk)[0]
        desk.gateway.gateway.panel.clear("G12")  # the exchange has opened
        await desk.until(lambda: desk.order(order).state is OrderState.CANCELLED, "the cancel", 3 * AGAIN_S)
        await desk.settled()


async def test_a_cancel_that_the_gateway_swallows_is_written_again_however_old_the_order_is() -> None:
    async with mini_desk() as desk:
        [order] = await work(desk, 1)
        for _ in range(3):
            await desk.reconnected(lambda: setattr(desk.session, "_resync", "another order"))
        faults = desk.gateway.gateway.order_faults
        real, swallowed = faults.cancel, list[int]()

        def cancel(client_id: int, order_id: int) -> None:
            if len(swallowed) < 2:
                swallowed.append(order_id)
            else:
                real(client_id, order_id)

        faults.cancel = cancel  # type: ignore[method-assign]
        kill(desk, "instrument:SPY")
        deadline_s = open_orders.ANSWER_S + 5 * AGAIN_S
        await desk.until(lambda: desk.order(order).state is OrderState.CANCELLED, "the cancel", deadline_s)
        assert len(swallowed) == 2


async def test_an_unknown_order_whose_probe_gets_no_answer_is_looked_at_again_until_it_does() -> None:
    async with mini_desk() as desk:
        faults, asked = desk.gateway.gateway.order_faults, list[int]()
        real = faults.cancel
        faults.cancel = lambda client_id, order_id: asked.append(order_id)  # type: ignore[method-assign]
        desk.gateway.arm("G1", mode="dropped", count=1)
        intent = desk.intend("SPY")
        await desk.until(lambda: desk.order(intent) and desk.order(intent).state is OrderState.UNKNOWN, "UNKNOWN", 8.0)
        await desk.crash()
        before = len(asked)
        await desk.start()
        await desk.is_ready()
        assert not desk.session._ears.orders.working(), "the session itself has never heard of it"
        await desk.until(lambda: len(asked) >= before + 3, "three questions", 5 * AGAIN_S)
        assert desk.locks()
        faults.cancel = real  # type: ignore[method-assign]
        await desk.until(lambda: desk.order(intent).state is OrderState.CANCELLED, "the answer", 3 * AGAIN_S)
        assert not desk.locks()
