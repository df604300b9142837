"""Every topic, declared once: contract, key, partitions, retention, cleanup."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from pydantic import Field, TypeAdapter

from contracts import breaks, controls, market, orders, signals
from contracts.base import Message
from contracts.structs import Reader

MARKET_PARTITIONS: Final = 4
"""Partitions of the market topics: at most four workers a group. Behind the cross-section is one: a total order."""

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

MESSAGE_BYTES_MAX: Final = 1_048_576
"""Largest record batch of a topic, Kafka's own default; the largest message of a large desk has some 50 KB."""

DEAD_LETTER_BYTES_MAX: Final = 2 * MESSAGE_BYTES_MAX
"""A dead letter holds the largest message there is in base64, 4/3 of its size, and stays under this with its reason."""

LINGER_MS: Final = 2
BATCH_BYTES: Final = 16_384
COMPRESSION: Final = "lz4"
"""How a source writes batched topics. The workers behind it hand over whole batches at once, and never linger."""

BROADCAST: Final = "*"
"""Record key of a message that concerns every row of its partition."""

REPLAY_HEADER: Final = "replay"
"""First header of a record that a person sent again; its value is the source of the dead letter."""

WHOLE_DESK: Final = frozenset({"desk", "switch"})
"""Record keys of topics about the desk as a whole."""


def _any_of(messages: Any) -> Any:
    """A union told apart by `type`: the validator looks at one field and tries one contract, five times as fast."""
    return Annotated[messages, Field(discriminator="type")]


def _members(contract: Any) -> dict[str, type[Message]]:
    union = get_args(contract)[0] if get_origin(contract) is Annotated else contract
    return {message.model_fields["type"].default: message for message in get_args(union) or (union,)}


@dataclass(frozen=True)
class Topic:
    """One topic. `contract` is the union of the messages it carries, `key` the field that is their record key.

    `durable` topics decide about orders: their writers await all in-sync replicas, and there must be two of them.
    `batched` topics carry the market: their writers may wait `LINGER_MS` to fill a batch, and compress it. Those with
    a record for each event of the market are read as `structs`.
    Several agents may read a topic; `keeper` is the one that puts its unreadable records into `dead_letters`.
    """

    name: str
    contract: Any
    key: str
    partitions: int = 1
    retention_ms: int = DAY_MS
    cleanup: Literal["delete", "compact"] = "delete"
    durable: bool = False
    batched: bool = False
    structs: bool = False
    message_bytes_max: int = MESSAGE_BYTES_MAX
    keeper: str = ""
    dead_letters: Topic | None = None

    @property
    def adapter(self) -> TypeAdapter[Any]:
        return _ADAPTERS[self.name]

    @property
    def struct_reader(self) -> Reader | None:
        """The short cut of a topic that is read as structs."""
        return _STRUCT_READERS.get(self.name)

    @property
    def messages(self) -> dict[str, type[Message]]:
        """The messages it carries, by their `type`."""
        return _MESSAGES[self.name]

    @property
    def acks(self) -> str:
        """What its writers await. All of them are idempotent, and Kafka gives that only with `all`."""
        return "all"

    def config(self, replication: int) -> dict[str, str]:
        """Topic configuration as Kafka names it, for so many replicas."""
        retention = {} if self.cleanup == "compact" else {"retention.ms": str(self.retention_ms)}
        return {
            "cleanup.policy": self.cleanup,
            **retention,
            "min.insync.replicas": str(self.min_insync(replication)),
            "max.message.bytes": str(self.message_bytes_max),
        }

    def min_insync(self, replication: int) -> int:
        """In-sync replicas without which a write is refused: two of a durable topic, if there are that many."""
        return min(2, replication) if self.durable else 1

    def record_key(self, message: Message) -> str:
        """The record key of a message: a broadcast for what concerns every row, else its key field."""
        value = getattr(message, self.key, None)
        if value is not None:
            return str(value)
        return self.key if self.key in WHOLE_DESK else BROADCAST


def _dead_letters(name: str) -> Topic:
    return Topic(
        name,
        controls.DeadLetter,
        "source",
        retention_ms=14 * DAY_MS,
        durable=True,
        message_bytes_max=DEAD_LETTER_BYTES_MAX,
    )


DLQ_MARKET_EVENTS = _dead_letters("dlq_market_events")
DLQ_ORDER_INTENTS = _dead_letters("dlq_order_intents")
DLQ_EXECUTION_REPORTS = _dead_letters("dlq_execution_reports")

