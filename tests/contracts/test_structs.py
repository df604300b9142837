"""Reading market messages as structs is a short cut: it may refuse more than the contract does, and never take more."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import msgspec
import pytest

from app.decoding import UnreadableError, as_contract, read
from contracts import structs
from contracts.structs import LOT_MIN, Reader, UnreadableBytes, has_validators, struct_of
from contracts.topics import TOPICS, Topic
from tests.contracts.test_fuzz import MUTATIONS, SURPRISES

SEED = 11
COMMON = {
    "schema_version": 1,
    "source": "synthetic",
    "instrument": "SPY",
    "seq": 3,
    "ts_event_ns": 10**18,
    "ts_ingest_ns": 10**18 + 1,
}
EXAMPLES: dict[str, dict[str, Any]] = {
    "raw_book": {"bids": [["500.00", "100"]], "asks": [["500.01", "200"]]},
    "raw_tick": {"kind": "BID", "price": "500.00", "size": "100"},
    "raw_trade": {"price": "500.00", "size": "100", "side": "BUY"},
    "raw_bar": {"bar_ns": 1, "open": "2", "high": "3", "low": "1", "close": "2", "volume": "100", "trades": 1},
    "raw_halt": {"halted": True},
    "quote": {"bid_ticks": 50_000, "bid_lots": 0, "ask_ticks": 50_001, "ask_lots": 2},
    "tick": {"kind": "LAST", "price_ticks": 50_000, "size_lots": 1},
    "depth": {"bids": [[50_000, 1], [49_999, 2]], "asks": [[50_001, 3]]},
    "trade": {"price_ticks": 50_000, "size_lots": 1, "side": "SELL"},
    "halt": {"halted": False},
}
TRICKS = (
    1.0,
    -0.0,
    2**53 - 1,
    2**63 - 1,
    2**64 - 1,
    "SPY\n",
    "SPY ",
    "spy",
    "\ud800",
    "É",
    "1" * 33,
    [[1, 1]],
    [[0, 0]],
)
STRUCTS = [topic for topic in TOPICS.values() if topic.structs]


def example(kind: str) -> dict[str, Any]:
    if kind == "heartbeat":
        return {"schema_version": 1, "type": kind, "partition": 0, "ts_event_ns": 10**18, "ts_ingest_ns": 10**18}
    return {**COMMON, "type": kind, **EXAMPLES[kind]}


def assert_no_more_is_taken(topic: Topic, value: bytes) -> bool:
    """Whether the struct takes `value`; if it does, the contract must take it too, with the same in every field."""
    assert topic.struct_reader is not None
    try:
        struct = topic.struct_reader.decode(value)
    except UnreadableBytes:
        return False
    try:
        message = read(topic, value)
    except UnreadableError as error:
        pytest.fail(f"the struct takes what {topic.name} does not: {value!r}: {error}")
    assert as_contract(topic, struct) == message, value
    assert {name: getattr(struct, name) for name in type(message).model_fields} == dict(message)
    return True


@pytest.mark.parametrize("topic", STRUCTS, ids=lambda topic: topic.name)
def test_every_market_message_without_a_validator_of_its_own_takes_the_short_cut(topic: Topic) -> None:
    for kind, message in topic.messages.items():
        if not has_validators(message):
            assert assert_no_more_is_taken(topic, json.dumps(example(kind)).encode()), kind


@pytest.mark.parametrize("topic", STRUCTS, ids=lambda topic: topic.name)
def test_no_surprise_in_any_field_gets_past_the_struct_that_the_contract_refuses(topic: Topic) -> None:
    refused = 0
    for kind in topic.messages:
        if kind == "bar":
            continue
        document = example(kind)
        for field in (*document, "surprise"):
            for surprise in (*SURPRISES, *TRICKS):
                refused += not assert_no_more_is_taken(topic, json.dumps({**document, field: surprise}).encode())
            without = {name: value for name, value in document.items() if name != field}
            if field != "surprise":
                assert not assert_no_more_is_taken(topic, json.dumps(without).encode()), field
    assert refused > 1_000


@pytest.mark.parametrize("topic", STRUCTS, ids=lambda topic: topic.name)
def test_twenty_thousand_broken_records_are_judged_as_by_the_contract(topic: Topic) -> None:
    print(f"seed {SEED}")  # noqa: T201
    rng = random.Random(SEED)
    kinds = [kind for kind in topic.messages if kind != "bar"]
    mutations = [mutation for mutation in MUTATIONS if mutation.__name__ != "_level"]
    taken = 0
    for _ in range(20_000):
        value = json.dumps(example(rng.choice(kinds))).encode()
        taken += assert_no_more_is_taken(topic, rng.choice(mutations)(rng, value))
    assert 2_000 < taken < 15_000, "both kinds must come up"


def test_a_new_name_is_judged_by_the_contract_and_then_taken_by_the_struct() -> None:
    topic = TOPICS["market_events"]
    reader = Reader(topic.messages)
    value = json.dumps({**example("quote"), "instrument": "NEW.1"}).encode()
    reads_by_contract = 0
    while True:
        with contextlib.suppress(*UnreadableBytes):
            assert reader.decode(value).instrument == "NEW.1"
            break
        reader.learn(read(topic, value))
        reads_by_contract += 1
        assert reads_by_contract <= LOT_MIN
    with pytest.raises(UnreadableBytes):
        reader.decode(json.dumps({**example("quote"), "instrument": "new.1"}).encode())


def test_messages_that_are_the_contracts_for_another_reason_make_no_new_structs() -> None:
    """A bar is always read by its contract; each lot of bars of a known name made all structs anew."""
    topic = TOPICS["market_raw"]
    reader = Reader(topic.messages)
    structs_then = reader.decode
    for _ in range(10 * LOT_MIN):
        reader.learn(read(topic, json.dumps(example("raw_tick")).encode()))
    assert reader.decode is structs_then


def test_a_flood_of_names_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structs, "NAMES_MAX", 40)
    topic = TOPICS["market_events"]
    reader = Reader(topic.messages)
    for number in range(200):
        value = json.dumps({**example("quote"), "instrument": f"N{number}"}).encode()
        reader.learn(read(topic, value))
    assert reader.decode(json.dumps(example("quote")).encode()).instrument == "SPY"
    with pytest.raises(UnreadableBytes):
        reader.decode(value)


def test_a_field_that_no_struct_has_is_refused_where_the_struct_is_made() -> None:
    with pytest.raises(TypeError, match="cannot be read as a struct"):
        struct_of(TOPICS["order_commands"].messages["new_order"], {"SPY"})


def test_a_struct_is_frozen() -> None:
    topic = TOPICS["market_events"]
    assert topic.struct_reader is not None
    quote = topic.struct_reader.decode(json.dumps(example("quote")).encode())
    assert isinstance(quote, msgspec.Struct)
    with pytest.raises(AttributeError):
        quote.seq = 4  # type: ignore[attr-defined]
