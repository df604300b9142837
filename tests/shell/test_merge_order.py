"""An agent with two sources, killed at every send and merged otherwise each time: its records give its rows again."""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Generator, Sequence
from itertools import pairwise
from typing import Any

import pytest

from agents.spec import UNCHANGED, AgentSpec, Out, Record
from app.merging import CALL_RECORDS_MAX
from app.runtime import AgentShell, TableRows
from contracts.base import Message
from contracts.controls import Alert, WorkerState
from contracts.topics import ALERTS, BROADCAST, DECISIONS, MERGE_ORDER, ORDER_INTENTS, WORKERS
from tables.rows import TableSpec
from tests.chaos.replay import Order, recorded, replay, replay_aloud, said_by, without_what_goes_out
from tests.shell.fake_log import FakeApp, FakeLog, FakeTable, Killed, Raw

SEED = 5
RECORDS = 40
CHAIN: TableSpec[int] = TableSpec("chain", int, "the order in which a row has seen things")


def step(state: int | None, record: Record) -> tuple[int | None, Sequence[Any]]:
    """Another state for every order, or none; whether a record is news depends on what came before it."""
    before = state or 0
    if (before + record.offset) % 3 == 0:
        return state, UNCHANGED
    after = zlib.crc32(f"{before} {record.topic} {record.offset}".encode())
    if after % 4 == 0:
        return None, [Out(DECISIONS, "desk", record.message)]
    return after, [Out(DECISIONS, "desk", record.message)] if after % 2 else ()


def key(message: Any) -> str:
    name = str(message.code if isinstance(message, Alert) else message.worker)
    return BROADCAST if name == "all" else name


SPEC = AgentSpec("chain", "", "", (ALERTS, WORKERS), step, key, CHAIN, outputs=(DECISIONS,))


def sources(rng: random.Random) -> dict[str, list[Raw]]:
    """Two topics whose records concern one of three rows, or all of them."""
    alerts = [
        Alert(severity="WARNING", code=rng.choice("abc"), subject="", text="", owner="", ts_ns=n)
        for n in range(RECORDS)
    ]
    said = [
        WorkerState(worker=rng.choice(("a", "b", "all")), groups=(), build="", configuration_hash="", ts_ns=n)
        for n in range(RECORDS)
    ]
    return {ALERTS.name: _written(ALERTS.name, alerts), WORKERS.name: _written(WORKERS.name, said)}


def _written(topic: str, messages: Sequence[Message]) -> list[Raw]:
    return [Raw(topic, 0, n, b"", message.model_dump_json().encode(), ()) for n, message in enumerate(messages)]


class LateLog(FakeLog):
    """Keeps what goes to `merge_order` only when somebody waits for it: until then a crash may lose it."""

    async def hand_over(self, records: Sequence[Any], *, whole: bool = False) -> list[Any]:
        if any(topic == MERGE_ORDER.name for topic, *_ in records):
            return [Flying(self, records)]
        return await super().hand_over(records, whole=whole)


class Flying:
    """Records on their way."""

    def __init__(self, log: FakeLog, records: Sequence[Any]) -> None:
        self._log, self._records = log, records

    def __await__(self) -> Generator[Any, None, Any]:
        return FakeLog.hand_over(self._log, self._records).__await__()


async def live(
    log: FakeLog,
    given: dict[str, list[Raw]],
    committed: dict[str, int],
    rng: random.Random,
    lots: tuple[int, int] = (1, 5),
) -> None:
    """One life of a worker; what it finds in its sources at any time is chance. `committed` is where it would be."""
    shell = AgentShell(FakeApp(log), SPEC, TableRows(CHAIN, FakeTable(log)), None)
    while any(committed[topic] < len(records) for topic, records in given.items()):
        call = []
        for topic in rng.sample(sorted(given), rng.randint(1, len(given))):
            batch = given[topic][committed[topic] : committed[topic] + rng.randint(*lots)]
            if batch:
                call.append((topic, 0, batch))
        await shell.process(call)
        for topic, _, batch in call:
            committed[topic] += len(batch)


def run(given: dict[str, list[Raw]], seed: int, dies_at: int, kept: bool) -> tuple[FakeLog, bool]:
    """A run with one crash, and whether it came to it."""
    rng, log, died = random.Random(seed), LateLog(dies_at=dies_at, kept=kept), False
    committed = dict.fromkeys(given, 0)
    try:
        asyncio.run(live(log, given, committed, rng))
    except Killed:
        died, log.dies_at = True, -1
        # Offsets are committed once a second.
        committed = {topic: max(0, offset - rng.randrange(10)) for topic, offset in committed.items()}
        asyncio.run(live(log, given, committed, random.Random(seed + dies_at)))
    return log, died


def order_of(log: FakeLog) -> Order:
    return recorded(SPEC, log.topics[MERGE_ORDER.name], FakeTable(log).data.values())


def rows_of(log: FakeLog) -> dict[bytes, bytes]:
    return without_what_goes_out(SPEC, FakeTable(log).data)


