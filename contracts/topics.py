"""Every topic, declared once: contract, key, partitions, retention, cleanup."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from contracts import controls, market, orders, signals

MARKET_PARTITIONS: Final = 4
"""Partitions of the market topics: at most four workers a group. Behind the cross-section is one: a total order."""

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS


def _list_of(contract: Any) -> Any:
    return list[contract]


@dataclass(frozen=True)
class Topic:
    """One topic. `contract` is the union of the messages it carries, `key` says what its record key is."""

    name: str
    contract: Any
    key: str
    partitions: int = 1
    retention_ms: int = DAY_MS
    cleanup: Literal["delete", "compact"] = "delete"

    @property
    def adapter(self) -> TypeAdapter[Any]:
        return _ADAPTERS[self.name]

    @property
    def batch_adapter(self) -> TypeAdapter[Any]:
        """Validates a JSON array of messages in one call."""
        return _BATCH_ADAPTERS[self.name]

    @property
    def config(self) -> dict[str, str]:
        """Topic configuration as Kafka names it."""
        retention = {} if self.cleanup == "compact" else {"retention.ms": str(self.retention_ms)}
        return {"cleanup.policy": self.cleanup, **retention}


MARKET_RAW = Topic("market_raw", market.RawRecord, "instrument", MARKET_PARTITIONS, 8 * HOUR_MS)
MARKET_EVENTS = Topic(
    "market_events",
    market.Quote | market.DepthUpdate | market.Trade | market.Halt | market.Heartbeat,
    "instrument",
    MARKET_PARTITIONS,
)
OFI_EVENTS = Topic("ofi_events", signals.OfiEvent | market.Heartbeat, "instrument", MARKET_PARTITIONS)
SIGNAL_EVENTS = Topic("signal_events", signals.SignalEvent | market.Heartbeat, "instrument")
COVARIANCE_EVENTS = Topic("covariance_events", signals.CovarianceEvent, "desk")
CROSS_SECTIONS = Topic("cross_sections", signals.CrossSection, "desk")
PORTFOLIO_TARGETS = Topic("portfolio_targets", signals.PortfolioTarget, "desk")
ORDER_INTENTS = Topic("order_intents", orders.OrderIntent, "instrument", retention_ms=6 * HOUR_MS)
ORDER_COMMANDS = Topic("order_commands", orders.OrderCommand | orders.CancelCommand, "intent id")
BROKER_EVENTS = Topic(
    "broker_events",
    orders.SessionEvent
    | orders.OrderSent
    | orders.BrokerStatus
    | orders.BrokerExecution
    | orders.BrokerCommission
    | orders.BrokerPosition
    | orders.BrokerAccount,
    "intent id, or * for all orders",
    retention_ms=7 * DAY_MS,
)
EXEC_REPORTS = Topic(
    "exec_reports",
    orders.ExecutionReport | orders.SessionEvent,
    "intent id, or * for the session",
    retention_ms=7 * DAY_MS,
)
POSITIONS = Topic("positions", orders.Position, "instrument")
ACCOUNT_VALUES = Topic("account_values", orders.AccountValue, "account")
RISK_EVENTS = Topic("risk_events", controls.RiskEvent, "desk")
CONTROL = Topic(
    "control", controls.KillCommand | controls.ResetCommand | controls.SwitchEvent, "desk", retention_ms=90 * DAY_MS
)
GATE_EVIDENCE = Topic("gate_evidence", controls.GateEvidence, "stage", retention_ms=30 * DAY_MS)
GATE_VERDICTS = Topic("gate_verdicts", controls.GateVerdict, "stage", cleanup="compact")
DECISIONS = Topic("decisions", controls.DecisionRecord, "intent id", retention_ms=30 * DAY_MS)
DLQ_MARKET_EVENTS = Topic("dlq_market_events", controls.DeadLetter, "source offset", retention_ms=14 * DAY_MS)
DLQ_ORDER_INTENTS = Topic("dlq_order_intents", controls.DeadLetter, "source offset", retention_ms=14 * DAY_MS)
DLQ_EXECUTION_REPORTS = Topic("dlq_execution_reports", controls.DeadLetter, "source offset", retention_ms=14 * DAY_MS)

TOPICS: Final[dict[str, Topic]] = {topic.name: topic for topic in list(globals().values()) if isinstance(topic, Topic)}
_ADAPTERS: Final[dict[str, TypeAdapter[Any]]] = {topic.name: TypeAdapter(topic.contract) for topic in TOPICS.values()}
_BATCH_ADAPTERS: Final[dict[str, TypeAdapter[Any]]] = {
    topic.name: TypeAdapter(_list_of(topic.contract)) for topic in TOPICS.values()
}


def market_partition(instrument: str) -> int:
    """Partition of an instrument in every market topic: CRC-32 of its name, so that it is the same in any language."""
    return zlib.crc32(instrument.encode()) % MARKET_PARTITIONS


BROADCAST: Final = "*"
"""Record key of a message that concerns every row of its partition."""
