"""OFI events to a standardised signal and a forecast of the next bucket's return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Any

from agents import parameters
from agents.spec import UNCHANGED, Out, Record, Step
from contracts.base import LOG_RETURN_MAX
from contracts.controls import GateEvidence
from contracts.market import Heartbeat, Source
from contracts.signals import OfiEvent, SignalEvent
from contracts.topics import BROADCAST, GATE_EVIDENCE, SIGNAL_EVENTS
from quant import ic, zscore
from tables.rows import TableSpec


@dataclass(frozen=True, slots=True)
class SignalState:
    """Memories of OFI over depth and of returns, of the information coefficient and of the fit, and the last signal."""

    source: Source
    flow: zscore.EwZ
    returns: zscore.EwZ
    learned: ic.IcState
    fit: ic.IcState
    z: float | None
    sigma: float


SIGNALS = TableSpec("signals", SignalState, "z-score memory, volatility and information coefficient", partitions=4)


DEPTH_MIN = 1e-17
"""Half a lot, divided by as many changes of the quote as a number can count: what is below was never measured."""

EVIDENCE_EVERY_BUCKETS = 30
"""How often the fit of OFI to the return of its own bucket goes to gate 2."""


def key(message: Any) -> str:
    return BROADCAST if isinstance(message, Heartbeat) else str(message.instrument)


def make(parameters: parameters.Signals) -> Step:
    """The step with these half-lives and this prior."""

    def step(state: SignalState | None, record: Record) -> tuple[SignalState | None, Sequence[Out]]:
        event = record.message
        if isinstance(event, Heartbeat):
            return state, UNCHANGED
        state, signal = forecast(state, event, parameters)
        outputs = [Out(SIGNAL_EVENTS, event.instrument, signal)]
        if state.fit.n and state.fit.n % EVIDENCE_EVERY_BUCKETS == 0:
            outputs.append(Out(GATE_EVIDENCE, "2", _evidence(state, event)))
        return state, outputs

    return step


def forecast(
    state: SignalState | None, event: OfiEvent, parameters: parameters.Signals
) -> tuple[SignalState, SignalEvent]:
    """The state after one bucket and what it says of the next. Another source starts anew: its flow is not the same."""
    if state is None or state.source != event.source:
        memory = zscore.init(parameters.half_life_buckets)
        state = SignalState(event.source, memory, memory, ic.IcState(), ic.IcState(), None, 0.0)
    ret = log(event.mid_close_half_ticks / event.mid_open_half_ticks)
    ret = max(-LOG_RETURN_MAX, min(LOG_RETURN_MAX, ret))
    learned = state.learned
    if state.z is not None and state.sigma > 0.0:
        learned = ic.update(learned, state.z, ret / state.sigma)
    flow, z = zscore.update(state.flow, event.ofi_lots / event.depth_lots if event.depth_lots > DEPTH_MIN else 0.0)
    returns = zscore.absorb(state.returns, ret)
    sigma = sqrt(returns.variance)
    fit = ic.update(state.fit, z, ret / sigma) if z is not None and sigma > 0.0 else state.fit
    coefficient = ic.coefficient(learned, parameters.ic_prior, parameters.ic_prior_buckets)
    signal = SignalEvent(
        instrument=event.instrument,
        ts_event_ns=event.ts_event_ns,
        ts_ingest_ns=event.ts_ingest_ns,
        bucket_ns=event.bucket_ns,
        z=z,
        ic=coefficient,
        sigma=sigma,
        alpha=coefficient * sigma * z if z is not None else 0.0,
        ret=ret,
        bid_ticks=event.bid_ticks,
        ask_ticks=event.ask_ticks,
        volume_lots=event.volume_lots,
        halted=event.halted,
    )
    return SignalState(event.source, flow, returns, learned, fit, z, sigma), signal


def _evidence(state: SignalState, event: OfiEvent) -> GateEvidence:
    """R^2 of the return on the order flow of the same bucket (Cont, Kukanov & Stoikov 2014 find 0.35 to 0.79)."""
    return GateEvidence(
        stage=2,
        name="signals.ofi_r2",
        value=ic.r_squared(state.fit),
        ts_event_ns=event.ts_event_ns,
        instrument=event.instrument,
    )
