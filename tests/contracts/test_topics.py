"""Topics: keys, co-partitioning, keepers of dead letters, and the configuration that goes to the broker."""

from __future__ import annotations

import pytest

from agents.catalogue import catalogue
from agents.spec import AgentSpec
from app import settings
from contracts.base import Message
from contracts.controls import DeadLetter, DeadLetterReason
from contracts.market import Heartbeat
from contracts.orders import AccountValue
from contracts.topics import BROADCAST, CONTROL, MARKET_PARTITIONS, MARKET_RAW, TOPICS, Topic, market_partition

SPECS: list[AgentSpec] = catalogue("all", settings.load().desk, "")
AGENTS = {spec.name: spec for spec in SPECS}


@pytest.mark.parametrize("name", AGENTS)
def test_sources_of_an_agent_with_a_keyed_table_are_partitioned_alike(name: str) -> None:
    spec = AGENTS[name]
    partitions = {topic.partitions for topic in spec.sources}
    assert spec.table is None or partitions == {spec.table.partitions}


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_that_keeps_partitions_writes_topics_with_as_many_or_with_one(name: str) -> None:
    spec = AGENTS[name]
    assert {topic.partitions for topic in spec.outputs} <= {1, max(topic.partitions for topic in spec.sources)}


LETTERS = {topic.dead_letters.name for topic in TOPICS.values() if topic.dead_letters is not None}
"""Of a letter that cannot be read there is no letter again: the page counts it."""


@pytest.mark.parametrize("name", sorted({topic.name for spec in SPECS for topic in spec.sources} - LETTERS))
def test_every_topic_that_is_read_has_one_reader_that_keeps_its_unreadable_records(name: str) -> None:
    topic = TOPICS[name]
    assert topic.dead_letters is not None
    assert topic in AGENTS[topic.keeper].sources


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)
def test_the_key_of_a_topic_is_a_field_of_its_messages_or_the_whole_desk(topic: Topic) -> None:
    names = {field for message in topic.messages.values() for field in (*message.model_fields, *vars(message))}
    assert topic.key in names | {"desk", "switch"}


@pytest.mark.parametrize("topic", [topic for topic in TOPICS.values() if topic.partitions > 1], ids=lambda t: t.name)
def test_partitioned_topics_are_keyed_by_instrument(topic: Topic) -> None:
    assert topic.key == "instrument"
    assert topic.partitions == MARKET_PARTITIONS


def test_the_partition_of_an_instrument_is_fixed_for_ever() -> None:
    assert [market_partition(name) for name in ("AAPL", "MSFT", "QQQ", "SPY")] == [0, 3, 2, 3]


@pytest.mark.parametrize(
    ("topic", "message", "key"),
    [
        (MARKET_RAW, Heartbeat(partition=1, ts_event_ns=1, ts_ingest_ns=1), BROADCAST),
        (
            TOPICS["account_values"],
            AccountValue.model_validate_json(
                '{"schema_version":1,"type":"account_value","account":"DU1","net_liquidation":"1","cash":"1",'
                '"buying_power":"1","ts_ns":1}'
            ),
            "DU1",
        ),
        (
            TOPICS["dlq_market_events"],
            DeadLetter(
                reason=DeadLetterReason.DUPLICATE,
                field="seq",
                detail="",
                topic="market_raw",
                partition=2,
                offset=5,
                contract_version=1,
                original="",
            ),
            "market_raw/2/5",
        ),
    ],
)
def test_a_record_key_is_taken_from_the_message(topic: Topic, message: Message, key: str) -> None:
    assert topic.record_key(message) == key


def test_what_decides_about_orders_waits_for_two_replicas_and_the_market_for_one() -> None:
    durable = {name for name, topic in TOPICS.items() if topic.durable}
    assert {"order_intents", "order_commands", "exec_reports", "gate_verdicts", "control", "decisions"} <= durable
    assert not [name for name in durable if TOPICS[name].batched]
    assert {topic.acks for topic in TOPICS.values()} == {"all"}
    assert CONTROL.config(3)["min.insync.replicas"] == "2"
    assert CONTROL.config(1)["min.insync.replicas"] == "1", "one broker cannot have two replicas"
    assert MARKET_RAW.config(3)["min.insync.replicas"] == "1"
