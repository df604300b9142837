"""Admission: may this intent become an order? One pure decision, closed by default.

Everything it needs arrives as messages: the session's state and the life of every order (`exec_reports`), prices
(`signal_events`), risk (`risk_events`), the switch (`control`), verdicts (`gate_verdicts`). What has not arrived, or is
too old, denies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Any

from agents.parameters import Limits
from agents.spec import Out, Record, Step
from contracts.controls import DecisionRecord, Denial, GateVerdict, RiskEvent, SwitchEvent, TradingState, Verdict
from contracts.instruments import INSTRUMENTS
from contracts.market import Heartbeat
from contracts.orders import (
    TERMINAL,
    ExecutionReport,
    Input,
    OrderCommand,
    OrderIntent,
    OrderState,
    SessionEvent,
    SessionState,
)
from contracts.signals import SignalEvent
from contracts.topics import DECISIONS, ORDER_COMMANDS
from tables.rows import TableSpec

REMEMBERED_INTENTS_MAX = 10_000
"""Intent ids kept to recognise a duplicate; hours of trading, and a bound on the row."""


@dataclass(slots=True)
class Mark:
    """Last quote of an instrument, from the bucket that ended at `ts_event_ns`."""

    bid_ticks: int
    ask_ticks: int
    halted: bool
    ts_event_ns: int


@dataclass(slots=True)
class AdmissionState:
    """All that decides. `working` maps an instrument to its open intent, `locked` to the reason of its lock."""

    session: SessionState = SessionState.DISCONNECTED
    epoch: int = 0
    next_order_id: int = 1
    switch: TradingState | None = None
    risk_ns: int | None = None
    verdicts: dict[int, GateVerdict] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    working: dict[str, str] = field(default_factory=dict)
    locked: dict[str, str] = field(default_factory=dict)
    intents: list[str] = field(default_factory=list)
    denied: dict[str, int] = field(default_factory=dict)
    admitted: int = 0
    last_hash: str = ""


ADMISSION = TableSpec("admission", AdmissionState, "session, switch, verdicts, marks, positions and locks, one row")


def key(message: Any) -> str | None:
    return None if isinstance(message, Heartbeat) else "desk"


def make(limits: Limits, universe: Sequence[str], configuration_hash: str) -> Step:
    """The step with these limits; `configuration_hash` names them in each decision."""
    allowed = frozenset(universe)

    def step(state: AdmissionState | None, record: Record) -> tuple[AdmissionState, Sequence[Out]]:
        state = state or AdmissionState()
        message = record.message
        if isinstance(message, OrderIntent):
            return decide(state, message, record.input, limits, allowed, configuration_hash)
        learn(state, message)
        return state, ()

    return step


def learn(state: AdmissionState, message: Any) -> None:
    """Take a fact into the state."""
    match message:
        case SignalEvent():
            state.marks[message.instrument] = Mark(
                message.bid_ticks, message.ask_ticks, message.halted, message.ts_event_ns
            )
        case RiskEvent():
            state.risk_ns = message.ts_event_ns
        case SwitchEvent():
            state.switch = message.state
        case GateVerdict():
            state.verdicts[message.stage] = message
        case SessionEvent():
            state.session, state.epoch = message.state, message.epoch
            state.next_order_id = max(state.next_order_id, message.next_order_id)
        case ExecutionReport():
            _report(state, message)


def _report(state: AdmissionState, report: ExecutionReport) -> None:
    if report.kind == "FILL":
        sign = 1 if report.side == "BUY" else -1
        state.positions[report.instrument] = state.positions.get(report.instrument, 0) + sign * report.fill_lots
    if report.state is OrderState.UNKNOWN:
        state.locked[report.instrument] = f"order {report.order_id} is UNKNOWN: {report.reason}"
    elif state.working.get(report.instrument) == report.intent_id and report.state in TERMINAL:
        del state.working[report.instrument]
        state.locked.pop(report.instrument, None)


def decide(
    state: AdmissionState,
    intent: OrderIntent,
    source: Input,
    limits: Limits,
    allowed: frozenset[str],
    configuration_hash: str,
) -> tuple[AdmissionState, list[Out]]:
    """Admit or deny one intent; either way there is a decision record, chained to the one before."""
    findings = [
        *_desk_findings(state, intent, limits),
        *_instrument_findings(state, intent, limits, allowed),
        *_limit_findings(state, intent, limits),
    ]
    outputs: list[Out] = []
    if not findings:
        command = _command(state, intent, limits)
        state.next_order_id += 1
        state.admitted += 1
        state.working[intent.instrument] = intent.intent_id
        outputs.append(Out(ORDER_COMMANDS, intent.intent_id, command))
    for reason, _ in findings:
        state.denied[reason] = state.denied.get(reason, 0) + 1
    state.intents = [*state.intents[-REMEMBERED_INTENTS_MAX:], intent.intent_id]
    record = _decision(state, intent, source, findings, configuration_hash)
    state.last_hash = record.record_hash
    return state, [Out(DECISIONS, intent.intent_id, record), *outputs]


Finding = tuple[Denial, str]


def _desk_findings(state: AdmissionState, intent: OrderIntent, limits: Limits) -> list[Finding]:
    found: list[Finding] = []
    if state.session is not SessionState.READY:
        found.append((Denial.SESSION_NOT_READY, f"session={state.session}"))
    if state.switch is None:
        found.append((Denial.SWITCH_UNKNOWN, "no word from the kill switch"))
    elif state.switch is TradingState.HALTED:
        found.append((Denial.HALTED_BY_SWITCH, "switch=HALTED"))
    elif state.switch is TradingState.REDUCING and not _reduces(state, intent):
        found.append((Denial.REDUCE_ONLY, f"switch=REDUCING position_lots={state.positions.get(intent.instrument, 0)}"))
    if limits.risk_age_buckets_max is None:
        found.append((Denial.LIMIT_NOT_SET, "risk_age_buckets_max"))
    elif state.risk_ns is None:
        found.append((Denial.RISK_HEARTBEAT_STALE, "no word from risk"))
    else:
        age = (intent.ts_event_ns - state.risk_ns) / intent.bucket_ns
        if age > limits.risk_age_buckets_max:
            numbers = f"risk_age_buckets={age:.1f} risk_age_buckets_max={limits.risk_age_buckets_max}"
            found.append((Denial.RISK_HEARTBEAT_STALE, numbers))
    return found + _gate_findings(state, intent, limits)


def _gate_findings(state: AdmissionState, intent: OrderIntent, limits: Limits) -> list[Finding]:
    if limits.gates_required is None:
        return [(Denial.LIMIT_NOT_SET, "gates_required")]
    found: list[Finding] = []
    for stage in limits.gates_required:
        verdict = state.verdicts.get(stage)
        if verdict is None:
            found.append((Denial.GATE_NOT_PASSED, f"gate={stage}:HOLD(no verdict)"))
        elif verdict.expires_ts_event_ns < intent.ts_event_ns:
            found.append((Denial.GATE_NOT_PASSED, f"gate={stage}:HOLD(expired)"))
        elif verdict.verdict is not Verdict.PASS:
            found.append((Denial.GATE_NOT_PASSED, f"gate={stage}:{verdict.verdict}({'; '.join(verdict.reasons)})"))
    return found


def _instrument_findings(
    state: AdmissionState, intent: OrderIntent, limits: Limits, allowed: frozenset[str]
) -> list[Finding]:
    name = intent.instrument
    if name not in allowed or name not in INSTRUMENTS:
        return [(Denial.INSTRUMENT_NOT_ALLOWED, f"instrument={name}")]
    found: list[Finding] = []
    if intent.intent_id in state.intents:
        found.append((Denial.DUPLICATE_INTENT, "the same intent was decided before"))
    if name in state.locked:
        found.append((Denial.INSTRUMENT_LOCKED, state.locked[name]))
    if name in state.working:
        found.append((Denial.INSTRUMENT_BUSY, f"working_intent={state.working[name]}"))
    position = state.positions.get(name, 0)
    if position != intent.position_lots:
        found.append((Denial.POSITION_STALE, f"position_lots={position} position_lots_assumed={intent.position_lots}"))
    mark = state.marks.get(name)
    if mark is None:
        found.append((Denial.PRICE_STALE, "no price"))
    elif limits.price_age_buckets_max is None:
        found.append((Denial.LIMIT_NOT_SET, "price_age_buckets_max"))
    else:
        age = (intent.ts_event_ns - mark.ts_event_ns) / intent.bucket_ns
        if age > limits.price_age_buckets_max:
            numbers = f"price_age_buckets={age:.1f} price_age_buckets_max={limits.price_age_buckets_max}"
            found.append((Denial.PRICE_STALE, numbers))
        if mark.halted:
            found.append((Denial.INSTRUMENT_HALTED, "trading is halted"))
    return found


def _limit_findings(state: AdmissionState, intent: OrderIntent, limits: Limits) -> list[Finding]:
    spec = INSTRUMENTS.get(intent.instrument)
    mark = state.marks.get(intent.instrument)
    if spec is None or mark is None:
        return []
    sign = 1 if intent.side == "BUY" else -1
    price = mark.ask_ticks if sign > 0 else mark.bid_ticks
    arrival = intent.arrival_ask_ticks if sign > 0 else intent.arrival_bid_ticks
    position = state.positions.get(intent.instrument, 0) + sign * intent.quantity_lots
    worst = abs(float(spec.notional(price, position)))
    checks: tuple[tuple[Denial, str, float, float | None], ...] = (
        (Denial.QUANTITY_EXCEEDS_MAXIMUM, "order_lots", intent.quantity_lots, limits.order_lots_max),
        (
            Denial.NOTIONAL_EXCEEDS_MAXIMUM,
            "order_notional_usd",
            float(spec.notional(price, intent.quantity_lots)),
            limits.order_notional_usd_max,
        ),
        (Denial.POSITION_EXCEEDS_MAXIMUM, "position_notional_usd", worst, limits.position_notional_usd_max),
        (
            Denial.GROSS_EXCEEDS_MAXIMUM,
            "gross_notional_usd",
            _gross(state, intent, worst),
            limits.gross_notional_usd_max,
        ),
        (Denial.PRICE_OUTSIDE_COLLAR, "collar_frac", abs(price - arrival) / arrival, limits.collar_frac),
    )
    found: list[Finding] = []
    for reason, name, value, limit in checks:
        if limit is None:
            found.append((Denial.LIMIT_NOT_SET, f"{name}_max"))
        elif value > limit and not (_reduces(state, intent) and reason in _POSITION_LIMITS):
            found.append((reason, f"{name}={value:.10g} {name}_max={limit:.10g}"))
    return found


_POSITION_LIMITS = frozenset({Denial.POSITION_EXCEEDS_MAXIMUM, Denial.GROSS_EXCEEDS_MAXIMUM})
"""Limits that an order which makes the position smaller need not meet: they must not trap a position."""


def _gross(state: AdmissionState, intent: OrderIntent, worst: float) -> float:
    """Gross notional if the intent fills; an instrument with a position and no price makes it infinite."""
    total = worst
    for name, lots in state.positions.items():
        if name != intent.instrument and lots != 0:
            mark = state.marks.get(name)
            if mark is None:
                return float("inf")
            total += abs(float(INSTRUMENTS[name].notional(mark.ask_ticks, lots)))
    return total


def _reduces(state: AdmissionState, intent: OrderIntent) -> bool:
    position = state.positions.get(intent.instrument, 0)
    sign = 1 if intent.side == "BUY" else -1
    return position * sign < 0 and intent.quantity_lots <= abs(position)


def _command(state: AdmissionState, intent: OrderIntent, limits: Limits) -> OrderCommand:
    """A limit order through the far side of the quote by the collar and no further, immediate or cancelled."""
    spec, mark = INSTRUMENTS[intent.instrument], state.marks[intent.instrument]
    collar = Decimal(str(limits.collar_frac))
    if intent.side == "BUY":
        ticks = (mark.ask_ticks * (1 + collar)).to_integral_value(ROUND_DOWN)
    else:
        ticks = (mark.bid_ticks * (1 - collar)).to_integral_value(ROUND_UP)
    return OrderCommand(
        intent_id=intent.intent_id,
        order_id=state.next_order_id,
        instrument=intent.instrument,
        side=intent.side,
        quantity_lots=intent.quantity_lots,
        limit_price=spec.price(int(ticks)),
        time_in_force="IOC",
        ts_event_ns=intent.ts_event_ns,
        ts_ingest_ns=intent.ts_ingest_ns,
    )


def _decision(
    state: AdmissionState, intent: OrderIntent, source: Input, findings: list[Finding], configuration_hash: str
) -> DecisionRecord:
    message = "; ".join(f"denied {reason}: {numbers} intent={intent.intent_id}" for reason, numbers in findings)
    record = DecisionRecord(
        intent_id=intent.intent_id,
        instrument=intent.instrument,
        admitted=not findings,
        reasons=tuple(reason for reason, _ in findings),
        message=message or f"admitted as order {state.next_order_id - 1}",
        verdicts={str(stage): verdict.verdict.value for stage, verdict in sorted(state.verdicts.items())},
        inputs=(source, *intent.inputs),
        configuration_hash=configuration_hash,
        ts_event_ns=intent.ts_event_ns,
        previous_hash=state.last_hash,
        record_hash="",
    )
    digest = hashlib.sha256(record.model_dump_json().encode()).hexdigest()
    return record.model_copy(update={"record_hash": digest})
