"""ofi: one event per instrument and bucket, closed by the next event or by a heartbeat."""

from __future__ import annotations

from typing import Any

from agents import ofi
from contracts.market import DepthUpdate, Halt, Trade
from contracts.signals import OfiEvent
from tests.agents.harness import SECOND_NS, fold, heartbeat, quote, sent

STEP = ofi.make(SECOND_NS)


def trade(second: float, lots: int, side: Any, source: Any = "synthetic") -> Trade:
    return Trade(
        source=source,
        instrument="SPY",
        seq=0,
        ts_event_ns=round(second * SECOND_NS),
        ts_ingest_ns=0,
        price_ticks=100,
        size_lots=lots,
        side=side,
    )


def halt(second: float, *, halted: bool) -> Halt:
    return Halt(
        source="synthetic",
        instrument="SPY",
        seq=0,
        ts_event_ns=round(second * SECOND_NS),
        ts_ingest_ns=0,
        halted=halted,
    )


def events(*messages: Any) -> list[OfiEvent]:
    _, outputs = fold(STEP, messages)
    closed: list[OfiEvent] = sent(outputs, "ofi_events")
    return closed


def test_a_rising_bid_adds_all_of_its_new_size() -> None:
    [event] = events(quote(0.1, (100, 200), (102, 300)), quote(0.2, (101, 500), (102, 300)), heartbeat(1))
    assert event.ofi_lots == 500
    assert (event.mid_open_half_ticks, event.mid_close_half_ticks) == (202, 203)
    assert (event.bid_ticks, event.ask_ticks, event.events) == (101, 102, 1)


def test_depth_is_the_mean_queue_over_the_changes_of_the_best_quote() -> None:
    first, second, same = (
        quote(0.1, (100, 200), (102, 300)),
        quote(0.2, (100, 400), (102, 300)),
        quote(0.3, (100, 400), (102, 300)),
    )
    last = quote(0.4, (100, 400), (102, 500))
    [event] = events(first, second, same, last, heartbeat(1))
    assert event.depth_lots == ((400 + 300) / 2 + (400 + 500) / 2) / 2
    assert event.ofi_lots == 200 - 200


def test_trades_add_up_with_the_sign_of_the_aggressor() -> None:
    [event] = events(quote(0.1, (100, 200), (102, 300)), trade(0.2, 70, "BUY"), trade(0.3, 100, "SELL"), heartbeat(1))
    assert (event.trade_lots, event.events, event.ofi_lots) == (-30, 2, 0)


def test_the_volume_is_what_both_sides_traded_in_the_bucket() -> None:
    traded = (trade(0.2, 70, "BUY"), trade(0.3, 100, "SELL"), heartbeat(1), trade(1.5, 5, "SELL"), heartbeat(2))
    assert [event.volume_lots for event in events(quote(0.1, (100, 200), (102, 300)), *traded)] == [170, 5]


def test_the_next_event_closes_the_bucket_and_counts_in_its_own() -> None:
    [first, second] = events(
        quote(0.5, (100, 200), (102, 300)), quote(1.5, (101, 50), (102, 300), ts_ingest_ns=99), heartbeat(2)
    )
    assert (first.ts_event_ns, first.ts_ingest_ns, first.ofi_lots) == (1 * SECOND_NS, 99, 0)
    assert (second.ts_event_ns, second.ofi_lots) == (2 * SECOND_NS, 50)
    assert (first.mid_open_half_ticks, first.mid_close_half_ticks) == (202, 202)
    assert (second.mid_open_half_ticks, second.mid_close_half_ticks) == (202, 203)


def test_a_bucket_opens_at_the_mid_at_which_the_one_before_closed() -> None:
    [first, second] = events(quote(0.5, (100, 200), (102, 300)), quote(0.9, (101, 50), (102, 300)), heartbeat(2))
    assert (first.mid_open_half_ticks, first.mid_close_half_ticks) == (202, 203)
    assert (second.mid_open_half_ticks, second.mid_close_half_ticks) == (203, 203)


