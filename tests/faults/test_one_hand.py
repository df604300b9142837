"""A flatten is done by one hand at a time: the desk, or one command; never beside open orders."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app import kill, killfile
from connectors.ibkr import emergency
from connectors.ibkr.session import Address
from tests.faults.desk_harness import MiniDesk, mini_desk
from tests.faults.test_kill import work
from tests.faults.test_kill_command import holding, holding_desk, kafka_takes, run, settings, unwritable

pytestmark = pytest.mark.slow


async def quotes(desk: MiniDesk) -> None:
    """A market that moves, until cancelled."""
    while True:
        known = len(desk.log)
        desk.mark()
        await desk.until(lambda known=known: len(desk.log) > known and not desk.queue, "the quotes")


async def test_a_second_kill_with_flatten_does_not_turn_what_the_first_one_closed_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The desk's books still have the position: asked to flatten, it would sell what is not there."""
    monkeypatch.setattr(kill, "FLATTEN_S", 1.0)
    async with holding_desk(tmp_path, monkeypatch) as (desk, taken):
        assert await run(settings(tmp_path, desk.gateway.port), flatten=True) == 0
        assert desk.position("SPY") == 10, "the desk does not know"
        moving = asyncio.create_task(quotes(desk))
        for scope in ("account", "instrument:SPY"):
            assert await run(settings(tmp_path, desk.gateway.port), scope, flatten=True) == 0
        assert [command.flatten for command in taken] == [False, True, False, False, False]
        moving.cancel()
        assert (desk.gateway.ledger.positions, len(desk.gateway.ledger.orders)) == ({}, 2)
    assert "nothing of the catalogue is held, so nothing is closed" in capsys.readouterr().out


async def test_what_is_left_after_a_close_by_hand_is_not_left_to_a_desk_that_holds_more_in_its_books(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill, "FLATTEN_S", 1.0)
    async with holding_desk(tmp_path, monkeypatch) as (desk, taken):
        assert await run(settings(tmp_path, desk.gateway.port), flatten=True) == 0
        desk.gateway.arm("G16", mode="position", symbol="SPY", lots=4)
        moving = asyncio.create_task(quotes(desk))
        assert await run(settings(tmp_path, desk.gateway.port), "instrument:SPY", flatten=True) == 1
        assert await run(settings(tmp_path, desk.gateway.port), flatten=True) == 0
        assert not any(command.flatten for command in taken[2:])
        moving.cancel()
        assert desk.gateway.ledger.positions == {}


@pytest.mark.parametrize("rollback", [False, True])
async def test_a_kill_beside_another_one_closes_nothing_asks_nobody_to_and_ends_no_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, rollback: bool
) -> None:
    async with mini_desk() as desk:
        await holding(desk)
        taken = kafka_takes(monkeypatch, desk)
        async with emergency.connection(Address("127.0.0.1", desk.gateway.port, 9, simulated=True)):
            assert await run(settings(tmp_path, desk.gateway.port), flatten=True, disconnect=rollback) == 1
        assert [command.flatten for command in taken] == [False]
        assert not any(one.flatten or one.disconnect for one in killfile.read(tmp_path))
        assert desk.gateway.ledger.positions == {"SPY": 10}
    assert "another kill is at work" in capsys.readouterr().err


@pytest.mark.parametrize("kafka", [False, True])
async def test_positions_are_not_closed_by_hand_beside_an_order_that_may_still_fill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, kafka: bool
) -> None:
    """The order closes the position; together with a close by hand it would open the opposite."""
    monkeypatch.setattr(kill, "FLATTEN_S", 0.5)
    monkeypatch.setattr(kill, "CANCEL_S", 0.5)
    async with mini_desk() as desk:
        await holding(desk)
        await work(desk, 1, side="SELL", quantity_lots=10, limit_price=Decimal("100.05"))
        await desk.crash()
        monkeypatch.setattr(desk.gateway.gateway.broker, "cancel_all", lambda _now: None)
        if kafka:
            kafka_takes(monkeypatch)
        assert await run(settings(tmp_path, desk.gateway.port), flatten=True) == 1
        assert desk.gateway.ledger.positions == {"SPY": 10}
    assert "1 orders are still open, so positions are not closed by hand" in capsys.readouterr().err


async def test_nothing_is_closed_by_hand_while_nothing_blocks_the_desk(tmp_path: Path, capsys: Any) -> None:
    async with mini_desk() as desk:
        await holding(desk)
        assert await run(settings(unwritable(tmp_path, "full disk"), desk.gateway.port), flatten=True) == 1
        assert desk.gateway.ledger.positions == {"SPY": 10}
    assert "nothing blocks the desk's orders, so positions are not closed by hand" in capsys.readouterr().err


async def test_a_desk_that_is_to_flatten_is_not_told_to_disconnect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The rollback cannot see the gateway, the desk may: cut off, it would keep its positions."""
    taken = kafka_takes(monkeypatch)
    assert await run(settings(tmp_path), flatten=True, disconnect=True) == 1
    assert taken[-1].flatten
    assert not any(one.disconnect for one in killfile.read(tmp_path))
    assert "not told to disconnect, as the desk is to flatten" in capsys.readouterr().err
