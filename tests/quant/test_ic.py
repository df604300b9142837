"""The information coefficient of one signal, from its prior to what the data say."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter

from quant import ic


def learned(seed: int, n: int, truth: float) -> ic.IcState:
    generator, state = np.random.default_rng(seed), ic.IcState()
    for z in generator.normal(size=n).tolist():
        state = ic.update(state, z, truth * z + float(generator.normal()))
    return state


def test_without_data_the_coefficient_is_the_prior() -> None:
    assert ic.coefficient(ic.IcState(), 0.02, 500.0) == 0.02


def test_as_many_observations_as_the_prior_weighs_count_for_half() -> None:
    state = ic.IcState()
    for _ in range(100):
        state = ic.update(state, 1.0, 0.10)
    assert ic.coefficient(state, 0.0, 100.0) == pytest.approx(0.05)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_many_observations_find_the_truth_whatever_the_prior(seed: int) -> None:
    assert ic.coefficient(learned(seed, 20_000, 0.1), -0.5, 100.0) == pytest.approx(0.1, abs=0.025)


def test_the_share_explained_is_zero_before_both_have_moved_and_one_on_a_line() -> None:
    assert ic.r_squared(ic.IcState()) == 0.0
    assert ic.r_squared(ic.update(ic.IcState(), 0.0, 1.0)) == 0.0
    state = ic.IcState()
    for z in (-1.0, 0.5, 2.0):
        state = ic.update(state, z, 3.0 * z)
    assert ic.r_squared(state) == pytest.approx(1.0)


def test_state_survives_json() -> None:
    adapter, state = TypeAdapter(ic.IcState), learned(4, 20, 0.1)
    assert adapter.validate_json(adapter.dump_json(state)) == state
