"""The story of an order and the log of decisions, read from a broker that holds the records of many others."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from app.decisionlog import Chain
from app.history import history
from app.stack import ROOT, Stack
from connectors.kafka.broker import EmbeddedBroker
from contracts import topics as t
from contracts.orders import OrderState
from tests.execution.admission_parts import Front, intent, kill, report
from tests.execution.order_parts import command, status
from tests.execution.test_parents import cancel

pytestmark = pytest.mark.stack

ORDER = f"{1:024x}"
OTHERS = 2_000
"""Words of the gateway on other orders, on either side of ours."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A broker with the records of a cancelled order among those of many others."""
    stack = Stack(tmp_path_factory.mktemp("explain"), print)
    try:
        asyncio.run(fill(stack))
        yield stack
    finally:
        stack.stop()


async def fill(stack: Stack) -> None:
    await stack.start_broker()
    producer = AIOKafkaProducer(**stack.administrator.options(), enable_idempotence=True)
    await producer.start()
    front = Front()

    async def say(topic: t.Topic, *messages: Any) -> None:
        for message in messages:
            await producer.send(topic.name, message.model_dump_json().encode())
        await producer.flush()

    async def decide(message: Any) -> None:
        await say(t.ORDER_INTENTS, message)
        for out in front.tell(message):
            await say(out.topic, out.message)

    try:
        await say(t.BROKER_EVENTS, *[status("Submitted")] * OTHERS)
        await decide(intent(1, order_type="LIMIT", limit_price=Decimal("600.00"), time_in_force="DAY"))
        await say(t.BROKER_EVENTS, status("Submitted").model_copy(update={"intent_id": ORDER}))
        front.tell(working := report(1, OrderState.ACKNOWLEDGED))
        await say(t.EXEC_REPORTS, working)
        for number in range(2, 50):
            await decide(intent(number))
        await say(t.CONTROL, kill("instrument:QQQ"), kill("instrument:SPY"))
        await decide(cancel(ORDER, number=90))
        await say(t.EXEC_REPORTS, report(1, OrderState.CANCELLED))
        await say(t.ORDER_COMMANDS, command())
        await say(t.BROKER_EVENTS, *[status("Cancelled")] * OTHERS)
    finally:
        await producer.stop()


def explain(stack: Stack, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "app", "explain", *arguments],
        env={**os.environ, **stack.env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_story_is_found_among_the_records_of_others_with_the_kill_that_ended_it(broker: Stack) -> None:
    status, told, errors = explain(broker, ORDER)
    assert (status, errors) == (0, "")
    for sentence in ("intent: ofi wants to BUY 10 SPY", "gateway: order 7 Submitted", "kill of instrument:SPY by Ada"):
        assert told.count(sentence) == 1, told
    assert told.rstrip().endswith("state: order 50 CANCELLED, filled 0 of 10")
    assert "QQQ" not in told
    assert f"{5:024x}" not in told
    assert explain(broker, f"{90:024x}")[1] == told


@pytest.mark.parametrize("name", ["7", f"{77:024x}"])
def test_an_id_that_is_none_or_that_nobody_knows_is_one_sentence(broker: Stack, name: str) -> None:
    status, told, errors = explain(broker, name)
    assert (status, told, errors.count("\n")) == (1, "", 1)
    assert errors.startswith("flowgate: ")
    assert "Traceback" not in errors


def test_the_log_of_decisions_is_kept_with_its_hashes_and_nothing_is_overwritten(broker: Stack, tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    status, told, errors = explain(broker, "--export", str(path))
    assert (status, errors) == (0, "")
    chain = Chain()
    assert all(chain.take(line, path.name) for line in path.read_bytes().splitlines())
    assert (chain.count, told) == (50, f"{chain.verdict}\n")
    assert explain(broker, "--verify") == (0, told, "")
    before = path.read_bytes()
    status, told, errors = explain(broker, "--export", str(path))
    assert (status, told, path.read_bytes()) == (1, "", before)
    assert "no log is overwritten" in errors
    status, _, errors = explain(broker, "--export", str(tmp_path / "nowhere" / "decisions.jsonl"))
    assert (status, errors.count("\n"), "cannot be written: No such file or directory" in errors) == (1, 1, True)


async def test_a_person_who_waits_hears_how_far_it_is_and_what_is_older_is_not_read(
    broker: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("app.history.PROGRESS_S", -1.0)
    async with history(broker.administrator) as log:
        records = [record async for batch in log.batches(t.BROKER_EVENTS) for record in batch]
        assert len(records) == 2 * OTHERS + 1
        assert capsys.readouterr().err.endswith("broker_events: 4,001 of 4,001 records read\n")
        since_ms = records[OTHERS].timestamp
        newer = [record.offset async for batch in log.batches(t.BROKER_EVENTS, since_ms) for record in batch]
        assert newer == [record.offset for record in records if record.offset >= newer[0]]
        assert 0 < newer[0] <= OTHERS
        assert [batch async for batch in log.batches(t.BROKER_EVENTS, records[-1].timestamp + 60_000)] == []


def test_a_log_that_was_changed_is_one_sentence_and_still_kept(broker: Stack, tmp_path: Path) -> None:
    """The last test of this broker: its log is broken from here on."""
    front = Front()
    asyncio.run(_append(broker, front.decide(intent(200))[0].model_dump_json().encode()))
    path = tmp_path / "decisions.jsonl"
    for arguments in (("--verify",), ("--export", str(path))):
        status, told, errors = explain(broker, *arguments)
        assert (status, told, errors.count("\n")) == (1, "", 1)
        assert f"the chain is broken at decisions/0/50, the decision on {200:024x}: it does not follow" in errors
    assert len(path.read_bytes().splitlines()) == 51


async def _append(stack: Stack, value: bytes) -> None:
    producer = AIOKafkaProducer(**stack.administrator.options())
    await producer.start()
    try:
        await producer.send_and_wait(t.DECISIONS.name, value)
    finally:
        await producer.stop()


def test_without_kafka_it_is_one_sentence_and_no_file_is_left(tmp_path: Path) -> None:
    stack = Stack(tmp_path, print)
    stack.broker = EmbeddedBroker.prepare(tmp_path / "kafka", print)
    path = tmp_path / "decisions.jsonl"
    for arguments in ((ORDER,), ("--verify",), ("--export", str(path))):
        status, told, errors = explain(stack, *arguments)
        assert (status, told, errors.count("\n"), "no Kafka answers at" in errors) == (1, "", 1, True), errors
    assert list(tmp_path.glob("decisions*")) == []
