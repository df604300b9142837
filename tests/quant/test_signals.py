"""The eight signals: online and batch agree, missing is said, and the formulas give what a reader can check by hand."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from pydantic import TypeAdapter

from quant import microstructure, ofi, signals
from quant.signals import Bar, Settings, SignalState

MICRO = microstructure.MicroPrice(((-0.3, 0.0, 0.3), (-0.6, 0.0, 0.6)))
FULL = Settings(weights=(0.4, 0.35, 0.25), micro=MICRO)
QUIET = Bar(ofi=(0, 0, 0), depth=100.0, depth_n=4, bid=9_999, bid_size=100, ask=10_001, ask_size=100)


def random_bars(seed: int, n: int) -> list[Bar]:
    """Bars with gaps of every kind: no book, no changes, no trades, no levels, no volatilities."""
    rng = np.random.default_rng(seed)
    bars, mid = [], 10_000
    for _ in range(n):
        mid = max(100, mid + int(rng.integers(-9, 10)))
        spread = int(rng.integers(1, 4))
        empty = rng.random() < 0.05
        changes = int(rng.integers(0, 30))
        volume = int(rng.integers(0, 3) * rng.integers(1, 500))
        bars.append(
            Bar(
                ofi=tuple(int(v) for v in rng.integers(-5000, 5000, 3 if rng.random() < 0.9 else 1)),
                depth=float(rng.integers(1, 900)) if changes else 0.0,
                depth_n=changes,
                bid=ofi.NO_BID if empty else mid,
                bid_size=0 if empty else int(rng.integers(1, 900)),
                ask=mid + spread,
                ask_size=int(rng.integers(1, 900)),
                book_depth=float(rng.integers(1, 900)) if changes and rng.random() < 0.9 else None,
                signed_volume=int(rng.integers(-volume, volume + 1)) if rng.random() < 0.9 else None,
                volume=volume,
                queue_imb=None if empty else float(rng.uniform(-1, 1)),
                implied_vol=float(rng.uniform(0.1, 0.5)) if rng.random() < 0.5 else None,
                realised_vol=float(rng.uniform(0.1, 0.5)),
            )
        )
    return bars


def online(bars: list[Bar], settings: Settings) -> dict[str, np.ndarray]:
    state, rows = SignalState(), []
    for bar in bars:
        state, readings = signals.update(state, bar, settings)
        rows.append([math.nan if r.value is None else r.value for r in readings.values()])
    columns = np.array(rows).T
    return dict(zip(signals.REGISTRY, columns, strict=True))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("settings", [FULL, Settings()], ids=["fitted", "not fitted"])
def test_online_and_batch_agree_to_1e_12_and_miss_the_same_bars(seed: int, settings: Settings) -> None:
    bars = random_bars(seed, 700)
    streamed, at_once = online(bars, settings), signals.batch(bars, settings)
    assert list(streamed) == list(at_once) == list(signals.REGISTRY)
    for name in signals.REGISTRY:
        np.testing.assert_array_equal(np.isnan(streamed[name]), np.isnan(at_once[name]), err_msg=name)
        np.testing.assert_allclose(streamed[name], at_once[name], rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    ("name", "price", "step"),
    [("AAPL 200.00", 20_000, 1), ("SPY 500.00", 50_000, 1), ("BTC 60,000.00", 6_000_000, 1), ("BTC", 6_000_000, 100)],
)
@pytest.mark.parametrize("drift", [0, 1])
def test_online_and_batch_agree_to_1e_12_at_prices_whose_tick_is_a_ten_millionth(
    name: str, price: int, step: int, drift: int
) -> None:
    """One-tick walks, and walks that have gone far since the first bar: the logarithms of such prices cancel."""
    for seed in range(3):
        moves = np.random.default_rng(seed).integers(-step, step + 1, 1_500)
        moves[100] += drift * price
        mids = price + np.cumsum(moves)
        bars = [replace(QUIET, bid=p, ask=p + 1) for p in mids.tolist()]
        streamed, at_once = online(bars, FULL), signals.batch(bars, FULL)
        for signal in ("ts_trend", "reversal"):
            told = f"{name}, seed {seed}, {signal}"
            assert np.isfinite(streamed[signal]).sum() > 1_000, told
            np.testing.assert_allclose(streamed[signal], at_once[signal], rtol=1e-12, atol=1e-12, err_msg=told)


def test_every_signal_is_there_somewhere_or_the_agreement_proves_nothing() -> None:
    streamed = online(random_bars(4, 300), FULL)
    for name, values in streamed.items():
        assert np.isfinite(values).sum() > 50, name


def test_a_missing_signal_has_no_value_and_says_what_it_misses() -> None:
    _, readings = signals.update(SignalState(), replace(QUIET, depth_n=0, depth=0.0), Settings())
    missing = {name: r.missing for name, r in readings.items() if r.value is None}
    assert missing == {
        "ofi_l1": "no depth seen yet",
        "ofi_int": "integration weights not fitted",
        "trade_flow": "no trade feed",
        "queue_imb": "no two-sided book in the bar",
        "micro_dev": "micro-price not fitted",
        "ts_trend": "1 mids of 96",
        "reversal": "1 mids of 12",
        "vrp": "generic ticks 106 and 104 not subscribed",
    }


def test_variance_premium_has_no_stand_in_when_implied_volatility_is_not_subscribed() -> None:
    _, readings = signals.update(SignalState(), replace(QUIET, realised_vol=0.2), FULL)
    assert readings["vrp"].value is None
    _, readings = signals.update(SignalState(), replace(QUIET, realised_vol=0.2, implied_vol=0.3), FULL)
    assert readings["vrp"].value == pytest.approx(0.05)


def test_a_feed_with_fewer_levels_than_the_weights_misses_integrated_ofi() -> None:
    _, readings = signals.update(SignalState(), replace(QUIET, ofi=(7,), book_depth=10.0), FULL)
    assert readings["ofi_int"].missing == "3 levels needed, the feed has 1"


def test_ofi_over_depth_by_hand() -> None:
    _, readings = signals.update(SignalState(), replace(QUIET, ofi=(250, 0, 0), book_depth=50.0), FULL)
    assert readings["ofi_l1"].value == 2.5
    assert readings["ofi_int"].value == pytest.approx(0.4 * 250 / 50)


def test_a_bar_without_trades_has_no_flow_and_one_without_a_trade_feed_misses_it() -> None:
    _, readings = signals.update(SignalState(), replace(QUIET, volume=0, signed_volume=0), FULL)
    assert readings["trade_flow"].value == 0.0
    _, readings = signals.update(SignalState(), replace(QUIET, volume=400, signed_volume=-100), FULL)
    assert readings["trade_flow"].value == -0.25


def test_a_halted_instrument_carries_its_whole_move_into_the_first_bar_after() -> None:
    state = SignalState()
    for k in range(20):
        state, _ = signals.update(state, replace(QUIET, bid=9_999 + k % 2, ask=10_001 + k % 2), FULL)
    vol = math.sqrt(state.variance.mean or 0.0)
    halted = replace(QUIET, bid=ofi.NO_BID, bid_size=0)
    for _ in range(5):
        before = state
        state, readings = signals.update(state, halted, FULL)
        assert readings["reversal"].missing == "no two-sided book at the close"
        assert (state.mid2, state.averages) == (before.mid2, before.averages)
    state, readings = signals.update(state, replace(QUIET, bid=9_989, ask=9_991), FULL)
    assert readings["reversal"].value == pytest.approx(-math.log(9_990 / 10_001) / vol, rel=1e-12)


def test_a_constant_price_has_no_reversal_and_no_trend() -> None:
    streamed = online([QUIET] * 120, FULL)
    assert np.isnan(streamed["reversal"]).all()
    assert (streamed["ts_trend"][95:] == 0.0).all()


def test_a_steady_rise_has_a_positive_trend_and_a_fall_its_mirror() -> None:
    up = [replace(QUIET, bid=9_999 + k, ask=10_001 + k) for k in range(200)]
    level = np.array([math.log(b.mid2) for b in up])
    rise = online(up, FULL)["ts_trend"]
    assert (rise[95:] > 0.0).all()
    # The mirror in logs, to the half tick: averages of the negative level.
    down = [replace(QUIET, bid=b, ask=b) for b in np.rint(np.exp(2 * level[0] - level) / 2 * 1e6).astype(int).tolist()]
    up_fine = [replace(QUIET, bid=b, ask=b) for b in np.rint(np.exp(level) / 2 * 1e6).astype(int).tolist()]
    np.testing.assert_allclose(online(down, FULL)["ts_trend"][95:], -online(up_fine, FULL)["ts_trend"][95:], rtol=1e-3)


def test_trend_response_peaks_at_root_two() -> None:
    grid = np.linspace(0, 4, 4001)
    values = [signals.response(u) for u in grid]
    assert grid[int(np.argmax(values))] == pytest.approx(math.sqrt(2), abs=1e-3)
    assert signals.response(math.sqrt(2)) == pytest.approx(math.sqrt(2) * math.exp(-0.5) / 0.89)


def test_state_survives_json() -> None:
    state = SignalState()
    for bar in random_bars(5, 150):
        state, _ = signals.update(state, bar, FULL)
    adapter = TypeAdapter(SignalState)
    assert adapter.validate_json(adapter.dump_json(state)) == state
    assert asdict(state)["bars"] == state.bars


def test_older_names_each_map_to_one_signal() -> None:
    legacy = {s.legacy: s.name for s in signals.REGISTRY.values() if s.legacy}
    assert legacy == {"SIF": "ofi_int", "POS": "queue_imb", "TSX": "ts_trend", "ERN": "reversal", "VRP": "vrp"}
