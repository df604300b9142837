"""A kill of a part is the worker's: the command says what the gateway shows of it, and no slip is a success."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app import kill, killfile, operators
from app.broker import obey
from app.control import SLIP
from app.killfile import Kill
from tests.faults.desk_harness import mini_desk
from tests.faults.test_kill import work
from tests.faults.test_kill_command import holding, kafka_takes, run, settings
from tests.faults.test_one_hand import quotes

pytestmark = pytest.mark.slow


async def test_a_kill_of_a_part_succeeds_when_the_gateway_shows_that_it_did(tmp_path: Path, capsys: Any) -> None:
    async with mini_desk() as desk:
        watch = asyncio.create_task(obey(desk.session, tmp_path))
        orders = await work(desk, 3)
        assert await run(settings(tmp_path, desk.gateway.port), f"order:{orders[0]}") == 0
        assert await run(settings(tmp_path, desk.gateway.port), "instrument:QQQ") == 0
        states = [order.status for order in desk.gateway.ledger.orders.values()]
        assert states == ["Cancelled", "Cancelled", "Submitted"]
        assert await run(settings(tmp_path, desk.gateway.port), "strategy:ofi") == 0
        watch.cancel()
    assert "at the gateway 0 orders are open that instrument:QQQ may cover" in capsys.readouterr().out


@pytest.mark.parametrize("scope", ["instrument:SPY", "strategy:ofi", "order"])
async def test_a_kill_of_a_part_that_no_worker_carries_out_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, scope: str
) -> None:
    monkeypatch.setattr(kill, "CANCEL_S", 0.5)
    async with mini_desk() as desk:
        [order] = await work(desk, 1)
        await desk.crash()
        kafka_takes(monkeypatch)
        scope = scope if scope != "order" else f"order:{order}"
        assert await run(settings(tmp_path, desk.gateway.port), scope) == 1
    assert f"not confirmed that {scope} is stopped" in capsys.readouterr().err


async def test_a_kill_of_an_order_that_the_gateway_never_saw_is_no_success(tmp_path: Path, capsys: Any) -> None:
    async with mini_desk() as desk:
        assert await run(settings(tmp_path, desk.gateway.port), f"order:{'a' * 24}") == 1
    assert "the gateway knows no order" in capsys.readouterr().err


async def test_a_part_whose_position_the_desk_does_not_close_in_time_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(kill, "FLATTEN_S", 0.5)
    async with mini_desk() as desk:
        await holding(desk)
        kafka_takes(monkeypatch, desk)
        assert await run(settings(tmp_path, desk.gateway.port), "instrument:SPY", flatten=True) == 1
        assert "the desk goes on closing it" in capsys.readouterr().err
        monkeypatch.setattr(kill, "FLATTEN_S", 10.0)
        moving = asyncio.create_task(quotes(desk))
        assert await run(settings(tmp_path, desk.gateway.port), "instrument:SPY", flatten=True) == 0
        moving.cancel()
        assert desk.gateway.ledger.positions == {}


@pytest.mark.parametrize("scope", ["instrument:SPX", "strategy:OFI", "strategy:ofi ", "instrument:spy", "Account"])
async def test_a_scope_that_names_nothing_is_a_slip_and_no_kill(tmp_path: Path, scope: str, capsys: Any) -> None:
    order = Kill(scope, "Ada", "a rehearsal")
    assert await asyncio.to_thread(kill.kill, settings(tmp_path), order, ("ofi",)) == SLIP
    assert operators.reset(settings(tmp_path), scope, "Ada", "a rehearsal", ("ofi",)) == SLIP
    assert not (tmp_path / killfile.NAME).exists()
    assert capsys.readouterr().err.count("\n") == 2


async def test_a_resolve_is_not_said_to_be_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    async def takes(_settings: Any, _command: Any) -> bool:
        return True

    monkeypatch.setattr(operators, "send", takes)
    for intent_id, instrument, cash in (("a" * 24, None, False), (None, "SPY", False), (None, None, True)):
        done = await asyncio.to_thread(
            operators.resolve, settings(tmp_path), intent_id, instrument, "Ada", "a rehearsal", cash=cash
        )
        assert done == 0
        assert "not yet done: the desk takes it only if" in capsys.readouterr().out
