"""What admission learns between two intents."""

from __future__ import annotations

from typing import Any, Final

from agents.controls import clock, overrides
from agents.controls.checks import DAY_NS
from agents.controls.fleet import SILENT_NS
from agents.controls.state import (
    OVERFILL,
    AdmissionState,
    Mark,
    Parent,
    Reference,
    Spent,
    Working,
    opened,
)
from agents.ledger import LAG_NS
from agents.parameters import Limits
from agents.spec import Out
from contracts.breaks import CashBreak, PositionBreak
from contracts.controls import (
    GateVerdict,
    KillCommand,
    LimitOverride,
    ResetCommand,
    ResolveCommand,
    RiskEvent,
    SwitchEvent,
    WorkerState,
    covers,
)
from contracts.instruments import INSTRUMENTS
from contracts.orders import TERMINAL, AccountValue, ExecutionReport, OrderState, SessionEvent
from contracts.signals import SignalEvent

SECOND_NS: Final = 1_000_000_000


def learn(state: AdmissionState, message: Any, limits: Limits) -> list[Out]:
    """Take a fact into the state."""
    match message:
        case SignalEvent():
            _mark(state, message, overrides.in_force(state, limits))
            overrides.expire(state)
        case RiskEvent():
            _risk(state, message)
            overrides.expire(state)
        case AccountValue():
            _account(state, message)
        case SwitchEvent():
            state.switch = message.state
        case KillCommand():
            _kill(state, message)
        case ResetCommand():
            _reset(state, message)
        case ResolveCommand() if message.intent_id is not None:
            _unlock(state, f"{OVERFILL}{message.intent_id}")
            _free(state, message.intent_id)
        case LimitOverride():
            return overrides.override(state, message, limits)
        case GateVerdict():
            state.verdicts[message.stage] = message
        case SessionEvent():
            state.session, state.epoch, state.session_ns = message.state, message.epoch, message.ts_ns
            state.next_order_id = max(state.next_order_id, message.next_order_id)
        case ExecutionReport():
            _report(state, message)
        case PositionBreak():
            _break(state, message)
        case CashBreak():
            sides = f"cash: ours {message.own_cash}, broker's {message.broker_cash}"
            state.cash_break = sides if message.open else ""
        case WorkerState():
            state.workers[message.worker] = message
            now_ns = min(message.ts_ns, clock.wall_ns(state))  # neither alone says that the others are gone
            state.workers = {name: w for name, w in state.workers.items() if now_ns - w.ts_ns <= SILENT_NS}
    return []


def _mark(state: AdmissionState, signal: SignalEvent, limits: Limits) -> None:
    name, now_ns = signal.instrument, signal.ts_event_ns
    before = state.marks.get(name)
    volume_lots, buckets = (before.volume_lots, before.buckets) if before is not None else (0.0, 0)
    buckets = min(buckets + 1, limits.pov_window_buckets or 1)
    volume_lots += (signal.volume_lots - volume_lots) / buckets
    quote = (signal.bid_ticks, signal.ask_ticks, signal.halted)
    state.marks[name] = Mark(*quote, now_ns, signal.ts_ingest_ns, volume_lots, buckets)
    reference = state.references.get(name)
    period_ns = (limits.price_move_period_buckets or 0) * signal.bucket_ns
    if reference is None or now_ns - reference.start_ns >= period_ns:
        state.references[name] = Reference(now_ns, signal.bid_ticks + signal.ask_ticks)


def _risk(state: AdmissionState, risk: RiskEvent) -> None:
    """Our own loss of a day is what came after the last word of the day before, which are days of event time in UTC."""
    day = risk.ts_event_ns // DAY_NS
    if day > state.pnl_day:
        state.pnl_start_usd = (state.pnl_usd or 0.0) if state.pnl_day else 0.0
        state.pnl_day = day
    state.risk_ns, state.pnl_usd = risk.ts_event_ns, risk.pnl_usd


def _account(state: AdmissionState, value: AccountValue) -> None:
    day = value.ts_ns // DAY_NS
    state.account_ns, state.nav_usd = value.ts_ns, float(value.net_liquidation)
    before, state.buying_power_usd = state.buying_power_usd, float(value.buying_power)
    # The same again may be what IB said before the fill: it is said every few seconds until IB has another word.
    lag_ns = LAG_NS if before == state.buying_power_usd else 0
    state.spent = [spent for spent in state.spent if spent.ts_ns > value.ts_ns - lag_ns]
    state.currency = value.currency
    # No stamp forgets what was lost today: not one from the day before, nor one that is ahead of everybody else.
    tomorrow = day > state.account_day and value.ts_ns <= clock.wall_ns(state, but="account") + clock.AHEAD_NS
    if state.account_nav_start_usd is None or tomorrow:
        state.account_nav_start_usd, state.account_day = state.nav_usd, day


