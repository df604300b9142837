"""What breaks a kill limit: pure judgements on risk, data and evidence, each with its numbers.

A reset is a named operator's word that the desk may go on. So loss, drawdown and PSR count from there on: held against
the whole past they would trip at the next bucket, and no reset would ever last.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.parameters import KillLimits
from contracts.controls import RiskEvent


@dataclass(slots=True)
class Baseline:
    """Where the desk stood at the last reset: PnL, NAV, its peak since then, and a PSR that was known to be too low."""

    pnl_usd: float
    nav_usd: float
    peak_usd: float
    psr: float | None


def baseline(risk: RiskEvent) -> Baseline:
    """The desk as risk last saw it."""
    return Baseline(risk.pnl_usd, risk.nav_usd, risk.nav_usd, risk.psr)


def go_on(base: Baseline, risk: RiskEvent, limits: KillLimits) -> None:
    """Follow the desk: its peak, and the end of a PSR that was too low."""
    base.peak_usd = max(base.peak_usd, risk.nav_usd)
    if base.psr is not None and risk.psr is not None and limits.psr_min is not None and risk.psr >= limits.psr_min:
        base.psr = None


def unset(limits: KillLimits) -> str:
    """A limit on risk, data or dead letters that is not set; empty when all are."""
    if limits.loss_frac_max is None or limits.drawdown_frac_max is None or limits.psr_min is None:
        return "a kill limit is not set"
    for name in ("loss_usd_max", "dead_letters_per_minute_max", "data_age_s_max"):
        if getattr(limits, name) is None:
            return f"{name} is not set"
    return ""


def on_risk(risk: RiskEvent, limits: KillLimits, base: Baseline | None) -> str:
    """The first limit on risk that is broken, of those that are set; empty when none is."""
    lost_usd = (base.pnl_usd if base else 0.0) - risk.pnl_usd
    start_usd = base.nav_usd if base else risk.nav_usd - risk.pnl_usd
    loss = lost_usd / start_usd if start_usd > 0 else 1.0
    drawdown = 1.0 - risk.nav_usd / base.peak_usd if base and base.peak_usd > 0 else risk.drawdown_frac
    since = " since the reset" if base else ""
    if limits.loss_frac_max is not None and loss > limits.loss_frac_max:
        return f"loss_frac={loss:.4f} loss_frac_max={limits.loss_frac_max}{since}"
    if limits.loss_usd_max is not None and lost_usd > limits.loss_usd_max:
        return f"loss_usd={lost_usd:.2f} loss_usd_max={limits.loss_usd_max:g}{since}"
    if limits.drawdown_frac_max is not None and drawdown > limits.drawdown_frac_max:
        return f"drawdown_frac={drawdown:.4f} drawdown_frac_max={limits.drawdown_frac_max}{since}"
    known = base is not None and base.psr is not None and risk.psr is not None and risk.psr >= base.psr
    if limits.psr_min is not None and risk.psr is not None and risk.psr < limits.psr_min and not known:
        return f"psr={risk.psr:.3f} psr_min={limits.psr_min} returns={risk.returns}"
    return ""


def on_data(data_ns: int, risk: RiskEvent, limits: KillLimits) -> str:
    """Whether the whole market has gone quiet: the freshest record of all is that old while heartbeats go on."""
    age_s = (risk.ts_event_ns - data_ns) / 1e9
    if limits.data_age_s_max is not None and data_ns and age_s > limits.data_age_s_max:
        return f"data_age_s={age_s:.0f} data_age_s_max={limits.data_age_s_max:g}"
    return ""
