"""Limits, switches, gates, decisions and dead letters: why the desk may or may not trade."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from contracts.base import Count, Instrument, Lots, Message, Part, Price, TimeNs, Whole
from contracts.market import Side
from contracts.orders import Input, IntentId, OrderType, TimeInForce


class Denial(StrEnum):
    """Why admission denied an intent. Each member's text is what a person reads."""

    SESSION_NOT_READY = "SESSION_NOT_READY"
    SWITCH_UNKNOWN = "SWITCH_UNKNOWN"
    HALTED_BY_SWITCH = "HALTED_BY_SWITCH"
    REDUCE_ONLY = "REDUCE_ONLY"
    RISK_HEARTBEAT_STALE = "RISK_HEARTBEAT_STALE"
    GATE_NOT_PASSED = "GATE_NOT_PASSED"
    PRICE_STALE = "PRICE_STALE"
    INSTRUMENT_HALTED = "INSTRUMENT_HALTED"
    INSTRUMENT_NOT_ALLOWED = "INSTRUMENT_NOT_ALLOWED"
    INSTRUMENT_BUSY = "INSTRUMENT_BUSY"
    INSTRUMENT_LOCKED = "INSTRUMENT_LOCKED"
    POSITION_STALE = "POSITION_STALE"
    LIMIT_NOT_SET = "LIMIT_NOT_SET"
    QUANTITY_EXCEEDS_MAXIMUM = "QUANTITY_EXCEEDS_MAXIMUM"
    NOTIONAL_EXCEEDS_MAXIMUM = "NOTIONAL_EXCEEDS_MAXIMUM"
    POSITION_EXCEEDS_MAXIMUM = "POSITION_EXCEEDS_MAXIMUM"
    GROSS_EXCEEDS_MAXIMUM = "GROSS_EXCEEDS_MAXIMUM"
    PRICE_OUTSIDE_COLLAR = "PRICE_OUTSIDE_COLLAR"
    DUPLICATE_INTENT = "DUPLICATE_INTENT"
    DUPLICATE_CONTENT = "DUPLICATE_CONTENT"
    INTENT_STALE = "INTENT_STALE"
    ACCOUNT_STALE = "ACCOUNT_STALE"
    NET_EXCEEDS_MAXIMUM = "NET_EXCEEDS_MAXIMUM"
    BUYING_POWER_EXCEEDED = "BUYING_POWER_EXCEEDED"
    DAILY_LOSS_EXCEEDS_MAXIMUM = "DAILY_LOSS_EXCEEDS_MAXIMUM"
    ORDER_RATE_EXCEEDS_MAXIMUM = "ORDER_RATE_EXCEEDS_MAXIMUM"
    REPEATED_EXECUTION = "REPEATED_EXECUTION"
    INSTRUMENT_RESTRICTED = "INSTRUMENT_RESTRICTED"
    STRATEGY_NOT_ALLOWED = "STRATEGY_NOT_ALLOWED"
    SHORT_NOT_ALLOWED = "SHORT_NOT_ALLOWED"
    OUTSIDE_TRADING_HOURS = "OUTSIDE_TRADING_HOURS"
    PRICE_MOVED_TOO_FAR = "PRICE_MOVED_TOO_FAR"
    ORDER_NOT_WORKING = "ORDER_NOT_WORKING"
    PARTICIPATION_EXCEEDS_MAXIMUM = "PARTICIPATION_EXCEEDS_MAXIMUM"
    MIXED_FLEET = "MIXED_FLEET"
    ACCOUNT_LOCKED = "ACCOUNT_LOCKED"
    ACCOUNT_CURRENCY = "ACCOUNT_CURRENCY"


class Verdict(StrEnum):
    """What a stage gate says."""

    PASS = "PASS"
    HOLD = "HOLD"
    FAIL = "FAIL"


