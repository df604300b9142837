"""The numbers agents run on. Profiles set them; limits have no default, and one that is not set blocks."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Parameters(BaseModel):
    """Frozen, and closed to unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Market(Parameters):
    """What is traded and in which time buckets (event time)."""

    universe: tuple[str, ...] = Field(min_length=1)
    bucket_ms: int = Field(gt=0)
    bars_per_year: float = Field(gt=0)

    @property
    def bucket_ns(self) -> int:
        return self.bucket_ms * 1_000_000


class Signals(Parameters):
    """`half_life_buckets` of z-score and volatility; `ic_prior` with the weight of `ic_prior_buckets` observations."""

    half_life_buckets: float = Field(gt=0)
    ic_prior: float
    ic_prior_buckets: float = Field(gt=0)


class Portfolio(Parameters):
    """Covariance memory, risk aversion and cost, and the box of the optimiser; weights are fractions of NAV."""

    covariance_half_life_buckets: float = Field(gt=0)
    covariance_warm_buckets: int = Field(gt=1)
    gamma: float = Field(gt=0)
    kappa: float = Field(ge=0)
    box: float = Field(gt=0)
    turnover: float = Field(gt=0)
    vol_target_annual: float = Field(gt=0)
    order_notional_usd_min: float = Field(ge=0)


class Limits(Parameters):
    """Pre-trade limits of admission. None is "not set", and denies."""

    order_lots_max: int | None = None
    order_notional_usd_max: float | None = None
    position_notional_usd_max: float | None = None
    gross_notional_usd_max: float | None = None
    collar_frac: float | None = None
    price_age_buckets_max: int | None = None
    risk_age_buckets_max: int | None = None
    gates_required: tuple[int, ...] | None = None


class KillLimits(Parameters):
    """What trips the kill switch. None is "not set", and keeps the switch HALTED."""

    loss_frac_max: float | None = None
    drawdown_frac_max: float | None = None
    psr_min: float | None = None


class Desk(Parameters):
    """All of them."""

    market: Market
    signals: Signals
    portfolio: Portfolio
    limits: Limits
    kill: KillLimits
