"""A seeded market of several instruments: endless, repeatable, and with statistics like the published ones.

Each instrument has a book of its own (`zero_intelligence`) that follows a fundamental value. The values move on a
common and an own factor, and the volatility of both drifts between calm and storm for all instruments together, so
that covariance and regime mean something; liquidity (the size of orders, and with it depth) falls as volatility rises.
Volatilities are low for their names, because at 50 events/s a book with a spread of a tick or two moves no further.

Draws come in batches from numpy's PCG64. The same seed and instruments give the same records, on the same numpy
release: its distributions may change between releases. `docs/reference/synthetic.md` has the statistics.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from connectors.market.zero_intelligence import LEVELS_MIN, P_LEVEL, SIGN_MEMORY, Book, Draw, price_text
from contracts.market import RawBook, RawTrade

NS_PER_S: Final = 1_000_000_000
START_NS: Final = 1_767_623_400 * NS_PER_S
"""2026-01-05 14:30:00 UTC, the opening of a Monday in New York."""

EVENTS_PER_S: Final = 50.0
"""Mean event rate of one instrument; arrivals are Poisson."""
SIZE_LOG_SD: Final = 1.6
"""Order sizes are lognormal, cut at three standard deviations."""
SIGN_LAG_EXPONENT: Final = 1.0
"""Chance of a lag to be the one copied goes with the lag to the minus this; trade signs then have a long memory."""

VALUE_STEP_NS: Final = NS_PER_S // 4
STEPS_PER_SESSION: Final = 6.5 * 3600 * 4
STEPS_PER_YEAR: Final = 252 * STEPS_PER_SESSION
FACTOR_LOADING: Final = 0.8
"""Correlation of a value with the common factor; 0.64 between two values."""
VALUE_KEEP: Final = 0.5 ** (1.0 / STEPS_PER_SESSION)
"""The log value reverts with a half-life of a session, so that an endless run stays near its first price."""
VOL_KEEP: Final = 0.5 ** (1.0 / (600 * 4))
"""Log volatility reverts with a half-life of ten minutes, so that a short run sees more than one regime."""
VOL_LOG_SD: Final = 0.4
LIQUIDITY_PER_VOL: Final = 0.6
"""Order size goes with volatility to the minus this."""
BATCH: Final = 4096


@dataclass(frozen=True, slots=True)
class Listing:
    """Start in ticks of 0.01 USD, volatility of the value (fraction per year), shares of a median order."""

    ticks: int
    annual_vol: float
    order_shares: float


LISTINGS: Final[dict[str, Listing]] = {
    "AAPL": Listing(27_000, 0.18, 80),
    "AMZN": Listing(22_800, 0.21, 100),
    "MSFT": Listing(48_000, 0.13, 60),
    "QQQ": Listing(61_500, 0.11, 130),
    "SPY": Listing(68_500, 0.09, 200),
}
DEFAULT_INSTRUMENTS: Final = ("SPY", "QQQ", "AAPL", "MSFT")


def generate(instruments: tuple[str, ...] = DEFAULT_INSTRUMENTS, *, seed: int) -> Iterator[RawBook | RawTrade]:
    """Endless records of `instruments` (keys of LISTINGS) in event time, each trade before the book that shows it."""
    flow, fundamentals = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2))
    books = [Book(name, LISTINGS[name].ticks, LISTINGS[name].order_shares, flow) for name in instruments]
    values = _values(instruments, fundamentals)
    ts_ns = step_ns = START_NS
    for gap_ns, i, draw in _events(len(books), flow):
        ts_ns += gap_ns
        while ts_ns >= step_ns:
            step_ns += VALUE_STEP_NS
            liquidity, new_values = next(values)
            for book, value in zip(books, new_values, strict=True):
                book.value = value
                book.size_scale = LISTINGS[book.instrument].order_shares * liquidity
        book = books[i]
        if (trade := book.step(draw)) is not None:
            side, ticks, shares = trade
            yield RawTrade(
                source="synthetic",
                instrument=book.instrument,
                seq=next(book.seq),
                ts_event_ns=ts_ns,
                ts_ingest_ns=ts_ns,
                price=price_text(ticks),
                size=str(shares),
                side=side,
            )
        yield RawBook(
            source="synthetic",
            instrument=book.instrument,
            seq=next(book.seq),
            ts_event_ns=ts_ns,
            ts_ingest_ns=ts_ns,
            bids=book.bids.levels(),
            asks=book.asks.levels(),
        )


def _events(books: int, rng: np.random.Generator) -> Iterator[tuple[int, int, Draw]]:
    """Endless (nanoseconds since the last event, number of the book, its draw)."""
    lags = np.arange(1, SIGN_MEMORY + 1)
    lag_p = lags**-SIGN_LAG_EXPONENT / np.sum(lags**-SIGN_LAG_EXPONENT)
    while True:
        gaps = np.ceil(rng.exponential(NS_PER_S / (EVENTS_PER_S * books), BATCH)).astype(np.int64).tolist()
        which = rng.integers(books, size=BATCH).tolist()
        uniforms = rng.random((BATCH, 4)).tolist()
        distances = np.minimum(rng.geometric(P_LEVEL, BATCH) - 1, LEVELS_MIN - 1).tolist()
        sizes = np.exp(SIZE_LOG_SD * np.clip(rng.standard_normal(BATCH), -3.0, 3.0)).tolist()
        sign_lags = rng.choice(lags, BATCH, p=lag_p).tolist()
        for gap, book, (kind, side, chance, act), distance, size, lag in zip(
            gaps, which, uniforms, distances, sizes, sign_lags, strict=True
        ):
            yield gap, book, Draw(kind, side, chance, act, distance, size, lag)


def _values(instruments: tuple[str, ...], rng: np.random.Generator) -> Iterator[tuple[float, list[float]]]:
    """Endless steps of VALUE_STEP_NS: (liquidity, 1 at the median; fundamental values in ticks)."""
    start = np.array([float(LISTINGS[name].ticks) for name in instruments])
    step_vol = np.array([LISTINGS[name].annual_vol for name in instruments]) / math.sqrt(STEPS_PER_YEAR)
    own_loading = math.sqrt(1.0 - FACTOR_LOADING**2)
    vol_noise = VOL_LOG_SD * math.sqrt(1.0 - VOL_KEEP**2)
    log_value, log_vol = np.zeros(len(instruments)), 0.0
    while True:
        for row in rng.standard_normal((BATCH, 2 + len(instruments))):
            log_vol = VOL_KEEP * log_vol + vol_noise * float(row[0])
            # E[exp(2 log_vol)] = exp(2 sd^2), so this keeps the mean variance at annual_vol^2.
            vol = step_vol * math.exp(log_vol - VOL_LOG_SD**2)
            log_value = VALUE_KEEP * log_value + vol * (FACTOR_LOADING * row[1] + own_loading * row[2:])
            yield math.exp(-LIQUIDITY_PER_VOL * log_vol), (start * np.exp(log_value)).tolist()
