"""Statistics of a stream of market records, as Cont, Kukanov & Stoikov 2014 measure them.

Price changes in ticks over 10 s are regressed on OFI, and on signed trade volume, within each half hour. Depth AD is
the mean of (qb + qa) / 2 over changes of the best quotes; the slope b of the OFI regression should be c / AD^lambda.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.market import Heartbeat, RawBook, RawHalt, RawTrade
from quant import ofi

NS_PER_S = 1_000_000_000
INTERVAL_S = 10
INTERVALS = 180
"""Intervals of one regression: half an hour."""
SIGN_LAGS = (1, 2, 5, 10, 20, 50)
SESSION_S = 6.5 * 3600

R2_OFI_PUBLISHED = (0.35, 0.65, 0.79)
SLOPE_C_PUBLISHED, SLOPE_LAMBDA_PUBLISHED = (0.13, 0.45, 5.81), (0.36, 0.98, 1.60)
"""Table 3 of CKS: c from COP to WIN, lambda from APOL to WIN."""
SIGN_EXPONENT_PUBLISHED = (0.36, 0.60, 0.77)
"""Trade signs' autocorrelation falls as lag^-alpha: Lillo & Farmer 2004 (Santa Fe working paper 03-12-066), stocks of
London. Bouchaud et al. 2004 find 0.2 to 0.7 in Paris."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HalfHour:
    """Regressions of one half hour; `r2_both` on OFI and trades, `r2_square` on OFI and OFI |OFI|.

    `slope` of OFI alone in ticks per share, `depth` in shares, `move` the standard deviation of 10 s changes in ticks.
    """

    r2_ofi: float
    r2_trades: float
    r2_both: float
    r2_square: float
    slope: float
    depth: float
    move: float


@dataclass(frozen=True, slots=True)
class BookStatistics:
    """One instrument. `flow` (shares) and `change` (ticks) hold all 10 s intervals, `spread` all books (ticks)."""

    half_hours: tuple[HalfHour, ...]
    flow: Floats
    change: Floats
    spread: NDArray[np.int64]
    sign_autocorrelation: tuple[float, ...]
    next_interval_correlation: float
    next_minute_correlation: float
    quotes_per_day: float
    trades_per_day: float

    def mean(self, field: str) -> float:
        """Mean of a field of the half hours."""
        return float(np.mean([getattr(half, field) for half in self.half_hours]))

    def spread_share(self, *ticks: int) -> float:
        """Share of the books whose spread is one of `ticks`."""
        return float(np.isin(self.spread, ticks).mean())


def measure(
    records: Iterable[RawBook | RawTrade | RawHalt | Heartbeat], *, start_ns: int, half_hours: int
) -> dict[str, BookStatistics]:
    """Statistics per instrument of the first `half_hours` after `start_ns`; prices must have two decimals."""
    stop_ns = start_ns + half_hours * INTERVALS * INTERVAL_S * NS_PER_S
    quotes: dict[str, list[tuple[int, int, int, int, int]]] = {}
    trades: dict[str, list[tuple[int, int]]] = {}
    for record in records:
        if record.ts_event_ns > stop_ns:
            break
        if isinstance(record, RawBook):
            (bid, bid_size), (ask, ask_size) = record.bids[0], record.asks[0]
            row = record.ts_event_ns, _cents(bid), int(bid_size), _cents(ask), int(ask_size)
            quotes.setdefault(record.instrument, []).append(row)
        elif isinstance(record, RawTrade):
            signed = int(record.size) if record.side == "BUY" else -int(record.size)
            trades.setdefault(record.instrument, []).append((record.ts_event_ns, signed))
    edges = start_ns + np.arange(half_hours * INTERVALS + 1, dtype=np.int64) * (INTERVAL_S * NS_PER_S)
    return {name: _statistics(np.array(quotes[name]), np.array(trades[name]), edges) for name in sorted(quotes)}


@dataclass(frozen=True, slots=True)
class Claim:
    """A published statistic: lowest, mean where given, highest over stocks; where it stands; our value of it."""

    name: str
    low: float
    mean: float | None
    high: float
    source: str
    value: Callable[[BookStatistics], float]

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


# 50 stocks of the S&P 500 in April 2010, by the tables of arXiv 1011.6402v3.
CLAIMS = (
    Claim("R² of 10 s changes on OFI", *R2_OFI_PUBLISHED, "table 2, CME to BAC", lambda s: s.mean("r2_ofi")),
    Claim(
        "R² on signed trade volume", 0.21, 0.32, 0.45, "table 4, XTO to BAC", lambda s: s.mean("r2_trades")
    ),
    Claim("R² on both", 0.44, 0.67, 0.80, "table 4, CME to BAC", lambda s: s.mean("r2_both")),
    Claim("mean spread, cents", 1, 2, 31, "table 1; 38 of 50 stocks have 1", lambda s: float(s.spread.mean())),
    Claim(
        "95th percentile of the spread, cents", 1, 6, 103, "table 1, the maximum that its filter left",
        lambda s: float(np.percentile(s.spread, 95)),
    ),
    Claim("books with a spread of 1 cent", 0.50, None, 1.0, "section 3.3, \"mostly\"", lambda s: s.spread_share(1)),
    Claim("depth AD, shares", 5, 227, 3_208, "table 1, CME to BAC", lambda s: s.mean("depth")),
    Claim("changes of the best quotes, per day", 38_504, 223_232, 1_529_395, "table 1", lambda s: s.quotes_per_day),
)  # fmt: skip