MARKET_RAW = Topic(
    "market_raw",
    market.RawRecord,
    "instrument",
    MARKET_PARTITIONS,
    8 * HOUR_MS,
    batched=True,
    structs=True,
    keeper="normalise",
    dead_letters=DLQ_MARKET_EVENTS,
)
MARKET_EVENTS = Topic(
    "market_events",
    market.MarketEvent,
    "instrument",
    MARKET_PARTITIONS,
    batched=True,
    structs=True,
    keeper="ofi",
    dead_letters=DLQ_MARKET_EVENTS,
)
OFI_EVENTS = Topic(
    "ofi_events",
    _any_of(signals.OfiEvent | market.Heartbeat),
    "instrument",
    MARKET_PARTITIONS,
    batched=True,
    keeper="signals",
    dead_letters=DLQ_MARKET_EVENTS,
)
SIGNAL_EVENTS = Topic(
    "signal_events",
    _any_of(signals.SignalEvent | market.Heartbeat),
    "instrument",
    batched=True,
    keeper="covariance",
    dead_letters=DLQ_MARKET_EVENTS,
)
COVARIANCE_EVENTS = Topic(
    "covariance_events", signals.CovarianceEvent, "desk", keeper="regime", dead_letters=DLQ_MARKET_EVENTS
)
CROSS_SECTIONS = Topic(
    "cross_sections", signals.CrossSection, "desk", keeper="portfolio", dead_letters=DLQ_MARKET_EVENTS
)
PORTFOLIO_TARGETS = Topic("portfolio_targets", signals.PortfolioTarget, "desk")
ORDER_INTENTS = Topic(
    "order_intents",
    _any_of(orders.OrderIntent | orders.AmendIntent | orders.CancelIntent),
    "instrument",
    retention_ms=6 * HOUR_MS,
    durable=True,
    keeper="admission",
    dead_letters=DLQ_ORDER_INTENTS,
)
ORDER_COMMANDS = Topic(
    "order_commands",
    _any_of(orders.OrderCommand | orders.CancelCommand | orders.AmendCommand),
    "intent_id",
    durable=True,
    keeper="execution",
    dead_letters=DLQ_EXECUTION_REPORTS,
)
BROKER_EVENTS = Topic(
    "broker_events",
    _any_of(
        orders.SessionEvent
        | orders.OrderSent
        | orders.BrokerStatus
        | orders.BrokerExecution
        | orders.BrokerCommission
        | orders.BrokerPosition
        | orders.BrokerAccount
        | orders.DropCopy
        | orders.SessionHealth
    ),
    "intent_id",
    retention_ms=7 * DAY_MS,
    durable=True,
    keeper="execution",
    dead_letters=DLQ_EXECUTION_REPORTS,
)
EXEC_REPORTS = Topic(
    "exec_reports",
    _any_of(orders.ExecutionReport | breaks.PositionBreak | breaks.CashBreak | orders.SessionEvent),
    "intent_id",
    retention_ms=7 * DAY_MS,
    durable=True,
    keeper="positions",
    dead_letters=DLQ_EXECUTION_REPORTS,
)
POSITIONS = Topic("positions", orders.Position, "instrument", keeper="risk", dead_letters=DLQ_EXECUTION_REPORTS)
ACCOUNT_VALUES = Topic(
    "account_values", orders.AccountValue, "account", keeper="risk", dead_letters=DLQ_EXECUTION_REPORTS
)
RISK_EVENTS = Topic("risk_events", controls.RiskEvent, "desk", keeper="killswitch", dead_letters=DLQ_ORDER_INTENTS)
CONTROL = Topic(
    "control",
    _any_of(
        controls.KillCommand
        | controls.ResetCommand
        | controls.ResolveCommand
        | controls.LimitOverride
        | controls.SwitchEvent
    ),
    "switch",
    retention_ms=90 * DAY_MS,
    durable=True,
    keeper="killswitch",
    dead_letters=DLQ_ORDER_INTENTS,
)
WORKERS = Topic(
    "workers",
    controls.WorkerState,
    "worker",
    cleanup="compact",
    keeper="admission",
    dead_letters=DLQ_ORDER_INTENTS,
)
ALERTS = Topic("alerts", controls.Alert, "code", retention_ms=30 * DAY_MS, durable=True)
GATE_EVIDENCE = Topic(
    "gate_evidence",
    controls.GateEvidence,
    "stage",
    retention_ms=30 * DAY_MS,
    keeper="gate1",
    dead_letters=DLQ_ORDER_INTENTS,
)
GATE_VERDICTS = Topic(
    "gate_verdicts",
    controls.GateVerdict,
    "stage",
    cleanup="compact",
    durable=True,
    keeper="admission",
    dead_letters=DLQ_ORDER_INTENTS,
)
DECISIONS = Topic("decisions", controls.DecisionRecord, "intent_id", retention_ms=30 * DAY_MS, durable=True)
MERGE_ORDER = Topic("merge_order", controls.MergeOrder, "agent")

TOPICS: Final[dict[str, Topic]] = {topic.name: topic for topic in list(globals().values()) if isinstance(topic, Topic)}
_ADAPTERS: Final[dict[str, TypeAdapter[Any]]] = {topic.name: TypeAdapter(topic.contract) for topic in TOPICS.values()}
_MESSAGES: Final[dict[str, dict[str, type[Message]]]] = {
    topic.name: _members(topic.contract) for topic in TOPICS.values()
}
_STRUCT_READERS: Final[dict[str, Reader]] = {
    topic.name: Reader(topic.messages) for topic in TOPICS.values() if topic.structs
}


def market_partition(instrument: str) -> int:
    """Partition of an instrument in every market topic: CRC-32 of its name, so that it is the same in any language."""
    return zlib.crc32(instrument.encode()) % MARKET_PARTITIONS
