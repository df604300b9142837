"""The story of an order has all that became of it and why, and each kind of record in it is a sentence."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from app.decoding import read
from app.explain import DEEDS, LINKS, story
from app.history import History
from app.story import Circle, Entry, Interventions, said, tell
from contracts import topics as t
from contracts.controls import ResetCommand, ResolveCommand, SwitchEvent, TradingState
from contracts.messages import json_schema
from contracts.orders import Input, OrderState
from tests.contracts.examples import documents
from tests.execution.admission_parts import Front, intent, kill, mark, report, risk
from tests.execution.order_parts import NOW_NS
from tests.execution.test_amends import amend_intent
from tests.execution.test_parents import THIN, cancel

ORDER = f"{1:024x}"
RESTING: dict[str, Any] = {"order_type": "LIMIT", "limit_price": Decimal("600.00"), "time_in_force": "DAY"}
READ = (*LINKS, *DEEDS, t.CONTROL)
KINDS = [(topic, kind) for topic in READ for kind in topic.messages]
SILENT = frozenset(
    {"session", "broker_position", "broker_account", "drop_copy", "session_health"}
    | {"position_break", "cash_break", "limit_override"}
)
"""They are of no order."""


class Log(History):
    """The topics, a record each 3 s, with admission behind them."""

    def __init__(self, front: Front | None = None) -> None:
        self.front = front or Front()
        self.records: dict[str, list[Any]] = {topic.name: [] for topic in READ}
        self.now_ms = 1_000_000

    def say(self, *messages: Any) -> None:
        """Put each on its topic, and what admission makes of it behind it."""
        for message in messages:
            self.write(next(topic for topic in READ if message.type in topic.messages), message)
            for out in self.front.tell(message):
                if out.topic in READ:
                    self.write(out.topic, out.message)

    def write(self, topic: t.Topic, message: Any) -> None:
        records = self.records[topic.name]
        self.now_ms += 3_000
        value = message if isinstance(message, bytes) else message.model_dump_json().encode()
        records.append(SimpleNamespace(value=value, offset=len(records), timestamp=self.now_ms))

    async def batches(self, topic: t.Topic, since_ms: int = 0) -> AsyncIterator[list[Any]]:
        yield [record for record in self.records[topic.name] if record.timestamp >= since_ms]

    async def story(self, intent_id: str = ORDER) -> str:
        return "\n".join(await story(self, intent_id))


def parent(children: int) -> Log:
    """An intent of 40 lots with so many children of 10, the last of them working."""
    log = Log(Front(usual=THIN))
    log.say(intent(1, quantity_lots=40))
    for bucket in range(1, children):
        done = log.front.commands[-1]
        names: dict[str, Any] = {"intent_id": done.intent_id, "order_id": done.order_id, "lots": done.quantity_lots}
        log.say(report(1, OrderState.FILLED, kind="FILL", fill=done.quantity_lots, **names))
        log.front.tell(risk(-bucket), mark(later=bucket, volume=100))
        for out in log.front.outputs[-2:]:
            log.write(out.topic, out.message)
    assert len(log.front.commands) == children
    return log


@pytest.mark.parametrize(("topic", "kind"), KINDS, ids=[f"{topic.name}-{kind}" for topic, kind in KINDS])
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(data=st.data())
def test_each_message_of_the_topics_it_reads_can_be_told(topic: t.Topic, kind: str, data: DataObject) -> None:
    document = data.draw(documents(json_schema(topic.messages[kind])))
    message: Any = read(topic, json.dumps(document).encode())
    entry = Entry(Input(topic=topic.name, partition=0, offset=1), 1_000, message)
    circle = Circle(getattr(message, "intent_id", None) or ORDER)
    circle.take(message)
    circle.tells(message)
    Interventions(circle, [entry]).take(entry)
    lines = tell([entry])
    assert len(lines) == len(said(message))
    assert bool(lines) is (kind not in SILENT)


async def test_a_cancelled_order_has_a_story_to_its_end() -> None:
    log = Log()
    log.say(intent(1, **RESTING), report(1, OrderState.ACKNOWLEDGED), cancel(ORDER), report(1, OrderState.CANCELLED))
    for asked in (ORDER, f"{90:024x}"):
        told = await log.story(asked)
        for sentence in (
            "intent: ofi wants to BUY 10 SPY",
            "decision: admitted as order 50",
            "order 50: BUY 10 SPY no worse than 600.00 DAY",
            f"cancel {90:024x} of {ORDER}: ofi wants it",
            f"decision: admitted as a cancel of intent {ORDER}",
            "goes out: ofi asks for it",
        ):
            assert sentence in told
        assert told.endswith("state: order 50 CANCELLED, filled 0 of 10 ")


async def test_amends_admitted_and_denied_are_part_of_the_story_with_what_became_of_them() -> None:
    log = Log()
    log.say(intent(1, **RESTING), report(1, OrderState.ACKNOWLEDGED, limit_price=Decimal("600.00")))
    log.say(amend_intent(2, quantity_lots=100_000_000), amend_intent(3, quantity_lots=12))
    log.say(report(1, OrderState.ACKNOWLEDGED, lots=12, amend_id=f"{3:024x}"))
    for asked in (ORDER, f"{2:024x}", f"{3:024x}"):
        told = await log.story(asked)
        assert f"amend {2:024x} of {ORDER}: ofi wants 100000000 SPY" in told
        assert "decision: denied QUANTITY_EXCEEDS_MAXIMUM" in told
        assert f"on amend {3:024x} of {ORDER}: ofi BUY 12 SPY at 600.00, 12 lots admitted" in told
        assert f"amend {3:024x} goes out: 12 lots" in told
        assert f"amend {3:024x} is settled" in told
        assert "intent: ofi wants to BUY 10 SPY" in told


async def test_the_story_of_a_child_has_its_parents_intent_and_not_its_siblings() -> None:
    log = parent(3)
    first, second, third = (command.intent_id for command in log.front.commands)
    told = await log.story(second)
    assert "intent: ofi wants to BUY 40 SPY" in told
    assert f"on intent {second}, child of {first}: ofi BUY 10 SPY" in told
    assert third not in told
    assert "order 52" not in told
    whole = await log.story(first)
    assert all(f"order {number}: BUY 10 SPY" in whole for number in (50, 51, 52))


async def test_a_cancel_of_a_parent_is_part_of_the_story_of_its_child_and_leads_to_the_parents() -> None:
    log = parent(2)
    log.say(cancel(ORDER))
    child = log.front.commands[-1].intent_id
    assert "its working order and its children to come" in await log.story(child)
    assert await log.story(f"{90:024x}") == await log.story(ORDER)
    log.say(cancel(child, number=91))
    assert await log.story(f"{91:024x}") == await log.story(child)


async def test_a_kill_that_covers_the_order_is_told_with_who_and_why_and_one_that_does_not_is_not() -> None:
    log = Log()
    log.say(kill("instrument:QQQ"), intent(1, **RESTING), report(1, OrderState.ACKNOWLEDGED))
    log.say(kill("instrument:QQQ"), kill("strategy:other"), kill(f"order:{9:024x}"), kill("strategy:ofi"))
    log.say(report(1, OrderState.CANCELLED), kill("account"))
    told = await log.story()
    assert told.count("kill of") == 1
    assert "kill of strategy:ofi by Ada: a test" in told
    assert told.index("kill of") < told.index("CANCELLED")


async def test_a_kill_in_force_when_the_intent_came_is_told_and_one_that_was_lifted_is_not() -> None:
    log = Log()
    lifted = ResetCommand(operator="Bob", reason="looked at it", scope="instrument:SPY", ts_ns=NOW_NS)
    log.say(kill("instrument:SPY"), lifted, kill("account", flatten=True), intent(1))
    told = await log.story()
    assert "instrument:SPY" not in told
    assert "kill of account by Ada: a test, and positions are closed" in told.splitlines()[0]
    assert "decision: denied" in told.splitlines()[2]


async def test_a_denied_intents_story_ends_with_its_denial() -> None:
    log = Log()
    log.say(intent(1, quantity_lots=100_000_000), kill("account"), intent(2))
    told = (await log.story()).splitlines()
    assert "denied QUANTITY_EXCEEDS_MAXIMUM" in next(line for line in told if "decision:" in line)
    assert all("decisions/0/0" in line for line in told[1:])


async def test_a_kill_from_a_clock_ahead_of_the_desks_is_told() -> None:
    log = Log()
    log.say(intent(1, **RESTING), report(1, OrderState.CANCELLED))
    log.now_ms -= 2_000
    log.say(kill("account"))
    assert "kill of account" in await log.story()


async def test_a_reset_while_the_order_lives_and_the_word_of_the_switch_are_told_once() -> None:
    log = Log()
    halted = SwitchEvent(state=TradingState.HALTED, by="kill switch", reason="loss_frac=0.1", ts_event_ns=NOW_NS)
    log.say(intent(1, **RESTING), report(1, OrderState.UNKNOWN, reason="silent"), halted, halted)
    log.say(ResetCommand(operator="Bob", reason="looked", scope="account", ts_ns=NOW_NS))
    log.say(ResolveCommand(operator="Eve", reason="TWS shows none", intent_id=ORDER, ts_ns=NOW_NS))
    told = await log.story()
    assert told.count("switch HALTED by kill switch: loss_frac=0.1") == 1
    assert "reset of account by Bob: looked" in told
    assert "resolved by Eve: TWS shows none" in told


async def test_a_kill_that_ended_the_children_to_come_is_told_though_no_order_was_left() -> None:
    log = parent(2)
    done = log.front.commands[-1]
    log.say(report(1, OrderState.FILLED, kind="FILL", fill=10, intent_id=done.intent_id, order_id=done.order_id))
    log.say(kill("instrument:SPY"))
    assert "kill of instrument:SPY by Ada" in await log.story()
    assert "kill of instrument:SPY by Ada" not in await log.story(done.intent_id)


async def test_an_order_that_closes_a_position_is_told_with_the_kill_that_asked_for_it() -> None:
    log = Log()
    log.front.tell(report(1, OrderState.FILLED, kind="FILL", fill=10))
    log.say(kill("strategy:other", flatten=True))
    log.front.tell(risk(-1))
    for out in log.front.tell(mark(later=1)):
        log.write(out.topic, out.message)
    (closing,) = log.front.commands
    told = (await log.story(closing.intent_id)).splitlines()
    assert "kill of strategy:other by Ada: a test, and positions are closed" in told[0]
    assert "order 50: SELL 10 SPY no worse than" in told[-1]


async def test_the_decision_tells_the_story_when_the_intent_is_no_longer_kept() -> None:
    log = Log()
    log.say(kill("strategy:other"), intent(1, **RESTING), amend_intent(3, quantity_lots=12, strategy="other"))
    log.records[t.ORDER_INTENTS.name].clear()
    log.records[t.ORDER_COMMANDS.name].clear()
    told = await log.story(f"{3:024x}")
    assert f"on intent {ORDER}: ofi BUY 10 SPY LIMIT at 600.00 DAY, 10 lots admitted" in told
    assert f"on amend {3:024x} of {ORDER}: other" in told
    assert "kill of" not in told, "the order is ofi's"


async def test_a_record_that_names_the_order_and_fits_no_contract_is_told() -> None:
    log = Log()
    log.say(intent(1))
    log.write(t.BROKER_EVENTS, b'{"type":"broker_status","schema_version":1,"intent_id":"%s"}' % ORDER.encode())
    assert "does not fit its contract: " in await log.story()


@pytest.mark.parametrize("names", [(90, 90), (91, 90)], ids=["itself", "each other"])
async def test_cancels_that_name_themselves_or_each_other_are_told_and_end(names: tuple[int, int]) -> None:
    log = Log()
    log.say(cancel(f"{names[0]:024x}", number=90), cancel(f"{names[1]:024x}", number=91))
    assert "denied ORDER_NOT_WORKING" in await log.story(f"{90:024x}")


def test_cancels_that_name_one_another_in_a_circle_settle_on_one_story() -> None:
    names = [f"{number:024x}" for number in (90, 92, 91)]
    cancels = [cancel(about, number=number) for about, number in zip(names[2:] + names[:2], (90, 92, 91), strict=True)]
    circle = Circle(names[0])
    settled = []
    for _ in range(4):
        for message in cancels:
            circle.take(message)
        settled.append(circle.asked)
    assert len(set(settled[1:])) == 1


async def test_a_stranger_that_spoke_first_does_not_make_the_order_his() -> None:
    log = Log()
    log.say(kill("strategy:other"), cancel(ORDER, strategy="other"), intent(1), kill("strategy:ofi"))
    log.records[t.ORDER_INTENTS.name].clear()
    told = await log.story()
    assert ("kill of strategy:ofi" in told, "kill of strategy:other" in told) == (True, False)


async def test_nobody_knows_an_intent_that_no_record_names() -> None:
    log = Log()
    log.say(intent(1))
    assert await log.story(f"{7:024x}") == ""
