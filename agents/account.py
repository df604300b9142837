"""The account as the broker reports it, and both sides of every position: our fold of its executions, and its count.

The sides are compared as they were when a snapshot was complete, and at every drop copy, which comes over a connection
of its own. A drop copy counts once the trading session has shown itself alive after it: all executions from before it
are on the log then. While orders fill the two are apart for some milliseconds, so it opens a break only if the one
before it found the same difference; and as a fill in between can make them look equal, a break ends only with two drop
copies in a row that agree, or by a named operator. While it is open its instrument is locked. Drop copies that stay
away while the session is READY are an alert: nobody looks on any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal

from agents import ledger, traded
from agents.spec import UNCHANGED, Out, Record
from contracts.breaks import PositionBreak
from contracts.controls import EVIDENCE_MAX, Alert, GateEvidence, ResolveCommand, RiskEvent
from contracts.orders import (
    AccountValue,
    BrokerAccount,
    BrokerPosition,
    DropCopy,
    ExecutionReport,
    SessionEvent,
    SessionHealth,
    SessionState,
)
from contracts.topics import ACCOUNT_VALUES, ALERTS, BROKER_EVENTS, EXEC_REPORTS, GATE_EVIDENCE
from tables.rows import TableSpec

COPY_NS: Final = 10_000_000_000
"""A drop copy comes every 2 s; the connection that brings it is made anew within a few more."""

Source = Literal["snapshot", "drop_copy", "operator"]


@dataclass(slots=True)
class AccountRow:
    """Broker's values and positions, and positions by our fold of its executions (in lots).

    `complete` has the last epoch whose READY has come on each of the two topics, and `sides` the positions as of then;
    `copy` is a drop copy that waits for its session, `suspected` the differences that the last one found, `breaks` the
    open ones, `own_cash` our side of the cash, `trades` both sides of what was bought and sold. `copy_ns` is when
    the wait for the next drop copy began, by the clock of the session alone, 0 before its next word; `copy_away` is set
    once it was told that none comes.
    """

    account: str = ""
    net_liquidation: str = "0"
    cash: str = "0"
    session: SessionState = SessionState.DISCONNECTED
    broker_positions: dict[str, int] = field(default_factory=dict)
    own_positions: dict[str, int] = field(default_factory=dict)
    complete: dict[str, int] = field(default_factory=dict)
    sides: dict[str, dict[str, int]] = field(default_factory=dict)
    copy: DropCopy | None = None
    suspected: dict[str, str] = field(default_factory=dict)
    breaks: dict[str, str] = field(default_factory=dict)
    own_cash: ledger.CashLedger = field(default_factory=ledger.CashLedger)
    health: dict[str, float] = field(default_factory=dict)
    trades: traded.TradedLedger = field(default_factory=traded.TradedLedger)
    copy_ns: int = 0
    copy_away: bool = False


ACCOUNT = TableSpec("account", AccountRow, "broker's account values and positions beside our own, one row")


def key(message: Any) -> str | None:
    match message:
        case ExecutionReport():
            return "desk" if message.kind != "STATE" else None
        case ResolveCommand():
            return "desk" if message.instrument is not None or message.cash else None
        case BrokerAccount() | BrokerPosition() | DropCopy() | SessionEvent() | SessionHealth() | RiskEvent():
            return "desk"
    return None


def step(state: AccountRow | None, record: Record) -> tuple[AccountRow, Sequence[Out]]:
    """One message of `broker_events`, `exec_reports`, `risk_events` or `control`."""
    state = state or AccountRow()
    message = record.message
    match message:
        case BrokerAccount():
            return state, _values(state, message)
        case BrokerPosition():
            state.broker_positions[message.instrument] = message.position_lots
        case ExecutionReport():
            ledger.book(state.own_cash, message)
            traded.book(state.trades, message)
            lots = message.fill_lots - message.replaced_lots
            before = state.own_positions.get(message.instrument, 0)
            state.own_positions[message.instrument] = before + (lots if message.side == "BUY" else -lots)
        case SessionEvent():
            return state, _session(state, message, record.topic)
        case DropCopy():
            state.copy_ns, state.copy_away = 0, False
            state.copy = message if state.session is SessionState.READY else None
        case SessionHealth():
            state.health = {
                "execution.pacing_violations": float(message.pacing_violations),
                "execution.connection_failures": float(message.connection_failures),
                "execution.acknowledgement_ms_p95": message.acknowledgement_ms_p95 or 0.0,
            }
            copy, state.copy = state.copy, None
            outputs = _copies_stay_away(state, message)
            if copy is not None and message.state is SessionState.READY and _complete(state):
                outputs += _drop_copy(state, copy)
            return state, outputs
        case RiskEvent():
            return state, _evidence(state, message.ts_event_ns)
        case ResolveCommand() if message.cash:
            return state, ledger.resolve(state.own_cash, Decimal(state.cash), message)
        case ResolveCommand() if message.instrument is not None:
            return state, _resolve(state, message, message.instrument)
    return state, ()


def _values(state: AccountRow, message: BrokerAccount) -> list[Out]:
    state.account = message.account
    state.net_liquidation, state.cash = str(message.net_liquidation), str(message.cash)
    value = AccountValue(
        account=message.account,
        currency=message.currency,
        net_liquidation=message.net_liquidation,
        cash=message.cash,
        buying_power=message.buying_power,
        ts_ns=message.ts_ns,
    )
    outputs = [Out(ACCOUNT_VALUES, message.account, value)]
    # While a snapshot is read, executions that the broker's cash has in it are still to come.
    if state.session is SessionState.READY and state.complete and _complete(state):
        outputs += ledger.compare(state.own_cash, message.cash, message.ts_ns)
    return outputs


def _session(state: AccountRow, session: SessionEvent, topic: str) -> Sequence[Out]:
    """A snapshot begins with SYNCING. With READY on both topics all positions and all executions of it are here."""
    if topic == BROKER_EVENTS.name:
        state.session, state.copy = session.state, None
        if session.state is SessionState.CONNECTING:
            state.copy_ns = 0
        if session.state is SessionState.SYNCING:
            state.broker_positions = {}
    if session.state is not SessionState.READY:
        return UNCHANGED if topic == EXEC_REPORTS.name else ()
    state.complete[topic] = session.epoch
    if topic == BROKER_EVENTS.name:
        state.sides[topic] = dict(state.broker_positions)
        state.own_cash.first_word = Decimal(state.cash) if state.account else None
    else:
        state.sides[topic] = dict(state.own_positions)
        state.own_cash.first_flow = state.own_cash.flow
    if not _complete(state):
        return ()
    ledger.begin(state.own_cash)
    ours, theirs = state.sides[EXEC_REPORTS.name], state.sides[BROKER_EVENTS.name]
    found = differences(ours, theirs)
    return [out for name in found for out in _open(state, name, found[name], (ours, theirs), "snapshot", session.ts_ns)]


def _complete(state: AccountRow) -> bool:
    return state.complete.get(BROKER_EVENTS.name) == state.complete.get(EXEC_REPORTS.name)


def _drop_copy(state: AccountRow, copy: DropCopy) -> list[Out]:
    sides = state.own_positions, copy.positions
    found = differences(*sides)
    found |= (traces := traded.compare(state.trades, copy, found.keys(), state.breaks))
    state.suspected |= traces
    outputs: list[Out] = []
    for name, text in found.items():
        if state.suspected.get(name) == text:
            outputs += _open(state, name, text, sides, "drop_copy", copy.ts_ns)
    for name in sorted(state.breaks.keys() - found.keys() - state.suspected.keys()):
        outputs += _close(state, name, copy.positions.get(name, 0), "drop_copy", "both sides agree", copy.ts_ns)
    state.suspected = found
    return outputs


def _copies_stay_away(state: AccountRow, health: SessionHealth) -> list[Out]:
    """The session works, and nobody compares: one alert an outage of the drop copy."""
    state.copy_ns = state.copy_ns or health.ts_ns
    away_ns = health.ts_ns - state.copy_ns
    if health.state is not SessionState.READY or state.copy_away or away_ns < COPY_NS:
        return []
    state.copy_away = True
    text = f"no drop copy for {away_ns / 1e9:.0f} s: positions and executions are compared in snapshots alone"
    return [_alert("CRITICAL", "DROP_COPY_AWAY", "drop copy", text, health.ts_ns)]


def _resolve(state: AccountRow, resolve: ResolveCommand, name: str) -> Sequence[Out]:
    """A named operator says that the broker is right; what the broker has is known between two snapshots alone."""
    if name not in state.breaks:
        return UNCHANGED
    if state.session is not SessionState.READY or not _complete(state):
        text = f"asked by {resolve.operator} while the session is not READY: ask again when it is"
        return [_alert("WARNING", "RESOLVE_REFUSED", f"position of {name}", text, resolve.ts_ns)]
    lots = state.broker_positions.get(name, 0)
    state.own_positions[name] = lots
    state.trades.agreed.pop(name, None)
    return _close(state, name, lots, "operator", f"{resolve.operator}: {resolve.reason}", resolve.ts_ns)


def differences(ours: dict[str, int], theirs: dict[str, int]) -> dict[str, str]:
    """Instruments whose positions differ, with both sides, sorted."""
    pairs = {name: (ours.get(name, 0), theirs.get(name, 0)) for name in sorted(ours.keys() | theirs.keys())}
    return {name: f"ours {own}, broker's {broker}" for name, (own, broker) in pairs.items() if own != broker}


def _open(
    state: AccountRow,
    name: str,
    text: str,
    sides: tuple[dict[str, int], dict[str, int]],
    source: Source,
    ts_ns: int,
) -> list[Out]:
    own, broker = (side.get(name, 0) for side in sides)
    if state.breaks.get(name) == text:
        return []
    state.breaks[name] = state.suspected[name] = text
    found = PositionBreak(
        instrument=name, own_lots=own, broker_lots=broker, open=True, source=source, reason=text, ts_ns=ts_ns
    )
    text = f"{text}, seen in the {source.replace('_', ' ')}; {name} is locked"
    return [Out(EXEC_REPORTS, name, found), _alert("CRITICAL", "POSITION_BREAK", f"position of {name}", text, ts_ns)]


def _alert(severity: Literal["WARNING", "CRITICAL"], code: str, subject: str, text: str, ts_ns: int) -> Out:
    alert = Alert(severity=severity, code=code, subject=subject, text=text, owner="trading desk", ts_ns=ts_ns)
    return Out(ALERTS, code, alert)


def _close(state: AccountRow, name: str, lots: int, source: Source, reason: str, ts_ns: int) -> list[Out]:
    del state.breaks[name]
    own = state.own_positions.get(name, 0)
    settled = PositionBreak(
        instrument=name, own_lots=own, broker_lots=lots, open=False, source=source, reason=reason, ts_ns=ts_ns
    )
    return [Out(EXEC_REPORTS, name, settled)]


def _evidence(state: AccountRow, ts_event_ns: int) -> list[Out]:
    """Evidence of stage 5, on the clock of risk: event time, as that of all other stages."""
    breaks = {
        "execution.position_breaks": float(len(state.breaks)),
        "execution.cash_breaks": float(state.own_cash.open),
        "execution.drop_copy_away": float(state.copy_away),
    }
    facts = breaks | state.health
    return [
        Out(
            GATE_EVIDENCE,
            "5",
            GateEvidence(stage=5, name=name, value=min(value, EVIDENCE_MAX), ts_event_ns=ts_event_ns),
        )
        for name, value in facts.items()
    ]