@pytest.mark.parametrize("kept", [False, True], ids=["send lost", "send kept, acknowledgement lost"])
def test_after_a_crash_at_any_send_the_recorded_order_leads_to_the_same_rows_and_outputs(kept: bool) -> None:
    print(f"seed {SEED}")  # noqa: T201
    given = sources(random.Random(SEED))
    calm, _ = run(given, SEED, -1, kept)
    deaths = 0
    for dies_at in range(1, calm.sends + 1):
        log, died = run(given, SEED, dies_at, kept)
        deaths += died
        rows, said = replay_aloud(SPEC, given, order_of(log))
        assert rows == rows_of(log), f"crash at send {dies_at}"
        assert said == said_by(SPEC, log.topics), f"crash at send {dies_at}"
    assert deaths == calm.sends


def test_any_other_order_leads_elsewhere() -> None:
    """The control: an order that is not the recorded one is seen."""
    given = sources(random.Random(SEED))
    log, _ = run(given, SEED, -1, kept=False)
    order = order_of(log)
    for number in range(len(order) - 1):
        swapped = [*order[:number], order[number + 1], order[number], *order[number + 2 :]]
        if replay(SPEC, given, swapped) != rows_of(log):
            return
    pytest.fail("no two neighbours of the order could be told apart")


def test_no_record_is_taken_in_two_calls() -> None:
    given = sources(random.Random(SEED))
    calm, _ = run(given, SEED, -1, kept=True)
    for dies_at in range(1, calm.sends + 1):
        log, _ = run(given, SEED, dies_at, kept=True)
        for topic in given:
            spans = [(first, last) for call in order_of(log) for name, _, first, last in call if name == topic]
            assert all(last < first for (_, last), (first, _) in pairwise(spans)), f"crash at send {dies_at}"


def test_a_backlog_is_taken_in_calls_that_fit_into_one_batch() -> None:
    """Or Kafka would keep a part of its rows after a crash, or refuse the row with its outputs as too large."""
    said = [
        WorkerState(worker="a", groups=(), build="", configuration_hash="", ts_ns=n)
        for n in range(2 * CALL_RECORDS_MAX + 1)
    ]
    backlog, log = _written(WORKERS.name, said), FakeLog()
    asyncio.run(live(log, {WORKERS.name: backlog}, {WORKERS.name: 0}, random.Random(SEED), lots=(len(said), len(said))))
    sizes = [sum(last - first + 1 for _, _, first, last in call) for call in order_of(log)]
    assert sizes == [CALL_RECORDS_MAX, CALL_RECORDS_MAX, 1]


def test_a_call_without_effect_is_told_with_the_next_that_has_one() -> None:
    given = sources(random.Random(SEED))
    log, _ = run(given, SEED, -1, kept=False)
    taken = {
        (topic, offset) for call in order_of(log) for topic, _, first, last in call for offset in range(first, last + 1)
    }
    left_over = {(topic, raw.offset) for topic, records in given.items() for raw in records} - taken
    assert len(log.topics[MERGE_ORDER.name]) < len(log.topics["changelog"])
    assert all(offset > RECORDS - 6 for _, offset in left_over), "only calls at the very end may be untold"


def test_unreadable_records_are_kept_as_dead_letters_and_not_in_a_row_as_well() -> None:
    """Seven of a megabyte were a row that Kafka refused, at every start."""
    spec = AgentSpec("admission", "", "", (ORDER_INTENTS, WORKERS), step, lambda _: "a", CHAIN, outputs=(DECISIONS,))
    unreadable = [Raw(ORDER_INTENTS.name, 0, n, b"", b"x" * 1_000_000, ()) for n in range(7)]
    said = [WorkerState(worker="a", groups=(), build="", configuration_hash="", ts_ns=n) for n in range(2)]
    log = FakeLog()
    shell = AgentShell(FakeApp(log), spec, TableRows(CHAIN, FakeTable(log)), None)
    asyncio.run(shell.process([(ORDER_INTENTS.name, 0, unreadable), (WORKERS.name, 0, _written(WORKERS.name, said))]))
    assert ORDER_INTENTS.dead_letters is not None
    assert len(log.topics[ORDER_INTENTS.dead_letters.name]) == len(unreadable)
    assert max(len(row.value) for row in log.topics["changelog"]) < 10_000


def test_a_row_that_is_given_up_leaves_the_changelog_the_table_and_the_memory_of_the_worker() -> None:
    def until_the_end(state: int | None, record: Record) -> tuple[int | None, Sequence[Any]]:
        return (None if record.offset == 3 else (state or 0) + 1), ()

    spec = AgentSpec("ends", "", "", (ALERTS, WORKERS), until_the_end, key, CHAIN)
    said = [WorkerState(worker=name, groups=(), build="", configuration_hash="", ts_ns=0) for name in "aabab"]
    log = FakeLog()
    table = FakeTable(log)
    rows = TableRows(CHAIN, table)
    shell = AgentShell(FakeApp(log), spec, rows, None)
    written = _written(WORKERS.name, said)
    asyncio.run(shell.process([(WORKERS.name, 0, written[:3])]))
    assert sorted(table.data) == [b"a", b"b"]
    asyncio.run(shell.process([(WORKERS.name, 0, written[3:])]))
    assert (sorted(table.data), sorted(rows.rows(0))) == ([b"b"], ["b"])
    assert [raw.value for raw in log.topics["changelog"] if raw.key == b"a"][-1] is None
    assert sorted(FakeTable(log).data) == [b"b"], "so it is after a restart"
