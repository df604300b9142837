from __future__ import annotations

import csv
import io
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.market.source import SourceError, describe, open_source
from contracts.market import Heartbeat, RawBook, RawHalt, RawTrade

pytestmark = pytest.mark.slow


NEW = "34200.017459617,1,11885113,21,2238100,1"
ROW = "2239500,100,2238100,21,2239900,100,2231800,100"
OPEN_NS = 1_340_285_400 * 10**9
"""2012-06-21 13:30:00 UTC: 09:30 in New York, in summer."""

WriteDay = Callable[..., str]


@pytest.fixture
def write_day(tmp_path: Path) -> WriteDay:
    def write(messages: list[str], rows: list[str], *, levels: int = 2, day: str = "2012-06-21") -> str:
        path = tmp_path / "day.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for kind, lines in (("message", messages), ("orderbook", rows)):
                name = f"AMZN_{day}_34200000_57600000_{kind}_{levels}.csv"
                archive.writestr(name, "".join(f"{line}\n" for line in lines).encode("latin-1"))
            archive.writestr("LOBSTER_SampleFiles_ReadMe.txt", "read me")
        return str(path)

    return write


def read(spec: str) -> list[RawBook | RawTrade | RawHalt]:
    return [record for record in open_source(spec, seed=0) if not isinstance(record, Heartbeat)]


def test_a_row_becomes_a_book_in_dollars_best_level_first(write_day: WriteDay) -> None:
    (book,) = read(write_day([NEW], [ROW]))
    assert isinstance(book, RawBook)
    assert (book.source, book.instrument, book.seq) == ("lobster", "AMZN", 0)
    assert book.asks == (("223.95", "100"), ("223.99", "100"))
    assert book.bids == (("223.81", "21"), ("223.18", "100"))


def test_times_are_exact_nanoseconds_of_new_york_in_summer_and_winter(write_day: WriteDay) -> None:
    assert read(write_day([NEW], [ROW]))[0].ts_event_ns == OPEN_NS + 17_459_617
    january_open_ns = 1_326_205_800 * 10**9  # 2012-01-10 14:30 UTC
    assert read(write_day([NEW], [ROW], day="2012-01-10"))[0].ts_event_ns == january_open_ns + 17_459_617


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("34200", 0),
        ("34200.5", 500_000_000),
        ("34200.632812672004", 632_812_672),
        ("34200.1234567895", 123_456_790),
        ("34200.9999999999", 1_000_000_000),
    ],
)
def test_a_time_with_more_or_fewer_than_nine_digits_is_rounded_exactly(write_day: WriteDay, text: str, ns: int) -> None:
    assert read(write_day([NEW.replace("34200.017459617", text)], [ROW]))[0].ts_event_ns == OPEN_NS + ns


def test_an_execution_trades_before_the_book_that_shows_it_and_the_aggressor_is_the_other_side(
    write_day: WriteDay,
) -> None:
    bought_from_seller = "34201.5,4,1,10,2239500,-1"
    sold_to_buyer = "34201.5,4,2,5,2238100,1"
    records = read(write_day([bought_from_seller, sold_to_buyer], [ROW, ROW]))
    assert [record.type for record in records] == ["raw_trade", "raw_book"] * 2
    assert [record.seq for record in records] == [0, 1, 2, 3]
    first, second = records[0], records[2]
    assert isinstance(first, RawTrade)
    assert isinstance(second, RawTrade)
    assert (first.side, first.price, first.size) == ("BUY", "223.95", "10")
    assert (second.side, second.price, second.size) == ("SELL", "223.81", "5")


def test_a_hidden_execution_between_ticks_keeps_its_price(write_day: WriteDay) -> None:
    trade = read(write_day(["34201.5,5,0,7,2238050,1"], [ROW]))[0]
    assert isinstance(trade, RawTrade)
    assert (trade.price, trade.side) == ("223.805", "SELL")


def test_only_executions_trade(write_day: WriteDay) -> None:
    messages = [f"34201.{kind},{kind},5,10,2238100,1" for kind in (1, 2, 3, 6)]
    assert [record.type for record in read(write_day(messages, [ROW] * 4))] == ["raw_book"] * 4


def test_empty_levels_are_dropped_even_when_a_side_has_none(write_day: WriteDay) -> None:
    one_bid = "2239500,100,2238100,21,9999999999,0,-9999999999,0"
    no_asks = "9999999999,0,2238100,21,9999999999,0,2231800,100"
    first, second = read(write_day([NEW, NEW], [one_bid, no_asks]))
    assert isinstance(first, RawBook)
    assert isinstance(second, RawBook)
    assert (first.bids, first.asks) == ((("223.81", "21"),), (("223.95", "100"),))
    assert (second.bids, second.asks) == ((("223.81", "21"), ("223.18", "100")), ())


def test_a_halt_lasts_until_trading_resumes_not_until_quoting_resumes(write_day: WriteDay) -> None:
    messages = ["36023,7,0,0,-1,-1", "36323,7,0,0,0,-1", "36723,7,0,0,1,-1"]
    halts = [record for record in read(write_day(messages, [ROW] * 3)) if isinstance(record, RawHalt)]
    assert [halt.halted for halt in halts] == [True, True, False]


