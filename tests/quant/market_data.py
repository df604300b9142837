"""Market data for the tests, as arrays; a test skips where the recording is absent."""

from __future__ import annotations

import gzip
import zipfile
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.recordings import recording


@dataclass(frozen=True)
class LobsterColumns:
    """A LOBSTER day by columns: seconds after midnight, message type, and (T, M) ticks and shares of each side."""

    seconds: NDArray[np.float64]
    kind: NDArray[np.int64]
    size: NDArray[np.int64]
    price: NDArray[np.int64]
    direction: NDArray[np.int64]
    bid: NDArray[np.int64]
    bid_size: NDArray[np.int64]
    ask: NDArray[np.int64]
    ask_size: NDArray[np.int64]


def read_amzn() -> LobsterColumns:
    """AMZN of 2012-06-21, five levels, in ticks of a cent; read straight from the zip."""
    with zipfile.ZipFile(recording("AMZN_2012-06-21_5.zip")) as archive:
        message = archive.read("AMZN_2012-06-21_34200000_57600000_message_5.csv").decode().replace("\n", ",")
        book = archive.read("AMZN_2012-06-21_34200000_57600000_orderbook_5.csv").decode().replace("\n", ",")
    messages = np.fromstring(message, sep=",", dtype=np.float64).reshape(-1, 6)
    levels = np.fromstring(book, sep=",", dtype=np.int64).reshape(-1, 20)
    return LobsterColumns(
        seconds=messages[:, 0],
        kind=messages[:, 1].astype(np.int64),
        size=messages[:, 3].astype(np.int64),
        price=messages[:, 4].astype(np.int64),
        direction=messages[:, 5].astype(np.int64),
        bid=levels[:, 2::4] // 100,
        bid_size=levels[:, 3::4],
        ask=levels[:, 0::4] // 100,
        ask_size=levels[:, 1::4],
    )


def read_etf() -> NDArray[np.float64]:
    """(T, 18) daily returns of 18 ETFs, 2006 to 2022."""
    with gzip.open(recording("etf_daily.csv.gz"), "rt") as lines:
        next(lines)
        return np.array([[float(v) for v in line.split(",")[1:]] for line in lines])
