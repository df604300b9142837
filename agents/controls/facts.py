"""What admission learns between two intents, and the limits in force."""

from __future__ import annotations

from typing import Any, Final

from agents.controls import clock
from agents.controls.checks import DAY_NS
from agents.controls.fleet import SILENT_NS
from agents.controls.state import (
    OVERFILL,
    AdmissionState,
    Mark,
    Override,
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
    Alert,
    GateVerdict,
    KillCommand,
    LimitOverride,
    ResetCommand,
    ResolveCommand,
    RiskEvent,
    SwitchEvent,
    WorkerState,
)
from contracts.instruments import INSTRUMENTS
from contracts.orders import TERMINAL, AccountValue, ExecutionReport, OrderState, SessionEvent
from contracts.signals import SignalEvent
from contracts.topics import ALERTS

TIGHTER_WHEN_LARGER: Final = frozenset({"duplicate_window_buckets", "repeat_window_buckets"})
SECOND_NS: Final = 1_000_000_000
FRACTIONS: Final = ("_frac", "_frac_max")


def learn(state: AdmissionState, message: Any, limits: Limits) -> list[Out]:
    """Take a fact into the state."""
    match message:
        case SignalEvent():
            _mark(state, message, limits)
        case RiskEvent():
            _risk(state, message)
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
            return _override(state, message, limits)
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
            alive = {name: w for name, w in state.workers.items() if message.ts_ns - w.ts_ns <= SILENT_NS}
            state.workers = alive | {message.worker: message}
    return []


def in_force(state: AdmissionState, limits: Limits) -> Limits:
    """The limits with the overrides that have not expired."""
    now_ns = clock.event_ns(state)
    values = {name: o.value for name, o in state.overrides.items() if o.expires_ts_event_ns > now_ns}
    return limits.model_copy(update=values) if values else limits


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
    if state.account_nav_start_usd is None or day != state.account_day:
        state.account_nav_start_usd, state.account_day = state.nav_usd, day


def _kill(state: AdmissionState, kill: KillCommand) -> None:
    why = f"{kill.operator}: {kill.reason}"
    state.kills[kill.scope] = why
    state.parents.clear()
    # As the latch has it, the last kill of a scope says whether it flattens.
    state.flattening.pop(kill.scope, None)
    if kill.flatten and not kill.scope.startswith("order:"):
        state.flattening[kill.scope] = why


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
        state.throttled = {
            key: why for key, why in state.throttled.items() if kind == "strategy" and key.rpartition("|")[0] != name
        }


def _override(state: AdmissionState, order: LimitOverride, limits: Limits) -> list[Out]:
    """Tightening needs one person; raising needs two, over what is in force and over what would be in force later."""
    current = getattr(limits, order.limit, None)
    by = order.operator
    if isinstance(current, bool) or not isinstance(current, int | float):
        return [_refused(order, "no such number is set")]
    if order.limit.endswith(FRACTIONS) and not 0 <= order.value < 1:
        return [_refused(order, "a fraction is from 0 to less than 1")]
    value, ends_ns = type(current)(order.value), order.expires_ts_event_ns
    before = state.overrides.get(order.limit)
    if before is None or before.expires_ts_event_ns <= clock.event_ns(state):
        before = Override(current, ends_ns, "")
    if (
        _looser(order.limit, value, before.value)
        or (ends_ns < before.expires_ts_event_ns and _looser(order.limit, current, before.value))
        or (ends_ns > before.expires_ts_event_ns and _looser(order.limit, value, current))
    ):
        if _person(order.approver) in ("", _person(order.operator)):
            return [_refused(order, f"raising it from {before.value:g}, now or later, needs a second person")]
        by = f"{order.operator} and {order.approver}"
    state.overrides[order.limit] = Override(value, ends_ns, by)
    return []


def _looser(limit: str, value: float, than: float) -> bool:
    return value < than if limit in TIGHTER_WHEN_LARGER else value > than


def _person(name: str) -> str:
    """A name as it is compared: one person types it in more than one way."""
    return " ".join(name.split()).casefold()


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
