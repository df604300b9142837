"""The regime of each cross-section: calm, normal or storm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.spec import Out, Record, Step
from contracts.signals import CrossSection
from contracts.topics import CROSS_SECTIONS
from quant import covariance, regime
from tables.rows import TableSpec


@dataclass(slots=True)
class RegimeRow:
    """The regime with its hysteresis, and the measures of the last cross-section."""

    hysteresis: regime.RegimeState
    vol_annual: float = 0.0
    mean_correlation: float = 0.0


REGIME = TableSpec("regime", RegimeRow, "market regime with hysteresis and its measures, one row")


def make(bars_per_year: float) -> Step:
    """The step for buckets of which there are `bars_per_year`."""

    def step(state: RegimeRow | None, record: Record) -> tuple[RegimeRow, Sequence[Out]]:
        state = state or RegimeRow(regime.RegimeState())
        event = record.message
        if event.covariance is not None:
            s = covariance.decode_matrix(event.covariance)
            state.vol_annual = regime.market_vol_annual(s, bars_per_year)
            state.mean_correlation = regime.mean_correlation(s)
            # Tail correlation needs more tail bars than a session has; the mean stands for both until there are.
            state.hysteresis, _ = regime.step(
                state.hysteresis, state.vol_annual, state.mean_correlation, state.mean_correlation
            )
        cross_section = CrossSection(
            regime=state.hysteresis.regime,
            vol_annual=state.vol_annual,
            mean_correlation=state.mean_correlation,
            model=event,
        )
        return state, [Out(CROSS_SECTIONS, "desk", cross_section)]

    return step
