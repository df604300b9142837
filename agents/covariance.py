"""Signals of all instruments to one cross-section per bucket, and the covariance of their returns.

The cross-section of bucket t fires when the watermark of every market partition has passed t, with the instruments
sorted: what it holds does not depend on which partition was read first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from agents import parameters
from agents.spec import Out, Record, Step
from contracts.controls import EVIDENCE_MAX, GateEvidence
from contracts.market import Heartbeat
from contracts.signals import CovarianceEvent, Mark, SignalEvent
from contracts.topics import COVARIANCE_EVENTS, GATE_EVIDENCE, MARKET_PARTITIONS
from quant import covariance
from tables.rows import TableSpec

WAITING_BUCKETS_MAX = 1_000
"""Buckets that may wait for their cross-section; more means a partition has stopped, and the oldest are given up."""

VARIANCE_MIN = 1e-30
"""Sum of variances under which there is no covariance: returns of 1e-15 are rounding, not a market."""


@dataclass(slots=True)
class CovarianceState:
    """`watermarks` by market partition, `waiting` marks by bucket end, the encoded covariance and its reference.

    `late` counts the signals that found their bucket gone: those that came too late and those that were given up.
    """

    watermarks: dict[int, int] = field(default_factory=dict)
    waiting: dict[int, list[Mark]] = field(default_factory=dict)
    ingest: dict[int, int] = field(default_factory=dict)
    fired_ns: int = 0
    late: int = 0
    encoded: str = ""
    reference: str = ""
    updates: int = 0


COVARIANCE = TableSpec("covariance", CovarianceState, "EWMA + Ledoit-Wolf covariance of bucket returns, one row")


def make(universe: Sequence[str], bucket_ns: int, parameters: parameters.Portfolio) -> Step:
    """The step for these instruments."""
    names = tuple(sorted(universe))

    def step(state: CovarianceState | None, record: Record) -> tuple[CovarianceState, Sequence[Out]]:
        state = state or CovarianceState()
        message = record.message
        if isinstance(message, SignalEvent):
            return wait(state, message), ()
        return fire(state, message, names, bucket_ns, parameters)

    return step


def wait(state: CovarianceState, signal: SignalEvent) -> CovarianceState:
    """Keep a signal until its bucket is complete; a late one is counted and left out.

    The ingest time of a bucket is that of its signals alone: heartbeats may reach us in any order of the partitions.
    """
    if signal.ts_event_ns <= state.fired_ns:
        state.late += 1
        return state
    marks = state.waiting.setdefault(signal.ts_event_ns, [])
    marks.append(
        Mark(
            instrument=signal.instrument,
            alpha=signal.alpha,
            ret=signal.ret,
            bid_ticks=signal.bid_ticks,
            ask_ticks=signal.ask_ticks,
            halted=signal.halted,
        )
    )
    latest = state.ingest.get(signal.ts_event_ns, 0)
    state.ingest[signal.ts_event_ns] = max(latest, signal.ts_ingest_ns)
    if len(state.waiting) > WAITING_BUCKETS_MAX:
        state.fired_ns = min(state.waiting)
        state.late += len(state.waiting.pop(state.fired_ns))
        del state.ingest[state.fired_ns]
    return state


def fire(
    state: CovarianceState,
    heartbeat: Heartbeat,
    names: tuple[str, ...],
    bucket_ns: int,
    parameters: parameters.Portfolio,
) -> tuple[CovarianceState, list[Out]]:
    """Move one partition's watermark; emit the cross-sections that are complete now, oldest first."""
    before = state.watermarks.get(heartbeat.partition, 0)
    state.watermarks[heartbeat.partition] = max(before, heartbeat.ts_event_ns)
    outputs: list[Out] = []
    if len(state.watermarks) < MARKET_PARTITIONS:
        return state, outputs
    watermark = min(state.watermarks.values())
    for end_ns in sorted(state.waiting):
        if end_ns > watermark:
            break
        marks = sorted(state.waiting.pop(end_ns), key=lambda mark: mark.instrument)
        ingest_ns = state.ingest.pop(end_ns)
        state.fired_ns = end_ns
        outputs += absorb(
            state, [m for m in marks if m.instrument in names], names, end_ns, ingest_ns, bucket_ns, parameters
        )
    return state, outputs


def absorb(
    state: CovarianceState,
    marks: list[Mark],
    names: tuple[str, ...],
    end_ns: int,
    ingest_ns: int,
    bucket_ns: int,
    parameters: parameters.Portfolio,
) -> list[Out]:
    """Take one cross-section into the covariance. An instrument without a mark had no price move: return 0."""
    returns = {mark.instrument: mark.ret for mark in marks}
    estimate = covariance.decode(state.encoded) if state.encoded else covariance.init_vol_corr(len(names))
    assert isinstance(estimate, covariance.VolCorrState)
    x = np.array([returns.get(name, 0.0) for name in names])
    half_life = parameters.covariance_half_life_buckets
    # Volatility changes faster than correlation: a third of the memory, 21 to 63 bars.
    estimate = covariance.update_vol_corr(estimate, x, covariance.decay(half_life / 3), covariance.decay(half_life))
    state.encoded, state.updates = covariance.encode(estimate), estimate.scaled.n
    matrix, drift, outputs = None, None, []
    if state.updates >= parameters.covariance_warm_buckets and estimate.var.sum() > VARIANCE_MIN:
        s = covariance.assert_psd(covariance.estimate_vol_corr(estimate))
        matrix = covariance.encode_matrix(s)
        drift = covariance.drift(s, covariance.decode_matrix(state.reference)) if state.reference else 0.0
        # Drift is measured against the estimate of up to one half-life ago, not against the bucket before.
        if not state.reference or state.updates % max(1, round(half_life)) == 0:
            state.reference = matrix
        outputs.append(
            Out(
                GATE_EVIDENCE,
                "3",
                GateEvidence(stage=3, name="covariance.drift", value=min(drift, EVIDENCE_MAX), ts_event_ns=end_ns),
            )
        )
    event = CovarianceEvent(
        ts_event_ns=end_ns,
        ts_ingest_ns=ingest_ns,
        bucket_ns=bucket_ns,
        marks=tuple(marks),
        covariance=matrix,
        drift=drift,
        updates=state.updates,
    )
    return [Out(COVARIANCE_EVENTS, "desk", event), *outputs]
