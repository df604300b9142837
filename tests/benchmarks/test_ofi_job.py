"""The OFI benchmark: its judge can fail, its input is fair, and all contestants do the same job."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import competitors, page
from benchmarks.ofi_job import stages, workload
from benchmarks.ofi_job.contestants import NAMES, field
from benchmarks.ofi_job.job import BUCKET_NS, decode
from benchmarks.ofi_job.race import Race, RaceError, Result, check, rate

EVENTS, SEED = 40_000, 11


@pytest.fixture(scope="module")
def messages() -> list[workload.Message]:
    return workload.make(EVENTS, SEED)


def test_the_judge_refuses_an_output_that_is_missing_wrong_or_repeated() -> None:
    expected = ["a", "b", "c"]
    check("good", ["c", "a", "b"], expected)
    for outputs in (["a", "b"], ["a", "b", "x"], ["a", "b", "c", "c"], ["a", "b", "c", "d"]):
        with pytest.raises(RaceError, match="gives other results"):
            check("bad", outputs, expected)


def test_a_field_that_differs_makes_an_output_another_one() -> None:
    value = b'{"ofi_lots": 5, "depth_lots": 2.0}'
    assert workload.canonical(value) == workload.canonical(b'{"depth_lots":2.00,"ofi_lots":5}')
    assert workload.canonical(value) != workload.canonical(b'{"depth_lots":2.5,"ofi_lots":5}')


def test_the_rate_counts_what_lies_behind_the_warm_up() -> None:
    # 8 outputs; the first quarter ends at 2 s, the last output is there at 8 s: 3/4 of 1,200 events in 6 s.
    assert rate(1_200, [1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000]) == pytest.approx(150.0)


def test_every_defect_is_refused_before_the_clock_runs(messages: list[workload.Message]) -> None:
    assert workload.refused(messages) == len(workload.DEFECTS) + 1
    assert any(decode(message.value) is None for message in messages[: EVENTS // 4])
    assert not any(decode(message.value) is None for message in messages[EVENTS // 4 :])


def test_partitions_carry_equal_shares_so_outputs_measure_progress(messages: list[workload.Message]) -> None:
    shares = Counter(message.partition for message in messages)
    assert max(shares.values()) < 1.05 * min(shares.values())


def test_the_input_has_what_tells_careless_implementations_apart(messages: list[workload.Message]) -> None:
    times = [quote.ts_event_ns for message in messages if (quote := decode(message.value)) is not None]
    assert times == sorted(times)
    assert any(ts % BUCKET_NS == 0 for ts in times), "an event on the boundary belongs to the bucket that ends there"
    assert any('"events": 0,' in output for output in workload.expected(messages)), "a silent bucket is an output too"


def test_the_pieces_of_the_work_are_timed_on_the_records_of_the_broker(messages: list[workload.Message]) -> None:
    own = [message for message in messages if message.partition == 1]
    records = stages.parsed(stages.packed(own))
    assert [(record.offset, record.value) for record in records] == [(n, m.value) for n, m in enumerate(own)]
    spent = stages.measure(messages)
    assert all(us > 0 for us in spent.values())
    assert "| 0.50 | 20% |" in stages.table(dict.fromkeys(stages.NAMES, 0.5), 2.5)


def test_a_section_of_the_page_replaces_itself_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "page.md"
    page.write("One", "first", target)
    page.write("Two", "second", target)
    page.write("One", "again", target)
    text = target.read_text()
    assert text.count("## One") == text.count("## Two") == 1
    assert "again" in text
    assert "second" in text
    assert "first" not in text


@pytest.mark.stack
@pytest.mark.parametrize("name", NAMES)
def test_the_contestant_gives_the_same_outputs_as_the_step_alone(name: str, results: dict[str, Result | str]) -> None:
    result = results[name]
    if isinstance(result, str):
        pytest.skip(result)
    assert result.outputs > 0
    assert result.events_per_s > 0
    assert (result.changelog > 0) == (name != "bytewax"), "state goes to a changelog topic"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result | str]:
    """The result of each contestant on a small input, or why it could not take part."""
    folder = tmp_path_factory.mktemp("ofi-job")
    sys.stdout.write(f"seed {SEED}\n")
    return asyncio.run(_race(folder))


async def _race(folder: Path) -> dict[str, Result | str]:
    race = Race(folder, tell)
    found: dict[str, Result | str] = {}
    try:
        await race.start(EVENTS, EVENTS // 4, SEED, 20)
        for name in NAMES:
            try:
                (contestant,) = field([name], folder, tell)
            except competitors.CompetitorsUnavailableError as error:
                found[name] = str(error)
            else:
                found[name] = await race.run(contestant)
        return found
    finally:
        race.stop()


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
