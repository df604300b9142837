"""Each reason of a dead letter, through the real decode and the real normalise step."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from agents import ofi
from agents.spec import Record
from app.deadletters import DeadLetterError, letter_in, replay
from app.decoding import TEXT_MAX, decode, origin
from app.reference import REASONS
from connectors.kafka.access import Access
from contracts.controls import DeadLetterReason as R
from contracts.market import Heartbeat, Quote, Trade
from contracts.topics import (
    DEAD_LETTER_BYTES_MAX,
    DLQ_ORDER_INTENTS,
    GATE_VERDICTS,
    MESSAGE_BYTES_MAX,
    ORDER_INTENTS,
    REPLAY_HEADER,
)
from tests.contracts.records import Ingest, raw

SECOND = 1_000_000_000
BOOK: dict[str, Any] = {
    "schema_version": 1,
    "type": "raw_book",
    "source": "synthetic",
    "instrument": "SPY",
    "seq": 1,
    "ts_event_ns": 100 * SECOND,
    "ts_ingest_ns": 100 * SECOND,
    "bids": [["500.00", "100"]],
    "asks": [["500.01", "200"]],
}
TRADE = {**BOOK, "type": "raw_trade", "price": "500.00", "size": "10", "side": "BUY"}
del TRADE["bids"], TRADE["asks"]
TICK = {key: TRADE[key] for key in TRADE if key != "side"} | {"type": "raw_tick", "kind": "BID"}
BAR = {key: TRADE[key] for key in TRADE if key not in ("side", "price", "size")} | {
    "type": "raw_bar",
    "bar_ns": 5 * SECOND,
    "open": "500.00",
    "high": "500.02",
    "low": "499.99",
    "close": "500.01",
    "volume": "900",
    "trades": 4,
}
COMMON = {key: BOOK[key] for key in ("schema_version", "source", "instrument", "ts_event_ns", "ts_ingest_ns")}
QUOTE = {**COMMON, "type": "quote", "bid_ticks": 50000, "bid_lots": 100, "ask_ticks": 50001, "ask_lots": 200}
PRINT = {**COMMON, "type": "trade", "price_ticks": 50000, "size_lots": 10, "side": "BUY"}
FIRST = REPLAY_HEADER, b"market_raw/0/0"


def text(document: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({**document, **changes}).encode()


BROKEN: list[tuple[R, str, bytes]] = [
    (R.MALFORMED_JSON, "", b"\xff\xfe not json"),
    (R.MALFORMED_JSON, "", b""),
    (R.MALFORMED_JSON, "", text(BOOK) + b"," + text(BOOK, seq=2)),
    (R.MALFORMED_JSON, "", text(TRADE).replace(b'"500.00"', b"NaN")),
    (R.MALFORMED_JSON, "", b"[" * 100_000),
    (R.WRONG_SCHEMA, "", b"[1, 2]"),
    (R.WRONG_SCHEMA, "type", text(BOOK, type="raw_boot")),
    (R.WRONG_SCHEMA, "type", b'{"schema_version": 1}'),
    (R.WRONG_SCHEMA, "schema_version", b'{"type": "raw_book"}'),
    (R.WRONG_SCHEMA, "surprise", text(BOOK, surprise=1)),
    (R.WRONG_SCHEMA, "seq", text(BOOK, seq="1")),
    (R.WRONG_SCHEMA, "source", text(BOOK, source="bloomberg")),
    (R.UNKNOWN_VERSION, "schema_version", text(BOOK, schema_version=2)),
    (R.OUT_OF_RANGE, "seq", text(BOOK, seq=-1)),
    (R.OUT_OF_RANGE, "ts_event_ns", text(BOOK, ts_event_ns=2**63)),
    (R.OUT_OF_RANGE, "bids", text(BOOK, bids=[["-1.00", "1"]])),
    (R.OUT_OF_RANGE, "bids", text(BOOK, bids=[["1e999999", "1"]])),
    (R.OUT_OF_RANGE, "bids", text(BOOK, bids=[["Infinity", "1"]])),
    (R.OUT_OF_RANGE, "asks", text(BOOK, asks=[["500.01", "-5"]])),
    (R.OUT_OF_RANGE, "asks", text(BOOK, asks=[["500.02", "1"], ["500.01", "1"]])),
    (R.OUT_OF_RANGE, "price", text(TRADE, price="1e400")),
    (R.OUT_OF_RANGE, "size", text(TRADE, size="0")),
    (R.OUT_OF_RANGE, "high", text(BAR, high="500.00")),
    (R.UNKNOWN_INSTRUMENT, "instrument", text(BOOK, instrument="NOPE")),
    (R.OFF_TICK, "bids", text(BOOK, bids=[["500.001", "1"]])),
    (R.OFF_TICK, "bids", text(BOOK, bids=[["500.0000000000000000000000000001", "1"]])),
    (R.OFF_TICK, "asks", text(BOOK, asks=[["500.01", "0.5"]])),
    (R.OFF_TICK, "price", text(TICK, price="500.005")),
    (R.EMPTY_BOOK, "asks", text(BOOK, asks=[])),
    (R.CROSSED_BOOK, "bids", text(BOOK, bids=[["500.01", "1"]])),
]


@pytest.mark.parametrize(("reason", "field", "value"), BROKEN)
def test_a_record_that_does_not_fit_is_one_dead_letter_with_its_reason_field_place_and_bytes(
    reason: R, field: str, value: bytes
) -> None:
    ingest = Ingest().take([raw(value, 7)])
    (letter,) = ingest.letters
    assert (letter.reason, letter.field, letter.source) == (reason, field, "market_raw/0/7")
    assert base64.b64decode(letter.original) == value
    assert letter.detail
    assert not ingest.accepted


@pytest.mark.parametrize("document", [BOOK, TRADE, TICK, BAR, {**TICK, "kind": "LAST", "price": "500.005"}])
def test_a_good_record_of_each_kind_is_accepted(document: dict[str, Any]) -> None:
    ingest = Ingest().take([raw(text(document), 7)])
    assert (ingest.accepted, ingest.letters) == ([7], [])


def test_a_record_without_a_value_is_kept_but_a_deleted_key_of_a_compacted_topic_is_no_message() -> None:
    assert [letter.reason for letter in Ingest().take([raw(None, 0)]).letters] == [R.MALFORMED_JSON]
    assert decode(GATE_VERDICTS, 0, [raw(None, 0)]) == ([], [])


def test_duplicates_and_late_records_are_told_apart() -> None:
    values = [text(BOOK, seq=seq) for seq in (1, 2, 2, 5, 1, 4)]
    ingest = Ingest().take(raw(value, offset) for offset, value in enumerate(values))
    assert ingest.accepted == [0, 1, 3]
    assert [(letter.offset, letter.reason) for letter in ingest.letters] == [
        (2, R.DUPLICATE),
        (4, R.DUPLICATE),
        (5, R.OUT_OF_ORDER),
    ]


def test_event_time_that_runs_backwards_is_out_of_order() -> None:
    values = [text(BOOK), text(BOOK, seq=2, ts_event_ns=99 * SECOND)]
    (letter,) = Ingest().take(raw(value, offset) for offset, value in enumerate(values)).letters
    assert (letter.reason, letter.field) == (R.OUT_OF_ORDER, "ts_event_ns")


@pytest.mark.parametrize("wild", [{"seq": 2**53}, {"seq": 2, "ts_event_ns": 2**62}])
def test_one_wild_number_does_not_shut_out_the_records_that_follow(wild: dict[str, int]) -> None:
    values = [text(BOOK), text(BOOK, **wild), text(BOOK, seq=2)]
    ingest = Ingest().take(raw(value, offset) for offset, value in enumerate(values))
    assert (ingest.accepted, [letter.reason for letter in ingest.letters]) == ([0, 2], [R.OUT_OF_RANGE])


def beat(ts_event_ns: int) -> bytes:
    return Heartbeat(partition=0, ts_event_ns=ts_event_ns, ts_ingest_ns=0).model_dump_json().encode()


def test_a_heartbeat_years_ahead_is_one_dead_letter_and_no_instrument_sees_it() -> None:
    other = {**BOOK, "instrument": "QQQ"}
    values = [text(BOOK), text(other), beat(101 * SECOND), beat(2**62), text(BOOK, seq=2), text(other, seq=2)]
    ingest = Ingest().take(raw(value, offset) for offset, value in enumerate(values))
    assert [(letter.offset, letter.reason, letter.field) for letter in ingest.letters] == [
        (3, R.OUT_OF_RANGE, "ts_event_ns")
    ]
    assert ingest.accepted == [0, 1, 2, 4, 5], "with its time the quotes that follow would be stale"
    assert {row.evidence_ns for row in ingest.rows.values()} == {101 * SECOND}


def test_a_heartbeat_is_measured_by_records_when_it_is_the_first_and_by_the_oldest_of_them() -> None:
    wild = text({**BOOK, "instrument": "QQQ"}, ts_event_ns=2**62)
    ingest = Ingest().take(raw(value, offset) for offset, value in enumerate([text(BOOK), wild, beat(2**62)]))
    assert [letter.offset for letter in ingest.letters] == [2]
    assert Ingest().take([raw(beat(2**62), 0)]).letters == [], "nothing is known of the time yet"


def test_after_an_outage_of_many_weeks_a_heartbeat_that_a_person_replays_lets_the_market_in_again() -> None:
    later = 100 * SECOND + 40 * 86_400 * SECOND
    quote = text(BOOK, seq=2, ts_event_ns=later)
    ingest = Ingest().take([raw(text(BOOK), 0), raw(beat(later), 1), raw(quote, 2)])
    assert [letter.offset for letter in ingest.letters] == [1, 2]
    ingest.take([raw(beat(later), 3, headers=(FIRST,)), raw(quote, 4), raw(beat(later + SECOND), 5)])
    assert ingest.accepted == [0, 3, 4, 5]


def test_a_quote_far_behind_the_heartbeat_is_stale_but_a_trade_is_not() -> None:
    beat = Heartbeat(partition=0, ts_event_ns=110 * SECOND, ts_ingest_ns=0).model_dump_json().encode()
    late = 104 * SECOND
    values = [text(BOOK), beat, text(BOOK, seq=2, ts_event_ns=late), text(TRADE, seq=2, ts_event_ns=late)]
    ingest = Ingest().take(raw(value, offset) for offset, value in enumerate(values))
    assert [(letter.offset, letter.reason) for letter in ingest.letters] == [(2, R.STALE_QUOTE)]
    assert ingest.accepted == [0, 1, 3]


def test_one_bad_record_does_not_take_its_batch_with_it() -> None:
    values = [text(BOOK, seq=1), b"{", text(BOOK, seq=2)]
    ingest = Ingest().take(raw(value, offset) for offset, value in enumerate(values))
    assert (ingest.accepted, [letter.offset for letter in ingest.letters]) == ([0, 2], [1])


@pytest.mark.parametrize(
    "values",
    [
        # As many messages as records, but not one each.
        [text(BOOK, seq=1) + b",\n" + text(BOOK, seq=2), text(BOOK, seq=3)[:-1], b'"x":1}'],
        [text(BOOK, seq=1) + b"," + text(BOOK, seq=2), text(BOOK, seq=3)[:-2], b"]}"],
        [text(BOOK, seq=1) + b"," + text(BOOK, seq=2), b'{"type":"raw_book","source":"', b'{"}'],
    ],
)
def test_records_that_only_make_sense_when_glued_together_are_never_taken_for_messages(values: list[bytes]) -> None:
    ingest = Ingest().take(raw(value, offset) for offset, value in enumerate(values))
    assert not ingest.accepted
    assert [letter.offset for letter in ingest.letters] == [0, 1, 2]


def test_a_mended_record_passes_the_order_check_as_a_replay_and_only_once() -> None:
    crossed = text(BOOK, seq=2, bids=[["500.01", "1"]])
    ingest = Ingest().take([raw(text(BOOK), 0), raw(crossed, 1), raw(text(BOOK, seq=3), 2)])
    assert ingest.accepted == [0, 2]
    mended = text(BOOK, seq=2)
    ingest.take([raw(mended, 3)])
    assert ingest.accepted == [0, 2], "without the mark of a replay it is out of order"
    ingest.take([raw(mended, 4, headers=[FIRST])])
    assert ingest.accepted == [0, 2, 4]
    ingest.take([raw(mended, 5, headers=[FIRST])])
    assert ingest.accepted == [0, 2, 4]
    assert [letter.reason for letter in ingest.letters] == [R.CROSSED_BOOK, R.OUT_OF_ORDER, R.DUPLICATE]


def test_a_true_duplicate_is_refused_as_a_replay_too() -> None:
    ingest = Ingest().take([raw(text(BOOK), 0), raw(text(BOOK), 1), raw(text(BOOK), 2, headers=[FIRST])])
    assert [letter.reason for letter in ingest.letters] == [R.DUPLICATE, R.DUPLICATE]


def test_a_replayed_quote_behind_a_newer_one_makes_no_flow_and_a_trade_counts_while_its_bucket_is_open() -> None:
    step = ofi.make(SECOND)
    quotes = [Quote.model_validate_json(text(QUOTE, seq=seq, bid_lots=seq * 100)) for seq in (1, 3, 2)]
    trade = Trade.model_validate_json(text(PRINT, seq=4))
    late = Trade.model_validate_json(text(PRINT, seq=5, ts_event_ns=90 * SECOND))
    state: Any = None
    for offset, message in enumerate([*quotes, trade, late]):
        state, _ = step(state, Record(message, "market_events", 0, offset, b""))
    assert (state.ofi, state.bid_lots, state.trade) == (200, 300, 10)


def test_filling_the_middle_of_a_gap_leaves_both_its_ends_open() -> None:
    ingest = Ingest().take([raw(text(BOOK, seq=0), 0), raw(text(BOOK, seq=6), 1)])
    for offset, seq in enumerate((3, 3, 1, 5, 2, 4, 5), start=2):
        ingest.take([raw(text(BOOK, seq=seq), offset, headers=[FIRST])])
    assert ingest.accepted == [0, 1, 2, 4, 5, 6, 7]
    assert ingest.rows["SPY"].gaps == []


def test_an_unreadable_intent_goes_to_the_dead_letters_of_intents() -> None:
    _, (letter,) = decode(ORDER_INTENTS, 0, [raw(text(BOOK), 4)])
    assert (letter.reason, letter.topic) == (R.WRONG_SCHEMA, "order_intents")
    assert ORDER_INTENTS.dead_letters is not None
    assert ORDER_INTENTS.dead_letters.name == "dlq_order_intents"


def test_the_largest_message_fits_into_its_dead_letter() -> None:
    value = b'{"type": "' + b"\x41" * (MESSAGE_BYTES_MAX - 20) + b'"}'
    (letter,) = Ingest().take([raw(value, 2**62)]).letters
    assert len(letter.model_dump_json()) + 1024 < DEAD_LETTER_BYTES_MAX
    (letter,) = Ingest().take([raw(text(BOOK, **{"k" * 900_000: 1}), 0)]).letters
    assert len(letter.field) == TEXT_MAX


def test_a_header_that_is_not_ours_stops_nobody() -> None:
    for value in (b"", b"a|b|c|d", b"\xff", b"x|1", None):
        assert origin(raw(text(BOOK), 9, headers=[("origin", value)])) == ("market_raw/0", (9, "", 0))


def test_a_letter_sent_again_after_a_crash_is_recognised_by_its_source() -> None:
    twice = [Ingest().take([raw(b"{", 5)]).letters[0] for _ in range(2)]
    assert twice[0] == twice[1]
    assert twice[0].source == "market_raw/0/5"


def test_every_reason_has_a_test_and_a_page_that_says_what_to_do() -> None:
    tested = {reason for reason, _, _ in BROKEN} | {R.DUPLICATE, R.OUT_OF_ORDER, R.STALE_QUOTE}
    assert tested == set(R)
    assert set(REASONS) == set(R)


@pytest.mark.parametrize("value", [b"{}", b"no JSON", None, b'{"type":"dead_letter","schema_version":99}'])
def test_what_is_no_dead_letter_is_listed_as_one_itself(value: bytes | None) -> None:
    letter = letter_in(raw(value, 5, DLQ_ORDER_INTENTS.name))
    assert letter.source == f"{DLQ_ORDER_INTENTS.name}/0/5"


async def test_a_letter_of_a_topic_whose_records_nobody_refuses_is_not_replayed_and_says_so() -> None:
    letter = letter_in(raw(b"{}", 5, DLQ_ORDER_INTENTS.name))
    with pytest.raises(DeadLetterError, match="cannot be replayed"):
        await replay(Access("nobody:1"), letter, b"{}", 1.0)
