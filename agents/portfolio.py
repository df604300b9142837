"""Cross-sections, positions and the account to portfolio targets and order intents.

Of its three sources only a cross-section makes it act; each intent names the offsets of the records it rests on, so the
order in which the sources were merged is on record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from agents import parameters
from agents.spec import Out, Record, Step
from contracts.controls import EVIDENCE_MAX, GateEvidence
from contracts.instruments import INSTRUMENTS
from contracts.market import Side
from contracts.orders import AccountValue, Input, OrderIntent, Position
from contracts.signals import CrossSection, Mark, PortfolioTarget, TargetLine
from contracts.topics import GATE_EVIDENCE, ORDER_INTENTS, PORTFOLIO_TARGETS
from quant import covariance, regime
from quant.limits import Limits
from quant.lots import to_lots
from quant.portfolio import HELD, Problem
from tables.rows import TableSpec

STRATEGY = "ofi"


@dataclass(slots=True)
class TargetState:
    """NAV and positions as last heard of, with the record each came from, and the last target weights."""

    nav_usd: float | None = None
    positions: dict[str, int] = field(default_factory=dict)
    inputs: dict[str, Input] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    rung: str = ""


TARGETS = TableSpec("targets", TargetState, "NAV, positions and target weights of the portfolio, one row")


def make(market: parameters.Market, parameters: parameters.Portfolio, order_notional_usd_max: float | None) -> Step:
    """The step; compiles the optimiser for the universe, which takes a second or two."""
    names = tuple(sorted(market.universe))
    problem = Problem(len(names), bars_per_year=market.bars_per_year, gamma=parameters.gamma, kappa=parameters.kappa)
    sizes = (parameters.order_notional_usd_min, order_notional_usd_max or 0.0)

    def step(state: TargetState | None, record: Record) -> tuple[TargetState, Sequence[Out]]:
        state = state or TargetState()
        message = record.message
        if isinstance(message, AccountValue):
            state.nav_usd = float(message.net_liquidation)
            state.inputs["account"] = record.input
            return state, ()
        if isinstance(message, Position):
            state.positions[message.instrument] = message.position_lots
            state.inputs[f"position.{message.instrument}"] = record.input
            return state, ()
        return rebalance(state, message, record.input, names, problem, parameters, sizes)

    return step


def rebalance(
    state: TargetState,
    section: CrossSection,
    source: Input,
    names: tuple[str, ...],
    problem: Problem,
    parameters: parameters.Portfolio,
    sizes: tuple[float, float],
) -> tuple[TargetState, list[Out]]:
    """Targets and intents of one cross-section; nothing while an input is missing."""
    marks = {mark.instrument: mark for mark in section.model.marks}
    if not state.nav_usd or state.nav_usd < 0 or section.model.covariance is None or set(marks) != set(names):
        return state, []
    nav = state.nav_usd
    values = np.array([_value(marks[name]) for name in names])
    lots = np.array([state.positions.get(name, 0) for name in names], dtype=np.int64)
    allowed = regime.LIMITS[section.regime]
    limits = Limits(
        box=parameters.box,
        gross=allowed.gross,
        net=allowed.net,
        turnover=parameters.turnover,
        vol_target_annual=parameters.vol_target_annual,
        trade=np.array([0.0 if marks[name].halted else parameters.turnover for name in names]),
    )
    alpha = np.array([marks[name].alpha for name in names])
    cov = covariance.decode_matrix(section.model.covariance)
    solution = problem.solve(alpha, cov, lots * values / nav, limits)
    # Nobody lends coins: the broker rejects a short sale of one.
    coins = np.array([INSTRUMENTS[name].sec_type == "CRYPTO" for name in names])
    weights = np.where(coins, np.maximum(solution.weights, 0.0), solution.weights)
    wanted = lots
    if solution.rung < HELD:
        one = np.ones(len(names), dtype=np.int64)
        wanted = to_lots(weights, nav, values, one, lots, limits, cov * problem.bars_per_year)
    state.weights = dict(zip(names, weights.tolist(), strict=True))
    state.rung = solution.status
    inputs = (source, *(state.inputs[name] for name in sorted(state.inputs)))
    outputs = [
        Out(PORTFOLIO_TARGETS, "desk", _target(state, section, names, lots, wanted)),
        Out(GATE_EVIDENCE, "4", _evidence(solution.max_violation, section)),
    ]
    for i, name in enumerate(names):
        if not marks[name].halted:
            intent = _intent(marks[name], int(lots[i]), int(wanted[i]), section, inputs, sizes)
            if intent is not None:
                outputs.append(Out(ORDER_INTENTS, name, intent))
    return state, outputs


def _intent(
    mark: Mark,
    lots: int,
    wanted: int,
    section: CrossSection,
    inputs: tuple[Input, ...],
    sizes: tuple[float, float],
) -> OrderIntent | None:
    """The intent that moves `lots` towards `wanted`, no larger than one order may be; None when it is not worth one."""
    notional_min, notional_max = sizes
    side: Side = "BUY" if wanted > lots else "SELL"
    # At the price the order would pay, as admission reckons it; at the mid the largest orders would all be denied.
    ticks = mark.ask_ticks if side == "BUY" else mark.bid_ticks
    value = float(INSTRUMENTS[mark.instrument].notional(ticks, 1))
    quantity = min(abs(wanted - lots), int(notional_max / value))
    if quantity == 0 or quantity * value < notional_min:
        return None
    model = section.model
    return OrderIntent(
        intent_id=intent_id(mark.instrument, model.ts_event_ns, side),
        strategy=STRATEGY,
        instrument=mark.instrument,
        side=side,
        quantity_lots=quantity,
        arrival_bid_ticks=mark.bid_ticks,
        arrival_ask_ticks=mark.ask_ticks,
        position_lots=lots,
        regime=section.regime,
        ts_event_ns=model.ts_event_ns,
        ts_ingest_ns=model.ts_ingest_ns,
        bucket_ns=model.bucket_ns,
        inputs=inputs,
    )


def intent_id(instrument: str, bucket_ns: int, side: str) -> str:
    """The same decision has the same id, however often it is computed."""
    return hashlib.sha256(f"{STRATEGY}|{instrument}|{bucket_ns}|{side}".encode()).hexdigest()[:24]


def _value(mark: Mark) -> float:
    """Value of one lot at the mid, in the instrument's currency."""
    spec = INSTRUMENTS[mark.instrument]
    return float(spec.notional(mark.bid_ticks + mark.ask_ticks, 1) / Decimal(2))


def _target(state: TargetState, section: CrossSection, names: Sequence[str], lots: Any, wanted: Any) -> PortfolioTarget:
    lines = tuple(
        TargetLine(instrument=name, weight=state.weights[name], lots_now=int(now), lots_target=int(target))
        for name, now, target in zip(names, lots, wanted, strict=True)
    )
    return PortfolioTarget(
        ts_event_ns=section.model.ts_event_ns,
        ts_ingest_ns=section.model.ts_ingest_ns,
        rung=state.rung,
        regime=section.regime,
        nav_usd=state.nav_usd or 0.0,
        lines=lines,
    )


def _evidence(violation: float, section: CrossSection) -> GateEvidence:
    return GateEvidence(
        stage=4,
        name="portfolio.max_violation",
        value=min(violation, EVIDENCE_MAX),
        ts_event_ns=section.model.ts_event_ns,
    )
