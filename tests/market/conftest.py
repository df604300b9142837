"""Recorded market data for the tests: $FLOWGATE_DATA, or `../shared/data` beside the repository."""

from __future__ import annotations

import os
from pathlib import Path
from random import SystemRandom

import pytest


def _data_file(name: str) -> Path:
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    path = Path(os.environ.get("FLOWGATE_DATA", default)) / name
    if not path.exists():
        pytest.skip(f"no {name}: set FLOWGATE_DATA to the folder that holds it")
    return path


@pytest.fixture(scope="session")
def lobster_zip() -> Path:
    """A real LOBSTER day, five levels."""
    return _data_file("AMZN_2012-06-21_5.zip")


@pytest.fixture(scope="session")
def binance_gz() -> Path:
    """Five real minutes of Binance streams."""
    return _data_file("binance_spot_btcusdt_20240809.gz")


@pytest.fixture
def seed() -> int:
    """A fresh seed; pytest shows it beside a failure."""
    seed = SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    return seed
