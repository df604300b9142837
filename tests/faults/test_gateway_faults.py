"""G1 to G25: what gateways have done to people, on real sockets, judged by the gateway's ledger."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from ib_insync import IB

from connectors.gateway.faults import CATALOGUE
from connectors.ibkr.sender import contract_of
from contracts import topics as t
from contracts.instruments import INSTRUMENTS
from contracts.orders import CancelCommand, OrderState, SessionState
from tests.faults.desk_harness import MiniDesk, mini_desk
from tests.faults.test_kill import work

pytestmark = pytest.mark.slow


S = OrderState


async def trade(desk: MiniDesk, count: int = 3) -> list[str]:
    """A few orders, one after the other, each in a bucket of its own. One denied in a lost link is tried again."""
    intents: list[str] = []
    while len(intents) < count:
        await desk.is_ready()
        await desk.until(lambda: not desk.locks() and not desk.open_orders(), "the order's end")
        desk.mark()
        intent = desk.intend(side="SELL" if len(intents) % 2 else "BUY")
        await desk.until(lambda intent=intent: intent in desk.decided, "a decision")
        if desk.decided[intent]:
            intents.append(intent)
            await desk.until(lambda: not desk.locks() and not desk.open_orders(), "the order's end")
    return intents


STRIKES: list[tuple[str, dict[str, Any]]] = [
    ("G2", {"mode": "late"}),
    ("G2", {"mode": "early"}),
    ("G2", {"mode": "twice"}),
    ("G7", {"copies": 3}),
    ("G17", {"mode": "commission"}),
    ("G17", {"mode": "correction"}),
    ("G22", {"mode": 10349}),
    ("G22", {"mode": 321}),
    ("G22", {"mode": 103}),
    ("G22", {"mode": 10147}),
    ("G22", {"mode": 10148}),
    ("G3", {"mode": "lost", "data": "kept", "for_s": 0.5}),
    ("G3", {"mode": "lost", "data": "lost", "for_s": 0.5}),
    ("G3", {"mode": "sent", "data": "kept", "for_s": 0.5}),
]


@pytest.mark.parametrize(("fault", "options"), STRIKES, ids=lambda value: str(value).replace(" ", ""))
async def test_orders_end_and_the_books_are_equal_after(fault: Any, options: Any) -> None:
    async with mini_desk() as desk:
        desk.gateway.arm(fault, count=1, **options)
        intents = await trade(desk)
        await desk.settled()
        assert all(desk.order(intent).state is S.FILLED for intent in intents[1:])


async def test_g1_an_order_that_is_never_answered_is_asked_about_found_and_booked() -> None:
    async with mini_desk() as desk:
        desk.gateway.arm("G1", mode="accepted", count=1)
        desk.intend()
        await desk.until(lambda: len(desk.seen.executions) == 1, "its execution")
        await desk.settled()


async def test_g1_an_order_that_was_dropped_locks_its_instrument_until_the_gateway_denies_it() -> None:
    async with mini_desk() as desk:
        desk.gateway.arm("G1", mode="dropped", count=1)
        intent = desk.intend()
        await desk.until(lambda: S.UNKNOWN in desk.states.get(intent, []), "UNKNOWN")
        await desk.settled()
        assert desk.order(intent).state is S.CANCELLED
        assert [alert.code for _, alert in desk.alerts] == ["ORDER_UNKNOWN"]
        assert len(desk.gateway.ledger.orders) == 0
        await trade(desk, 1)


@pytest.mark.parametrize("mode", ["reached", "lost"])
async def test_g4_a_socket_that_dies_with_the_order_never_makes_two_of_it(mode: Any) -> None:
    async with mini_desk() as desk:
        desk.gateway.arm("G4", mode=mode, count=1)
        intent = desk.intend()
        await desk.until(lambda: desk.gateway.hits("G4") == 1, "the fault")
        await desk.settled()
        assert len(desk.gateway.ledger.orders) == (mode == "reached")
        assert desk.order(intent).state is (S.FILLED if mode == "reached" else S.CANCELLED)


async def test_g6_another_session_under_our_order_id_is_not_ours() -> None:
    async with mini_desk() as desk:
        [order] = await work(desk, 1)
        desk.gateway.arm("G6", count=1)
        await desk.reconnected(lambda: desk.gateway.arm("G10", mode="reset"))
        rows = desk.gateway.ledger.orders.values()
        assert sorted(row.order_id for row in rows) == [1000, 1000], "two clients' orders under one id"
        assert (desk.order(order).state, desk.locks()) == (S.ACKNOWLEDGED, {})
        desk.say(t.ORDER_COMMANDS, order, CancelCommand(intent_id=order, reason="test"))
        await desk.until(lambda: desk.order(order).state is S.CANCELLED, "the cancel of ours, and of ours alone")
        assert [row.client_id for row in desk.gateway.ledger.orders.values() if row.status != "Cancelled"] != [1]


@pytest.mark.parametrize("mode", ["busy", "slow", "mute"])
async def test_g8_a_gateway_that_is_hard_to_reach_is_reached_under_the_same_client_id(mode: Any) -> None:
    async with mini_desk() as desk:
        desk.gateway.arm("G8", mode=mode, count=1)
        await desk.reconnected(lambda: desk.gateway.arm("G10", mode="reset"))
        assert desk.gateway.hits("G8") == 1
        await trade(desk, 1)
        await desk.settled()
        assert {order.client_id for order in desk.gateway.ledger.orders.values()} == {1}


async def test_g9_flapping_farms_do_not_touch_the_order_session() -> None:
    async with mini_desk() as desk:
        desk.gateway.arm("G9", for_s=0.5, every_s=0.1)
        await trade(desk, 2)
        await desk.settled()
        assert desk.epoch_states.count(SessionState.READY) == 1


@pytest.mark.parametrize(
    "options", [{"mode": "reset"}, {"mode": "2fa", "for_s": 1.0}, {"mode": "unauthenticated", "for_s": 1.0}]
)
async def test_g10_after_a_reset_or_a_login_that_waited_the_session_is_ready_again(options: Any) -> None:
    async with mini_desk() as desk:
        await trade(desk, 1)
        await desk.reconnected(lambda: desk.gateway.arm("G10", **options))
        await trade(desk, 1)
        await desk.settled()


async def test_g11_a_rate_violation_ends_the_connection_and_not_the_desk() -> None:
    async with mini_desk() as desk:
        desk.gateway.arm("G11", mode="100", count=1)
        desk.intend()
        await desk.until(lambda: desk.gateway.hits("G11") == 1, "the fault")
        await desk.is_ready()
        await desk.settled()
        assert desk.session.health.pacing_violations == 1
        assert "100" in [alert.code for _, alert in desk.alerts]


@pytest.mark.parametrize("mode", ["201", "203", "321", "revive"])
async def test_g13_an_order_refused_after_it_was_accepted_is_over_and_does_not_revive_unseen(mode: Any) -> None:
    async with mini_desk() as desk:
        desk.gateway.arm("G13", mode=mode, count=1)
        [order] = await work(desk, 1)
        await desk.until(lambda: desk.gateway.hits("G13") == 1, "the refusal")
        await desk.settled()
        assert S.REJECTED in desk.states[order]
        assert not desk.gateway.gateway.broker.open


@pytest.mark.parametrize("options", [{"mode": "late", "delay_s": 1.0}, {"mode": "partial"}, {"mode": "unended"}])
async def test_g14_positions_that_are_late_cut_or_endless_are_not_taken_for_flat(options: Any) -> None:
    async with mini_desk(copy=True) as desk:
        await trade(desk, 1)
        desk.gateway.arm("G14", count=1, **options)
        await desk.reconnected(lambda: desk.gateway.arm("G10", mode="reset"))
        await desk.until(lambda: not desk.locks(), "the end of all doubts")
        assert desk.position("SPY") == 10
        await trade(desk, 1)
        await desk.settled()


async def test_g16_a_position_changed_by_hand_locks_alerts_and_shows_both_sides_within_five_seconds() -> None:
    async with mini_desk(copy=True) as desk:
        await trade(desk, 1)
        began = asyncio.get_running_loop().time()
        desk.gateway.arm("G16", mode="position", symbol="SPY", side="SELL", lots=3)
        await desk.until(lambda: "break" in desk.locks(), "the lock", 5.0)
        assert asyncio.get_running_loop().time() - began < 5.0
        assert desk.locks()["break"].startswith("ours 10, broker's 7")
        assert "POSITION_BREAK" in [alert.code for _, alert in desk.alerts]
        desk.gateway.arm("G16", mode="position", symbol="SPY", side="BUY", lots=3)
        await desk.until(lambda: not desk.locks(), "the end of the break by evidence", 6.0)


@pytest.mark.parametrize("mode", ["order", "cancel"])
async def test_g16_a_hand_at_the_terminal_is_neither_our_order_nor_missed(mode: Any) -> None:
    async with mini_desk(copy=True) as desk:
        [order] = await work(desk, 1)
        desk.gateway.arm("G16", mode=mode, symbol="SPY", side="BUY", lots=3)
        if mode == "cancel":
            await desk.until(lambda: desk.order(order).state is S.CANCELLED, "the cancel from outside")
            await desk.settled()
        else:
            await desk.until(lambda: "break" in desk.locks(), "the lock", 5.0)
            assert desk.locks()["break"].startswith("ours 0, broker's 3")
            assert desk.order(order).state is S.ACKNOWLEDGED


async def test_g15_nobody_waits_for_contract_details() -> None:
    """The desk knows its instruments by their contract ids; a program that asks is left without an answer."""
    async with mini_desk(copy=True) as desk:
        desk.gateway.arm("G15", rate=1.0)
        await desk.reconnected(lambda: desk.gateway.arm("G10", mode="reset"))
        await trade(desk, 2)
        await desk.settled()
        assert desk.gateway.hits("G15") == 0
        other = IB()
        await other.connectAsync("127.0.0.1", desk.gateway.port, clientId=9)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(other.reqContractDetailsAsync(contract_of(INSTRUMENTS["SPY"])), 0.3)
        assert desk.gateway.hits("G15") == 1
        other.disconnect()


async def test_g18_a_competing_session_takes_the_quotes_and_the_orders_go_on() -> None:
    async with mini_desk() as desk:
        client = desk.session._ib.client
        client.reqMktData(800_000_001, contract_of(INSTRUMENTS["SPY"]), "", False, False, [])
        subscriptions = desk.gateway.gateway.sessions[1].subscriptions
        await desk.until(lambda: ("quotes", 800_000_001) in subscriptions, "quotes over the session's socket")
        desk.gateway.arm("G18", mode="competing", for_s=0.5)
        await desk.until(lambda: "10197" in [alert.code for _, alert in desk.alerts], "the alert", 5.0)
        await trade(desk, 2)
        await desk.settled()
        assert desk.epoch_states.count(SessionState.READY) == 1


async def test_g18_ids_that_jump_do_not_stop_orders() -> None:
    async with mini_desk() as desk:
        desk.gateway.arm("G18", mode="ids", ids=1000)
        await trade(desk, 2)
        await desk.settled()


async def test_g20_executions_that_the_gateway_lists_no_more_stay_in_our_books() -> None:
    async with mini_desk() as desk:
        await trade(desk, 2)
        desk.gateway.arm("G20")
        await desk.reconnected(lambda: desk.gateway.arm("G10", mode="reset"))
        await desk.settled()
        assert not desk.locks()


async def test_g21_ids_that_roll_back_are_not_issued_again() -> None:
    async with mini_desk() as desk:
        await trade(desk, 3)
        await desk.reconnected(lambda: desk.gateway.arm("G21", ids=2))
        await trade(desk, 2)
        await desk.settled()
        ids = [order.order_id for order in desk.gateway.ledger.orders.values()]
        assert len(ids) == len(set(ids)) == 5


async def test_g24_a_half_open_socket_is_found_by_its_silence() -> None:
    async with mini_desk() as desk:
        desk.gateway.arm("G24", for_s=8.0)
        await desk.until(lambda: not desk.ready, "the loss of the session", 8.0)
        await desk.is_ready()
        await trade(desk, 1)
        await desk.settled()


async def test_g25_a_snapshot_that_times_out_is_not_taken_for_an_empty_one() -> None:
    async with mini_desk() as desk:
        await trade(desk, 1)
        desk.gateway.arm("G25", delay_s=5.0, count=1)
        await desk.reconnected(lambda: desk.gateway.arm("G10", mode="reset"))
        assert desk.epoch_states.count(SessionState.READY) == 2
        assert desk.epoch_states.count(SessionState.SYNCING) == 3, "the snapshot that was late did not count"
        await desk.settled()


def test_every_fault_of_the_catalogue_is_played_against_the_desk() -> None:
    """Those that are armed have to happen, or the desk of the harness says so at its end."""
    texts = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py")]
    played = {fault for text in texts for fault in re.findall(r'(?:arm\(|^    \()"(G\d+)"', text, flags=re.MULTILINE)}
    assert sorted(CATALOGUE) == sorted(f"G{number}" for number in range(1, 26))
    assert sorted(CATALOGUE.keys() - played) == []
