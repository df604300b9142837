from __future__ import annotations

import zipfile
from collections import defaultdict
from itertools import islice, pairwise
from pathlib import Path

import pytest

from connectors.market import synthetic
from connectors.market.source import SourceError, SourceInfo, describe, open_source
from contracts.instruments import INSTRUMENTS
from contracts.market import Heartbeat, RawBook, RawHalt, RawTrade

NS_PER_S = 10**9
RECORDS = 20_000


def write_lobster(path: Path, times: list[str], *, instrument: str = "AMZN") -> str:
    stem = f"{instrument}_2012-06-21_34200000_57600000"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{stem}_message_1.csv", "".join(f"{time},1,7,21,2238100,1\n" for time in times))
        archive.writestr(f"{stem}_orderbook_1.csv", "2239500,100,2238100,21\n" * len(times))
    return str(path)


def take(spec: str, seed: int, n: int = RECORDS) -> list[RawBook | RawTrade | RawHalt | Heartbeat]:
    return list(islice(open_source(spec, seed=seed), n))


def assert_contract(records: list[RawBook | RawTrade | RawHalt | Heartbeat], partitions: int) -> None:
    """Monotone event time, contiguous seq, and each second's heartbeat for each partition after its records."""
    assert all(a.ts_event_ns <= b.ts_event_ns for a, b in pairwise(records))
    assert all(record.ts_ingest_ns == record.ts_event_ns for record in records)
    seqs: dict[str, list[int]] = defaultdict(list)
    beats: dict[int, list[int]] = defaultdict(list)
    for record in records:
        if isinstance(record, Heartbeat):
            beats[record.partition].append(record.ts_event_ns)
        else:
            seqs[record.instrument].append(record.seq)
    assert all(seq == list(range(len(seq))) for seq in seqs.values())
    assert sorted(beats) == list(range(partitions))
    whole = beats[partitions - 1]
    assert whole == list(range(whole[0], whole[-1] + 1, NS_PER_S))
    assert whole[0] % NS_PER_S == 0
    assert all(times[: len(whole)] == whole for times in beats.values())
    assert 0 <= whole[0] - records[0].ts_event_ns < NS_PER_S
    for beat, after in pairwise(records):
        if isinstance(beat, Heartbeat) and not isinstance(after, Heartbeat):
            assert after.ts_event_ns > beat.ts_event_ns


def test_the_default_synthetic_market_has_four_instruments_and_a_spec_can_choose_them() -> None:
    assert describe("synthetic") == SourceInfo("synthetic", ("SPY", "QQQ", "AAPL", "MSFT"), None)
    assert describe("synthetic:QQQ,SPY").instruments == ("QQQ", "SPY")


def test_each_synthetic_instrument_is_one_the_desk_knows() -> None:
    assert set(synthetic.LISTINGS) <= set(INSTRUMENTS)


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "data"
    assert describe(write_lobster(path, ["34200.5"])) == SourceInfo("lobster", ("AMZN",), path)


def test_the_synthetic_records_keep_the_contract(seed: int) -> None:
    assert_contract(take("synthetic", seed), partitions=4)


def test_a_lobster_day_keeps_the_contract(lobster_zip: Path) -> None:
    assert_contract(take(str(lobster_zip), seed=0), partitions=4)


def test_a_binance_recording_keeps_the_contract(binance_gz: Path) -> None:
    assert_contract(list(open_source(str(binance_gz), seed=0, partitions=2)), partitions=2)


def test_seconds_without_records_have_heartbeats_and_the_last_second_is_closed(tmp_path: Path) -> None:
    spec = write_lobster(tmp_path / "day.zip", ["34200.5", "34202", "34203.1"])
    records = list(open_source(spec, seed=0, partitions=2))
    assert_contract(records, partitions=2)
    open_ns = 1_340_285_400 * NS_PER_S
    seen = [(record.type, (record.ts_event_ns - open_ns) / NS_PER_S) for record in records]
    beat = [("heartbeat", t) for t in (1, 1, 2, 2, 3, 3, 4, 4)]
    book = [("raw_book", t) for t in (0.5, 2, 3.1)]
    assert seen == [book[0], *beat[:2], book[1], *beat[2:6], book[2], *beat[6:]]


def test_a_record_on_the_second_comes_before_that_seconds_heartbeat(tmp_path: Path) -> None:
    records = list(open_source(write_lobster(tmp_path / "day.zip", ["34200", "34200"]), seed=0, partitions=1))
    assert [record.type for record in records] == ["raw_book", "raw_book", "heartbeat"]
    assert records[2].ts_event_ns == records[0].ts_event_ns


def test_a_jump_of_more_than_a_day_is_refused_instead_of_filled_with_heartbeats(tmp_path: Path) -> None:
    spec = write_lobster(tmp_path / "day.zip", ["34200", "120601"])
    with pytest.raises(SourceError, match="silent for more than a day before record 1"):
        list(open_source(spec, seed=0))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(seed: int) -> None:
    def as_bytes(seed: int) -> bytes:
        return b"\n".join(record.model_dump_json().encode() for record in take("synthetic", seed))

    first = as_bytes(seed)
    assert first == as_bytes(seed)
    assert first != as_bytes(seed + 1)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (
            "no-such-file.zip",
            "no file 'no-such-file.zip'; give the path of a LOBSTER zip or a Binance gzip, or `synthetic`",
        ),
        ("", "no file ''; give the path of a LOBSTER zip or a Binance gzip, or `synthetic`"),
        ("synthetic:SPY,XYZ", "the synthetic source does not know 'XYZ'; choose from AAPL, AMZN, MSFT, QQQ, SPY"),
        ("synthetic:", "the synthetic source does not know ''; choose from AAPL, AMZN, MSFT, QQQ, SPY"),
        ("synthetic:SPY,SPY", "the source synthetic:SPY,SPY names an instrument twice; name each once"),
    ],
)
def test_a_wrong_spec_is_answered_with_what_to_give(spec: str, sentence: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(spec, seed=0)
    assert str(caught.value) == sentence


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text("date,price\n")
    with pytest.raises(SourceError, match=r"prices\.csv is not a known format; give a LOBSTER zip"):
        describe(str(path))


def test_an_instrument_that_the_desk_does_not_know_is_refused(tmp_path: Path) -> None:
    spec = write_lobster(tmp_path / "day.zip", ["34200"], instrument="INTC")
    with pytest.raises(SourceError, match=r"is about INTC, which contracts/instruments\.py does not list"):
        open_source(spec, seed=0)
