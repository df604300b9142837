"""Real recordings and a fresh seed for the tests of the market sources."""

from __future__ import annotations

from pathlib import Path
from random import SystemRandom

import pytest

from tests.recordings import recording


@pytest.fixture(scope="session")
def lobster_zip() -> Path:
    """A real LOBSTER day, five levels."""
    return recording("AMZN_2012-06-21_5.zip")


@pytest.fixture(scope="session")
def binance_gz() -> Path:
    """Five real minutes of Binance streams."""
    return recording("binance_spot_btcusdt_20240809.gz")


@pytest.fixture
def seed() -> int:
    """A fresh seed; pytest shows it beside a failure."""
    seed = SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    return seed
