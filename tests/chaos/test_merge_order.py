"""After orders, kills and restarts on real Kafka, the recorded order leads to the rows and outputs of the workers."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final
from unittest import mock

import pytest

from agents.catalogue import catalogue
from agents.spec import AgentSpec
from app import settings as settings_module
from app.build import build
from app.processes import Child
from app.stack import PREFIX, WORKER_READY
from app.watcher import until
from contracts.topics import MERGE_ORDER
from tests.chaos.crash_points import AWAY, quiet
from tests.chaos.desk import read
from tests.chaos.floor import QUIET_S, READY_S, Floor
from tests.chaos.replay import recorded, replay, replay_aloud, said_by, without_what_goes_out

SEED = int(os.environ.get("FLOWGATE_SEED", "5"))
KILLS: Final = int(os.environ.get("FLOWGATE_KILLS", "4"))
KILLED: Final = tuple(islice(cycle(("execution", "risk")), KILLS))
MERGING: Final = {"admission", "execution", "account", "latch", "risk", "killswitch"}


@dataclass
class Left:
    """What a desk has left behind: its agents with several sources, their rows, and all records of the topics."""

    specs: Sequence[AgentSpec]
    rows: Mapping[str, Mapping[bytes, bytes]]
    topics: Mapping[str, Sequence[Any]]


async def disturbed(rng: random.Random) -> Left:
    """Orders, a worker killed in the middle of them, again and again, in the end for good where it has a standby; a
    kill by an operator, and its reset."""
    floor = Floor(Path(tempfile.mkdtemp(prefix="flowgate-merge-")), lambda _line: None)
    try:
        await floor.start()
        standby = floor.stack.start_worker("risk", 1)
        await floor.stack.until_logged(standby, WORKER_READY)
        for group in KILLED:
            await trade(floor, rng.randrange(3, 12))
            await asyncio.sleep(rng.uniform(0.0, 0.3))
            await kill(floor, group)
        await trade(floor, 3)
        await lose_risk_for(floor, standby)
        await trade(floor, 3)
        floor.trading = False
        assert await quiet(floor) == []
        intents = await floor.rest(AWAY)
        await floor.kill("account")
        assert await until(lambda: all(floor.state(intent) == "CANCELLED" for intent in intents), QUIET_S)
        await floor.reset("account")
        assert await quiet(floor) == []
        for worker in floor.stack.workers.values():
            await asyncio.to_thread(floor.stack.children.stop, worker)
            floor.stack.children.forget(worker)
        return await left(floor)
    finally:
        await floor.stop()


async def trade(floor: Floor, orders: int) -> None:
    """Wait for so many orders more; others are on their way then."""
    floor.trading, sent = True, floor.tape.seen.sent
    assert await until(lambda: floor.tape.seen.sent > sent + orders, QUIET_S), "nothing is traded"


async def kill(floor: Floor, group: str) -> None:
    """Kill -9, start again, and wait until the group speaks again."""
    worker, died_ns = floor.stack.workers[group], time.time_ns()
    worker.process.kill()
    worker.process.wait()
    worker.process = worker.spawn()
    if group == "execution":
        assert await until(lambda: floor.tape.ready_ns > died_ns, READY_S), f"{group} does not come back"
    else:
        assert await until(lambda: _risk_ns(floor) > died_ns, READY_S), f"{group} does not come back"


async def lose_risk_for(floor: Floor, standby: Child) -> None:
    """Kill -9 of the risk worker, which nobody starts again: its standby speaks when the session is over."""
    lost, died_ns = floor.stack.workers["risk"], time.time_ns()
    assert "client id is already in use" not in standby.log.read_text(), "a standby knocks at the gateway"
    lost.process.kill()
    lost.process.wait()
    floor.stack.children.forget(lost)
    floor.stack.workers["risk"] = standby
    assert await until(lambda: _risk_ns(floor) > died_ns, READY_S), "the standby of risk does not take over"
    print(f"the standby of risk spoke after {(time.time_ns() - died_ns) / 1e9:.1f} s")  # noqa: T201


def _risk_ns(floor: Floor) -> int:
    return floor.tape.seen.risk.ts_event_ns if floor.tape.seen.risk is not None else 0


async def left(floor: Floor) -> Left:
    with mock.patch.dict(os.environ, floor.stack.env_of("execution")):
        settings = settings_module.load()
        hashed = settings.configuration_hash, build()
        specs = [spec for group in ("execution", "risk") for spec in catalogue(group, settings.desk, *hashed)]
    specs = [spec for spec in specs if spec.merges]
    names = {topic.name for spec in specs for topic in (*spec.sources, *spec.outputs)} | {MERGE_ORDER.name}
    topics = {name: await read(floor.stack.bootstrap, name) for name in names}
    rows = {}
    for spec in specs:
        assert spec.table is not None
        changelog = await read(floor.stack.bootstrap, f"{PREFIX}-{spec.group}-{spec.table.name}-changelog")
        rows[spec.name] = {record.key: record.value for record in changelog}
    return Left(specs, rows, topics)


@pytest.fixture(scope="module")
def desk() -> Left:
    print(f"seed {SEED}")  # noqa: T201
    return asyncio.run(disturbed(random.Random(SEED)))


@pytest.mark.stack
def test_the_recorded_order_leads_every_agent_with_several_sources_to_its_rows_and_outputs(desk: Left) -> None:
    assert {spec.name for spec in desk.specs} == MERGING
    for spec in desk.specs:
        order = recorded(spec, desk.topics[MERGE_ORDER.name], desk.rows[spec.name].values())
        print(f"{spec.name}: {len(order)} calls")  # noqa: T201
        assert len(order) > 1, f"{spec.name} has taken nothing"
        again, said = replay_aloud(spec, desk.topics, order)
        live = without_what_goes_out(spec, desk.rows[spec.name])
        assert again.keys() == live.keys(), spec.name
        assert [key for key in live if again[key] != live[key]] == [], spec.name
        assert said == said_by(spec, desk.topics), spec.name


@pytest.mark.stack
@pytest.mark.parametrize("name", ["admission", "risk"])
def test_the_same_batches_in_another_order_do_not(desk: Left, name: str) -> None:
    spec = next(spec for spec in desk.specs if spec.name == name)
    order = list(recorded(spec, desk.topics[MERGE_ORDER.name], desk.rows[name].values()))
    random.Random(SEED).shuffle(order)
    assert replay(spec, desk.topics, order) != without_what_goes_out(spec, desk.rows[name])
