"""`python -m app explain INTENT_ID`: the story of one order, from the quote to the fill, read from the topics alone.

`--verify` checks the chain of decisions: each record's hash is that of its content, and holds the hash before it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from agents.controls.journal import chain_hash
from app.decoding import UnreadableError, read
from app.settings import Settings
from contracts import topics as t
from contracts.base import Message
from contracts.controls import DecisionRecord
from contracts.orders import (
    AmendCommand,
    AmendIntent,
    BrokerCommission,
    BrokerExecution,
    BrokerStatus,
    CancelCommand,
    CancelIntent,
    ExecutionReport,
    Input,
    OrderCommand,
    OrderIntent,
    OrderSent,
)

STORY: Final = (t.ORDER_INTENTS, t.DECISIONS, t.ORDER_COMMANDS, t.BROKER_EVENTS, t.EXEC_REPORTS)
KAFKA_S: Final = 30.0


def main(settings: Settings, intent_id: str, *, verify: bool) -> int:
    """Print the story or the result of the check; 1 when there is none, or the chain is broken."""
    try:
        records = asyncio.run(_read(settings, (t.DECISIONS,) if verify else STORY))
    except (KafkaError, OSError, TimeoutError) as error:
        return _fail(f"Kafka does not answer at {settings.kafka.bootstrap} ({error}); is it up?")
    if verify:
        faults = broken_links([message for _, message in records])
        sys.stdout.write("".join(f"{fault}\n" for fault in faults) or f"{len(records)} decisions, the chain is whole\n")
        return 1 if faults else 0
    story = tell(records, intent_id)
    if not story:
        return _fail(f"no record names the intent {intent_id}; ids have 24 characters, and the topics keep some days")
    sys.stdout.write("\n".join(story) + "\n")
    return 0


def broken_links(decisions: Sequence[Any]) -> list[str]:
    """What is wrong with the chain, one line each. A record that came twice, after a crash, is one link."""
    faults: list[str] = []
    last: DecisionRecord | None = None
    seen: set[str] = set()
    for record in decisions:
        if record.record_hash in seen:
            continue
        seen.add(record.record_hash)
        if record.record_hash != chain_hash(record):
            faults.append(f"decision on {record.intent_id}: its hash is not that of its content")
        if last is not None and record.previous_hash != last.record_hash:
            faults.append(f"decision on {record.intent_id}: it does not follow the decision on {last.intent_id}")
        last = record
    return faults


def tell(records: Sequence[tuple[Input, Any]], intent_id: str) -> list[str]:
    """The story of one intent, a line for each record that names it or a child of it; a child's begins with the intent
    it was cut from."""
    commands = [message for _, message in records if isinstance(message, OrderCommand)]
    parents = {command.parent_id for command in commands if command.intent_id == intent_id}
    told = {intent_id} | {command.intent_id for command in commands if command.parent_id == intent_id}
    lines: list[str] = []
    for source, message in records:
        named = {getattr(message, name, None) for name in ("intent_id", "amends", "cancels")}
        if told & named or (isinstance(message, OrderIntent) and message.intent_id in parents):
            place = f"{source.topic}/{source.partition}/{source.offset}"
            lines += [f"{_time(message)}  {place:<28} {line}" for line in _lines(message)]
    return lines


def _lines(message: Message) -> list[str]:
    match message:
        case OrderIntent():
            quote = f"{message.arrival_bid_ticks} x {message.arrival_ask_ticks} ticks"
            text = f"{message.strategy} wants to {message.side} {message.quantity_lots} {message.instrument}"
            return [f"intent: {text}, quote {quote}, position {message.position_lots}, regime {message.regime}"]
        case AmendIntent():
            text = f"{message.strategy} wants {message.quantity_lots} {message.instrument} at {message.limit_price}"
            return [f"amend of {message.amends}: {text}"]
        case CancelIntent():
            return [f"cancel of {message.cancels}, wanted by {message.strategy}"]
        case DecisionRecord():
            inputs = ", ".join(f"{i.topic}/{i.partition}/{i.offset}" for i in message.inputs)
            verdicts = ", ".join(f"{stage} {verdict}" for stage, verdict in message.verdicts.items())
            limits = ", ".join(f"{name}={value}" for name, value in message.limits.items())
            return [
                f"decision: {message.message}",
                f"  rests on {inputs}",
                f"  gates {verdicts or 'none'}",
                f"  build {message.build[:12]}, configuration {message.configuration_hash[:12]}",
                f"  limits {limits}",
            ]
        case OrderCommand():
            child = f", child of {message.parent_id}" if message.parent_id else ""
            terms = "at market, valued at" if message.order_type == "MARKET" else "at most"
            text = f"{message.side} {message.quantity_lots} {message.instrument} {terms} {message.limit_price}"
            return [f"order {message.order_id}: {text} {message.time_in_force}{child}"]
        case AmendCommand():
            return [f"amend {message.amend_id}: {message.quantity_lots} lots at {message.limit_price}"]
        case CancelCommand():
            return [f"cancel: {message.reason}"]
        case OrderSent():
            return [f"order {message.order_id}: bytes given to the socket in session {message.epoch}"]
        case BrokerStatus():
            return [f"gateway: {message.status} (permanent id {message.perm_id}) {message.reason}"]
        case BrokerExecution():
            return [f"gateway: {message.exec_id} filled {message.quantity_lots} at {message.price}"]
        case BrokerCommission():
            return [f"gateway: commission {message.commission} {message.currency}"]
        case ExecutionReport():
            return [f"{message.kind.lower()}: {message.state}, filled {message.filled_lots} {message.reason}"]
    return []


def _time(message: Any) -> str:
    ns = getattr(message, "ts_ns", None) or getattr(message, "ts_ingest_ns", None) or message.ts_event_ns
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%H:%M:%S.%f")


async def _read(settings: Settings, topics: Sequence[t.Topic]) -> list[tuple[Input, Any]]:
    """Everything on these topics up to now, topic by topic; a record that does not fit its contract is left out."""
    consumer = AIOKafkaConsumer(**settings.kafka.access.options(), enable_auto_commit=False)
    async with asyncio.timeout(KAFKA_S):
        await consumer.start()
        try:
            found: list[tuple[Input, Any]] = []
            for topic in topics:
                partition = TopicPartition(topic.name, 0)
                consumer.assign([partition])
                await consumer.seek_to_beginning(partition)
                end = (await consumer.end_offsets([partition]))[partition]
                while await consumer.position(partition) < end:
                    for record in (await consumer.getmany(partition, timeout_ms=500)).get(partition, []):
                        source = Input(topic=topic.name, partition=0, offset=record.offset)
                        found += [(source, message) for message in _decode(topic, record.value)]
            return found
        finally:
            await consumer.stop()


def _decode(topic: t.Topic, value: bytes) -> list[Any]:
    try:
        return [read(topic, value)]
    except UnreadableError:
        return []


def _fail(sentence: str) -> int:
    sys.stderr.write(f"flowgate: {sentence}\n")
    return 1
