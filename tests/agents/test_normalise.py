"""normalise: raw decimals become ticks and lots, and what is refused goes to the dead letters, whole."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from agents import normalise
from contracts.controls import DeadLetter
from contracts.market import DepthUpdate, Halt, Quote, RawBook, RawHalt, RawTrade, Trade
from contracts.topics import REPLAY_HEADER
from tests.agents.harness import SECOND_NS, fold, heartbeat, record, sent

Levels = tuple[tuple[str, str], ...]


def book(seq: int, bids: Levels, asks: Levels, instrument: str = "SPY", second: int = 1) -> RawBook:
    return RawBook(
        source="synthetic",
        instrument=instrument,
        seq=seq,
        ts_event_ns=second * SECOND_NS,
        ts_ingest_ns=7,
        bids=bids,
        asks=asks,
    )


def trade(seq: int, price: str, size: str, instrument: str = "SPY") -> RawTrade:
    return RawTrade(
        source="synthetic",
        instrument=instrument,
        seq=seq,
        ts_event_ns=SECOND_NS,
        ts_ingest_ns=7,
        price=price,
        size=size,
        side="BUY",
    )


GOOD_BID: Levels = (("134.90", "200"),)
GOOD_ASK: Levels = (("134.91", "300"),)


def only(outputs: list[Any]) -> Any:
    assert len(outputs) == 1
    return outputs[0].message


def test_one_level_a_side_is_a_quote_in_ticks_and_lots() -> None:
    state, outputs = fold(normalise.step, [book(0, GOOD_BID, GOOD_ASK)])
    event = only(outputs)
    assert isinstance(event, Quote)
    assert (event.bid_ticks, event.bid_lots, event.ask_ticks, event.ask_lots) == (13_490, 200, 13_491, 300)
    assert (event.ts_event_ns, event.ts_ingest_ns, event.seq) == (SECOND_NS, 7, 0)
    assert (outputs[0].topic.name, outputs[0].key, state.accepted) == ("market_events", "SPY", 1)


def test_more_levels_are_a_depth_update_best_first() -> None:
    bids = (("134.90", "200"), ("134.88", "50"))
    _, outputs = fold(normalise.step, [book(0, bids, GOOD_ASK)])
    event = only(outputs)
    assert isinstance(event, DepthUpdate)
    assert event.bids == ((13_490, 200), (13_488, 50))


def test_a_lot_of_bitcoin_is_a_hundred_thousandth() -> None:
    _, outputs = fold(normalise.step, [trade(0, "60123.45", "0.00123", "BTCUSDT")])
    event = only(outputs)
    assert isinstance(event, Trade)
    assert (event.price_ticks, event.size_lots) == (6_012_345, 123)


def test_a_hidden_execution_between_two_ticks_is_kept_on_the_lower_one() -> None:
    _, outputs = fold(normalise.step, [trade(0, "134.905", "100")])
    assert only(outputs).price_ticks == 13_490


def test_a_halt_passes_through() -> None:
    halt = RawHalt(source="lobster", instrument="AMZN", seq=3, ts_event_ns=1, ts_ingest_ns=2, halted=True)
    _, outputs = fold(normalise.step, [halt])
    event = only(outputs)
    assert isinstance(event, Halt)
    assert event.halted


@pytest.mark.parametrize(
    ("raw", "reason", "field"),
    [
        (book(0, GOOD_BID, GOOD_ASK, "NOPE"), "UNKNOWN_INSTRUMENT", "instrument"),
        (book(0, (), GOOD_ASK), "EMPTY_BOOK", "bids"),
        (book(0, GOOD_BID, ()), "EMPTY_BOOK", "asks"),
        (book(0, (("134.91", "1"),), (("134.90", "1"),)), "CROSSED_BOOK", "bids"),
        (book(0, (("134.91", "1"),), (("134.91", "1"),)), "CROSSED_BOOK", "bids"),
        (book(0, (("134.905", "1"),), GOOD_ASK), "OFF_TICK", "bids"),
        (book(0, GOOD_BID, (("134.91", "0.5"),)), "OFF_TICK", "asks"),
        (book(0, (("-1", "1"),), GOOD_ASK), "OUT_OF_RANGE", "bids"),
        (book(0, (("0", "1"),), GOOD_ASK), "OUT_OF_RANGE", "bids"),
        (book(0, GOOD_BID, (("134.91", "-1"),)), "OUT_OF_RANGE", "asks"),
        (book(0, (("1e20", "1"),), GOOD_ASK), "OUT_OF_RANGE", "bids"),
        (book(0, (("NaN", "1"),), GOOD_ASK), "OUT_OF_RANGE", "bids"),
        (book(0, (("Infinity", "1"),), GOOD_ASK), "OUT_OF_RANGE", "bids"),
        (book(0, (("many", "1"),), GOOD_ASK), "OUT_OF_RANGE", "bids"),
        (book(0, (("134.88", "1"), ("134.90", "1")), GOOD_ASK), "OUT_OF_RANGE", "bids"),
        (book(0, GOOD_BID, (("134.91", "1"), ("134.91", "1"))), "OUT_OF_RANGE", "asks"),
        (trade(0, "0.001", "1"), "OUT_OF_RANGE", "price"),
        (trade(0, "134.90", "0"), "OUT_OF_RANGE", "size"),
        (trade(0, "1e17", "1"), "OUT_OF_RANGE", "price"),
        (trade(0, "1e999999", "1"), "OUT_OF_RANGE", "price"),
    ],
)
def test_a_bad_record_becomes_a_dead_letter_with_its_reason_and_its_bytes(
    raw: RawBook | RawTrade, reason: str, field: str
) -> None:
    source = record(raw, offset=41, topic="market_raw", partition=2)
    state, outputs = normalise.step(None, source)
    letter = only(list(outputs))
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.field) == (reason, field)
    assert (letter.topic, letter.partition, letter.offset) == ("market_raw", 2, 41)
    assert base64.b64decode(letter.original) == source.value
    assert outputs[0].key == "market_raw/2/41"
    assert (state.accepted, state.refused, state.seq) == (0, 1, -1)


def test_a_record_that_comes_twice_is_refused_the_second_time() -> None:
    state, outputs = fold(normalise.step, [book(4, GOOD_BID, GOOD_ASK), book(4, GOOD_BID, GOOD_ASK)])
    assert [letter.reason for letter in sent(outputs, "dlq_market_events")] == ["DUPLICATE"]
    assert (state.accepted, state.refused) == (1, 1)


def test_a_record_from_the_past_is_refused_by_its_number_and_by_its_time() -> None:
    late_number = book(3, GOOD_BID, GOOD_ASK, second=2)
    late_time = book(5, GOOD_BID, GOOD_ASK, second=1)
    _, outputs = fold(normalise.step, [book(4, GOOD_BID, GOOD_ASK, second=2), late_number, late_time])
    letters = sent(outputs, "dlq_market_events")
    assert [(letter.reason, letter.field) for letter in letters] == [
        ("OUT_OF_ORDER", "seq"),
        ("OUT_OF_ORDER", "ts_event_ns"),
    ]


def test_a_refused_record_does_not_move_the_sequence() -> None:
    crossed = book(9, GOOD_ASK, GOOD_BID, second=9)
    _, outputs = fold(normalise.step, [crossed, book(0, GOOD_BID, GOOD_ASK)])
    assert len(sent(outputs, "market_events")) == 1


def test_a_gap_in_the_numbers_is_filled_by_a_replay_alone_and_once() -> None:
    state, _ = fold(normalise.step, [book(0, GOOD_BID, GOOD_ASK), book(3, GOOD_BID, GOOD_ASK)])
    late = record(book(1, GOOD_BID, GOOD_ASK))
    again = msgspec.structs.replace(late, headers=((REPLAY_HEADER, b"market_raw/0/1"),))
    state, [refused] = normalise.step(state, late)
    assert refused.topic.name == "dlq_market_events"
    state, [filled] = normalise.step(state, again)
    assert filled.topic.name == "market_events"
    state, [twice] = normalise.step(state, again)
    assert [letter.reason for letter in sent([twice], "dlq_market_events")] == ["DUPLICATE"]
    assert state.gaps == [(2, 2)]


def test_a_quote_far_behind_the_heartbeat_is_stale_but_a_trade_is_not() -> None:
    state, _ = fold(normalise.step, [book(0, GOOD_BID, GOOD_ASK), heartbeat(10)])
    state, outputs = fold(normalise.step, [book(1, GOOD_BID, GOOD_ASK, second=4), trade(2, "134.90", "1")], state)
    assert [letter.reason for letter in sent(outputs, "dlq_market_events")] == ["STALE_QUOTE"]
    assert len(sent(outputs, "market_events")) == 1


def test_unknown_instruments_share_one_row() -> None:
    assert normalise.key(book(0, GOOD_BID, GOOD_ASK, "NOPE1")) == normalise.key(book(0, GOOD_BID, GOOD_ASK, "NOPE2"))
    assert normalise.key(book(0, GOOD_BID, GOOD_ASK)) == "SPY"
    assert normalise.key(heartbeat(1)) == "*"


def test_evidence_for_the_data_gate_goes_out_once_a_second_of_event_time() -> None:
    one_in_four_twice = [
        book(seq, GOOD_BID, GOOD_ASK) for three in range(0, 45, 3) for seq in (*range(three, three + 3), 0)
    ]
    state, _ = fold(normalise.step, one_in_four_twice)
    _, outputs = fold(normalise.step, [heartbeat(10.0), heartbeat(10.5), heartbeat(11.0)], state)
    facts = sent(outputs, "gate_evidence")
    evidence = [fact for fact in facts if fact.name == "data.refused_frac"]
    assert [fact.ts_event_ns for fact in evidence] == [10 * SECOND_NS, 11 * SECOND_NS]
    assert (evidence[0].stage, evidence[0].name, evidence[0].value) == (1, "data.refused_frac", 0.25)
    assert {fact.instrument for fact in facts} == {"SPY"}
    ages = [fact.value for fact in facts if fact.name == "data.age_s"]
    assert ages[1] == ages[0] + 1.0 > 0.0, "heartbeats alone do not make data fresh"


def test_a_source_that_fails_after_a_good_morning_shows_within_a_minute() -> None:
    good = [book(seq, GOOD_BID, GOOD_ASK) for seq in range(10_000)]
    state, _ = fold(normalise.step, [*good, heartbeat(10.0), heartbeat(11.0), heartbeat(911.0)])
    bad = [book(0, GOOD_BID, GOOD_ASK)] * 50
    _, outputs = fold(normalise.step, [*bad, heartbeat(912.0)], state)
    assert next(fact.value for fact in sent(outputs, "gate_evidence") if fact.name == "data.refused_frac") > 0.5


def test_one_refused_record_of_a_quiet_instrument_is_no_failing_source() -> None:
    _, outputs = fold(normalise.step, [book(0, GOOD_BID, GOOD_ASK), book(0, GOOD_BID, GOOD_ASK), heartbeat(10.0)])
    assert [fact.value for fact in sent(outputs, "gate_evidence") if fact.name == "data.refused_frac"] == [0.05]


def test_names_that_nobody_trades_do_not_close_the_data_gate_for_those_that_are_traded() -> None:
    state, _ = fold(normalise.step, [book(0, GOOD_BID, GOOD_ASK, "NOPE")])
    assert sent(fold(normalise.step, [heartbeat(10.0)], state)[1], "gate_evidence") == []


def test_an_instrument_that_has_sent_nothing_gives_no_evidence() -> None:
    _, outputs = fold(normalise.step, [heartbeat(10.0)])
    assert outputs == []
