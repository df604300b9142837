"""Order flow on a real day: AMZN on Nasdaq, 2012-06-21, 155,935 events (LOBSTER)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from quant import microstructure, ofi
from tests.quant.market_data import LobsterColumns

BUCKETS, PER_HALF_HOUR = 2_340, 180


def buckets(day: LobsterColumns) -> NDArray[np.int64]:
    """10 s bucket of each event, (t - 10 s, t]."""
    return (np.ceil((day.seconds - 34_200.0) / 10.0) - 1).astype(np.int64).clip(0, BUCKETS - 1)


def summed(day: LobsterColumns, values: NDArray[np.int64]) -> NDArray[np.float64]:
    total = np.bincount(buckets(day), weights=values.astype(np.float64), minlength=BUCKETS)
    return np.asarray(total, dtype=np.float64)


def mid_changes(day: LobsterColumns) -> NDArray[np.float64]:
    last = np.searchsorted(buckets(day), np.arange(BUCKETS), side="right") - 1
    mid = (day.bid[:, 0] + day.ask[:, 0]) / 2
    return np.diff(mid[last], prepend=mid[0])


def r_squared(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    return float(np.corrcoef(x, y)[0, 1] ** 2)


def half_hours(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([r_squared(*(v[k : k + PER_HALF_HOUR] for v in (x, y))) for k in range(0, BUCKETS, PER_HALF_HOUR)])


def test_level_1_is_identical_from_a_one_and_a_five_level_view_in_every_bucket(amzn: LobsterColumns) -> None:
    """The one-level file has only the rows in which the best quotes changed: 60 % of them fewer."""
    best = np.stack([amzn.bid[:, 0], amzn.bid_size[:, 0], amzn.ask[:, 0], amzn.ask_size[:, 0]], axis=1)
    changed = np.concatenate([[True], (np.diff(best, axis=0) != 0).any(axis=1)])
    assert 10_000 < changed.sum() < len(best) - 10_000
    one = ofi.level1_batch(*best[changed].T)
    from_one = np.bincount(buckets(amzn)[changed], weights=one, minlength=BUCKETS)
    five = ofi.level1_batch(amzn.bid, amzn.bid_size, amzn.ask, amzn.ask_size)[:, 0]
    np.testing.assert_array_equal(from_one, summed(amzn, five))
    assert (from_one != 0).sum() > 2_000


def test_streaming_multilevel_and_batch_agree_on_every_event_bit_for_bit(amzn: LobsterColumns) -> None:
    n = 20_000
    bids = [
        tuple(zip(p, s, strict=True)) for p, s in zip(amzn.bid[:n].tolist(), amzn.bid_size[:n].tolist(), strict=True)
    ]
    asks = [
        tuple(zip(p, s, strict=True)) for p, s in zip(amzn.ask[:n].tolist(), amzn.ask_size[:n].tolist(), strict=True)
    ]
    streamed = [ofi.multilevel(b0, a0, b1, a1, 5) for (b0, a0), (b1, a1) in pairwise(zip(bids, asks, strict=True))]
    at_once = ofi.level1_batch(amzn.bid[:n], amzn.bid_size[:n], amzn.ask[:n], amzn.ask_size[:n])
    np.testing.assert_array_equal(at_once[1:], streamed)
    level1 = [
        ofi.multilevel(b0[:1], a0[:1], b1[:1], a1[:1], 1)[0]
        for (b0, a0), (b1, a1) in pairwise(zip(bids, asks, strict=True))
    ]
    assert level1 == [flows[0] for flows in streamed]


def test_ofi_explains_the_price_change_of_its_interval_as_published_and_trades_less(amzn: LobsterColumns) -> None:
    flow = summed(amzn, ofi.level1_batch(amzn.bid, amzn.bid_size, amzn.ask, amzn.ask_size)[:, 0])
    executed = np.isin(amzn.kind, (4, 5))
    trades = summed(amzn, np.where(executed, -amzn.direction * amzn.size, 0))
    fits = half_hours(flow, mid_changes(amzn))
    assert 0.35 <= fits.mean() <= 0.79  # Cont, Kukanov & Stoikov 2014, table 2, by stock
    assert half_hours(trades, mid_changes(amzn)).mean() < fits.mean() - 0.1


def test_integrated_ofi_explains_more_than_level_1_in_every_half_hour(amzn: LobsterColumns) -> None:
    events = ofi.level1_batch(amzn.bid, amzn.bid_size, amzn.ask, amzn.ask_size)
    flows = np.stack([summed(amzn, events[:, m]) for m in range(5)], axis=1)
    depth = float((amzn.bid_size + amzn.ask_size).mean() / 2)
    weights = ofi.integration_weights(flows / depth)
    integrated = np.array([ofi.integrated(row, depth, weights) for row in flows])
    one, all_levels = half_hours(flows[:, 0], mid_changes(amzn)), half_hours(integrated, mid_changes(amzn))
    assert (all_levels > one).all()
    assert all_levels.mean() > 0.70


def test_ofi_says_almost_nothing_about_the_next_interval(amzn: LobsterColumns) -> None:
    flow = summed(amzn, ofi.level1_batch(amzn.bid, amzn.bid_size, amzn.ask, amzn.ask_size)[:, 0])
    assert abs(np.corrcoef(flow[:-1], mid_changes(amzn)[1:])[0, 1]) < 0.10


def test_a_large_bid_queue_goes_before_a_rise(amzn: LobsterColumns) -> None:
    table = microstructure.fit_microprice(
        amzn.bid[:, 0], amzn.bid_size[:, 0], amzn.ask[:, 0], amzn.ask_size[:, 0], buckets=5, spreads=10
    )
    adjustment = np.array(table.adjustment)
    np.testing.assert_allclose(adjustment, -adjustment[:, ::-1], atol=1e-9)
    assert (adjustment[:, 4] > adjustment[:, 0]).all()
    assert np.abs(adjustment).max() < 10.0  # stays near the book: the mean spread is 13 ticks


def test_lee_and_ready_recover_the_side_of_visible_executions(amzn: LobsterColumns) -> None:
    """The file knows the resting side, so the aggressor is certain; visible executions are at the quotes."""
    rows = np.flatnonzero(amzn.kind == 4)
    rows = rows[rows > 0][:5_000]
    signs = [
        microstructure.lee_ready(int(amzn.price[r]) // 100, int(amzn.bid[r - 1, 0]), int(amzn.ask[r - 1, 0]))
        for r in rows
    ]
    assert np.mean(np.array(signs) == -amzn.direction[rows]) > 0.99


@pytest.mark.parametrize("level", [0, 4])
def test_the_average_depth_equals_the_mean_of_the_columns(amzn: LobsterColumns, level: int) -> None:
    state = microstructure.DepthState()
    for bid_size, ask_size in zip(amzn.bid_size[:, level].tolist(), amzn.ask_size[:, level].tolist(), strict=True):
        state = microstructure.add_depth(state, bid_size, ask_size)
    expected = (amzn.bid_size[:, level] + amzn.ask_size[:, level]).mean() / 2
    assert microstructure.depth(state) == pytest.approx(expected, rel=1e-12)
