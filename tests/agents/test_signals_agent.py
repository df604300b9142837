"""signals: OFI over depth to a z-score, and the forecast sigma * IC * z."""

from __future__ import annotations

from math import log
from typing import Any

import pytest

from agents import signals
from agents.parameters import Signals
from contracts.signals import OfiEvent, SignalEvent
from quant.zscore import WARM_MIN
from tests.agents.harness import SECOND_NS, fold, heartbeat, sent

PARAMETERS = Signals(half_life_buckets=5, ic_prior=0.02, ic_prior_buckets=500)
STEP = signals.make(PARAMETERS)


def flow(second: int, lots: int, mid: tuple[int, int] = (200, 200), source: Any = "synthetic") -> OfiEvent:
    return OfiEvent(
        source=source,
        instrument="SPY",
        ts_event_ns=second * SECOND_NS,
        ts_ingest_ns=17,
        bucket_ns=SECOND_NS,
        ofi_lots=lots,
        depth_lots=100.0,
        trade_lots=0,
        volume_lots=40,
        events=1,
        mid_open_half_ticks=mid[0],
        mid_close_half_ticks=mid[1],
        bid_ticks=99,
        ask_ticks=101,
        halted=False,
    )


def history(buckets: int) -> list[OfiEvent]:
    """Flow and price that go up and down in turn, together."""
    return [flow(i + 1, 50 if i % 2 else -50, (20_000, 20_010) if i % 2 else (20_010, 20_000)) for i in range(buckets)]


def all_signals(messages: list[Any], state: Any = None) -> list[SignalEvent]:
    _, outputs = fold(STEP, messages, state)
    seen: list[SignalEvent] = sent(outputs, "signal_events")
    return seen


def test_the_return_is_the_log_of_close_over_open() -> None:
    [signal] = all_signals([flow(1, 10, (20_000, 20_100))])
    assert signal.ret == log(20_100 / 20_000)


def test_there_is_no_forecast_before_the_score_is_warm() -> None:
    warming = all_signals(history(WARM_MIN))
    assert [signal.z for signal in warming] == [None] * WARM_MIN
    assert [signal.alpha for signal in warming] == [0.0] * WARM_MIN


def test_the_forecast_is_sigma_times_ic_times_z() -> None:
    signal = all_signals(history(WARM_MIN + 1))[-1]
    assert signal.z is not None
    assert signal.z != 0
    assert signal.sigma > 0
    assert signal.alpha == signal.ic * signal.sigma * signal.z


def test_the_coefficient_starts_at_its_prior_and_learns_from_the_return_after_the_signal() -> None:
    seen = all_signals(history(30))
    assert [signal.ic for signal in seen[: WARM_MIN + 1]] == [PARAMETERS.ic_prior] * (WARM_MIN + 1)
    # In this history each flow is followed by a move against it, so the coefficient goes down.
    assert seen[-1].ic < seen[-2].ic < PARAMETERS.ic_prior


def test_flow_that_explains_its_own_bucket_is_evidence_for_gate_2() -> None:
    last = WARM_MIN + signals.EVIDENCE_EVERY_BUCKETS
    _, outputs = fold(STEP, history(last + 5))
    [evidence] = sent(outputs, "gate_evidence")
    assert evidence.ts_event_ns == last * SECOND_NS
    assert (evidence.stage, evidence.name, evidence.instrument) == (2, "signals.ofi_r2", "SPY")
    assert evidence.value == pytest.approx(1.0, abs=0.05)


def test_an_instrument_without_depth_has_no_flow_rather_than_an_infinite_one() -> None:
    empty = flow(1, 10).model_copy(update={"depth_lots": 0.0})
    [signal] = all_signals([empty])
    assert signal.alpha == 0.0


def test_a_price_that_never_moves_gives_no_forecast() -> None:
    still = [flow(i + 1, 50 if i % 2 else -50) for i in range(20)]
    assert all(signal.alpha == 0.0 and signal.sigma == 0.0 for signal in all_signals(still))


def test_one_bad_print_is_a_signal_of_five_deviations_and_no_more() -> None:
    signal = all_signals([*history(20), flow(21, 1_000_000)])[-1]
    assert signal.z == 5.0


def test_a_heartbeat_leaves_the_row_as_it_is() -> None:
    state, _ = fold(STEP, history(12))
    assert fold(STEP, [heartbeat(99)], state) == (state, [])


def test_a_change_of_source_starts_anew_because_their_scores_are_different_variables() -> None:
    state, _ = fold(STEP, history(20))
    changed = flow(21, 1_000_000, source="binance")
    assert all_signals([changed], state) == all_signals([changed])