class TradingState(StrEnum):
    """The switch: all orders, risk-reducing orders only, none."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


class WorkerState(Message):
    """A worker is alive and this is what it runs: said every few seconds.

    `build` is the hash of its source, `configuration_hash` that of everything in its settings that decides trades.
    """

    type: Literal["worker"] = "worker"
    worker: Annotated[str, Field(min_length=1)]
    groups: tuple[str, ...]
    build: str
    configuration_hash: str
    ts_ns: TimeNs


class Taken(Part):
    """Records of one partition, from the first to the last offset, that an agent took one after another."""

    topic: Annotated[str, Field(min_length=1)]
    partition: Count
    first_offset: Count
    last_offset: Count


class MergeOrder(Message):
    """The order in which an agent with several sources has taken its batches since the number before.

    A number that comes again is the same record again.
    """

    type: Literal["merge_order"] = "merge_order"
    agent: Annotated[str, Field(min_length=1)]
    number: Annotated[int, Field(gt=0)]
    batches: tuple[Taken, ...]


class DecisionRecord(Message):
    """What admission decided on one intent and what it rested on; `record_hash` chains to the record before.

    It stands alone, as intents are kept for hours: `request` is the type of what was decided on, and its terms follow;
    `about` is the intent of the order that an amend or a cancel is of. A cancel has no other terms, and an amend a side
    only if its order works. `admitted_lots` may go out: of a parent those of its first child, of an amend what is not
    filled.
    """

    type: Literal["decision"] = "decision"
    intent_id: IntentId
    instrument: Instrument
    request: Literal["intent", "amend_intent", "cancel_intent"] = "intent"
    about: IntentId | None = None
    parent_id: IntentId | None = None
    strategy: str = ""
    side: Side | None = None
    quantity_lots: Lots = 0
    order_type: OrderType | None = None
    limit_price: Price | None = None
    time_in_force: TimeInForce | None = None
    admitted_lots: Lots = 0
    admitted: bool
    reasons: tuple[Denial, ...]
    message: str
    verdicts: dict[str, str]
    inputs: tuple[Input, ...]
    limits: dict[str, str] = Field(default_factory=dict)
    build: str = ""
    configuration_hash: str
    ts_event_ns: TimeNs
    previous_hash: str
    record_hash: str


class RiskEvent(Message):
    """Risk of the whole desk at one instant of event time; money in account currency.

    `psr` is the probabilistic Sharpe ratio against zero, None while there are fewer than 30 returns ("insufficient").
    """

    type: Literal["risk"] = "risk"
    ts_event_ns: TimeNs
    nav_usd: float
    pnl_usd: float
    gross_usd: float
    net_usd: float
    drawdown_frac: Annotated[float, Field(ge=0)]
    psr: Annotated[float, Field(ge=0, le=1)] | None
    returns: Count


Scope = Annotated[str, Field(pattern=r"^(account|strategy:.+|instrument:[A-Z0-9.]+|order:[0-9a-f]{24})$")]
"""What a kill stops: the account, or the orders of one strategy, of one instrument, or one order by its intent id."""


FLATTEN: Final = "flatten"
"""The strategy of the orders by which admission closes positions: all that a kill with flatten lets through."""


def covers(scope: str, strategy: str, instrument: str, intent_id: str) -> bool:
    """Whether a kill of `scope` stops this order. An order whose strategy is not known belongs to every strategy."""
    kind, _, name = scope.partition(":")
    match kind:
        case "strategy":
            return strategy in (name, "")
        case "instrument":
            return instrument == name
        case "order":
            return intent_id == name
    return True


def _named(name: str) -> str:
    if not any(letter.isalnum() for letter in name):
        raise ValueError("a name has a letter or a digit")
    return name


Name = Annotated[str, AfterValidator(_named), Field(json_schema_extra={"pattern": r"[^\W_]"})]
"""Who is behind a command: a person can be found by it."""


class KillCommand(Message):
    """Stop trading now; latched until a named operator resets it."""

    type: Literal["kill"] = "kill"
    operator: Name
    reason: Annotated[str, Field(min_length=1)]
    scope: Scope = "account"
    flatten: bool = False
    ts_ns: TimeNs


class ResetCommand(Message):
    """Allow trading again after a kill.

    `reducing`, of the account alone: only orders that make a position smaller pass until the next reset.
    """

    type: Literal["reset"] = "reset"
    operator: Name
    reason: Annotated[str, Field(min_length=1)]
    scope: Scope = "account"
    ts_ns: TimeNs
    reducing: bool = False


class ResolveCommand(Message):
    """A named operator settles what evidence did not.

    The UNKNOWN order of `intent_id` is over, its overfill is known, or no report of it will ever come; or the broker's
    position in `instrument`, or its cash, is right.
    """

    type: Literal["resolve"] = "resolve"
    operator: Name
    reason: Annotated[str, Field(min_length=1)]
    intent_id: IntentId | None = None
    instrument: Instrument | None = None
    cash: bool = False
    ts_ns: TimeNs


class LimitOverride(Message):
    """Another value for one limit until a time. Tightening needs one person, raising needs a second, `approver`."""

    type: Literal["limit_override"] = "limit_override"
    limit: str
    value: float
    operator: Name
    approver: Literal[""] | Name
    reason: Annotated[str, Field(min_length=1)]
    expires_ts_event_ns: TimeNs
    ts_ns: TimeNs


class Alert(Message):
    """Something that a person has to know. `code` is a gateway error or a word of ours, `owner` who is to act."""

    type: Literal["alert"] = "alert"
    severity: Literal["WARNING", "CRITICAL"]
    code: str
    subject: str
    text: str
    owner: str
    ts_ns: TimeNs


class SwitchEvent(Message):
    """The state of the kill switch and who set it, why."""

    type: Literal["switch"] = "switch"
    state: TradingState
    by: str
    reason: str
    ts_event_ns: TimeNs


DATA_AGE: Final = "data.age_s"
"""Evidence of stage 1: seconds of event time since the last good record of an instrument."""


EVIDENCE_MAX: Final = 1e18
"""What is measured to be more is said to be this."""


class GateEvidence(Message):
    """One measured fact for one stage gate, true at `ts_event_ns`: of one instrument, or of the desk (None)."""

    type: Literal["evidence"] = "evidence"
    stage: Annotated[int, Field(ge=1, le=8)]
    name: str
    value: Annotated[float, Field(ge=-EVIDENCE_MAX, le=EVIDENCE_MAX)]
    ts_event_ns: TimeNs
    instrument: Instrument | None = None


class GateVerdict(Message):
    """A stage gate's verdict with its reasons; it holds until `expires_ts_event_ns`."""

    type: Literal["verdict"] = "verdict"
    stage: Annotated[int, Field(ge=1, le=8)]
    verdict: Verdict
    reasons: tuple[str, ...]
    ts_event_ns: TimeNs
    expires_ts_event_ns: TimeNs


