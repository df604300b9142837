"""All agents of the desk, in the order a quote meets them: the newcomer's map.

A group imports its own agents only: importing is nearly all of the time that a worker needs to start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agents.parameters import Desk
from agents.spec import AgentSpec, by_desk
from contracts import topics as t

GROUPS: Final = {
    "ingest": "raw market records to checked market events",
    "signals": "order-flow imbalance and signals, by instrument",
    "portfolio": "regime, covariance and portfolio of the whole desk",
    "execution": "admission, orders and account: the only owner of the broker connection",
    "risk": "positions, risk and the kill switch",
    "gates": "the eight stage gates",
    "web": "the page that shows the tables",
}
"""One group is one app id, one worker process, one Kubernetes workload."""


def catalogue(group: str, desk: Desk, configuration_hash: str, build: str = "") -> list[AgentSpec]:
    """The agents of one group ("all" for every group). Making the portfolio step compiles the optimiser.

    `build` and `configuration_hash` are what this worker runs: execution denies while any other runs something else.
    """
    makers: dict[str, Callable[[], list[AgentSpec]]] = {
        "ingest": _ingest,
        "signals": lambda: _signals(desk),
        "portfolio": lambda: _portfolio(desk),
        "execution": lambda: _execution(desk, build, configuration_hash),
        "risk": lambda: _risk(desk),
        "gates": _gates,
        "web": list,
    }
    wanted = makers if group == "all" else {group: makers[group]}
    return [spec for maker in wanted.values() for spec in maker()]


def _ingest() -> list[AgentSpec]:
    from agents import normalise, sequence

    return [
        AgentSpec(
            "normalise",
            "ingest",
            "raw records to ticks and lots, or to a dead letter",
            (t.MARKET_RAW,),
            normalise.step,
            normalise.key,
            sequence.SEQUENCES,
            forward=t.MARKET_EVENTS,
            refuse=normalise.refuse,
            outputs=(t.MARKET_EVENTS, t.GATE_EVIDENCE),
        )
    ]


def _signals(desk: Desk) -> list[AgentSpec]:
    from agents import ofi, signals

    return [
        AgentSpec(
            "ofi",
            "signals",
            "order-flow imbalance per instrument and bucket",
            (t.MARKET_EVENTS,),
            ofi.make(desk.market.bucket_ns),
            ofi.key,
            ofi.OFI,
            forward=t.OFI_EVENTS,
            outputs=(t.OFI_EVENTS,),
        ),
        AgentSpec(
            "signals",
            "signals",
            "z-score, information coefficient and forecast per instrument",
            (t.OFI_EVENTS,),
            signals.make(desk.signals),
            signals.key,
            signals.SIGNALS,
            forward=t.SIGNAL_EVENTS,
            outputs=(t.SIGNAL_EVENTS, t.GATE_EVIDENCE),
        ),
    ]


def _portfolio(desk: Desk) -> list[AgentSpec]:
    # Here is cvxpy, which takes longer to import than all the rest together.
    from agents import covariance, portfolio, regime

    market = desk.market
    return [
        AgentSpec(
            "covariance",
            "portfolio",
            "cross-sections by watermark, EWMA + Ledoit-Wolf covariance",
            (t.SIGNAL_EVENTS,),
            covariance.make(market.universe, market.bucket_ns, desk.portfolio),
            by_desk,
            covariance.COVARIANCE,
            outputs=(t.COVARIANCE_EVENTS, t.GATE_EVIDENCE),
        ),
        AgentSpec(
            "regime",
            "portfolio",
            "calm, normal or storm",
            (t.COVARIANCE_EVENTS,),
            regime.make(market.bars_per_year),
            by_desk,
            regime.REGIME,
            outputs=(t.CROSS_SECTIONS,),
        ),
        AgentSpec(
            "portfolio",
            "portfolio",
            "targets by convex optimisation, and the intents that lead there",
            (t.CROSS_SECTIONS, t.POSITIONS, t.ACCOUNT_VALUES),
            portfolio.make(market, desk.portfolio, desk.limits.order_notional_usd_max),
            by_desk,
            portfolio.TARGETS,
            outputs=(t.PORTFOLIO_TARGETS, t.ORDER_INTENTS, t.GATE_EVIDENCE),
        ),
    ]


def _execution(desk: Desk, build: str, configuration_hash: str) -> list[AgentSpec]:
    from agents import account, admission, execution, latch, orders
    from agents.controls.case import Identity

    return [
        AgentSpec(
            "admission",
            "execution",
            "may this intent become an order? closed by default",
            (
                t.ORDER_INTENTS,
                t.EXEC_REPORTS,
                t.SIGNAL_EVENTS,
                t.RISK_EVENTS,
                t.ACCOUNT_VALUES,
                t.CONTROL,
                t.GATE_VERDICTS,
                t.WORKERS,
            ),
            admission.make(desk.limits, desk.market, Identity(build, configuration_hash)),
            admission.key,
            admission.ADMISSION,
            outputs=(t.DECISIONS, t.ORDER_COMMANDS, t.ALERTS),
        ),
        AgentSpec(
            "execution",
            "execution",
            "the life of each order, from the claim to the last commission",
            (t.ORDER_COMMANDS, t.BROKER_EVENTS, t.CONTROL),
            execution.step,
            execution.key,
            orders.ORDERS,
            forward=t.EXEC_REPORTS,
            outputs=(t.EXEC_REPORTS, t.ALERTS),
        ),
        AgentSpec(
            "account",
            "execution",
            "the broker's account and positions beside the fold of its executions",
            (t.BROKER_EVENTS, t.EXEC_REPORTS, t.RISK_EVENTS, t.CONTROL),
            account.step,
            account.key,
            account.ACCOUNT,
            outputs=(t.ACCOUNT_VALUES, t.EXEC_REPORTS, t.ALERTS, t.GATE_EVIDENCE),
        ),
        AgentSpec(
            "latch",
            "execution",
            "kills in force, told to the broker connection ahead of all orders",
            (t.CONTROL, t.BROKER_EVENTS),
            latch.step,
            latch.key,
            latch.LATCH,
        ),
    ]


def _risk(desk: Desk) -> list[AgentSpec]:
    from agents import killswitch, positions, risk

    return [
        AgentSpec(
            "positions",
            "risk",
            "positions and exact cash flows from execution reports",
            (t.EXEC_REPORTS,),
            positions.step,
            positions.key,
            positions.POSITION_ROWS,
            outputs=(t.POSITIONS,),
        ),
        AgentSpec(
            "risk",
            "risk",
            "PnL, exposure, drawdown and PSR once per bucket",
            (t.POSITIONS, t.SIGNAL_EVENTS, t.ACCOUNT_VALUES),
            risk.make(desk.market.bucket_ns),
            by_desk,
            risk.RISK,
            outputs=(t.RISK_EVENTS,),
        ),
        AgentSpec(
            "killswitch",
            "risk",
            "trips on risk, evidence, dead letters or a command; only a named operator resets it",
            (
                t.RISK_EVENTS,
                t.CONTROL,
                t.GATE_EVIDENCE,
                t.DLQ_MARKET_EVENTS,
                t.DLQ_ORDER_INTENTS,
                t.DLQ_EXECUTION_REPORTS,
            ),
            killswitch.make(desk.kill),
            killswitch.key,
            killswitch.SWITCH,
            outputs=(t.CONTROL, t.ALERTS),
        ),
    ]


def _gates() -> list[AgentSpec]:
    from agents.gates import gate
    from agents.gates.stages import STAGES

    return [
        AgentSpec(
            f"gate{stage.number}",
            "gates",
            f"stage {stage.number}: {stage.title}",
            (t.GATE_EVIDENCE,),
            gate.make(stage),
            gate.key_of(stage),
            gate.GATES,
            outputs=(t.GATE_VERDICTS,),
        )
        for stage in STAGES
    ]
