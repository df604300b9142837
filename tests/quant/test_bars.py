"""Bars: what a reader can add up by hand, and a real half hour against columns."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter

from quant import bars, ofi, signals
from quant.bars import BarState
from tests.quant.market_data import LobsterColumns

S = 1_000_000_000
BIDS = ((99, 30), (98, 50))
ASKS = ((101, 10), (102, 40))


def test_the_first_book_is_no_flow_and_the_next_change_is() -> None:
    state = bars.add_book(bars.init(2), 0, BIDS, ASKS)
    assert state.flows == (0, 0)
    state = bars.add_book(state, 1 * S, ((99, 45), (98, 50)), ASKS)
    assert state.flows == (15, 0)


def test_a_bar_by_hand() -> None:
    state = bars.add_book(bars.init(2), 10 * S, BIDS, ASKS)  # imbalance 20/40, for 4 s
    state = bars.add_book(state, 14 * S, ((99, 10), (98, 50)), ASKS)  # 0, for 6 s
    state = bars.add_trade(bars.add_trade(state, 7, -1), 3, 0)
    state, bar = bars.close(state, 20 * S)
    assert bar.ofi == (-20, 0)
    assert (bar.depth, bar.depth_n) == ((40 + 20) / 4, 2)
    assert bar.book_depth == (130 + 110) / 8
    assert (bar.signed_volume, bar.volume) == (-7, 10)
    assert bar.queue_imb == pytest.approx(0.5 * 4 / 10)
    assert bar.mid2 == 200


def test_the_next_bar_starts_with_the_same_book_and_empty_sums() -> None:
    state = bars.add_trade(bars.add_book(bars.init(1), 0, BIDS, ASKS), 5, 1)
    state, _ = bars.close(state, 10 * S)
    _, bar = bars.close(state, 20 * S)
    assert (bar.ofi, bar.depth_n, bar.signed_volume, bar.volume) == ((0,), 0, 0, 0)
    assert (bar.bid, bar.ask, bar.queue_imb) == (99, 101, 0.5)


def test_a_halted_instrument_has_a_bar_without_a_mid_and_without_imbalance() -> None:
    state = bars.add_book(bars.init(1), 0, (), ())
    _, bar = bars.close(state, 10 * S)
    assert (bar.mid2, bar.queue_imb, bar.bid, bar.ask) == (0, None, ofi.NO_BID, ofi.NO_ASK)


def test_only_the_time_with_both_sides_counts_for_imbalance() -> None:
    state = bars.add_book(bars.init(1), 0, BIDS, ())
    state = bars.add_book(state, 9 * S, BIDS, ASKS)
    _, bar = bars.close(state, 10 * S)
    assert bar.queue_imb == 0.5


def test_a_feed_that_never_traded_has_no_volume_and_one_that_did_has_zero() -> None:
    state, bar = bars.close(bars.add_book(bars.init(1), 0, BIDS, ASKS), 10 * S)
    assert bar.volume is None
    state, _ = bars.close(bars.add_trade(state, 1, 1), 20 * S)
    assert bars.close(state, 30 * S)[1].volume == 0


def test_time_that_runs_backwards_is_refused() -> None:
    state = bars.add_book(bars.init(1), 5, BIDS, ASKS)
    with pytest.raises(ValueError, match="sort the feed by event time"):
        bars.add_book(state, 4, BIDS, ASKS)
    with pytest.raises(ValueError, match="at least one level"):
        bars.init(0)


def test_state_survives_json_in_the_middle_of_a_bar() -> None:
    adapter = TypeAdapter(BarState)
    state = bars.add_trade(bars.add_book(bars.add_book(bars.init(2), 0, BIDS, ASKS), 7, BIDS[1:], ASKS), 5, 1)
    back = adapter.validate_json(adapter.dump_json(state))
    assert back == state
    assert bars.close(back, 10) == bars.close(state, 10)


def test_streamed_bars_of_a_real_half_hour_equal_the_columns_bit_for_bit(amzn: LobsterColumns) -> None:
    ns = np.rint(amzn.seconds * 1e9).astype(np.int64)
    count = int(np.searchsorted(ns, 36_000 * S, side="right"))
    state, end, streamed = bars.init(5), 34_210 * S, []
    books = zip(*(a[:count].tolist() for a in (ns, amzn.bid, amzn.bid_size, amzn.ask, amzn.ask_size)), strict=True)
    for ts, bid, bid_size, ask, ask_size in books:
        while ts > end:
            state, bar = bars.close(state, end)
            streamed.append(bar)
            end += 10 * S
        state = bars.add_book(state, ts, tuple(zip(bid, bid_size, strict=True)), tuple(zip(ask, ask_size, strict=True)))
    while end <= 36_000 * S:
        state, bar = bars.close(state, end)
        streamed.append(bar)
        end += 10 * S
    bucket = -(-(ns[:count] - 34_200 * S) // (10 * S)) - 1
    flows = ofi.level1_batch(*(a[:count] for a in (amzn.bid, amzn.bid_size, amzn.ask, amzn.ask_size)))
    for m in range(5):
        column = np.bincount(bucket, weights=flows[:, m].astype(np.float64), minlength=180)
        assert [bar.ofi[m] for bar in streamed] == column.tolist()
    assert [bar.queue_imb for bar in streamed] == imbalance(amzn, ns[:count]).tolist()
    readings = signals.batch(streamed, signals.Settings(weights=(0.2,) * 5))
    assert np.isfinite(readings["ofi_int"]).all()
    assert np.corrcoef(readings["ofi_l1"], readings["ofi_int"])[0, 1] > 0.5


def imbalance(day: LobsterColumns, ns: np.ndarray) -> np.ndarray:
    """Time-weighted queue imbalance per 10 s: every book's stay, cut at the bar ends, summed in order."""
    ends = np.arange(34_210, 36_001, 10) * S
    times = np.concatenate([ns, ends])
    order = np.argsort(times, kind="stable")
    book = np.maximum.accumulate(np.where(order < len(ns), order, -1))
    spans = np.diff(times[order])
    q = (day.bid_size[:, 0] - day.ask_size[:, 0]) / (day.bid_size[:, 0] + day.ask_size[:, 0])
    bucket = np.searchsorted(ends, times[order][1:], side="left")
    integral = np.bincount(bucket, weights=q[book[:-1]] * spans)
    return np.asarray(integral / np.bincount(bucket, weights=spans.astype(np.float64)), dtype=np.float64)
