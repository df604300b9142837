"""The control: the same faults, a naive executor, and how often it goes wrong."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.faults.desk_harness import mini_desk
from tests.faults.naive import NaiveExecutor
from tests.gateway.gateway_harness import LocalGateway, local_gateway

pytestmark = pytest.mark.slow


FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("G1", {"mode": "accepted"}),
    ("G2", {"mode": "normal"}),
    ("G3", {"mode": "lost", "for_s": 2.0}),
    ("G4", {"mode": "reached"}),
    ("G22", {"mode": 10349}),
    ("G22", {"mode": 103}),
]


def wrong(gateway: LocalGateway, saved: dict[str, float]) -> Counter[str]:
    """What it got wrong, by kind, judged by the ledger."""
    ledger = gateway.ledger
    orders = Counter(order.order_ref for order in ledger.orders.values())
    bought: Counter[str] = Counter()
    for execution in ledger.executions:
        bought[execution.order_ref] += execution.lots
    return Counter(
        intents_with_two_orders=sum(count > 1 for count in orders.values()),
        intents_with_a_wrong_position=sum(saved.get(ref, 0) != lots for ref, lots in bought.items()),
    )


async def test_a_naive_executor_doubles_orders_and_loses_fills_under_the_same_faults() -> None:
    found: Counter[str] = Counter()
    for fault, options in FAULTS:
        async with local_gateway() as gateway:
            gateway.arm(fault, count=1, **options)
            naive = NaiveExecutor(gateway.port)
            for number in range(2):
                await naive.buy(f"{number:024x}", 10)
            naive.close()
            errors = wrong(gateway, naive.saved)
            print(f"{fault} {options}: {dict(errors)}")  # noqa: T201 - how often, for the reader
            found += errors
    assert found["intents_with_two_orders"] >= 4
    assert found["intents_with_a_wrong_position"] >= 4


@pytest.mark.parametrize(("fault", "options"), FAULTS, ids=lambda value: str(value).replace(" ", ""))
async def test_the_desk_has_one_order_and_equal_books_under_each_of_them(fault: Any, options: Any) -> None:
    async with mini_desk() as desk:
        desk.gateway.arm(fault, count=1, **options)
        desk.intend()
        await desk.until(lambda: desk.gateway.ledger.orders, "the order")
        await desk.settled()
        assert wrong(desk.gateway, dict.fromkeys(desk.decided, 10)) == Counter()