@pytest.mark.parametrize(("levels", "shown"), [(1, 1), (5, 5), (10, 5)])
def test_at_most_five_levels_come_out_of_a_file_of_any_depth(write_day: WriteDay, levels: int, shown: int) -> None:
    row = ",".join(f"{2239500 + 100 * k},100,{2238100 - 100 * k},21" for k in range(levels))
    (book,) = read(write_day([NEW], [row], levels=levels))
    assert isinstance(book, RawBook)
    assert (len(book.bids), len(book.asks)) == (shown, shown)
    assert book.asks[0] == ("223.95", "100")


@pytest.mark.parametrize(
    "message",
    [
        "34200.5,1,2,3,4",
        "34200.5,1,2,3,4,5,6",
        "noon,1,11885113,21,2238100,1",
        "-34200.5,1,11885113,21,2238100,1",
        "34200.5,9,11885113,21,2238100,1",
        "34200.5,1,11885113,-21,2238100,1",
        "34200.5,1,11885113,21,0,1",
        "34200.5,1,11885113,21,2238100,2",
        "34200.5,1,11885113,21,2238.1,1",
        "caf\xe9",
        "",
    ],
)
def test_a_malformed_message_is_named_by_member_and_line(write_day: WriteDay, message: str) -> None:
    expected = r"^malformed line 2 of AMZN_2012-06-21_34200000_57600000_message_2.csv: expected time,type,order id"
    with pytest.raises(SourceError, match=expected):
        read(write_day([NEW, message], [ROW, ROW]))


@pytest.mark.parametrize("row", [ROW.rsplit(",", 1)[0], ROW + ",1", ROW.replace("21", "x"), "-5,1" + ROW[11:], ""])
def test_a_malformed_book_row_is_named_by_member_and_line(write_day: WriteDay, row: str) -> None:
    expected = r"^malformed line 3 of AMZN_2012-06-21_34200000_57600000_orderbook_2.csv: expected 8 integers"
    with pytest.raises(SourceError, match=expected):
        read(write_day([NEW] * 3, [ROW, ROW, row]))


def test_time_that_runs_backwards_is_malformed(write_day: WriteDay) -> None:
    with pytest.raises(SourceError, match=r"line 2 of .*message.*before the line above"):
        read(write_day([NEW, "34200.01,1,2,21,2238100,1"], [ROW, ROW]))


@pytest.mark.parametrize(("messages", "rows", "short"), [(1, 2, "message"), (2, 1, "orderbook")])
def test_a_member_that_ends_before_its_twin_is_refused(
    write_day: WriteDay, messages: int, rows: int, short: str
) -> None:
    with pytest.raises(SourceError, match=rf"line 2 of .*{short}.*as many lines as in its twin"):
        read(write_day([NEW] * messages, [ROW] * rows))


def test_a_zip_without_one_pair_of_members_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("AMZN_2012-06-21_34200000_57600000_message_2.csv", NEW)
    with pytest.raises(SourceError, match="without one pair of LOBSTER members"):
        describe(str(path))


def test_a_day_that_does_not_exist_is_refused(write_day: WriteDay) -> None:
    with pytest.raises(SourceError, match="names the date 2012-06-31, which is no day"):
        describe(write_day([NEW], [ROW], day="2012-06-31"))


def test_a_damaged_zip_is_refused_in_a_sentence(write_day: WriteDay) -> None:
    path = Path(write_day([NEW] * 2000, [ROW] * 2000))
    data = bytearray(path.read_bytes())
    data[150:170] = bytes(20)
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"damaged|malformed"):
        read(str(path))


def test_the_real_day_has_the_records_that_its_csv_counts_and_no_crossed_book(lobster_zip: Path) -> None:
    with zipfile.ZipFile(lobster_zip) as archive:
        name = next(name for name in archive.namelist() if "_message_" in name)
        rows = list(csv.reader(io.StringIO(archive.read(name).decode())))
    kinds = Counter(row[1] for row in rows)
    traded = Counter[str]()
    for row in rows:
        if row[1] in "45":
            traded["SELL" if row[5] == "1" else "BUY"] += int(row[3])
    counts, ours = Counter[str](), Counter[str]()
    for seq, record in enumerate(r for r in open_source(str(lobster_zip), seed=0) if not isinstance(r, Heartbeat)):
        assert record.seq == seq
        counts[record.type] += 1
        if isinstance(record, RawTrade):
            ours[record.side] += int(record.size)
        elif isinstance(record, RawBook):
            bids, asks = [float(price) for price, _ in record.bids], [float(price) for price, _ in record.asks]
            assert bids == sorted(bids, reverse=True)
            assert asks == sorted(asks)
            assert bids[0] < asks[0]
    assert counts == {"raw_book": len(rows), "raw_trade": kinds["4"] + kinds["5"]}
    assert ours == traded
