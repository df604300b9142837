"""Fixtures of the mathematics' tests."""

from __future__ import annotations

import os

# Matrices of 18 names are too small to share between threads; on a busy machine the waiting doubles the run.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.quant.market_data import LobsterColumns, read_amzn, read_etf


@pytest.fixture(scope="session")
def amzn() -> LobsterColumns:
    """AMZN of 2012-06-21, five levels, in ticks of a cent."""
    return read_amzn()


@pytest.fixture(scope="session")
def etf() -> NDArray[np.float64]:
    """(T, 18) daily returns of 18 ETFs, 2006 to 2022."""
    return read_etf()
