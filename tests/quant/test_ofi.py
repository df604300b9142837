"""Order flow imbalance, by hand and on odd books."""

from __future__ import annotations

import numpy as np
import pytest

from quant import ofi

BID, BID_SIZE, ASK, ASK_SIZE = 9_999, 500, 10_001, 400


def flow(bid: int = BID, bid_size: int = BID_SIZE, ask: int = ASK, ask_size: int = ASK_SIZE) -> int:
    return ofi.level1(BID, BID_SIZE, ASK, ASK_SIZE, bid, bid_size, ask, ask_size)


def test_an_unchanged_book_has_no_flow() -> None:
    assert flow() == 0


def test_a_rising_bid_adds_all_of_its_new_size() -> None:
    assert flow(bid=BID + 1, bid_size=300) == 300


def test_a_falling_bid_takes_away_all_of_its_old_size_and_not_the_new() -> None:
    assert flow(bid=BID - 1, bid_size=300) == -500


def test_a_falling_ask_takes_away_all_of_its_new_size() -> None:
    assert flow(ask=ASK - 1, ask_size=70) == -70


def test_a_rising_ask_adds_all_of_its_old_size_and_not_the_new() -> None:
    assert flow(ask=ASK + 1, ask_size=70) == 400


def test_a_queue_that_grows_or_shrinks_counts_with_its_change() -> None:
    assert flow(bid_size=620) == 120
    assert flow(ask_size=620) == -220


def test_swapping_the_sides_of_a_book_negates_its_flow() -> None:
    here = ofi.level1(99, 5, 101, 4, 100, 8, 102, 3)
    assert ofi.level1(-101, 4, -99, 5, -102, 3, -100, 8) == -here


def test_an_empty_side_comes_and_goes_with_its_whole_queue() -> None:
    assert flow(bid=ofi.NO_BID, bid_size=0) == -BID_SIZE
    assert flow(ask=ofi.NO_ASK, ask_size=0) == ASK_SIZE
    assert ofi.level1(ofi.NO_BID, 0, ASK, ASK_SIZE, BID, 30, ASK, ASK_SIZE) == 30
    assert ofi.level1(ofi.NO_BID, 0, ofi.NO_ASK, 0, ofi.NO_BID, 0, ofi.NO_ASK, 0) == 0


def test_a_zero_size_at_the_best_price_is_an_empty_queue() -> None:
    assert flow(bid_size=0) == -BID_SIZE


def test_a_locked_and_a_crossed_book_need_no_special_case() -> None:
    assert flow(bid=ASK, bid_size=10) == 10
    assert flow(bid=ASK + 3, bid_size=10) == 10
    assert ofi.level1(ASK + 3, 10, ASK, ASK_SIZE, BID, 5, ASK, ASK_SIZE) == -10


def test_sums_stay_exact_where_float64_would_lose_lots() -> None:
    big = 2**53 - 1
    assert ofi.level1(1, big, 3, 1, 2, big, 3, 2) == big - 1


BIDS = ((100, 5), (99, 7), (97, 2))
ASKS = ((101, 4), (103, 9), (104, 1))


def test_the_first_level_of_multilevel_is_level_1() -> None:
    flows = ofi.multilevel(BIDS, ASKS, ((100, 9), *BIDS[1:]), ASKS, 3)
    assert flows == (4, 0, 0)


def test_a_new_best_price_pushes_every_level_down_by_one() -> None:
    flows = ofi.multilevel(BIDS, ASKS, ((100, 5), (99, 7), (98, 1), (97, 2)), ASKS, 4)
    # Level 3: 97 became 98, a rise with size 1. Level 4: nothing became 97, size 2.
    assert flows == (0, 0, 1, 2)


def test_missing_levels_are_empty_and_a_level_of_size_zero_is_not_a_level() -> None:
    assert ofi.multilevel((), (), BIDS[:1], (), 2) == (5, 0)
    with_holes = ((100, 5), (98, 0), (99, 7), (97, 2))
    assert ofi.multilevel(BIDS, ASKS, with_holes, ASKS, 3) == (0, 0, 0)


def test_a_one_a_three_and_a_five_level_view_have_the_same_level_1() -> None:
    views = [ofi.multilevel(BIDS[:m], ASKS[:m], BIDS[1 : 1 + m], ASKS[:m], m)[0] for m in (1, 2, 3)]
    assert views == [-5, -5, -5]


def test_the_batch_starts_with_zero_and_takes_one_row() -> None:
    one = np.array([5], dtype=np.int64)
    assert ofi.level1_batch(one, one, one, one).tolist() == [0]


def test_a_batch_of_padded_levels_equals_multilevel() -> None:
    generator = np.random.default_rng(7)
    bids = [
        tuple((int(p), int(s)) for p, s in zip((9, 8, 7), row, strict=True))
        for row in generator.integers(0, 9, (50, 3))
    ]
    asks = [
        tuple((int(p), int(s)) for p, s in zip((11, 12, 13), row, strict=True))
        for row in generator.integers(0, 9, (50, 3))
    ]

    def padded(sides: list[tuple[tuple[int, int], ...]], no_price: int) -> np.ndarray:
        rows = [[level for level in side if level[1]] for side in sides]
        return np.array([(row + [(no_price, 0)] * 3)[:3] for row in rows], dtype=np.int64)

    bid, ask = padded(bids, ofi.NO_BID), padded(asks, ofi.NO_ASK)
    batch = ofi.level1_batch(bid[..., 0], bid[..., 1], ask[..., 0], ask[..., 1])
    for t in range(1, 50):
        assert tuple(batch[t]) == ofi.multilevel(bids[t - 1], asks[t - 1], bids[t], asks[t], 3)


def test_integration_weights_sum_to_one_in_size_and_point_upwards() -> None:
    samples = np.random.default_rng(3).normal(size=(400, 1)) * [-1.0, -0.8, -0.6]
    weights = ofi.integration_weights(samples)
    np.testing.assert_allclose(weights, np.array([1.0, 0.8, 0.6]) / 2.4, rtol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_weights_point_upwards_whatever_sign_the_eigenvector_has(seed: int) -> None:
    generator = np.random.default_rng(seed)
    samples = generator.normal(size=(50, 1)) * generator.uniform(0.5, 1.5, 4) + 0.1 * generator.normal(size=(50, 4))
    assert (ofi.integration_weights(samples) > 0).all()


def test_one_level_integrates_to_ofi_over_depth() -> None:
    weights = ofi.integration_weights(np.array([[1.0], [3.0]]))
    assert ofi.integrated(np.array([50.0]), 20.0, weights) == 2.5


@pytest.mark.parametrize("bad", [np.zeros((1, 3)), np.full((5, 3), np.nan), np.ones((5, 3)), np.ones(5)])
def test_weights_refuse_samples_that_say_nothing(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="integration weights need"):
        ofi.integration_weights(bad)


@pytest.mark.parametrize("depth", [0.0, -1.0, float("nan"), float("inf")])
def test_integrated_refuses_an_empty_book(depth: float) -> None:
    with pytest.raises(ValueError, match="positive depth"):
        ofi.integrated(np.ones(2), depth, np.array([0.5, 0.5]))
