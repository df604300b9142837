"""What the desk computes from market events, from order flow to portfolio targets.

Every message carries `ts_event_ns`, the end of the bucket it speaks of, and `ts_ingest_ns`, when the event that closed
the bucket reached us; the difference to the clock is the latency of the path so far.
"""

from __future__ import annotations

from array import array
from base64 import b64decode
from math import isfinite, isqrt
from typing import Annotated, Literal

from pydantic import Field, model_validator

from contracts.base import Count, DurationNs, HalfTicks, Instrument, LogReturn, Message, Part, Ticks, TimeNs, Whole
from contracts.market import Source

Regime = Literal["calm", "normal", "storm"]


class OfiEvent(Message):
    """Order-flow imbalance of one instrument over one bucket.

    `ofi_lots` is the sum of level-1 contributions (Cont, Kukanov & Stoikov 2014), `depth_lots` the mean of
    (bid size + ask size) / 2 over the changes of the best quote, `trade_lots` the signed traded size, `volume_lots` all
    that traded; the mids are in half ticks (bid + ask), so that they are whole.
    """

    type: Literal["ofi"] = "ofi"
    source: Source
    instrument: Instrument
    ts_event_ns: TimeNs
    ts_ingest_ns: TimeNs
    bucket_ns: DurationNs
    ofi_lots: Whole
    depth_lots: Annotated[float, Field(ge=0)]
    trade_lots: Whole
    volume_lots: Count
    events: Count
    mid_open_half_ticks: HalfTicks
    mid_close_half_ticks: HalfTicks
    bid_ticks: Ticks
    ask_ticks: Ticks
    halted: bool


class SignalEvent(Message):
    """Standardised signal and forecast of one instrument for the next bucket.

    `z` is the winsorised z-score of OFI / depth, None while warming up; `alpha` the expected return of the next bucket,
    sigma * IC * z (Grinold & Kahn); `ret` the log return over the bucket, `volume_lots` what traded in it.
    """

    type: Literal["signal"] = "signal"
    instrument: Instrument
    ts_event_ns: TimeNs
    ts_ingest_ns: TimeNs
    bucket_ns: DurationNs
    z: float | None
    ic: float
    sigma: Annotated[float, Field(ge=0)]
    alpha: float
    ret: LogReturn
    bid_ticks: Ticks
    ask_ticks: Ticks
    volume_lots: Count
    halted: bool


class Mark(Part):
    """One instrument's row of a cross-section."""

    instrument: Instrument
    alpha: float
    ret: LogReturn
    bid_ticks: Ticks
    ask_ticks: Ticks
    halted: bool


class CovarianceEvent(Message):
    """The cross-section of one bucket and the covariance of bucket returns after it.

    `marks` are sorted by instrument; `covariance` is the lower triangle of an (N, N) matrix, row by row, as base64 of
    little-endian float64, in squared return per bucket; None until warm.
    """

    type: Literal["covariance"] = "covariance"
    ts_event_ns: TimeNs
    ts_ingest_ns: TimeNs
    bucket_ns: DurationNs
    marks: tuple[Mark, ...]
    covariance: str | None
    drift: Annotated[float, Field(ge=0)] | None
    updates: Count

    @model_validator(mode="after")
    def _triangle(self) -> CovarianceEvent:
        if self.covariance is not None:
            numbers = array("d", b64decode(self.covariance, validate=True))
            side = (isqrt(8 * len(numbers) + 1) - 1) // 2
            if not numbers or side * (side + 1) // 2 != len(numbers) or not isfinite(sum(numbers)):
                raise ValueError("a covariance is a triangle of finite numbers")
        return self


class CrossSection(Message):
    """A covariance event with the regime it was judged to be in: all the portfolio needs of the market."""

    type: Literal["cross_section"] = "cross_section"
    regime: Regime
    vol_annual: Annotated[float, Field(ge=0)]
    mean_correlation: float
    model: CovarianceEvent


class TargetLine(Part):
    """Target of one instrument: weight of NAV, and position in lots now and wanted."""

    instrument: Instrument
    weight: float
    lots_now: Whole
    lots_target: Whole


class PortfolioTarget(Message):
    """What the portfolio wants to hold after one bucket; `rung` is the step of the feasibility ladder that answered."""

    type: Literal["target"] = "target"
    ts_event_ns: TimeNs
    ts_ingest_ns: TimeNs
    rung: str
    regime: Regime
    nav_usd: float
    lines: tuple[TargetLine, ...]
