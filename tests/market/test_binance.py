from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.market.source import SourceError, describe, open_source
from contracts.market import RawBook, RawTrade

pytestmark = pytest.mark.slow


START_NS = 1_723_161_600 * 10**9

WriteStreams = Callable[[list[str]], str]


@pytest.fixture
def write_streams(tmp_path: Path) -> WriteStreams:
    def write(lines: list[str]) -> str:
        path = tmp_path / "streams.gz"
        path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode("latin-1")))
        return str(path)

    return write


def line(stream: str, data: dict[str, Any], ns: int = START_NS) -> str:
    return f"{ns} " + json.dumps({"stream": f"btcusdt@{stream}", "data": {"s": "BTCUSDT", **data}})


def ticker(bid: str, ask: str, *, u: int = 10**6, bid_size: str = "1", ask_size: str = "2", ns: int = START_NS) -> str:
    return line("bookTicker", {"u": u, "b": bid, "B": bid_size, "a": ask, "A": ask_size}, ns)


def depth(first: int, last: int, bids: list[tuple[str, str]], asks: list[tuple[str, str]] | None = None) -> str:
    return line("depth@100ms", {"e": "depthUpdate", "U": first, "u": last, "b": bids, "a": asks or []})


def trade(*, buyer_is_maker: bool) -> str:
    return line("trade", {"e": "trade", "t": 1, "p": "61685.99000000", "q": "0.00017000", "m": buyer_is_maker})


def read(spec: str) -> list[RawBook | RawTrade]:
    return [r for r in open_source(spec, seed=0) if isinstance(r, RawBook | RawTrade)]


def books(spec: str) -> list[RawBook]:
    return [record for record in read(spec) if isinstance(record, RawBook)]


def test_no_book_comes_before_the_first_best_quote(write_streams: WriteStreams) -> None:
    spec = write_streams([depth(1, 2, [("99", "3"), ("98", "4")]), ticker("100", "101")])
    (book,) = books(spec)
    assert book.bids == (("100", "1"), ("99", "3"), ("98", "4"))
    assert book.asks == (("101", "2"),)


def test_differences_fill_the_levels_behind_the_best_quote_and_only_there(write_streams: WriteStreams) -> None:
    update = depth(1, 2, [("100.5", "7"), ("99", "3")], [("100.9", "5"), ("102", "6")])
    _, book = books(write_streams([ticker("100", "101", u=9), update]))
    assert book.bids == (("100", "1"), ("99", "3"))
    assert book.asks == (("101", "2"), ("102", "6"))


def test_levels_that_the_best_quote_has_left_are_gone(write_streams: WriteStreams) -> None:
    update = depth(1, 2, [("100", "7"), ("99", "3")])
    book = books(
        write_streams([update, ticker("100", "101", u=3), ticker("98", "99", u=4), ticker("100.5", "101", u=5)])
    )[-1]
    assert book.bids == (("100.5", "1"), ("98", "1"))


def test_a_quote_older_than_the_differences_is_the_top_but_forgets_no_level(write_streams: WriteStreams) -> None:
    update = depth(1, 20, [("100", "7"), ("99", "3")])
    lines = [update, ticker("98", "103", u=15), ticker("101", "103", u=21)]
    stale, fresh = books(write_streams(lines))
    assert stale.bids == (("98", "1"),)
    assert fresh.bids == (("101", "1"), ("100", "7"), ("99", "3"))


def test_a_zero_size_removes_a_level(write_streams: WriteStreams) -> None:
    lines = [ticker("100", "101"), depth(1, 2, [("99", "3"), ("98", "4")]), depth(3, 4, [("99", "0.00000000")])]
    assert [len(book.bids) for book in books(write_streams(lines))] == [1, 3, 2]


def test_after_a_gap_in_the_differences_the_old_levels_are_not_shown(write_streams: WriteStreams) -> None:
    lines = [ticker("100", "101"), depth(1, 2, [("99", "3")]), depth(4, 5, [("98", "4")])]
    assert books(write_streams(lines))[-1].bids == (("100", "1"), ("98", "4"))