class DeadLetterReason(StrEnum):
    """Why a record was not processed."""

    MALFORMED_JSON = "MALFORMED_JSON"
    WRONG_SCHEMA = "WRONG_SCHEMA"
    UNKNOWN_VERSION = "UNKNOWN_VERSION"
    UNKNOWN_INSTRUMENT = "UNKNOWN_INSTRUMENT"
    OFF_TICK = "OFF_TICK"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    EMPTY_BOOK = "EMPTY_BOOK"
    CROSSED_BOOK = "CROSSED_BOOK"
    STALE_QUOTE = "STALE_QUOTE"
    DUPLICATE = "DUPLICATE"
    OUT_OF_ORDER = "OUT_OF_ORDER"


class DeadLetter(Message):
    """A record that could not be processed, whole: `original` is its bytes in base64.

    `topic`, `partition` and `offset` are those of the record, and its identity: after a crash the same letter may be
    sent again. `field` is the one that failed, `contract_version` the version that the reader asked for.
    """

    type: Literal["dead_letter"] = "dead_letter"
    reason: DeadLetterReason
    field: str
    detail: str
    topic: str
    partition: Count
    offset: Count
    contract_version: Whole
    original: str

    @property
    def source(self) -> str:
        """Where the record came from, as `topic/partition/offset`."""
        return f"{self.topic}/{self.partition}/{self.offset}"
