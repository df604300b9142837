"""Fuzz: whatever bytes arrive, each record is accepted or exactly one dead letter, and nothing raises (I13)."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from connectors.market.source import open_source
from contracts.controls import DeadLetterReason
from tests.contracts.records import Ingest, raw

RECORDS = 100_000
BATCH = 50
SEED = 20240131


def _bytes(rng: random.Random, _value: bytes) -> bytes:
    return rng.randbytes(rng.randrange(60))


def _flip(rng: random.Random, value: bytes) -> bytes:
    place = rng.randrange(len(value))
    return value[:place] + bytes([rng.randrange(256)]) + value[place + 1 :]


def _cut(rng: random.Random, value: bytes) -> bytes:
    first, last = sorted((rng.randrange(len(value)), rng.randrange(len(value))))
    return value[:first] + value[last:]


def _glue(rng: random.Random, value: bytes) -> bytes:
    return value + rng.choice((b",", b",\n", b"\n", b"", b"]", b",{")) + (value if rng.random() < 0.5 else b"")


SURPRISES: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0,
        2,
        2**53,
        2**63,
        2**64,
        10**40,
        1.5,
        1e308,
        "",
        "0",
        "-1",
        "1e999999",
        "NaN",
        "\u0000",
        "\ud7ff",
    ),
    *(
        [],
        [[]],
        [["1", "1"]],
        [["500.00", "1"]] * 3,
        {},
        {"a": 1},
        "quote",
        "heartbeat",
        "raw_trade",
        "NOPE",
        "SPY",
        "1_0",
    ),
)


def _field(rng: random.Random, value: bytes) -> bytes:
    document = json.loads(value)
    document[rng.choice([*document, "surprise"])] = rng.choice(SURPRISES)
    return json.dumps(document).encode()


def _drop(rng: random.Random, value: bytes) -> bytes:
    document = json.loads(value)
    del document[rng.choice(list(document))]
    return json.dumps(document).encode()


def _level(rng: random.Random, value: bytes) -> bytes:
    document = json.loads(value)
    side = rng.choice(("bids", "asks"))
    if document.get(side):
        document[side][rng.randrange(len(document[side]))][rng.randrange(2)] = rng.choice(SURPRISES)
    return json.dumps(document).encode()


def _fast_clock(rng: random.Random, value: bytes) -> bytes:
    document = json.loads(value)
    if document["type"] == "heartbeat" and rng.random() < 0.2:
        document["ts_event_ns"] += 6_000_000_000
    return json.dumps(document).encode()


def _same(_rng: random.Random, value: bytes) -> bytes:
    return value


MUTATIONS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    *(_bytes, _flip, _cut, _glue, _field, _field, _drop, _level, _fast_clock),
    *(_same, _same),
)


def test_each_of_a_hundred_thousand_fuzzed_records_is_accepted_or_exactly_one_dead_letter(
    record_property: Callable[[str, object], None],
) -> None:
    print(f"seed {SEED}")  # noqa: T201
    rng = random.Random(SEED)
    source = iter(open_source("synthetic", seed=SEED))
    ingest, sent = Ingest(), 0
    while sent < RECORDS:
        size = rng.randrange(1, BATCH)
        values = [rng.choice(MUTATIONS)(rng, next(source).model_dump_json().encode()) for _ in range(size)]
        ingest.take(raw(value, sent + place) for place, value in enumerate(values))
        sent += size
    refused = [letter.offset for letter in ingest.letters]
    assert len(refused) == len(set(refused)), "two dead letters of one record"
    assert sorted([*ingest.accepted, *refused]) == list(range(sent))
    reasons = {letter.reason for letter in ingest.letters}
    record_property("reasons", sorted(reasons))
    assert reasons == set(DeadLetterReason), f"the fuzzer never reached {set(DeadLetterReason) - reasons}"
    assert len(ingest.accepted) > RECORDS / 10, "the fuzzer must also let valid records through"


@pytest.mark.parametrize("size", [1, 7, 400])
def test_untouched_records_are_all_accepted(size: int) -> None:
    source = iter(open_source("synthetic", seed=SEED))
    ingest = Ingest().take(raw(next(source).model_dump_json().encode(), offset) for offset in range(size))
    assert not ingest.letters
    assert ingest.accepted == list(range(size))
