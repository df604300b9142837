"""Positions and marks to the desk's risk, once per bucket of event time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agents.spec import Out, Record, Step
from contracts.controls import RiskEvent
from contracts.instruments import INSTRUMENTS
from contracts.market import Heartbeat
from contracts.orders import AccountValue, Position
from contracts.signals import SignalEvent
from contracts.topics import MARKET_PARTITIONS, RISK_EVENTS
from quant.performance import Moments, add_return, psr, sharpe_stats
from tables.rows import TableSpec


@dataclass(slots=True)
class RiskState:
    """NAV at the start, positions (lots, cash flow), mids in half ticks, the peak of NAV and the moments of returns.

    An account without money has no start: risk is silent, and silence from risk means no orders.
    `exec_ids` has the last execution of each position; `taken_lots` what a named operator took over and no mid has
    valued yet, `taken_usd` the value of all else that was taken over, at the mid of that moment.
    """

    nav_start_usd: float | None = None
    watermarks: dict[int, int] = field(default_factory=dict)
    fired_ns: int = 0
    lots: dict[str, int] = field(default_factory=dict)
    cash_flow: dict[str, float] = field(default_factory=dict)
    mids: dict[str, int] = field(default_factory=dict)
    nav_usd: float = 0.0
    nav_peak_usd: float = 0.0
    returns: Moments = field(default_factory=Moments)
    exec_ids: dict[str, str] = field(default_factory=dict)
    taken_lots: dict[str, int] = field(default_factory=dict)
    taken_usd: dict[str, float] = field(default_factory=dict)


RISK = TableSpec("risk", RiskState, "NAV, exposure, drawdown and return moments of the desk, one row")


def make(bucket_ns: int) -> Step:
    """The step; risk speaks once per bucket of `bucket_ns`."""

    def step(state: RiskState | None, record: Record) -> tuple[RiskState, Sequence[Out]]:
        state = state or RiskState()
        message = record.message
        match message:
            case AccountValue() if state.nav_start_usd is None and message.net_liquidation > 0:
                state.nav_start_usd = state.nav_usd = state.nav_peak_usd = float(message.net_liquidation)
            case Position():
                _position(state, message)
            case SignalEvent():
                state.mids[message.instrument] = message.bid_ticks + message.ask_ticks
                _take_over(state, message.instrument)
            case Heartbeat():
                return state, _beat(state, message, bucket_ns)
        return state, ()

    return step


def _position(state: RiskState, position: Position) -> None:
    """Lots that change without a new execution were taken over from the broker: that is no profit and no loss."""
    name = position.instrument
    change = position.position_lots - state.lots.get(name, 0)
    if change and position.last_exec_id == state.exec_ids.get(name, ""):
        state.taken_lots[name] = state.taken_lots.get(name, 0) + change
        _take_over(state, name)
    state.lots[name], state.cash_flow[name] = position.position_lots, float(position.cash_flow)
    state.exec_ids[name] = position.last_exec_id


def _take_over(state: RiskState, name: str) -> None:
    """Book what was taken over at the mid, the first one if there was none."""
    if name in state.taken_lots and name in state.mids:
        value = _value(name, state.taken_lots.pop(name), state.mids[name])
        state.taken_usd[name] = state.taken_usd.get(name, 0.0) + value


def _beat(state: RiskState, heartbeat: Heartbeat, bucket_ns: int) -> list[Out]:
    state.watermarks[heartbeat.partition] = max(state.watermarks.get(heartbeat.partition, 0), heartbeat.ts_event_ns)
    watermark = min(state.watermarks.values())
    if (
        len(state.watermarks) < MARKET_PARTITIONS
        or watermark < state.fired_ns + bucket_ns
        or state.nav_start_usd is None
        or any(lots != 0 and name not in state.mids for name, lots in state.lots.items())
    ):
        return []
    state.fired_ns = watermark
    return [Out(RISK_EVENTS, "desk", measure(state, watermark, state.nav_start_usd))]


def measure(state: RiskState, ts_event_ns: int, nav_start_usd: float) -> RiskEvent:
    """Mark the book, take the return of the bucket into the statistics, and say where the desk stands."""
    values = {name: _value(name, lots, state.mids[name]) for name, lots in state.lots.items() if lots}
    pnl = sum(state.cash_flow.values()) + sum(values.values()) - sum(state.taken_usd.values())
    nav = nav_start_usd + pnl
    if state.nav_usd > 0.0:
        state.returns = add_return(state.returns, nav / state.nav_usd - 1.0)
    state.nav_usd = nav
    state.nav_peak_usd = max(state.nav_peak_usd, nav)
    stats = sharpe_stats(state.returns)
    return RiskEvent(
        ts_event_ns=ts_event_ns,
        nav_usd=nav,
        pnl_usd=pnl,
        gross_usd=sum(abs(value) for value in values.values()),
        net_usd=sum(values.values()),
        drawdown_frac=1.0 - nav / state.nav_peak_usd,
        psr=psr(stats) if stats is not None else None,
        returns=state.returns.n,
    )


def _value(instrument: str, lots: int, mid_half_ticks: int) -> float:
    return float(INSTRUMENTS[instrument].notional(mid_half_ticks, lots)) / 2.0
