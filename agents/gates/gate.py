"""A stage gate: folds the evidence of its stage and says PASS, HOLD or FAIL, with reasons and an expiry.

A number that is measured for each instrument has to be right for each: the worst of them decides, and is named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.gates.stages import Stage
from agents.spec import Out, Record, Step
from contracts.base import TIME_END_NS
from contracts.controls import GateEvidence, GateVerdict, Verdict
from contracts.topics import GATE_VERDICTS
from tables.rows import TableSpec


@dataclass(slots=True)
class GateRow:
    """The newest evidence of a stage by name and instrument, none older than its verdict may be; the last verdict."""

    evidence: dict[str, GateEvidence] = field(default_factory=dict)
    verdict: Verdict = Verdict.HOLD
    reasons: tuple[str, ...] = ()
    expires_ts_event_ns: int = 0


GATES = TableSpec("gates", GateRow, "evidence and verdict of each stage gate, by stage")


def key_of(stage: Stage) -> Callable[[Any], str | None]:
    """Key function of one stage: evidence of other stages is not its business."""
    return lambda message: str(stage.number) if message.stage == stage.number else None


def make(stage: Stage) -> Step:
    """The step of one stage."""

    def step(row: GateRow | None, record: Record) -> tuple[GateRow, Sequence[Out]]:
        row = row or GateRow()
        message = record.message
        oldest_ns = message.ts_event_ns - stage.holds_ns
        row.evidence = {label: fact for label, fact in row.evidence.items() if fact.ts_event_ns >= oldest_ns}
        row.evidence[label_of(message)] = message
        verdict, reasons = judge(stage, row)
        names = {criterion.name for criterion in stage.criteria}
        measured = [fact.ts_event_ns for fact in row.evidence.values() if fact.name in names]
        expires = min(min(measured, default=message.ts_event_ns) + stage.holds_ns, TIME_END_NS)
        # A verdict is renewed when it changes, and when half of its time is over; also one that came from the future.
        known = (verdict, reasons) == (row.verdict, row.reasons)
        if known and abs(expires - row.expires_ts_event_ns) < stage.holds_ns // 2:
            return row, ()
        row.verdict, row.reasons, row.expires_ts_event_ns = verdict, reasons, expires
        published = GateVerdict(
            stage=stage.number,
            verdict=verdict,
            reasons=reasons,
            ts_event_ns=message.ts_event_ns,
            expires_ts_event_ns=expires,
        )
        return row, [Out(GATE_VERDICTS, str(stage.number), published)]

    return step


def label_of(fact: GateEvidence) -> str:
    return fact.name if fact.instrument is None else f"{fact.name}[{fact.instrument}]"


def judge(stage: Stage, row: GateRow) -> tuple[Verdict, tuple[str, ...]]:
    """FAIL when a number is over its limit, HOLD when one is missing, else PASS."""
    failed, missing = [], []
    for criterion in stage.criteria:
        facts = [(label, row.evidence[label]) for label in sorted(row.evidence)]
        values = [(label, fact.value) for label, fact in facts if fact.name == criterion.name]
        if not values:
            missing.append(f"{criterion.name} missing")
        bounds = f"{criterion.value_min:g}..{criterion.value_max:g}"
        failed += [
            f"{label}={value:.6g} outside {bounds}"
            for label, value in values
            if not criterion.value_min <= value <= criterion.value_max
        ]
    if failed:
        return Verdict.FAIL, tuple(failed)
    return (Verdict.HOLD, tuple(missing)) if missing else (Verdict.PASS, ())
