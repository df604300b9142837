from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest

from connectors.market import synthetic
from connectors.market.zero_intelligence import LEVELS_MAX, LEVELS_MIN, P_SIGN_COPY, SIGN_MEMORY, Book, Draw
from contracts.market import RawBook, RawTrade

RECORDS = 60_000


def cents(price: str) -> int:
    assert price[-3] == "."
    return int(price.replace(".", ""))


def random_draw(rng: np.random.Generator) -> Draw:
    kind, side, chance, act = rng.random(4).tolist()
    distance = int(rng.integers(LEVELS_MIN))
    return Draw(kind, side, chance, act, distance, float(rng.exponential(2.0)), int(rng.integers(1, SIGN_MEMORY + 1)))


def test_every_book_has_five_sorted_levels_a_side_and_is_never_crossed(seed: int) -> None:
    for record in islice(synthetic.generate(seed=seed), RECORDS):
        if isinstance(record, RawBook):
            bids = [cents(price) for price, _ in record.bids]
            asks = [cents(price) for price, _ in record.asks]
            assert len(set(bids)) == len(set(asks)) == 5
            assert bids == sorted(bids, reverse=True)
            assert asks == sorted(asks)
            assert bids[-1] > 0
            assert bids[0] < asks[0]
            assert all(int(size) > 0 for _, size in (*record.bids, *record.asks))


def test_a_trade_takes_from_the_best_queue_and_the_next_book_shows_it(seed: int) -> None:
    records = list(islice(synthetic.generate(("SPY",), seed=seed), RECORDS))
    trades = 0
    for before, trade, after in zip(records, records[1:], records[2:], strict=False):
        if not isinstance(trade, RawTrade):
            continue
        assert isinstance(before, RawBook)
        assert isinstance(after, RawBook)
        trades += 1
        old, new = (before.asks, after.asks) if trade.side == "BUY" else (before.bids, after.bids)
        assert trade.price == old[0][0]
        rest = int(old[0][1]) - int(trade.size)
        assert rest >= 0
        assert new[0] == ((trade.price, str(rest)) if rest else old[1])
        assert trade.ts_event_ns == after.ts_event_ns
    assert trades > 1000


def test_each_instrument_has_about_fifty_events_a_second(seed: int) -> None:
    records = list(islice(synthetic.generate(seed=seed), RECORDS))
    seconds = (records[-1].ts_event_ns - synthetic.START_NS) / 1e9
    events = Counter(record.instrument for record in records if isinstance(record, RawBook))
    # About 13,000 Poisson events each: five standard deviations are 4.4 %.
    assert {name: n / seconds for name, n in events.items()} == pytest.approx(
        dict.fromkeys(synthetic.DEFAULT_INSTRUMENTS, 50.0), rel=0.06
    )


def test_event_time_moves_on_with_every_event(seed: int) -> None:
    books = (r for r in islice(synthetic.generate(seed=seed), RECORDS) if isinstance(r, RawBook))
    assert all(a.ts_event_ns < b.ts_event_ns for a, b in pairwise(books))


@pytest.mark.parametrize("gap", [-5_000.0, 5_000.0])
def test_a_book_survives_a_value_far_away_and_moves_towards_it(seed: int, gap: float) -> None:
    rng = np.random.default_rng(seed)
    book = Book("SPY", 10_000, 100.0, rng)
    book.value = 10_000 + gap
    for _ in range(20_000):
        book.step(random_draw(rng))
        assert book.bids.keys[-1] < -book.asks.keys[-1]
        for side in (book.bids, book.asks):
            assert LEVELS_MIN <= len(side.keys) <= LEVELS_MAX
            assert side.keys == sorted(set(side.keys))
            assert min(side.sizes) > 0
    assert (book.bids.keys[-1] - 10_000) * gap > 100 * abs(gap)


def test_trade_signs_persist_even_where_the_value_does_not_pull(seed: int) -> None:
    rng = np.random.default_rng(seed)
    book = Book("SPY", 10_000, 100.0, rng)
    signs: list[float] = []
    while len(signs) < 5_000:
        book.value = 0.5 * (book.bids.keys[-1] - book.asks.keys[-1])
        if (trade := book.step(random_draw(rng)._replace(lag=1))) is not None:
            signs.append(1.0 if trade[0] == "BUY" else -1.0)
    # DAR(1) has the chance of a copy for its autocorrelation at lag 1; the standard error is 0.014.
    assert np.mean(np.multiply(signs[1:], signs[:-1])) == pytest.approx(P_SIGN_COPY, abs=0.075)


def test_selling_without_end_does_not_empty_the_bids() -> None:
    book = Book("SPY", 10_000, 100.0, np.random.default_rng(0))
    book.value = 0.0
    for _ in range(1_000):
        trade = book.step(Draw(kind=0.0, side=0.99, chance=0.99, act=0.0, distance=0, size=1_000.0, lag=1))
        assert trade is not None
        assert trade[0] == "SELL"
    assert len(book.bids.keys) >= LEVELS_MIN
    assert book.bids.keys[-1] == 10_000 - 1_000
