"""What admission learns between two intents, and the limits in force."""

from __future__ import annotations

from typing import Any, Final

from agents.controls.checks import DAY_NS
from agents.controls.fleet import SILENT_NS
from agents.controls.state import AdmissionState, Mark, Override, Reference, Working
from agents.parameters import Limits
from agents.spec import Out
from contracts.controls import (
    Alert,
    GateVerdict,
    KillCommand,
    LimitOverride,
    ResetCommand,
    RiskEvent,
    SwitchEvent,
    WorkerState,
)
from contracts.orders import (
    TERMINAL,
    AccountValue,
    CashBreak,
    ExecutionReport,
    OrderState,
    PositionBreak,
    SessionEvent,
)
from contracts.signals import SignalEvent
from contracts.topics import ALERTS

TIGHTER_WHEN_LARGER: Final = frozenset({"duplicate_window_buckets", "repeat_window_buckets"})


def learn(state: AdmissionState, message: Any, limits: Limits) -> list[Out]:
    """Take a fact into the state."""
    match message:
        case SignalEvent():
            _mark(state, message, limits)
        case RiskEvent():
            state.risk_ns, state.pnl_usd = message.ts_event_ns, message.pnl_usd
        case AccountValue():
            _account(state, message)
        case SwitchEvent():
            state.switch = message.state
        case KillCommand():
            _kill(state, message)
        case ResetCommand():
            _reset(state, message)
        case LimitOverride():
            return _override(state, message, limits)
        case GateVerdict():
            state.verdicts[message.stage] = message
        case SessionEvent():
            state.session, state.epoch = message.state, message.epoch
            state.next_order_id = max(state.next_order_id, message.next_order_id)
        case ExecutionReport():
            _report(state, message)
        case PositionBreak():
            _break(state, message)
        case CashBreak():
            sides = f"cash: ours {message.own_cash}, broker's {message.broker_cash}"
            state.cash_break = sides if message.open else ""
        case WorkerState():
            alive = {name: w for name, w in state.workers.items() if message.ts_ns - w.ts_ns <= SILENT_NS}
            state.workers = alive | {message.worker: message}
    return []


def in_force(state: AdmissionState, limits: Limits, ts_event_ns: int) -> Limits:
    """The limits with the overrides that have not expired."""
    state.overrides = {name: o for name, o in state.overrides.items() if o.expires_ts_event_ns > ts_event_ns}
    if not state.overrides:
        return limits
    return limits.model_copy(update={name: override.value for name, override in state.overrides.items()})


def _mark(state: AdmissionState, signal: SignalEvent, limits: Limits) -> None:
    name, now_ns = signal.instrument, signal.ts_event_ns
    before = state.marks.get(name)
    volume_lots, buckets = (before.volume_lots, before.buckets) if before is not None else (0.0, 0)
    buckets = min(buckets + 1, limits.pov_window_buckets or 1)
    volume_lots += (signal.volume_lots - volume_lots) / buckets
    state.marks[name] = Mark(signal.bid_ticks, signal.ask_ticks, signal.halted, now_ns, volume_lots, buckets)
    reference = state.references.get(name)
    period_ns = (limits.price_move_period_buckets or 0) * signal.bucket_ns
    if reference is None or now_ns - reference.start_ns >= period_ns:
        state.references[name] = Reference(now_ns, signal.bid_ticks + signal.ask_ticks)


def _account(state: AdmissionState, value: AccountValue) -> None:
    day = value.ts_ns // DAY_NS
    state.account_ns, state.nav_usd = value.ts_ns, float(value.net_liquidation)
    state.buying_power_usd = float(value.buying_power)
    if state.account_nav_start_usd is None or day != state.account_day:
        state.account_nav_start_usd, state.account_day = state.nav_usd, day


def _kill(state: AdmissionState, kill: KillCommand) -> None:
    why = f"{kill.operator}: {kill.reason}"
    state.kills[kill.scope] = why
    kind, _, name = kill.scope.partition(":")
    state.parents.clear()
    if kill.flatten and kind != "order":
        for instrument, lots in state.positions.items():
            # Positions are the desk's, not a strategy's: flattening a strategy closes what it may have opened.
            if lots and (kind != "instrument" or instrument == name):
                state.flattening[instrument] = why


def _reset(state: AdmissionState, reset: ResetCommand) -> None:
    """Lift the kill of this scope, and the throttles under it."""
    state.kills.pop(reset.scope, None)
    state.flattening.clear()
    kind, _, name = reset.scope.partition(":")
    position = {"strategy": 0, "instrument": 1}.get(kind)
    state.throttled = {
        key: why for key, why in state.throttled.items() if position is not None and key.split("|")[position] != name
    }


def _override(state: AdmissionState, order: LimitOverride, limits: Limits) -> list[Out]:
    """Tightening needs one person, raising needs two."""
    current = getattr(limits, order.limit, None)
    by = order.operator
    if isinstance(current, bool) or not isinstance(current, int | float):
        return [_refused(order, "no such number is set")]
    looser = (order.value > current) != (order.limit in TIGHTER_WHEN_LARGER)
    if looser and order.value != current:
        if order.approver in ("", order.operator):
            return [_refused(order, f"raising it from {current} needs a second person")]
        by = f"{order.operator} and {order.approver}"
    state.overrides[order.limit] = Override(type(current)(order.value), order.expires_ts_event_ns, by)
    return []


def _refused(order: LimitOverride, why: str) -> Out:
    text = f"{order.limit}={order.value:g} asked for by {order.operator} is not in force: {why}"
    alert = Alert(
        severity="WARNING",
        code="OVERRIDE_REFUSED",
        subject=f"limit {order.limit}",
        text=text,
        owner="risk desk",
        ts_ns=order.ts_ns,
    )
    return Out(ALERTS, alert.code, alert)


def _report(state: AdmissionState, report: ExecutionReport) -> None:
    name, source = report.instrument, report.intent_id
    sign = 1 if report.side == "BUY" else -1
    if report.kind in ("FILL", "CORRECTION"):
        change = report.fill_lots - report.replaced_lots
        state.positions[name] = state.positions.get(name, 0) + sign * change
    locks = state.locks.setdefault(name, {})
    working = state.working.get(name)
    ours = working is not None and working.intent_id == source
    if report.filled_lots > report.order_lots:
        locks[source] = f"order {report.order_id} filled {report.filled_lots} of {report.order_lots} lots"
    elif report.state is OrderState.UNKNOWN:
        locks[source] = f"order {report.order_id} is UNKNOWN: {report.reason}"
    elif report.state in TERMINAL or ours or working is None:
        locks.pop(source, None)
    else:
        locks[source] = f"order {report.order_id} works beside another one"
    if not locks:
        del state.locks[name]
    if report.state in TERMINAL:
        if ours:
            del state.working[name]
    elif working is None:
        state.working[name] = Working(source, report.side, report.order_lots, report.filled_lots, state=report.state)
    elif ours:
        working.order_lots, working.filled_lots, working.state = report.order_lots, report.filled_lots, report.state
        if report.amend_id == working.amend_id:
            working.amend_id, working.amend_lots = "", 0


def _break(state: AdmissionState, found: PositionBreak) -> None:
    locks = state.locks.setdefault(found.instrument, {})
    if found.open:
        locks["break"] = f"ours {found.own_lots}, broker's {found.broker_lots} ({found.source})"
    else:
        locks.pop("break", None)
        if found.source == "operator":
            state.positions[found.instrument] = found.broker_lots
    if not locks:
        del state.locks[found.instrument]
