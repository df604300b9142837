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
    """Pre-trade limits of admission. None is "not set", and denies.

    Ages and windows are in buckets of event time but `account_age_s_max`, as the broker's values have wall time.
    `trading_weekdays` counts from Monday = 0, `trading_minutes_utc` is [from, to) in minutes of the UTC day. Children
    of an intent are at most `pov_frac_max` of the volume that its average day (`adv_lots`) brings in one bucket, and of
    that which the last `pov_window_buckets` brought (older ones fade out).
    """

    order_lots_max: int | None = None
    order_notional_usd_max: float | None = None
    position_notional_usd_max: float | None = None
    gross_notional_usd_max: float | None = None
    net_notional_usd_max: float | None = None
    daily_loss_usd_max: float | None = None
    account_age_s_max: float | None = None
    collar_frac: float | None = None
    price_move_frac_max: float | None = None
    price_move_period_buckets: int | None = None
    price_age_buckets_max: int | None = None
    intent_age_buckets_max: int | None = None
    risk_age_buckets_max: int | None = None
    duplicate_window_buckets: int | None = None
    orders_per_minute_max: int | None = None
    repeat_orders_max: int | None = None
    repeat_window_buckets: int | None = None
    pov_frac_max: float | None = None
    pov_window_buckets: int | None = None
    adv_lots: dict[str, int] | None = None
    restricted: tuple[str, ...] | None = None
    strategies: tuple[str, ...] | None = None
    short_allowed: bool | None = None
    trading_weekdays: tuple[int, ...] | None = None
    trading_minutes_utc: tuple[int, int] | None = None
    gates_required: tuple[int, ...] | None = None


class KillLimits(Parameters):
    """What trips the kill switch. None is "not set", and keeps the switch HALTED."""

    loss_frac_max: float | None = None
    loss_usd_max: float | None = None
    drawdown_frac_max: float | None = None
    psr_min: float | None = None
    covariance_drift_max: float | None = None
    refused_records_frac_max: float | None = None
    dead_letters_per_minute_max: int | None = None
    position_breaks_max: float | None = None
    pacing_violations_max: float | None = None
    connection_failures_max: float | None = None
    acknowledgement_ms_p95_max: float | None = None
    data_age_s_max: float | None = None


class Desk(Parameters):
    """All of them."""

    market: Market
    signals: Signals
    portfolio: Portfolio
    limits: Limits
    kill: KillLimits
