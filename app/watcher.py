"""Follows a desk from its topics alone: counts, latencies, positions. It sees what any other reader of Kafka would."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.spec import SENT_HEADER, Record
from app.decoding import decode, origin
from connectors.kafka.access import Access
from contracts import topics as t
from contracts.controls import DecisionRecord, RiskEvent, SwitchEvent
from contracts.orders import (
    BrokerExecution,
    BrokerStatus,
    ExecutionReport,
    OrderCommand,
    OrderIntent,
    OrderSent,
    Position,
    SessionEvent,
)
from tables.rows import Row

FOLLOWED: Final = (
    t.ORDER_INTENTS,
    t.DECISIONS,
    t.ORDER_COMMANDS,
    t.BROKER_EVENTS,
    t.EXEC_REPORTS,
    t.POSITIONS,
    t.RISK_EVENTS,
    t.CONTROL,
)

LEGS: Final = (
    "market event to intent",
    "intent to admitted order",
    "admitted to bytes sent",
    "bytes sent to acknowledgement",
    "bytes sent to first fill",
    "market event to bytes sent",
)


@dataclass
class Seen:
    """Everything counted so far. `times` has wall times (ns) of each intent's milestones."""

    intents: int = 0
    admitted: int = 0
    denied: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    fills: int = 0
    filled_orders: set[str] = field(default_factory=set)
    executions: dict[str, tuple[str, str, int, Decimal]] = field(default_factory=dict)
    commissions: dict[str, Decimal] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    open_orders: set[str] = field(default_factory=set)
    risk: RiskEvent | None = None
    switch: str = "unknown"
    session: str = "DISCONNECTED"
    times: dict[str, dict[str, int]] = field(default_factory=dict)


class Watcher:
    """A consumer without a group over the topics behind the cross-section."""

    def __init__(self, access: Access, topics: Sequence[t.Topic] = FOLLOWED) -> None:
        self.seen = Seen()
        self._topics = topics
        self._readers: dict[tuple[str, str, str], Row[None]] = {}
        self._consumer = AIOKafkaConsumer(**access.options(), auto_offset_reset="earliest")
        self._market = [TopicPartition(t.MARKET_EVENTS.name, p) for p in range(t.MARKET_PARTITIONS)]

    async def start(self) -> None:
        await self._consumer.start()
        self._consumer.assign([TopicPartition(topic.name, 0) for topic in self._topics])

    async def stop(self) -> None:
        await self._consumer.stop()

    async def follow(self) -> None:
        """Count until cancelled."""
        while True:
            await self.poll(500)

    async def poll(self, timeout_ms: int) -> int:
        """Take what is there; returns the number of records."""
        batches = await self._consumer.getmany(timeout_ms=timeout_ms)
        for partition, records in batches.items():
            topic = t.TOPICS[partition.topic]
            for record in decode(topic, partition.partition, records)[0]:
                if not self._is_repeat(topic, record):
                    self.take(record.message, sent_ns(record))
        return sum(len(records) for records in batches.values())

    def take(self, message: Any, sent: int) -> None:
        """Count one message that is no repeat."""
        count(self.seen, message, sent)

    def _is_repeat(self, topic: t.Topic, record: Record) -> bool:
        """A worker that was killed sends again what it may have sent: by the same rule as rows, it counts once."""
        stream, position = origin(record)
        reader = self._readers.setdefault((topic.name, topic.record_key(record.message), stream), Row(0, {}))
        if reader.is_repeat(stream, position):
            return True
        reader.seen[stream] = position
        return False

    async def market_events(self) -> int:
        """Market events on the topic so far."""
        offsets: dict[Any, int] = await self._consumer.end_offsets(self._market)
        return sum(offsets.values())


async def until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Wait for a condition on what a running `follow` has seen; False when the time is over."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.05)
    except TimeoutError:
        return False
    return True


def sent_ns(record: Any) -> int:
    """Wall time at which the record's sender sent it."""
    return next((int(value) for name, value in record.headers if name == SENT_HEADER), 0)


def count(seen: Seen, message: Any, sent: int) -> None:
    """Take one message into the counts."""
    match message:
        case OrderIntent():
            seen.intents += 1
            seen.times.setdefault(message.intent_id, {"event": message.ts_ingest_ns, "intent": sent})
        case DecisionRecord():
            seen.admitted += message.admitted
            seen.denied.update(str(reason) for reason in message.reasons)
        case OrderCommand():
            seen.open_orders.add(message.intent_id)
            _time(seen, message.intent_id, "admitted", sent)
        case OrderSent():
            seen.sent += 1
            _time(seen, message.intent_id, "sent", message.ts_ns)
        case BrokerStatus() if not message.snapshot:
            _time(seen, message.intent_id, "ack", message.ts_ns)
        case BrokerExecution():
            _time(seen, message.intent_id, "fill", message.ts_ns)
        case ExecutionReport():
            _report(seen, message)
        case Position():
            seen.positions[message.instrument] = message
        case RiskEvent():
            seen.risk = message
        case SwitchEvent():
            seen.switch = str(message.state)
        case SessionEvent():
            seen.session = str(message.state)


def _report(seen: Seen, report: ExecutionReport) -> None:
    if report.kind == "FILL" and report.exec_id and report.fill_price is not None:
        seen.fills += 1
        sign = 1 if report.side == "BUY" else -1
        seen.executions[report.exec_id] = (
            report.intent_id,
            report.instrument,
            sign * report.fill_lots,
            report.fill_price,
        )
    if report.kind == "CORRECTION" and report.replaced_exec_id and report.exec_id and report.fill_price is not None:
        intent_id, instrument, lots, _ = seen.executions.pop(report.replaced_exec_id)
        lots = report.fill_lots if lots > 0 else -report.fill_lots
        seen.executions[report.exec_id] = (intent_id, instrument, lots, report.fill_price)
        if report.replaced_exec_id in seen.commissions:
            seen.commissions[report.exec_id] = seen.commissions.pop(report.replaced_exec_id)
    if report.kind == "COMMISSION" and report.exec_id and report.commission is not None:
        before = seen.commissions.get(report.exec_id, Decimal(0))
        seen.commissions[report.exec_id] = before + report.commission
    if str(report.state) in ("FILLED", "CANCELLED", "REJECTED"):
        seen.open_orders.discard(report.intent_id)
    if str(report.state) == "FILLED":
        seen.filled_orders.add(report.intent_id)


def _time(seen: Seen, intent_id: str, milestone: str, ns: int) -> None:
    seen.times.setdefault(intent_id, {}).setdefault(milestone, ns)


def latencies_ms(seen: Seen) -> dict[str, list[float]]:
    """Sorted latencies of each leg, in milliseconds."""
    ends = (
        ("event", "intent"),
        ("intent", "admitted"),
        ("admitted", "sent"),
        ("sent", "ack"),
        ("sent", "fill"),
        ("event", "sent"),
    )
    return {
        leg: sorted((times[b] - times[a]) / 1e6 for times in seen.times.values() if a in times and b in times)
        for leg, (a, b) in zip(LEGS, ends, strict=True)
    }
