"""An operator's commands as a person types them, on a running desk; the last of them with Kafka gone.

The tests stand in the order of a bad day and share one desk: the rollback with a dead Kafka ends it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from app.decoding import decode
from app.demo import desk_settings
from app.stack import ROOT, Stack
from connectors.gateway.ctl import Control
from connectors.market.source import describe
from contracts import topics as t
from contracts.base import Message
from contracts.breaks import CashBreak, PositionBreak
from contracts.controls import Alert, DecisionRecord, Denial, LimitOverride, SwitchEvent
from contracts.orders import BrokerStatus, ExecutionReport, OrderCommand, OrderState

pytestmark = pytest.mark.stack

DEADLINE_S = 60.0
WHO = ("--operator", "Ada", "--reason", "a rehearsal")
FOLLOWED = (t.DECISIONS, t.EXEC_REPORTS, t.CONTROL, t.ALERTS)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A desk of its own, which may be killed."""
    running = Stack(
        tmp_path_factory.mktemp("operators"),
        lambda line: None,
        desk_settings(describe("synthetic")),
    )
    try:
        asyncio.run(running.start())
        running.start_feed("synthetic", seed=7, speed=1.0, warm_up_s=10.0)
        yield running
    finally:
        for child in running.children:
            child.process.kill()  # without Kafka no worker can end well
        running.stop()


