"""The command line's kill: each way is tried whatever became of the others, and the status says what is left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app import kill, killfile
from app.__main__ import main
from app.broker import obey
from app.killfile import Kill
from app.settings import SettingsError, load
from contracts import topics as t
from contracts.controls import KillCommand
from tests.faults.desk_harness import MiniDesk, mini_desk
from tests.faults.test_kill import work

pytestmark = pytest.mark.slow

NOBODY = 1
"""A port where nothing listens."""


def settings(folder: Path, port: int = NOBODY) -> Any:
    """Those of a desk whose Kafka is away."""
    gateway = SimpleNamespace(host="127.0.0.1", port=port, client_id=1, drop_copy_client_id=8, simulated=True)
    access = SimpleNamespace(options=lambda: {"bootstrap_servers": f"127.0.0.1:{NOBODY}"})
    return SimpleNamespace(data=folder, gateway=gateway, kafka=SimpleNamespace(access=access))


async def run(ours: Any, scope: str = "account", **options: bool) -> int:
    """The command as a person types it, with a loop and a connection of its own."""
    return await asyncio.to_thread(kill.kill, ours, Kill(scope, "Ada", "a rehearsal", **options))


def unwritable(folder: Path, how: str) -> Path:
    if how == "no folder":
        return Path("/proc/flowgate")
    (folder / killfile.NAME).symlink_to("/dev/full")
    return folder


async def holding(desk: MiniDesk) -> None:
    desk.intend(lots=10)
    await desk.until(lambda: desk.position("SPY") == 10, "a position")


@contextlib.asynccontextmanager
async def holding_desk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[MiniDesk, list[KillCommand]]]:
    """A desk that has a position and hears every kill, and what the control topic has taken."""
    async with mini_desk() as desk:
        watch = asyncio.create_task(obey(desk.session, folder))
        await holding(desk)
        try:
            yield desk, kafka_takes(monkeypatch, desk)
        finally:
            watch.cancel()


def kafka_takes(monkeypatch: pytest.MonkeyPatch, desk: MiniDesk | None = None) -> list[KillCommand]:
    """A control topic that takes every command; `desk` reads it, or nobody does. What it took."""
    taken: list[KillCommand] = []
    loop = asyncio.get_running_loop()

    async def control(_settings: Any, command: KillCommand) -> bool:
        taken.append(command)
        if desk is not None:
            loop.call_soon_threadsafe(desk.say, t.CONTROL, "switch", command)
        return True

    monkeypatch.setattr(kill, "_control", control)
    return taken


@pytest.mark.parametrize("how", ["no folder", "full disk"])
async def test_a_kill_file_that_cannot_be_written_keeps_no_kill_from_the_gateway(
    tmp_path: Path, how: str, capsys: Any
) -> None:
    async with mini_desk() as desk:
        await work(desk, 3)
        await desk.crash()
        status = await run(settings(unwritable(tmp_path, how), desk.gateway.port))
        assert {order.status for order in desk.gateway.ledger.orders.values()} == {"Cancelled"}
    assert status == 1
    said = capsys.readouterr()
    assert "global cancel: 3 orders were open, 0 are" in said.out
    assert "Kafka did not take the command" in said.out
    assert "cannot be written" in said.err
    assert "nothing blocks new orders" in said.err


async def test_a_kill_file_that_cannot_be_written_does_not_keep_the_control_topic_from_blocking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mini_desk() as desk:
        taken = kafka_takes(monkeypatch)
        assert await run(settings(unwritable(tmp_path, "full disk"), desk.gateway.port)) == 0
        assert [command.scope for command in taken] == ["account"]


async def test_a_kill_of_which_nothing_has_worked_has_a_status_of_its_own(tmp_path: Path, capsys: Any) -> None:
    for scope in ("account", "instrument:SPY"):
        assert await run(settings(unwritable(tmp_path, "no folder")), scope) == kill.NOTHING
        assert "NOTHING was stopped" in capsys.readouterr().err


async def test_what_the_desk_does_not_flatten_in_time_is_flattened_straight_at_the_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill, "FLATTEN_S", 1.0)
    async with mini_desk() as desk:
        await holding(desk)
        await desk.crash()
        kafka_takes(monkeypatch)
        assert await run(settings(tmp_path, desk.gateway.port), flatten=True) == 0
        assert desk.gateway.ledger.positions == {}


async def test_a_desk_that_wakes_after_its_positions_were_closed_by_hand_does_not_turn_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No quotes come, so it does not flatten in time; when they come its own books still have the position."""
    monkeypatch.setattr(kill, "FLATTEN_S", 1.0)
    async with holding_desk(tmp_path, monkeypatch) as (desk, taken):
        assert await run(settings(tmp_path, desk.gateway.port), flatten=True) == 0
        assert [command.flatten for command in taken] == [False, True, False]
        assert desk.gateway.ledger.positions == {}
        orders = len(desk.gateway.ledger.orders)
        for _ in range(3):
            known = len(desk.log)
            desk.mark()
            await desk.until(lambda known=known: len(desk.log) > known and not desk.queue, "the quotes")
        assert len(desk.gateway.ledger.orders) == orders


