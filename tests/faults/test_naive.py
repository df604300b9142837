"""The control: the same faults, a naive executor, and how often it goes wrong."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

import pytest

from tests.faults.desk_harness import mini_desk
from tests.faults.naive import NaiveExecutor
from tests.gateway.gateway_harness import LocalGateway, local_gateway, until

pytestmark = pytest.mark.slow


FAULTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("G1", {"mode": "accepted"}, {}),
    ("G2", {"mode": "normal"}, {}),
    ("G3", {"mode": "lost", "for_s": 2.0}, {}),
    ("G4", {"mode": "reached"}, {}),
    # An order that is still on its way to the market when the error comes.
    ("G22", {"mode": 10349}, {"entry_s": 0.2}),
    ("G22", {"mode": 103}, {"entry_s": 0.2}),
]
"""(fault, its options, settings of the gateway)."""

INTENTS = 3


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


def all_filled(gateway: LocalGateway) -> bool:
    return all(row.status == "Filled" for row in gateway.ledger.orders.values())


async def test_a_naive_executor_doubles_orders_and_loses_fills_under_the_same_faults() -> None:
    found: Counter[str] = Counter()
    for fault, options, settings in FAULTS:
        async with local_gateway(**settings) as gateway:
            naive = NaiveExecutor(gateway.port)
            for number in range(INTENTS):
                gateway.arm(fault, count=1, **options)
                await naive.buy(f"{number:024x}", 10)
            naive.close()
            await until(functools.partial(all_filled, gateway))
            errors = wrong(gateway, naive.saved)
            print(f"{fault} {options}: of {INTENTS} intents {dict(errors)}")  # noqa: T201 - how often, for the reader
            assert errors.total(), f"the naive executor survives {fault} {options}: the fault is none, or not played"
            found += errors
    total = INTENTS * len(FAULTS)
    print(f"all: of {total} intents {dict(found)}")  # noqa: T201
    assert found["intents_with_two_orders"] >= total // 2
    assert found["intents_with_a_wrong_position"] >= total // 2


@pytest.mark.parametrize(("fault", "options", "settings"), FAULTS, ids=lambda value: str(value).replace(" ", ""))
async def test_the_desk_has_one_order_and_equal_books_under_each_of_them(
    fault: Any, options: Any, settings: Any
) -> None:
    async with mini_desk(**settings) as desk:
        for _ in range(INTENTS):
            await desk.until(lambda: desk.ready and not desk.open_orders() and not desk.locks(), "a free instrument")
            desk.gateway.arm(fault, count=1, **options)
            desk.mark()
            intent = desk.intend(lots=10)
            await desk.until(lambda intent=intent: intent in desk.decided, "a decision")
            assert desk.decided[intent], desk.seen.denied
            await desk.until(lambda: not desk.open_orders(), "its end")
        await desk.settled()
        assert wrong(desk.gateway, dict.fromkeys(desk.decided, 10)) == Counter()
        assert desk.judge() == []
        assert len(desk.gateway.ledger.orders) == INTENTS