def test_a_difference_seen_before_changes_nothing(write_streams: WriteStreams) -> None:
    lines = [ticker("100", "101"), depth(5, 9, [("99", "3")]), depth(1, 4, [("99", "8")])]
    assert books(write_streams(lines))[-1].bids == (("100", "1"), ("99", "3"))


def test_a_snapshot_starts_the_levels_again(write_streams: WriteStreams) -> None:
    snapshot = {"lastUpdateId": 7, "bids": [["97", "5"]], "asks": [["103", "6"]]}
    lines = [ticker("100", "101"), depth(1, 2, [("99", "3")]), f"{START_NS} {json.dumps(snapshot)}"]
    book = books(write_streams(lines))[-1]
    assert book.bids == (("100", "1"), ("97", "5"))
    assert book.asks == (("101", "2"), ("103", "6"))


def test_at_most_five_levels_come_out_and_prices_compare_as_numbers(write_streams: WriteStreams) -> None:
    update = depth(1, 2, [(price, "1") for price in ("9.5", "99.75", "99.80000000", "98", "97", "96")])
    book = books(write_streams([ticker("100.10", "100.2"), update]))[-1]
    assert [price for price, _ in book.bids] == ["100.10", "99.80000000", "99.75", "98", "97"]


def test_the_seller_is_the_aggressor_when_the_buyer_made_the_market(write_streams: WriteStreams) -> None:
    lines = [trade(buyer_is_maker=True), trade(buyer_is_maker=False), ticker("100", "101")]
    records = read(write_streams(lines))
    trades = [record for record in records if isinstance(record, RawTrade)]
    assert [t.side for t in trades] == ["SELL", "BUY"]
    assert (trades[0].price, trades[0].size) == ("61685.99000000", "0.00017000")
    assert [record.seq for record in records] == [0, 1, 2]


def test_a_stamp_behind_the_one_before_is_raised_to_it(write_streams: WriteStreams) -> None:
    stamps = [START_NS + 5, START_NS + 3, START_NS + 8]
    spec = write_streams([ticker("100", "101", ns=ns) for ns in stamps])
    assert [book.ts_event_ns - START_NS for book in books(spec)] == [5, 5, 8]


def test_other_streams_are_passed_over(write_streams: WriteStreams) -> None:
    assert len(read(write_streams([line("kline_1m", {"k": {}}), ticker("100", "101")]))) == 1


@pytest.mark.parametrize(
    "bad",
    [
        "not a record",
        f"{START_NS}",
        "-5 {}",
        f"{START_NS} [1]",
        f"{START_NS} {{}}",
        f'{START_NS} {{"stream": "btcusdt@trade", "data"',
        f"{START_NS} caf\xe9",
        line("trade", {"p": "1", "q": "1"}),
        line("trade", {"p": "1", "q": "1", "m": 1}),
        line("trade", {"p": "1", "q": "0", "m": True}),
        line("trade", {"p": 1.5, "q": "1", "m": True}),
        line("bookTicker", {"u": 1, "b": "100", "B": "1", "a": "100", "A": "1"}),
        line("bookTicker", {"u": 1, "b": "100", "B": "0", "a": "101", "A": "1"}),
        line("bookTicker", {"u": 1, "b": "0", "B": "1", "a": "101", "A": "1"}),
        line("depth@100ms", {"U": 1, "u": 2, "b": [["99"]], "a": []}),
        line("depth@100ms", {"U": 1, "u": 2, "b": [["-99", "1"]], "a": []}),
        line("depth@100ms", {"U": 1, "u": 2, "b": [["99.123456789", "1"]], "a": []}),
        line("trade", {"s": "ETHUSDT", "p": "1", "q": "1", "m": True}),
    ],
)
def test_a_malformed_line_is_named_by_its_number(write_streams: WriteStreams, bad: str) -> None:
    with pytest.raises(
        SourceError, match=r"^malformed line 3 of streams\.gz: expected .*; repair or replace the file$"
    ):
        read(write_streams([ticker("100", "101"), ticker("100", "101"), bad]))


