"""The kill switch: trips on risk or on a command, stays tripped, and only a named operator resets it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agents.parameters import KillLimits
from agents.spec import Out, Record, Step
from contracts.controls import KillCommand, ResetCommand, RiskEvent, SwitchEvent, TradingState
from contracts.topics import CONTROL
from tables.rows import TableSpec


@dataclass(slots=True)
class SwitchRow:
    """The switch; `announced` once its state has been published."""

    state: TradingState = TradingState.ACTIVE
    by: str = "start"
    reason: str = ""
    announced: bool = False
    ts_event_ns: int = 0


SWITCH = TableSpec("switch", SwitchRow, "state of the kill switch, who set it and why, one row")


def key(message: Any) -> str | None:
    return None if isinstance(message, SwitchEvent) else "desk"


def make(limits: KillLimits) -> Step:
    """The step with these limits."""

    def step(row: SwitchRow | None, record: Record) -> tuple[SwitchRow, Sequence[Out]]:
        row = row or SwitchRow()
        message = record.message
        match message:
            case KillCommand():
                return row, _set(row, TradingState.HALTED, message.operator, message.reason, row.ts_event_ns)
            case ResetCommand():
                return row, _set(row, TradingState.ACTIVE, message.operator, message.reason, row.ts_event_ns)
            case RiskEvent():
                row.ts_event_ns = message.ts_event_ns
                breach = breached(message, limits)
                if breach and row.state is not TradingState.HALTED:
                    return row, _set(row, TradingState.HALTED, "risk", breach, message.ts_event_ns)
                if not row.announced:
                    return row, _set(row, row.state, row.by, row.reason, message.ts_event_ns)
        return row, ()

    return step


def breached(risk: RiskEvent, limits: KillLimits) -> str:
    """The first kill limit that is broken or not set, with its numbers; empty when none is."""
    start_usd = risk.nav_usd - risk.pnl_usd
    loss = -risk.pnl_usd / start_usd if start_usd > 0 else 1.0
    if limits.loss_frac_max is None or limits.drawdown_frac_max is None or limits.psr_min is None:
        return "a kill limit is not set"
    if loss > limits.loss_frac_max:
        return f"loss_frac={loss:.4f} loss_frac_max={limits.loss_frac_max}"
    if risk.drawdown_frac > limits.drawdown_frac_max:
        return f"drawdown_frac={risk.drawdown_frac:.4f} drawdown_frac_max={limits.drawdown_frac_max}"
    if risk.psr is not None and risk.psr < limits.psr_min:
        return f"psr={risk.psr:.3f} psr_min={limits.psr_min} returns={risk.returns}"
    return ""


def _set(row: SwitchRow, state: TradingState, by: str, reason: str, ts_event_ns: int) -> list[Out]:
    row.state, row.by, row.reason, row.announced = state, by, reason, True
    return [Out(CONTROL, "switch", SwitchEvent(state=state, by=by, reason=reason, ts_event_ns=ts_event_ns))]