def command(desk: Stack, *arguments: str) -> tuple[int, str]:
    """Exit status and output of `python -m app ...`."""
    done = subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env={**os.environ, **desk.env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


class Heard:
    """What the desk says from now on."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self.messages: list[Any] = []

    async def until(self, wanted: Callable[[Any], bool], what: str) -> Any:
        """The first message, of all heard, that is wanted."""
        deadline = time.monotonic() + DEADLINE_S
        seen = 0
        while True:
            while seen < len(self.messages):
                if wanted(self.messages[seen]):
                    return self.messages.pop(seen)
                seen += 1
            assert time.monotonic() < deadline, f"{what} did not happen; heard {self.messages[-3:]}"
            for place, records in (await self._consumer.getmany(timeout_ms=500)).items():
                self.messages += [one.message for one in decode(t.TOPICS[place.topic], place.partition, records)[0]]

    async def decision(self, *, admitted: bool, instrument: str = "", reason: Denial | None = None) -> DecisionRecord:
        def fits(message: Any) -> bool:
            return (
                isinstance(message, DecisionRecord)
                and message.admitted is admitted
                and instrument in ("", message.instrument)
                and (reason is None or reason in message.reasons)
            )

        found: DecisionRecord = await self.until(fits, f"a decision on {instrument or 'anything'}: admitted={admitted}")
        return found


@asynccontextmanager
async def listening(desk: Stack) -> AsyncIterator[Heard]:
    consumer = AIOKafkaConsumer(**desk.administrator.options())
    await consumer.start()
    try:
        places = [TopicPartition(topic.name, 0) for topic in FOLLOWED]
        consumer.assign(places)
        await consumer.seek_to_end(*places)
        yield Heard(consumer)
    finally:
        await consumer.stop()


async def say(desk: Stack, topic: t.Topic, message: Message) -> None:
    """Put a message on a topic as its writer would."""
    producer = AIOKafkaProducer(**desk.administrator.options())
    await producer.start()
    try:
        await producer.send_and_wait(topic.name, message.model_dump_json().encode(), topic.record_key(message).encode())
    finally:
        await producer.stop()


async def run(desk: Stack, *arguments: str) -> tuple[int, str]:
    return await asyncio.to_thread(command, desk, *arguments)


async def test_a_kill_of_one_instrument_denies_it_alone_until_its_reset(desk: Stack) -> None:
    async with listening(desk) as heard:
        first = await heard.decision(admitted=True)
        name = first.instrument
        status, output = await run(desk, "kill", "--scope", f"instrument:{name}", *WHO)
        assert (status, "the command is on the control topic" in output) == (0, True)
        denied = await heard.decision(admitted=False, instrument=name, reason=Denial.HALTED_BY_SWITCH)
        assert "Ada: a rehearsal" in denied.message
        status, output = await run(desk, "reset", "--scope", f"instrument:{name}", *WHO)
        assert (status, "1 kills lifted" in output) == (0, True)
        await heard.decision(admitted=True, instrument=name)


async def test_a_kill_with_flatten_closes_every_position_and_a_reset_lets_the_desk_trade_again(desk: Stack) -> None:
    async with listening(desk) as heard:
        await heard.decision(admitted=True)
        status, output = await run(desk, "kill", "--flatten", *WHO)
        assert status == 0, output
        assert "flatten by the desk: left nothing" in output
        gateway = Control(desk.gateway_ctl)
        assert not any(gateway.ledger()["positions"].values())
        assert gateway.status()["open_orders"] == 0
        assert (await run(desk, "reset", *WHO))[0] == 0
        await heard.until(lambda m: isinstance(m, SwitchEvent) and m.state == "ACTIVE", "the switch")
        await heard.decision(admitted=True)


async def test_records_that_no_agent_can_read_halt_the_desk_until_a_named_reset(desk: Stack) -> None:
    """Some are reports of orders, some intents: together they are more than a minute may bring."""
    async with listening(desk) as heard:
        producer = AIOKafkaProducer(**desk.administrator.options())
        await producer.start()
        for number in range(12):
            await producer.send((t.ORDER_INTENTS if number % 2 else t.EXEC_REPORTS).name, b"{")
        await producer.stop()
        tripped = await heard.until(lambda m: isinstance(m, SwitchEvent) and m.state == "HALTED", "the switch")
        assert (tripped.by, "dead_letters_per_minute=11" in tripped.reason) == ("dead letters", True)
        await heard.decision(admitted=False, reason=Denial.HALTED_BY_SWITCH)
        assert (await run(desk, "reset", *WHO))[0] == 0
        await heard.until(lambda m: isinstance(m, SwitchEvent) and m.state == "ACTIVE", "the reset")
        await heard.decision(admitted=True)


def spy(message: Any) -> bool:
    return isinstance(message, PositionBreak) and message.instrument == "SPY"


async def test_a_position_that_a_person_changed_is_settled_with_its_cash_by_a_named_operator(desk: Stack) -> None:
    async with listening(desk) as heard:
        Control(desk.gateway_ctl).arm("G16", mode="position", symbol="SPY", lots=5)
        # A break of the flatten before may still be about to end.
        found = await heard.until(lambda m: spy(m) and m.open and m.broker_lots - m.own_lots == 5, "the break")
        await heard.decision(admitted=False, instrument="SPY", reason=Denial.INSTRUMENT_LOCKED)
        assert (await run(desk, "resolve", "--instrument", "SPY", *WHO))[0] == 0
        settled = await heard.until(lambda m: spy(m) and not m.open and m.ts_ns > found.ts_ns, "its end")
        assert (settled.source, settled.reason) == ("operator", "Ada: a rehearsal")
        assert (await run(desk, "resolve", "--cash", *WHO))[0] == 0
        await heard.until(lambda m: isinstance(m, CashBreak) and m.source == "operator", "the cash")
        await heard.decision(admitted=True, instrument="SPY")


async def test_an_unknown_order_locks_its_instrument_until_a_named_operator_says_that_it_is_over(desk: Stack) -> None:
    """The broker speaks of two orders under one intent, and never of the end of the second."""
    intent_id = f"{0xABC:024x}"
    async with listening(desk) as heard:
        order = OrderCommand(
            intent_id=intent_id,
            order_id=2_000_000,
            instrument="QQQ",
            side="BUY",
            quantity_lots=1,
            limit_price=Decimal("10.00"),
            time_in_force="DAY",
            ts_event_ns=1,
            ts_ingest_ns=time.time_ns(),
        )
        await say(desk, t.ORDER_COMMANDS, order)
        await heard.until(lambda m: _is(m, intent_id, OrderState.ACKNOWLEDGED), "the working order")
        word = BrokerStatus(
            intent_id=intent_id,
            order_id=2_000_000,
            perm_id=2**31 - 1,
            status="Submitted",
            epoch=1,
            snapshot=False,
            reason="",
            ts_ns=time.time_ns(),
        )
        await say(desk, t.BROKER_EVENTS, word)
        await heard.until(lambda m: _is(m, intent_id, OrderState.UNKNOWN), "UNKNOWN")
        await heard.decision(admitted=False, instrument="QQQ", reason=Denial.INSTRUMENT_LOCKED)
        assert (await run(desk, "resolve", "--intent", intent_id, *WHO))[0] == 0
        settled = await heard.until(lambda m: _is(m, intent_id, OrderState.CANCELLED), "its end")
        assert settled.reason == "settled by Ada: a rehearsal"
        await heard.decision(admitted=True, instrument="QQQ")


def _is(message: Any, intent_id: str, state: OrderState) -> bool:
    return isinstance(message, ExecutionReport) and message.intent_id == intent_id and message.state is state


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("kill", "--scope", "everything", *WHO), "'everything' is no scope"),
        (("reset", "--scope", "everything", *WHO), "'everything' is no scope"),
        (("resolve", "--intent", "7", *WHO), "--intent '7' is not right: it is 24 hexadecimal digits"),
        (("resolve", "--instrument", "spy!", *WHO), "--instrument 'spy!' is not right: it is a name such as SPY"),
        (("resolve", "--instrument", "SPX", *WHO), "no instrument 'SPX' is in the catalogue"),
        (("kill", "--operator", "", "--reason", "x"), "a name or a reason is missing"),
        (("kill", "--scope", "strategy:OFI", *WHO), "no strategy 'OFI' is in the settings; they have ofi"),
        (("kill", "--scope", "instrument:SPX", *WHO), "no instrument 'SPX' is in the catalogue"),
        (("override", "--limit", "lots", "--value", "1", "--hours", "1", *WHO), "no limit 'lots' is a number"),
        (("override", "--limit", "restricted", "--value", "1", "--hours", "1", *WHO), "no limit 'restricted'"),
        (("override", "--limit", "order_lots_max", "--value", "nan", "--hours", "1", *WHO), "--value nan is not"),
        (("override", "--limit", "order_lots_max", "--value", "1", "--hours", "25", *WHO), "--hours 25 is not"),
    ],
)
def test_a_slip_of_the_pen_is_one_sentence_and_does_nothing(desk: Stack, arguments: Any, sentence: str) -> None:
    status, output = command(desk, *arguments)
    assert (status, output.count("\n")) == (2, 1)
    assert sentence in output
    assert not (desk.folder / "faust" / "KILLED").exists()


async def test_the_story_of_an_order_is_told_and_the_chain_of_decisions_is_whole(desk: Stack) -> None:
    async with listening(desk) as heard:
        decision = await heard.decision(admitted=True)
    status, story = await run(desk, "explain", decision.intent_id)
    assert status == 0
    for word in ("intent: ofi wants to", "decision: admitted as order", "rests on", "build", "no worse than"):
        assert word in story
    status, output = await run(desk, "explain", "--verify")
    assert (status, "the chain is whole" in output) == (0, True)


async def test_a_worker_of_another_build_stops_new_orders_until_the_fleet_is_one_again(desk: Stack) -> None:
    async with listening(desk) as heard:
        await heard.decision(admitted=True)
        _replace(desk, "gates", FLOWGATE_BUILD="another")
        denied = await heard.decision(admitted=False, reason=Denial.MIXED_FLEET)
        assert "group gates: flowgate-gates-dev-0 has build=another, execution has" in denied.message
        _replace(desk, "gates")
        await heard.until(lambda m: isinstance(m, DecisionRecord) and m.ts_event_ns > denied.ts_event_ns, "a decision")
        await heard.decision(admitted=True)


async def test_a_limit_is_tightened_by_one_person_and_raised_by_two_for_a_time(desk: Stack) -> None:
    """Where the market's time is not the wall's, the hours are those of the market."""
    async with listening(desk) as heard:
        # Of all of the desk's orders none is for so little.
        asked = ("override", "--limit", "order_notional_usd_max", "--hours", "1", *WHO)
        status, output = await run(desk, *asked, "--value", "1")
        assert (status, "sent: order_notional_usd_max=1 for 1 h of event time" in output) == (0, True)
        order = await heard.until(lambda m: isinstance(m, LimitOverride), "the override")
        denied = await heard.decision(admitted=False, reason=Denial.NOTIONAL_EXCEEDS_MAXIMUM)
        assert abs(order.expires_ts_event_ns - denied.ts_event_ns - 3.6e12) < 60e9
        assert (await run(desk, *asked, "--value", "25000"))[0] == 0
        await heard.until(lambda m: isinstance(m, Alert) and m.code == "OVERRIDE_REFUSED", "the refusal")
        heard.messages.clear()
        assert (await run(desk, *asked, "--value", "25000", "--approver", "Bo"))[0] == 0
        await heard.decision(admitted=True)


def _replace(desk: Stack, group: str, **env: str) -> None:
    """End a worker and start it again with another environment."""
    old = desk.workers[group]
    desk.children.forget(old)
    desk.children.stop(old)
    before = dict(desk.desk)
    desk.desk.update(env)
    desk.start_worker(group)
    desk.desk.clear()
    desk.desk.update(before)


async def test_with_kafka_gone_the_rollback_cancels_flattens_disconnects_and_keeps_the_logs(desk: Stack) -> None:
    gateway = Control(desk.gateway_ctl)
    await _until(lambda: any(gateway.ledger()["positions"].values()), "a position")
    kafka = next(child for child in desk.children if child.name == "kafka")
    desk.children.forget(kafka)
    desk.children.stop(kafka)
    status, output = await run(desk, "kill", "--rollback", *WHO)
    assert status == 0, output
    for sentence in ("kill file written", "Kafka did not take the command", "straight at the gateway: left nothing"):
        assert sentence in output
    assert not any(gateway.ledger()["positions"].values())
    assert gateway.status()["open_orders"] == 0
    await _until(lambda: 1 not in gateway.status()["clients"], "the end of the session")
    assert (desk.folder / "faust" / "KILLED").read_text().count("Ada") == 2
    assert any((desk.folder / "kafka").rglob("*.log")), "Kafka's records stay"
    assert desk.ledger.stat().st_size > 0
    assert (desk.folder / "logs" / "worker-execution.log").stat().st_size > 0


async def test_what_needs_kafka_for_its_record_says_so_and_changes_nothing(desk: Stack) -> None:
    limit = ("--limit", "order_lots_max", "--value", "1", "--hours", "1")
    for arguments in (("reset", *WHO), ("resolve", "--cash", *WHO), ("override", *limit, *WHO)):
        status, output = await run(desk, *arguments)
        assert (status, "needs Kafka, for its record" in output) == (1, True), output
    assert (desk.folder / "faust" / "KILLED").exists()


async def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, f"{what} did not happen"
        await asyncio.sleep(0.1)
