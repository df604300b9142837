"""The account as the broker reports it, compared with the fold of its executions at each snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.spec import Out, Record
from contracts.controls import GateEvidence
from contracts.orders import (
    AccountValue,
    BrokerAccount,
    BrokerExecution,
    BrokerPosition,
    SessionEvent,
    SessionState,
)
from contracts.topics import ACCOUNT_VALUES, GATE_EVIDENCE
from tables.rows import TableSpec


@dataclass(slots=True)
class AccountRow:
    """Broker's values and positions, and positions by our fold of its executions (in lots)."""

    account: str = ""
    net_liquidation: str = "0"
    cash: str = "0"
    session: SessionState = SessionState.DISCONNECTED
    broker_positions: dict[str, int] = field(default_factory=dict)
    own_positions: dict[str, int] = field(default_factory=dict)
    executions: list[str] = field(default_factory=list)
    breaks: list[str] = field(default_factory=list)


ACCOUNT = TableSpec("account", AccountRow, "broker's account values and positions beside our own, one row")


def key(message: Any) -> str | None:
    known = BrokerAccount | BrokerPosition | BrokerExecution | SessionEvent
    return "desk" if isinstance(message, known) else None


def step(state: AccountRow | None, record: Record) -> tuple[AccountRow, Sequence[Out]]:
    """One message of `broker_events`."""
    state = state or AccountRow()
    message = record.message
    match message:
        case BrokerAccount():
            state.account = message.account
            state.net_liquidation, state.cash = str(message.net_liquidation), str(message.cash)
            value = AccountValue(
                account=message.account,
                net_liquidation=message.net_liquidation,
                cash=message.cash,
                buying_power=message.buying_power,
                ts_ns=message.ts_ns,
            )
            return state, [Out(ACCOUNT_VALUES, message.account, value)]
        case BrokerPosition():
            state.broker_positions[message.instrument] = message.position_lots
        case BrokerExecution():
            _fold(state, message)
        case SessionEvent():
            return state, _session(state, message)
    return state, ()


def _fold(state: AccountRow, execution: BrokerExecution) -> None:
    stem = execution.exec_id.rpartition(".")[0]
    if stem not in state.executions:
        state.executions.append(stem)
        sign = 1 if execution.side == "BUY" else -1
        before = state.own_positions.get(execution.instrument, 0)
        state.own_positions[execution.instrument] = before + sign * execution.quantity_lots


def _session(state: AccountRow, session: SessionEvent) -> list[Out]:
    """A snapshot begins with SYNCING and is complete with READY; then both sides are compared."""
    state.session = session.state
    if session.state is SessionState.SYNCING:
        state.broker_positions = {}
    if session.state is not SessionState.READY:
        return []
    names = sorted(state.broker_positions.keys() | state.own_positions.keys())
    pairs = {name: (state.own_positions.get(name, 0), state.broker_positions.get(name, 0)) for name in names}
    state.breaks = [
        f"{name}: ours {ours}, broker's {theirs}" for name, (ours, theirs) in pairs.items() if ours != theirs
    ]
    evidence = GateEvidence(
        stage=5, name="execution.position_breaks", value=float(len(state.breaks)), ts_event_ns=session.ts_ns
    )
    return [Out(GATE_EVIDENCE, "5", evidence)]
