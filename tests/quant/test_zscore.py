"""The online z-score: memory, warm-up, winsorising, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from quant import zscore


def test_no_score_until_one_half_life_of_values_and_never_before_ten() -> None:
    zs = zscore.batch(np.random.default_rng(1).normal(size=60), 25)
    assert [z is None for z in zs].index(False) == 25
    zs = zscore.batch(np.random.default_rng(1).normal(size=60), 2)
    assert [z is None for z in zs].index(False) == 10


def test_the_score_by_hand_with_a_memory_that_hardly_fades() -> None:
    state = zscore.init(1e12)
    for x in (1.0, 3.0, 1.0, 3.0):
        state = zscore.absorb(state, x)
    assert [state.mean, state.variance] == pytest.approx([2.0, 1.0])


def test_an_outlier_is_judged_by_the_history_before_it() -> None:
    state = zscore.init(10)
    for x in [1.0, -1.0] * 10:
        state, _ = zscore.update(state, x)
    _, z = zscore.update(state, state.mean + 3.0 * math.sqrt(state.variance))
    assert z == pytest.approx(3.0)


@pytest.mark.parametrize("outlier", [1e9, -1e9])
def test_a_bad_print_scores_five_and_does_not_blind_the_score(outlier: float) -> None:
    generator = np.random.default_rng(2)
    state = zscore.init(20)
    for x in generator.normal(size=200):
        state, _ = zscore.update(state, float(x))
    before = state.variance
    state, z = zscore.update(state, outlier)
    assert z == math.copysign(5.0, outlier)
    assert state.variance < 3.0 * before


def test_a_constant_series_scores_zero_and_its_first_move_has_no_scale() -> None:
    zs = zscore.batch([0.1] * 30 + [0.2], 5)
    assert zs[10:30] == [0.0] * 20
    assert zs[30] is None


def test_after_a_constant_series_moves_scores_return() -> None:
    zs = zscore.batch([0.1] * 30 + [0.2, 0.1], 5)
    assert zs[31] is not None


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_refused_at_the_door(bad: float) -> None:
    with pytest.raises(ValueError, match="takes finite numbers"):
        zscore.update(zscore.init(5), bad)
    with pytest.raises(ValueError, match="positive number of observations"):
        zscore.init(bad)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.floats(0.5, 100.0))
def test_scores_stay_within_five_and_memory_matches_explicit_weights(xs: list[float], half_life: float) -> None:
    state, taken = zscore.init(half_life), []
    for x in xs:
        old = state
        state, z = zscore.update(state, x)
        assert z is None or abs(z) <= zscore.WINSOR
        clipped = z is not None and abs(z) == zscore.WINSOR
        taken.append(old.mean + z * math.sqrt(old.variance) if clipped and z is not None else x)
    w = 0.5 ** (np.arange(len(xs) - 1, -1, -1) / half_life)
    mean = np.average(taken, weights=w)
    size = max(1.0, float(np.abs(taken).max()))
    assert state.mean == pytest.approx(mean, abs=1e-12 * size)
    assert state.variance == pytest.approx(np.average((np.array(taken) - mean) ** 2, weights=w), abs=1e-12 * size**2)


def test_state_survives_json_to_the_last_bit() -> None:
    state = zscore.init(7.3)
    for x in np.random.default_rng(3).normal(size=50):
        state, _ = zscore.update(state, float(x))
    adapter = TypeAdapter(zscore.EwZ)
    assert adapter.validate_json(adapter.dump_json(state)) == state