ELSEWHERE = (
    Claim(
        "changes of the best quotes, per trade", 19, 40, 122, "section 3.1; table 1, ETN to XTO",
        lambda s: s.quotes_per_day / s.trades_per_day,
    ),
)  # fmt: skip
"""Where one venue cannot be compared: these quotes are of all venues together."""


def slope_law(half_hours: Iterable[HalfHour]) -> tuple[float, float]:
    """(c, lambda) of log b = log c - lambda log AD, least squares over half hours with a positive slope."""
    halves = [half for half in half_hours if half.slope > 0]
    exponent, intercept = np.polyfit(np.log([h.depth for h in halves]), np.log([h.slope for h in halves]), 1)
    return float(np.exp(intercept)), float(-exponent)


def _statistics(quotes: NDArray[np.int64], trades: NDArray[np.int64], edges: NDArray[np.int64]) -> BookStatistics:
    ts, bid, bid_size, ask, ask_size = quotes.T
    # Row of the last quote at or before each edge: intervals are (t-10 s, t].
    rows = np.maximum(np.searchsorted(ts, edges, side="right") - 1, 0)
    flow = np.diff(np.cumsum(ofi.level1_batch(bid, bid_size, ask, ask_size))[rows]).astype(np.float64)
    change = np.diff(0.5 * (bid + ask)[rows])
    volume = np.concatenate([[0], np.cumsum(trades[:, 1])])
    traded = np.diff(volume[np.searchsorted(trades[:, 0], edges, side="right")]).astype(np.float64)
    changed = np.concatenate([[False], np.any(np.diff(quotes[:, 1:], axis=0) != 0, axis=1)])
    half_hours = []
    for first in range(0, len(flow), INTERVALS):
        part = slice(first, first + INTERVALS)
        span = slice(rows[first], rows[first + INTERVALS])
        depth = 0.5 * (bid_size + ask_size)[span][changed[span]].mean()
        slope = np.polyfit(flow[part], change[part], 1)[0]
        half_hours.append(
            HalfHour(
                r2_ofi=correlation(flow[part], change[part]) ** 2,
                r2_trades=correlation(traded[part], change[part]) ** 2,
                r2_both=_r2(change[part], flow[part], traded[part]),
                r2_square=_r2(change[part], flow[part], flow[part] * np.abs(flow[part])),
                slope=float(slope),
                depth=float(depth),
                move=float(change[part].std()),
            )
        )
    per_day = SESSION_S / (len(flow) * INTERVAL_S)
    signs = np.sign(trades[:, 1]).astype(np.float64)
    return BookStatistics(
        half_hours=tuple(half_hours),
        flow=flow,
        change=change,
        spread=ask - bid,
        sign_autocorrelation=tuple(correlation(signs[lag:], signs[:-lag]) for lag in SIGN_LAGS),
        next_interval_correlation=correlation(flow[:-1], change[1:]),
        next_minute_correlation=correlation(_sums(flow, 6)[:-1], _sums(change, 6)[1:]),
        quotes_per_day=float(changed.sum()) * per_day,
        trades_per_day=len(trades) * per_day,
    )


def sign_exponent(statistics: Iterable[BookStatistics]) -> float:
    """alpha of lag^-alpha, least squares on logarithms; the autocorrelations are averaged first, as each is noisy."""
    mean = np.mean([one.sign_autocorrelation for one in statistics], axis=0)
    return float(-np.polyfit(np.log(SIGN_LAGS), np.log(mean), 1)[0])


def _sums(x: Floats, n: int) -> Floats:
    """Sums of `n` intervals each; what is left over at the end is dropped."""
    total: Floats = x[: len(x) // n * n].reshape(-1, n).sum(axis=1)
    return total


def _r2(y: Floats, *columns: Floats) -> float:
    """Share of the variance of y explained by several columns and an intercept."""
    scaled = [column / np.abs(column).max() for column in columns]
    x = np.column_stack([np.ones(len(y)), *scaled])
    rest = y - x @ np.linalg.lstsq(x, y)[0]
    return float(1.0 - rest @ rest / ((y - y.mean()) @ (y - y.mean())))


def correlation(x: Floats, y: Floats) -> float:
    """Pearson's correlation of two series."""
    return float(np.corrcoef(x, y)[0, 1])


def _cents(price: str) -> int:
    dollars, _, cents = price.partition(".")
    if len(cents) != 2:
        raise ValueError(f"{price} is not in whole cents")
    return 100 * int(dollars) + int(cents)
