"""What an operator types does that and no more, and its status says whether it was done; no gateway, no Kafka."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ib_insync import IB, LimitOrder

from app import kill, killfile, operators
from app.control import SLIP
from app.killfile import Kill
from connectors.ibkr import emergency
from connectors.ibkr.sender import contract_of
from connectors.ibkr.session import Address
from contracts.controls import KillCommand, ResetCommand, ResolveCommand
from contracts.instruments import INSTRUMENTS
from tests.faults.test_kill_command import settings
from tests.gateway.gateway_harness import local_gateway, until

INTENT = "a" * 24


def kafka(monkeypatch: pytest.MonkeyPatch, takes: bool) -> list[Any]:
    """A control topic that takes every command, or none; the commands."""
    said: list[Any] = []

    async def control(_settings: Any, command: Any) -> bool:
        said.append(command)
        return takes

    monkeypatch.setattr(kill, "_control", control)
    monkeypatch.setattr(operators, "send", control)
    return said


@pytest.mark.parametrize("order", [Kill("nonsense", "Ada", "a test"), Kill("account", "", "a test")])
def test_a_kill_that_is_none_stops_nothing_and_leaves_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: Kill
) -> None:
    said = kafka(monkeypatch, takes=True)
    assert (kill.kill(settings(tmp_path), order), said, killfile.read(tmp_path)) == (SLIP, [], [])


@pytest.mark.parametrize("flatten", [True, False])
def test_a_kill_of_a_part_flattens_only_if_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flatten: bool
) -> None:
    said = kafka(monkeypatch, takes=True)
    order = Kill("strategy:ofi", "Ada", "a test", flatten=flatten)
    assert kill.kill(settings(tmp_path), order) == 1, "without a gateway nobody knows whether it has happened"
    wanted = [("strategy:ofi", False), ("strategy:ofi", True)][: 1 + flatten]
    assert [(one.scope, one.flatten) for one in said] == wanted
    assert [(one.scope, one.flatten) for one in killfile.read(tmp_path)] == wanted


def test_a_kill_that_one_way_alone_has_taken_is_not_called_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = kafka(monkeypatch, takes=True)
    status = kill.kill(settings(Path("/proc/flowgate")), Kill("strategy:ofi", "Ada", "a test"))
    assert (status, [type(one) for one in said]) == (1, [KillCommand])
    kafka(monkeypatch, takes=False)
    assert kill.kill(settings(tmp_path), Kill("strategy:ofi", "Ada", "a test")) == 1


@pytest.mark.parametrize("scope", ["account", "strategy:ofi"])
def test_a_rollback_disconnects_with_the_whole_account_and_lets_no_flatten_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: str
) -> None:
    kafka(monkeypatch, takes=True)
    assert kill.kill(settings(tmp_path), Kill(scope, "Ada", "a rehearsal", disconnect=True)) == 1
    lines = [(line.flatten, line.disconnect) for line in killfile.read(tmp_path)]
    assert lines == ([(False, False), (False, True)] if scope == "account" else [(False, False)])


async def test_a_rollback_of_which_every_step_was_done_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kafka(monkeypatch, takes=True)
    async with local_gateway() as local:
        order = Kill("account", "Ada", "a rehearsal", flatten=True, disconnect=True)
        assert await kill._kill(settings(tmp_path, local.port), order) == 0
        assert await kill._kill(settings(Path("/proc/flowgate"), local.port), order) == 1


async def test_a_kill_that_leaves_a_position_open_has_the_status_of_something_left_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka(monkeypatch, takes=False)
    monkeypatch.setattr(kill, "FLATTEN_S", 0.1)
    async with local_gateway() as local:
        trader = IB()
        await trader.connectAsync("127.0.0.1", local.port, clientId=7)
        trader.placeOrder(contract_of(INSTRUMENTS["SPY"]), LimitOrder("BUY", 10, 100.01))
        await until(lambda: local.gateway.broker.executions)
        local.gateway.broker.books["SPY"].halted = True
        assert await kill._kill(settings(tmp_path, local.port), Kill("account", "Ada", "a test", flatten=True)) == 1
        assert await kill._kill(settings(tmp_path, local.port), Kill("account", "Ada", "a test")) == 0
        trader.disconnect()


def test_a_reset_lifts_its_scope_once_it_is_recorded_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = settings(tmp_path)
    for scope in ("account", "strategy:ofi"):
        killfile.add(tmp_path, Kill(scope, "Ada", "a test"))
    kafka(monkeypatch, takes=False)
    assert operators.reset(ours, "account", "Bo", "looked at") == 1
    assert len(killfile.read(tmp_path)) == 2
    said = kafka(monkeypatch, takes=True)
    assert operators.reset(ours, "nonsense", "Bo", "looked at") == SLIP
    assert said == []
    assert operators.reset(ours, "account", "Bo", "looked at") == 0
    assert [(type(one), one.scope) for one in said] == [(ResetCommand, "account")]
    assert [one.scope for one in killfile.read(tmp_path)] == ["strategy:ofi"]


def test_a_resolve_is_done_when_it_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = settings(tmp_path)
    kafka(monkeypatch, takes=False)
    assert operators.resolve(ours, INTENT, None, "Bo", "by telephone", cash=False) == 1
    said = kafka(monkeypatch, takes=True)
    assert operators.resolve(ours, "nonsense", None, "Bo", "by telephone", cash=False) == SLIP
    assert said == []
    assert operators.resolve(ours, INTENT, None, "Bo", "by telephone", cash=False) == 0
    assert [(type(one), one.intent_id) for one in said] == [(ResolveCommand, INTENT)]


# ---- straight at the gateway


async def test_the_emergency_connection_is_under_the_guard_of_the_account() -> None:
    async with local_gateway() as local:
        with pytest.raises(emergency.EmergencyError, match="port"):
            async with emergency.connection(Address("127.0.0.1", local.port, 9, simulated=False)):
                pytest.fail("a port that is no paper port was let through")
    with pytest.raises(emergency.EmergencyError, match="no gateway at"):
        async with emergency.connection(Address("127.0.0.1", 1, 9, simulated=True)):
            pytest.fail("there is no gateway")


async def test_the_emergency_sees_what_is_held_now_and_leaves_no_connection_behind() -> None:
    async with local_gateway() as local:
        trader = IB()
        await trader.connectAsync("127.0.0.1", local.port, clientId=7)
        async with emergency.connection(Address("127.0.0.1", local.port, 9, simulated=True)) as ib:
            for side, price, held in (("BUY", "100.01", {"SPY": 10.0}), ("SELL", "100.00", {})):
                done = len(local.gateway.broker.executions)
                trader.placeOrder(contract_of(INSTRUMENTS["SPY"]), LimitOrder(side, 10, float(Decimal(price))))
                await until(lambda done=done: len(local.gateway.broker.executions) > done)  # type: ignore[misc]
                assert await emergency.positions(ib) == held
            before, left, took_ms = await emergency.cancel_all(ib, 1.0)
            assert (before, left, 0.0 < took_ms < 1e3) == (0, 0, True)
        assert not ib.isConnected()
        trader.disconnect()


@pytest.mark.parametrize(("side", "price"), [("BUY", 100.01), ("SELL", 100.00)])
@pytest.mark.parametrize("units", [1, 10])
async def test_the_emergency_closes_a_position_on_its_other_side_and_by_its_size(
    side: str, price: float, units: int
) -> None:
    async with local_gateway() as local:
        trader = IB()
        await trader.connectAsync("127.0.0.1", local.port, clientId=7)
        trader.placeOrder(contract_of(INSTRUMENTS["SPY"]), LimitOrder(side, units, price))
        await until(lambda: local.gateway.broker.executions)
        async with emergency.connection(Address("127.0.0.1", local.port, 9, simulated=True)) as ib:
            assert await emergency.flatten(ib, 2.0) == {}
        assert [execution.lots for execution in local.gateway.broker.executions] == [units, units]
        trader.disconnect()


def test_a_position_outside_the_catalogue_is_named_so_that_a_person_finds_it() -> None:
    assert emergency._name(SimpleNamespace(conId=1, symbol="XYZ")) == "XYZ (conId 1, not in the catalogue)"