def _kill(state: AdmissionState, kill: KillCommand) -> None:
    why = f"{kill.operator}: {kill.reason}"
    state.kills[kill.scope] = why
    # As the latch has it, the last kill of a scope says whether it flattens.
    state.flattening.pop(kill.scope, None)
    if kill.flatten and not kill.scope.startswith("order:"):
        state.flattening[kill.scope] = why
    state.parents = {
        name: parent
        for name, parent in state.parents.items()
        if not (_covers(kill.scope, parent) or state.flattened(name))
    }


def _covers(scope: str, parent: Parent) -> bool:
    """Whether a kill of this scope ends a parent: one that names it, a child of it, or what both belong to."""
    kind, _, name = scope.partition(":")
    intent = parent.intent
    return parent.names(name) if kind == "order" else covers(scope, intent.strategy, intent.instrument, "")


def _unlock(state: AdmissionState, source: str) -> None:
    """End the lock of this source, whatever instrument it is of."""
    state.locks = {
        name: left
        for name, locks in state.locks.items()
        if (left := {other: why for other, why in locks.items() if other != source})
    }


def _free(state: AdmissionState, intent_id: str) -> None:
    """End the wait for an order of which execution has never said a word: it could not read its command, say.

    One that it speaks of after all is back with its first report.
    """
    state.working = {
        name: working
        for name, working in state.working.items()
        if working.intent_id != intent_id or working.state is not OrderState.PENDING_SUBMIT
    }


def _reset(state: AdmissionState, reset: ResetCommand) -> None:
    """Lift the kill of this scope; of the account all throttles with it, of a strategy its own."""
    state.kills.pop(reset.scope, None)
    state.flattening.pop(reset.scope, None)
    kind, _, name = reset.scope.partition(":")
    if kind in ("account", "strategy"):
        lifted = {key for key in state.throttled if kind == "account" or key.rpartition("|")[0] == name}
        state.throttled = {key: why for key, why in state.throttled.items() if key not in lifted}
        # What was counted up to the throttle is looked at too; else the next order would set it again.
        state.repeats = {key: window for key, window in state.repeats.items() if key not in lifted}


def _report(state: AdmissionState, report: ExecutionReport) -> None:
    name, source = report.instrument, report.intent_id
    sign = 1 if report.side == "BUY" else -1
    if report.kind in ("FILL", "CORRECTION"):
        before = state.positions.get(name, 0)
        after = state.positions[name] = before + sign * (report.fill_lots - report.replaced_lots)
        if report.fill_price is not None and (lots := opened(before, after)):
            _spend(state, report.ts_ns, float(report.fill_price * lots * INSTRUMENTS[name].lot_size))
    locks = state.locks.setdefault(name, {})
    working = state.working.get(name)
    ours = working is not None and working.intent_id == source
    _overfill(state, report, locks)
    if report.state is OrderState.UNKNOWN:
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


def _spend(state: AdmissionState, ts_ns: int, usd: float) -> None:
    """A fill takes buying power; those of one second are kept as one, so that the row stays small."""
    last = state.spent[-1] if state.spent else None
    if last is not None and last.ts_ns // SECOND_NS == ts_ns // SECOND_NS:
        last.ts_ns, last.usd = max(last.ts_ns, ts_ns), last.usd + usd
    else:
        state.spent.append(Spent(ts_ns, usd))


def _overfill(state: AdmissionState, report: ExecutionReport, locks: dict[str, str]) -> None:
    """More than was asked for locks until a correction says otherwise or a named operator has looked at that much."""
    source, excess = report.intent_id, report.filled_lots - report.order_lots
    seen = state.overfills.pop(source, 0)
    if excess > 0:
        state.overfills[source] = excess
    else:
        locks.pop(f"{OVERFILL}{source}", None)
    if excess > seen:
        why = f"order {report.order_id} filled {report.filled_lots} of {report.order_lots} lots"
        locks[f"{OVERFILL}{source}"] = why
        state.parents.pop(report.instrument, None)


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
