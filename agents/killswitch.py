"""The kill switch: trips on risk, on evidence, on dead letters or on a command; only a named operator resets it.

A kill of the whole account sets it; kills of a strategy, an instrument or an order are the business of admission and of
the latch alone. What is found while it is HALTED is alerted too, once. A reset is refused while what holds now (breaks,
silent data, a drift) would trip it again; what has happened (failures, losses, dead letters) counts from the reset on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agents import breaches
from agents.gates.gate import label_of
from agents.parameters import KillLimits
from agents.spec import UNCHANGED, Out, Record, Step
from contracts.controls import (
    DATA_AGE,
    Alert,
    DeadLetter,
    DeadLetterReason,
    GateEvidence,
    KillCommand,
    LimitOverride,
    ResetCommand,
    ResolveCommand,
    RiskEvent,
    SwitchEvent,
    TradingState,
)
from contracts.topics import ALERTS, CONTROL, MARKET_RAW
from tables.rows import TableSpec

EVIDENCE: Final = {
    "covariance.drift": "covariance_drift_max",
    "data.refused_frac": "refused_records_frac_max",
    "execution.position_breaks": "position_breaks_max",
    "execution.pacing_violations": "pacing_violations_max",
    "execution.connection_failures": "connection_failures_max",
    "execution.acknowledgement_ms_p95": "acknowledgement_ms_p95_max",
}
"""Evidence that trips the switch, and the limit on each."""

COUNTS: Final = frozenset({"execution.pacing_violations", "execution.connection_failures"})
"""Of these, counts since a process started: what came since the last reset is held against the limit."""

AHEAD_NS: Final = 3_600_000_000_000
"""Evidence may be this far ahead of risk, which follows it within seconds."""

LATENCY: Final = "execution.acknowledgement_ms_p95"
LATENCY_NS: Final = 300_000_000_000
"""The p95 is that of the last five minutes, so for as long after a reset it still has what tripped the switch in it."""

STANDING_NS: Final = 600_000_000_000
"""What nobody has spoken of for so long is no reason any more to refuse a reset."""

UNREADABLE: Final = frozenset(
    {DeadLetterReason.MALFORMED_JSON, DeadLetterReason.WRONG_SCHEMA, DeadLetterReason.UNKNOWN_VERSION}
)
MINUTE_NS: Final = 60_000_000_000


@dataclass(slots=True)
class SwitchRow:
    """The switch; `announced` once its state has been published. `data_ns` is the time of the freshest record.

    `letters` has the dead letters of the last minute by their source, and the time of risk when they came.
    `heard` has the last value of each count and of the latency, `fresh` what the counts grew by since the last reset,
    which was at `reset_ns`, with a latency of `excused_ms`, when the desk stood where `base` says; `risk` is its last
    word. `standing` has what holds now and would trip the switch, with the time it was last said at; `causes` what was
    found since the switch is HALTED.
    """

    state: TradingState = TradingState.ACTIVE
    by: str = "start"
    reason: str = ""
    announced: bool = False
    ts_event_ns: int = 0
    data_ns: int = 0
    letters: dict[str, int] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict)
    fresh: dict[str, float] = field(default_factory=dict)
    reset_ns: int = 0
    excused_ms: float = 0.0
    base: breaches.Baseline | None = None
    risk: RiskEvent | None = None
    standing: dict[str, tuple[int, str]] = field(default_factory=dict)
    causes: list[str] = field(default_factory=list)


SWITCH = TableSpec("switch", SwitchRow, "state of the kill switch, who set it and why, one row")


def key(message: Any) -> str | None:
    if isinstance(message, SwitchEvent | ResolveCommand | LimitOverride):
        return None
    if isinstance(message, KillCommand | ResetCommand) and message.scope != "account":
        return None
    if isinstance(message, DeadLetter) and message.topic == MARKET_RAW.name and message.reason not in UNREADABLE:
        return None  # what a market sent, and which share of it is refused, is evidence
    return "desk"


def make(limits: KillLimits) -> Step:
    """The step with these limits."""

    def step(row: SwitchRow | None, record: Record) -> tuple[SwitchRow, Sequence[Out]]:
        row = row or SwitchRow()
        message = record.message
        match message:
            case KillCommand():
                return row, _set(row, TradingState.HALTED, message.operator, message.reason, row.ts_event_ns)
            case ResetCommand():
                return row, _reset(row, message)
            case RiskEvent():
                return row, _risk(row, message, limits)
            case GateEvidence():
                return row, _evidence(row, message, limits)
            case DeadLetter():
                return row, _dead_letter(row, message, limits)
        return row, UNCHANGED

    return step


def _reset(row: SwitchRow, reset: ResetCommand) -> list[Out]:
    oldest_ns = row.ts_event_ns - STANDING_NS
    standing = [text for said_ns, text in row.standing.values() if said_ns >= oldest_ns]
    if row.state is TradingState.HALTED and standing:
        text = f"{reset.operator}'s reset is refused while this lasts: {'; '.join(standing)}"
        return [_alert("RESET_REFUSED", "kill switch stays HALTED", text, row.ts_event_ns)]
    row.fresh, row.letters, row.standing = {}, {}, {}
    row.reset_ns, row.excused_ms = row.ts_event_ns, row.heard.get(LATENCY, 0.0)
    row.base = breaches.baseline(row.risk) if row.risk is not None else None
    state = TradingState.REDUCING if reset.reducing else TradingState.ACTIVE
    return _set(row, state, reset.operator, reset.reason, row.ts_event_ns)


def _risk(row: SwitchRow, risk: RiskEvent, limits: KillLimits) -> Sequence[Out]:
    row.risk, row.ts_event_ns = risk, risk.ts_event_ns
    if row.base is not None:
        breaches.go_on(row.base, risk, limits)
    held = {"limits": breaches.unset(limits), "data": breaches.on_data(row.data_ns, risk, limits)}
    row.standing |= {cause: (risk.ts_event_ns, text) for cause, text in held.items()}
    row.standing = {cause: said for cause, said in row.standing.items() if said[1]}
    outputs: list[Out] = []
    for text in (held["limits"], breaches.on_risk(risk, limits, row.base), held["data"]):
        outputs += _found(row, "risk", text.partition("=")[0], text, risk.ts_event_ns) if text else []
    if not row.announced:
        outputs += _set(row, row.state, row.by, row.reason, risk.ts_event_ns)
    return outputs


def _evidence(row: SwitchRow, evidence: GateEvidence, limits: KillLimits) -> Sequence[Out]:
    if evidence.name == DATA_AGE:
        fresh_ns = evidence.ts_event_ns - int(evidence.value * 1e9)
        if evidence.value < 0 or (row.ts_event_ns and fresh_ns > row.ts_event_ns + AHEAD_NS):
            return UNCHANGED  # data of the future would never be stale
        row.data_ns = max(row.data_ns, fresh_ns)
        return ()
    name = EVIDENCE.get(evidence.name)
    if name is None:
        return UNCHANGED
    value, news = _since_reset(row, evidence)
    limit, label = getattr(limits, name), label_of(evidence)
    if limit is not None and value <= limit:
        return () if row.standing.pop(label, None) or news else UNCHANGED
    text = f"{name} is not set" if limit is None else f"{label}={value:.6g} {name}={limit:g}"
    if limit is None or (evidence.name not in COUNTS and evidence.name != LATENCY):
        row.standing[label] = evidence.ts_event_ns, text
    return _found(row, "evidence", label, text, evidence.ts_event_ns)


def _since_reset(row: SwitchRow, evidence: GateEvidence) -> tuple[float, bool]:
    """What of this evidence is to be held against the desk, and whether the row has changed with it."""
    name, value = evidence.name, evidence.value
    if name not in COUNTS and name != LATENCY:
        return value, False
    before = row.heard.get(name, 0.0)
    row.heard[name] = value
    if name == LATENCY:
        # For a while only what is worse than at the reset is new for certain.
        excused = value <= row.excused_ms and evidence.ts_event_ns - row.reset_ns < LATENCY_NS
        return 0.0 if excused else value, value != before
    # A count that is smaller than it was begins anew: its process was started again.
    row.fresh[name] = row.fresh.get(name, 0.0) + (value - before if value >= before else value)
    return row.fresh[name], value != before


def _dead_letter(row: SwitchRow, letter: DeadLetter, limits: KillLimits) -> Sequence[Out]:
    """What one part of the desk says and another cannot read: a few are an accident, more are a broken desk.

    A letter that a crash has sent twice counts once.
    """
    oldest_ns = row.ts_event_ns - MINUTE_NS
    row.letters = {source: ts_ns for source, ts_ns in row.letters.items() if ts_ns > oldest_ns}
    limit = limits.dead_letters_per_minute_max
    if len(row.letters) <= (limit or 0):  # one above the limit is enough to know
        row.letters.setdefault(letter.source, row.ts_event_ns)
    count = len(row.letters)
    if limit is not None and count <= limit:
        return ()
    text = f"dead_letters_per_minute={count} dead_letters_per_minute_max={limit}, the last of {letter.source}"
    return _found(row, "dead letters", "dead letters", f"{text}: {letter.reason} {letter.field}", row.ts_event_ns)


def _found(row: SwitchRow, by: str, cause: str, text: str, ts_event_ns: int) -> list[Out]:
    """The switch trips; one that is HALTED stays so, and the person who is to reset it hears of each cause once."""
    if cause in row.causes:
        return []
    row.causes.append(cause)
    if row.state is TradingState.HALTED:
        return [_alert("KILL_SWITCH", f"while the kill switch is HALTED: {by}", text, ts_event_ns)]
    alert = _alert("KILL_SWITCH", f"kill switch tripped by {by}", text, ts_event_ns)
    return [*_set(row, TradingState.HALTED, by, text, ts_event_ns), alert]


def _alert(code: str, subject: str, text: str, ts_event_ns: int) -> Out:
    alert = Alert(severity="CRITICAL", code=code, subject=subject, text=text, owner="risk desk", ts_ns=ts_event_ns)
    return Out(ALERTS, code, alert)


def _set(row: SwitchRow, state: TradingState, by: str, reason: str, ts_event_ns: int) -> list[Out]:
    if state is not TradingState.HALTED:
        row.causes = []
    row.state, row.by, row.reason, row.announced = state, by, reason, True
    return [Out(CONTROL, "switch", SwitchEvent(state=state, by=by, reason=reason, ts_event_ns=ts_event_ns))]
