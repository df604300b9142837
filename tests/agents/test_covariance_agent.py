"""covariance: one cross-section per bucket, the same whichever partition is read first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import covariance as agent
from agents.parameters import Portfolio
from contracts.base import Message
from contracts.topics import MARKET_PARTITIONS
from quant import covariance
from tests.agents.harness import SECOND_NS, fold, heartbeat, sent, signal

PARAMETERS = Portfolio(
    covariance_half_life_buckets=1,
    covariance_warm_buckets=2,
    gamma=5,
    kappa=0,
    box=0.05,
    turnover=0.1,
    vol_target_annual=0.1,
    order_notional_usd_min=0,
)
STEP = agent.make(("SPY", "QQQ", "AAPL"), SECOND_NS, PARAMETERS)
HOMES = {"SPY": 0, "QQQ": 0, "AAPL": 2}
"""Partition of each instrument; partitions 1 and 3 carry heartbeats alone."""


def beats(second: float) -> list[Message]:
    return [heartbeat(second, partition) for partition in range(MARKET_PARTITIONS)]


def section(second: int, **returns: float) -> list[Message]:
    """Signals of one bucket and the heartbeats that complete it."""
    return [*(signal(second, name, ret) for name, ret in returns.items()), *beats(second)]


def market(seconds: int) -> list[list[Message]]:
    """Each partition's stream: signals of its instruments, then its heartbeat, second by second."""
    streams: list[list[Message]] = [[] for _ in range(MARKET_PARTITIONS)]
    for second in range(1, seconds + 1):
        for i, (name, partition) in enumerate(HOMES.items()):
            ret = 1e-4 * ((7 * second + 3 * i) % 11 - 5)
            streams[partition].append(signal(second, name, ret, ts_ingest_ns=1_000 * second + i))
        for partition, stream in enumerate(streams):
            stream.append(heartbeat(second, partition, ingest_ns=1_000 * second + 100 * partition))
    return streams


def sections(messages: Sequence[Message]) -> list[bytes]:
    _, outputs = fold(STEP, messages)
    return [out.message.model_dump_json().encode() for out in outputs]


STREAMS = market(seconds=4)
TURNS = [partition for partition, stream in enumerate(STREAMS) for _ in stream]
IN_ORDER = [message for second in range(1, 5) for message in section(second)]


@given(st.permutations(TURNS))
def test_cross_sections_do_not_depend_on_which_partition_is_read_first(turns: list[int]) -> None:
    queues = [iter(stream) for stream in STREAMS]
    one_after_the_other = sections([message for stream in STREAMS for message in stream])
    assert len(one_after_the_other) == 4 + 3  # four cross-sections, and the drift of the warm ones
    assert sections([next(queues[partition]) for partition in turns]) == one_after_the_other


def test_a_cross_section_fires_when_the_last_partition_has_passed_its_bucket() -> None:
    before = [signal(1, "SPY", 0.01), *beats(1)[:-1]]
    assert sections(before) == []
    assert len(sections([*before, heartbeat(1, MARKET_PARTITIONS - 1)])) == 1


def test_marks_are_sorted_and_an_instrument_outside_the_universe_has_none() -> None:
    _, outputs = fold(STEP, section(1, SPY=0.01, AAPL=0.02, MSFT=0.03))
    [event] = sent(outputs, "covariance_events")
    assert [(mark.instrument, mark.ret) for mark in event.marks] == [("AAPL", 0.02), ("SPY", 0.01)]