def test_a_recording_without_best_quotes_is_refused(write_streams: WriteStreams) -> None:
    with pytest.raises(SourceError, match="holds no bookTicker stream"):
        read(write_streams([trade(buyer_is_maker=True)]))


def test_an_empty_recording_is_refused(write_streams: WriteStreams) -> None:
    with pytest.raises(SourceError, match="holds no Binance stream"):
        describe(write_streams([]))


def test_a_cut_off_gzip_is_refused_in_a_sentence(write_streams: WriteStreams) -> None:
    path = Path(write_streams([ticker("100", "101", u=u) for u in range(5000)]))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match="is damaged"):
        read(str(path))


def test_the_book_equals_the_exchange_whenever_a_difference_has_caught_up(
    write_streams: WriteStreams, seed: int
) -> None:
    """A simulated exchange sends a quote at each change of its top, a difference every few changes, as Binance does."""
    rng = random.Random(seed)
    bids, asks = dict.fromkeys(range(90, 100), 5), dict.fromkeys(range(101, 111), 5)
    pending: tuple[dict[int, int], dict[int, int]] = (dict(bids), dict(asks))
    lines: list[str] = []
    expected: dict[int, tuple[list[tuple[str, str]], list[tuple[str, str]]]] = {}
    first, top, emitted = 1, None, 0
    for u in range(1, 3000):
        side = rng.randrange(2)
        book = (bids, asks)[side]
        best_other = min(asks) if side == 0 else max(bids)
        price = (
            rng.randint(best_other - 12, best_other - 1) if side == 0 else rng.randint(best_other + 1, best_other + 12)
        )
        size = 0 if price in book and len(book) > 6 and rng.random() < 0.6 else rng.randint(1, 9)
        book[price] = pending[side][price] = size
        if size == 0:
            del book[price]
        quote = max(bids), bids[max(bids)], min(asks), asks[min(asks)]
        if quote != top:
            top = quote
            lines.append(ticker(str(quote[0]), str(quote[2]), u=u, bid_size=str(quote[1]), ask_size=str(quote[3])))
            emitted += 1
        if rng.random() < 0.2:
            changes = [[(str(p), str(q)) for p, q in pending[s].items()] for s in (0, 1)]
            lines.append(depth(first, u, changes[0], changes[1]))
            emitted += 1
            expected[emitted - 1] = (
                [(str(p), str(bids[p])) for p in sorted(bids, reverse=True)[:5]],
                [(str(p), str(asks[p])) for p in sorted(asks)[:5]],
            )
            first, pending = u + 1, ({}, {})
    seen = books(write_streams(lines))
    assert len(seen) == emitted
    for i, (want_bids, want_asks) in expected.items():
        assert (list(seen[i].bids), list(seen[i].asks)) == (want_bids, want_asks), f"book {i}"
    for record in seen:
        assert_in_order(record)


def test_the_top_of_every_real_book_is_the_last_best_quote_and_never_crossed(binance_gz: Path) -> None:
    records = iter(books(str(binance_gz)))
    top = None
    compared = 0
    with gzip.open(binance_gz, "rt") as file:
        for text in file:
            message = json.loads(text.partition(" ")[2])
            if "bookTicker" in message["stream"]:
                data = message["data"]
                top = (data["b"], data["B"]), (data["a"], data["A"])
            if top and "@trade" not in message["stream"]:
                book = next(records)
                assert (book.bids[0], book.asks[0]) == top
                assert_in_order(book)
                compared += 1
    assert next(records, None) is None
    assert compared > 10_000


def assert_in_order(book: RawBook) -> None:
    bids = [Decimal(price) for price, _ in book.bids]
    asks = [Decimal(price) for price, _ in book.asks]
    assert bids == sorted(set(bids), reverse=True)
    assert asks == sorted(set(asks))
    assert bids[0] < asks[0]
    assert all(Decimal(size) > 0 for _, size in (*book.bids, *book.asks))
