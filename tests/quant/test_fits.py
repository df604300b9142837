"""Straight lines through flow and price, and nothing fitted to what it then explains."""

from __future__ import annotations

import numpy as np
import pytest

from quant import fits, ofi


def test_too_few_points_and_flat_ones_have_no_line() -> None:
    x = np.arange(30.0)
    assert fits.line(x[:19], x[:19]) is None
    assert fits.line(np.ones(30), x) is None
    assert fits.line(x, np.ones(30)) is None


def test_points_on_a_line_fit_exactly() -> None:
    got = fits.line(np.arange(30.0), 3.0 - 2.0 * np.arange(30.0))
    assert got is not None
    assert [got.slope, got.intercept, got.r2] == pytest.approx([-2.0, 3.0, 1.0])


def test_a_power_law_is_found_again() -> None:
    depth = np.array([50.0, 100.0, 200.0, 400.0, 800.0])
    law = fits.power_law(depth, 0.45 / depth**0.98)
    assert law is not None
    assert [law.c, law.exponent] == pytest.approx([0.45, 0.98])
    assert law.error == pytest.approx(0.0, abs=1e-6)
    assert fits.power_law(depth, -depth) is None


def test_the_weights_of_an_interval_come_from_the_one_before() -> None:
    generator = np.random.default_rng(1)
    flows = generator.normal(size=(90, 1)) * [1.0, 0.5, 0.2] + 0.1 * generator.normal(size=(90, 3))
    intervals = np.repeat([0, 1, 2], 30)
    depth = np.array([10.0, 20.0, 40.0])
    value, weights = fits.integrate(flows, depth, intervals)
    first = ofi.integration_weights(flows[:30])
    np.testing.assert_allclose(weights[0], first)
    np.testing.assert_allclose(weights[1], first)
    np.testing.assert_allclose(weights[2], ofi.integration_weights(flows[30:60]))
    assert value[45] == pytest.approx(ofi.integrated(flows[45], 20.0, first))
    later = flows.copy()
    later[60:] *= -3.0
    np.testing.assert_array_equal(fits.integrate(later, depth, intervals)[0][:60], value[:60])


def test_a_silent_interval_weights_all_levels_alike() -> None:
    _, weights = fits.integrate(np.zeros((10, 4)), np.ones(1), np.zeros(10, dtype=np.int64))
    np.testing.assert_array_equal(weights, [[0.25] * 4])
