"""Who may do what on the broker: from the catalogue, and then on the broker itself."""

from __future__ import annotations

import dataclasses

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAuthorizationFailedError

from agents.catalogue import GROUPS
from app import security
from app.stack import PREFIX, Stack
from app.topics import unreachable
from connectors.kafka.access import Access
from connectors.kafka.acls import Acl
from contracts.topics import TOPICS

RIGHTS = security.rights()


def writers(topic: str) -> set[str]:
    """Users that may write a topic."""
    return {
        acl.user
        for acl in RIGHTS
        if acl.operation == "WRITE"
        and (topic.startswith(acl.name) if acl.pattern == "prefixed" else acl.name in (topic, "*"))
    }


@pytest.mark.parametrize(
    ("topic", "users"),
    [
        ("market_raw", {"flowgate-feed"}),
        ("order_intents", {"flowgate-portfolio"}),
        ("order_commands", {"flowgate-execution"}),
        ("exec_reports", {"flowgate-execution"}),
        ("gate_verdicts", {"flowgate-gates"}),
        ("control", {"flowgate-risk", "flowgate-web", "flowgate-operator"}),
        ("broker_events", {"flowgate-execution", "flowgate-risk"}),
        ("decisions", {"flowgate-execution"}),
        ("flowgate-execution-orders-changelog", {"flowgate-execution"}),
    ],
)
def test_only_those_who_own_a_topic_may_write_it(topic: str, users: set[str]) -> None:
    assert writers(topic) == users


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_has_a_writer(topic: str) -> None:
    assert writers(topic)


def test_nobody_may_alter_delete_or_write_everything() -> None:
    assert {acl.operation for acl in RIGHTS} <= {"READ", "WRITE", "CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"}
    assert not [acl for acl in RIGHTS if acl.name == "*" and acl.operation not in ("READ", "DESCRIBE_CONFIGS")]
    assert {acl.user for acl in RIGHTS if acl.name == "*"} == {"flowgate-web", "flowgate-operator"}


def test_no_group_s_rights_reach_into_another_group_s_names() -> None:
    for group in GROUPS:
        assert not [
            other for other in GROUPS if other != group and f"{PREFIX}-{other}-".startswith(f"{PREFIX}-{group}-")
        ]


def test_a_right_reads_as_a_sentence() -> None:
    assert str(Acl("flowgate-risk", "topic", "flowgate-risk-", "READ", "prefixed")) == (
        "flowgate-risk: READ topic flowgate-risk-*"
    )


def test_a_password_is_not_shown_by_the_object_that_holds_it() -> None:
    assert "hunter2" not in repr(Access("127.0.0.1:9092", "SASL_PLAINTEXT", "someone", "hunter2"))


async def _write(access: Access, topic: str) -> None:
    producer = AIOKafkaProducer(**access.options(), enable_idempotence=True)
    await producer.start()
    try:
        await producer.send_and_wait(topic, b"{}", partition=0)
    finally:
        await producer.stop()


@pytest.mark.stack
@pytest.mark.parametrize("topic", ["order_intents", "gate_verdicts", "control", "exec_reports", "order_commands"])
async def test_a_stolen_signals_credential_cannot_write(ingest: Stack, topic: str) -> None:
    with pytest.raises(TopicAuthorizationFailedError):
        await _write(ingest.access("flowgate-signals"), topic)


@pytest.mark.stack
async def test_the_same_credential_writes_what_its_agents_write(ingest: Stack) -> None:
    await _write(ingest.access("flowgate-signals"), "signal_events")


@pytest.mark.stack
async def test_a_group_cannot_read_what_it_has_no_business_with(ingest: Stack) -> None:
    consumer = AIOKafkaConsumer("order_intents", **ingest.access("flowgate-signals").options())
    try:
        with pytest.raises(TopicAuthorizationFailedError):
            await consumer.start()
    finally:
        await consumer.stop()


@pytest.mark.stack
async def test_nobody_gets_in_with_a_wrong_password_or_none(ingest: Stack) -> None:
    wrong = dataclasses.replace(ingest.administrator, password="wrong")
    for access in (wrong, Access(ingest.bootstrap)):
        producer = AIOKafkaProducer(**access.options(), request_timeout_ms=2_000)
        with pytest.raises((KafkaError, KafkaConnectionError)):
            await producer.start()
        await producer.stop()


@pytest.mark.stack
async def test_a_broker_without_tls_is_named_as_such_to_one_who_wants_it(ingest: Stack) -> None:
    access = dataclasses.replace(ingest.administrator, security="SASL_SSL")
    assert await unreachable(access, KafkaConnectionError()) == (
        f"Kafka at {ingest.bootstrap} ends the connection; "
        "set FLOWGATE_KAFKA__SECURITY, SASL_SSL now, to what its port speaks"
    )
    assert await ingest.administrator.knock() is None