def test_an_event_at_the_very_end_of_a_bucket_belongs_to_it() -> None:
    """The buckets are (t - 1, t]: a source sends the heartbeat of t behind every record up to and including t."""
    [event] = events(quote(0.5, (100, 200), (102, 300)), quote(1.0, (101, 50), (102, 300)), heartbeat(1))
    assert (event.ts_event_ns, event.ofi_lots) == (SECOND_NS, 50)


def test_a_silent_instrument_has_a_bucket_for_every_second_all_the_same() -> None:
    silent = events(quote(0.5, (100, 200), (102, 400)), heartbeat(1), heartbeat(4))
    assert [event.ts_event_ns // SECOND_NS for event in silent] == [1, 2, 3, 4]
    assert all(event.ofi_lots == 0 and event.depth_lots == 300 for event in silent)
    assert all(event.mid_open_half_ticks == event.mid_close_half_ticks for event in silent)


def test_a_heartbeat_twice_closes_a_bucket_once() -> None:
    assert len(events(quote(0.5, (100, 200), (102, 400)), heartbeat(1), heartbeat(1))) == 1


def test_after_a_night_the_row_starts_afresh() -> None:
    state, outputs = fold(STEP, [quote(0.5, (100, 200), (102, 400)), heartbeat(ofi.SILENT_BUCKETS_MAX + 3)])
    assert (state, outputs) == (None, [])


def test_a_depth_update_counts_as_its_best_level() -> None:
    depth = DepthUpdate(
        source="synthetic",
        instrument="SPY",
        seq=1,
        ts_event_ns=SECOND_NS // 2,
        ts_ingest_ns=0,
        bids=((101, 500), (100, 9)),
        asks=((102, 300), (103, 9)),
    )
    [event] = events(quote(0.1, (100, 200), (102, 300)), depth, heartbeat(1))
    assert event.ofi_lots == 500


def test_a_change_of_source_starts_anew_because_their_imbalances_are_different_variables() -> None:
    [event] = events(
        quote(0.1, (100, 200), (102, 300)),
        quote(0.2, (101, 900), (102, 300)),
        quote(0.3, (500, 7), (501, 7), source="binance"),
        quote(0.4, (500, 9), (501, 7), source="binance"),
        heartbeat(1),
    )
    assert (event.source, event.ofi_lots, event.mid_open_half_ticks) == ("binance", 2, 1001)


def test_a_trade_of_another_source_does_not_count() -> None:
    [event] = events(quote(0.1, (100, 200), (102, 300)), trade(0.2, 70, "BUY", source="binance"), heartbeat(1))
    assert (event.trade_lots, event.events) == (0, 0)


def test_a_halt_shows_in_every_bucket_until_trading_resumes() -> None:
    halted = events(
        quote(0.1, (100, 200), (102, 300)),
        halt(0.5, halted=True),
        quote(1.5, (100, 250), (102, 300)),
        heartbeat(2),
        halt(2.5, halted=False),
        heartbeat(3),
    )
    assert [event.halted for event in halted] == [True, True, False]


def test_a_halt_before_the_first_quote_is_not_forgotten() -> None:
    [event] = events(halt(0.1, halted=True), heartbeat(1), quote(1.5, (100, 200), (102, 300)), heartbeat(2))
    assert (event.ts_event_ns, event.halted) == (2 * SECOND_NS, True)


def test_a_halt_outlives_a_change_of_source() -> None:
    [event] = events(
        quote(0.1, (100, 200), (102, 300)),
        halt(0.2, halted=True),
        quote(0.3, (500, 7), (501, 7), source="binance"),
        heartbeat(1),
    )
    assert event.halted


def test_trades_before_the_first_quote_are_left_out() -> None:
    assert events(trade(0.1, 5, "BUY"), heartbeat(1)) == []


def test_what_was_sent_does_not_change_when_the_row_does() -> None:
    state, outputs = fold(STEP, [quote(0.1, (100, 200), (102, 300)), heartbeat(1)])
    before = outputs[0].message.model_dump_json()
    fold(STEP, [quote(1.1, (101, 999), (102, 300)), trade(1.2, 5, "BUY"), heartbeat(2)], state)
    assert outputs[0].message.model_dump_json() == before
