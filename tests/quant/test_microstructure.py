"""Mid, imbalance, trade sign, depth and micro-price, with their odd books."""

from __future__ import annotations

import numpy as np
import pytest

from quant import microstructure as ms
from quant import ofi


def test_the_mid_of_an_odd_spread_is_exact() -> None:
    assert ms.mid(100, 101) == 100.5


@pytest.mark.parametrize(("bid_size", "ask_size", "expected"), [(3, 1, 0.5), (0, 7, -1.0), (7, 0, 1.0), (0, 0, 0.0)])
def test_queue_imbalance_by_hand(bid_size: int, ask_size: int, expected: float) -> None:
    assert ms.queue_imbalance(bid_size, ask_size) == expected


@pytest.mark.parametrize(
    ("price", "previous", "previous_sign", "sign"),
    [
        (101, 0, 0, 1),  # at the ask: bought
        (99, 0, 0, -1),  # at the bid: sold
        (100, 99, -1, 1),  # at the mid, up tick
        (100, 101, 1, -1),  # at the mid, down tick
        (100, 100, -1, -1),  # at the mid, zero tick: as the trade before
        (100, 0, 0, 0),  # at the mid, first trade: unknown
    ],
)
def test_lee_and_ready_by_hand(price: int, previous: int, previous_sign: int, sign: int) -> None:
    assert ms.lee_ready(price, 99, 101, previous, previous_sign) == sign


def test_a_trade_at_a_locked_price_falls_to_the_tick_test() -> None:
    assert ms.lee_ready(100, 100, 100, 99, -1) == 1


def test_a_trade_in_a_one_sided_book_met_the_side_that_is_there() -> None:
    assert ms.lee_ready(100, 100, ofi.NO_ASK) == -1
    assert ms.lee_ready(100, ofi.NO_BID, 100) == 1


def test_average_depth_is_the_mean_half_sum_of_the_queues() -> None:
    state = ms.DepthState()
    assert ms.depth(state) is None
    for bid_size, ask_size in ((10, 20), (30, 0)):
        state = ms.add_depth(state, bid_size, ask_size)
    assert ms.depth(state) == 15.0


@pytest.mark.parametrize("buckets", [1, 5, 9])
def test_swapping_the_queues_mirrors_the_bucket(buckets: int) -> None:
    seen = set()
    for bid_size in range(20):
        for ask_size in range(20):
            bucket = ms.imbalance_bucket(bid_size, ask_size, buckets)
            assert bucket == buckets - 1 - ms.imbalance_bucket(ask_size, bid_size, buckets)
            seen.add(bucket)
    assert seen == set(range(buckets))


def adjustment(rows: np.ndarray, spreads: int = 2) -> np.ndarray:
    return np.asarray(ms.fit_microprice(*rows.T, buckets=5, spreads=spreads).adjustment, dtype=np.float64)


def walk(seed: int, n: int = 20_000) -> np.ndarray:
    """Quotes of one or two ticks spread in which the larger queue wins more often."""
    generator, mid2, rows = np.random.default_rng(seed), 20_001, []
    for _ in range(n):
        bid_size, ask_size = (int(v) for v in generator.integers(1, 100, 2))
        rows.append((mid2 // 2, bid_size, mid2 // 2 + 1 + (mid2 % 2 == 0), ask_size))
        if generator.random() < 0.3:
            mid2 += 1 if generator.random() < bid_size / (bid_size + ask_size) else -1
    return np.array(rows, dtype=np.int64)


@pytest.mark.parametrize("seed", [11, 12])
def test_the_adjustment_is_antisymmetric_and_rises_with_the_bid_queue(seed: int) -> None:
    table = adjustment(walk(seed))
    np.testing.assert_allclose(table, -table[:, ::-1], atol=1e-12)
    assert (np.diff(table, axis=1) > 0).all()
    assert (table[:, 2] == 0.0).all()


def test_the_micro_price_predicts_the_mid_better_than_the_mid_does() -> None:
    rows = walk(13)
    table = ms.fit_microprice(*rows.T, buckets=5, spreads=2)
    later = rows[20:, 0] + rows[20:, 2]
    micro = np.array([ms.microprice(table, *map(int, row)) for row in rows[:-20]])
    mid = (rows[:-20, 0] + rows[:-20, 2]) / 2
    assert ((later / 2 - micro) ** 2).mean() < ((later / 2 - mid) ** 2).mean()


def test_a_locked_a_crossed_and_an_empty_book_have_their_mid_for_micro_price() -> None:
    table = ms.MicroPrice(((-0.4, 0.0, 0.4),))
    assert ms.microprice(table, 100, 9, 100, 1) == 100.0
    assert ms.microprice(table, 102, 9, 100, 1) == 101.0
    assert ms.microprice(table, 100, 0, 101, 5) == 100.5
    assert ms.microprice(table, 100, 9, 101, 1) == 100.9


def test_a_spread_wider_than_the_table_uses_its_last_row() -> None:
    table = ms.MicroPrice(((-0.1, 0.0, 0.1), (-0.2, 0.0, 0.2)))
    assert ms.microprice(table, 100, 9, 150, 1) == pytest.approx(125.2)


def test_bad_rows_of_a_sample_do_not_reach_the_fit() -> None:
    rows = walk(14, 4_000)
    # A locked row between two good ones hides one transition from either side, and adds none of its own.
    broken = np.insert(rows, 2_000, [100, 5, 100, 5], axis=0)
    clean = adjustment(rows)
    assert np.abs(adjustment(broken) - clean).max() < 0.01


def test_a_fit_refuses_an_even_number_of_buckets_and_a_mid_that_never_moves() -> None:
    with pytest.raises(ValueError, match="odd number of buckets"):
        ms.fit_microprice(*walk(15, 50).T, buckets=4)
    with pytest.raises(ValueError, match="the mid moves"):
        ms.fit_microprice(*np.tile([[99], [5], [101], [5]], 50))