async def test_a_desk_that_flattens_in_time_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    async with holding_desk(tmp_path, monkeypatch) as (desk, taken):
        command = asyncio.create_task(run(settings(tmp_path, desk.gateway.port), flatten=True))
        while not command.done():
            desk.mark()
            await asyncio.wait({command}, timeout=0.1)
        assert command.result() == 0
        assert [one.flatten for one in taken] == [False, True]
        assert desk.gateway.ledger.positions == {}
    assert "flatten by the desk: left nothing" in capsys.readouterr().out


async def test_a_part_that_nobody_flattens_is_said_with_a_status(tmp_path: Path, capsys: Any) -> None:
    assert await run(settings(tmp_path), "instrument:SPY", flatten=True) == 1
    assert "not confirmed that instrument:SPY is stopped: no gateway" in capsys.readouterr().err
    async with mini_desk() as desk:
        assert await run(settings(tmp_path, desk.gateway.port), "instrument:SPY", flatten=True) == 1
        assert "nothing closes the positions of instrument:SPY" in capsys.readouterr().err
        assert await run(settings(tmp_path, desk.gateway.port), "instrument:SPY") == 0


async def test_a_rollback_without_a_gateway_ends_the_session_all_the_same(tmp_path: Path, capsys: Any) -> None:
    assert await run(settings(tmp_path), flatten=True, disconnect=True) == 1
    assert any(one.disconnect for one in killfile.read(tmp_path))
    assert "use TWS or telephone" in capsys.readouterr().err


def test_a_wrong_setting_of_something_else_does_not_keep_a_kill_from_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """A rollout has put a bad limit into the environment: that is when somebody kills."""
    values = {"DESK__LIMITS__ORDER_LOTS_MAX": "many", "WEB__PORT": "-1", "DESK__LIMITS__GATES_REQUIRED": "[9]"}
    values |= {"DATA": str(tmp_path), "KAFKA__BOOTSTRAP": f"127.0.0.1:{NOBODY}", "GATEWAY__PORT": str(NOBODY)}
    for name, value in values.items():
        monkeypatch.setenv(f"FLOWGATE_{name}", value)
    with pytest.raises(SettingsError, match="ORDER_LOTS_MAX"):
        load()
    assert main(["kill", "--scope", "strategy:ofi", "--operator", "Ada", "--reason", "a rehearsal"]) == 1
    assert [one.scope for one in killfile.read(tmp_path)] == ["strategy:ofi"]
    assert main(["reset", "--operator", "Ada", "--reason", "a rehearsal"]) == 1
    assert "a reset needs Kafka" in capsys.readouterr().err