def test_one_heartbeat_may_complete_several_buckets_and_they_fire_oldest_first() -> None:
    _, outputs = fold(STEP, [signal(2, "SPY"), signal(1, "SPY"), *beats(2)])
    assert [event.ts_event_ns // SECOND_NS for event in sent(outputs, "covariance_events")] == [1, 2]


def test_a_late_signal_is_counted_and_changes_nothing() -> None:
    state, _ = fold(STEP, section(1, SPY=0.01))
    state, outputs = fold(STEP, [signal(1, "QQQ", 0.5), *beats(1)], state)
    assert (outputs, state.late, state.waiting) == ([], 1, {})


def test_a_partition_that_was_never_heard_of_fires_nothing() -> None:
    messages = [message for second in range(1, 50) for message in section(second, SPY=0.01)]
    assert sections([m for m in messages if getattr(m, "partition", 0) != 3]) == []


def test_a_partition_that_stops_fires_nothing_however_long_it_is_silent() -> None:
    """A cross-section without it would be traded on as if its instruments had stood still."""
    buckets = agent.WAITING_BUCKETS_MAX + 10
    silent = [m for second in range(2, buckets) for m in section(second, SPY=0.0) if getattr(m, "partition", 0) != 3]
    state, outputs = fold(STEP, [*section(1, SPY=0.01), *silent])
    assert [event.ts_event_ns // SECOND_NS for event in sent(outputs, "covariance_events")] == [1]
    assert len(state.waiting) == len(state.ingest) == agent.WAITING_BUCKETS_MAX
    assert state.late == 8

    state, outputs = fold(STEP, [signal(5, "AAPL"), heartbeat(buckets, 3)], state)
    fired = [event.ts_event_ns // SECOND_NS for event in sent(outputs, "covariance_events")]
    assert fired == list(range(10, buckets))
    assert state.late == 9


def test_a_heartbeat_from_the_past_does_not_move_a_watermark_back() -> None:
    state, _ = fold(STEP, [*beats(5), heartbeat(1, 0)])
    assert min(state.watermarks.values()) == 5 * SECOND_NS


def test_the_covariance_is_the_fading_mean_of_squares() -> None:
    """Half-life 1, of volatility 1/3: weights 1/8 and 1. Shrinking the correlation leaves the variances alone."""
    _, outputs = fold(STEP, [*section(1, SPY=0.01), *section(2, QQQ=0.02)])
    first, second = sent(outputs, "covariance_events")
    assert (first.covariance, first.drift, first.updates) == (None, None, 1)
    assert np.trace(covariance.decode_matrix(second.covariance)) == pytest.approx((0.125 * 1e-4 + 4e-4) / 1.125)


def test_drift_is_measured_from_the_cross_section_before_and_is_evidence_for_gate_3() -> None:
    _, outputs = fold(STEP, [*section(1, SPY=0.01), *section(2, SPY=0.01), *section(3, SPY=0.01)])
    evidence = sent(outputs, "gate_evidence")
    assert [fact.name for fact in evidence] == ["covariance.drift"] * 2
    assert evidence[0].value == 0.0
    assert [event.drift for event in sent(outputs, "covariance_events")] == [None, 0.0, evidence[1].value]


def test_a_market_that_never_moves_has_no_covariance() -> None:
    _, outputs = fold(STEP, [message for second in range(1, 6) for message in section(second, SPY=0.0, QQQ=0.0)])
    assert {event.covariance for event in sent(outputs, "covariance_events")} == {None}


def test_a_market_that_stands_still_for_a_night_has_no_covariance_rather_than_one_of_vanishing_numbers() -> None:
    """Memory halves each bucket here: after 1,000 of them squares of what is left are zero in float64."""
    still = [message for second in range(3, 1_003) for message in section(second, SPY=0.0)]
    _, outputs = fold(STEP, [*section(1, SPY=0.01), *section(2, SPY=0.01), *still, *section(1_003, SPY=0.01)])
    matrices = [event.covariance for event in sent(outputs, "covariance_events")]
    assert matrices[1] is not None
    assert matrices[-2] is None
    assert matrices[-1] is not None


def test_what_was_sent_does_not_change_when_the_row_does() -> None:
    state, outputs = fold(STEP, section(1, SPY=0.01))
    before = [out.message.model_dump_json() for out in outputs]
    fold(STEP, section(2, SPY=0.05, QQQ=0.01), state)
    assert [out.message.model_dump_json() for out in outputs] == before
