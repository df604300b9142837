"""Limits, switches, gates, decisions and dead letters: why the desk may or may not trade."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from contracts.base import Instrument, Message, TimeNs
from contracts.orders import Input, IntentId


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


class DecisionRecord(Message):
    """What admission decided on one intent and what it rested on; `record_hash` chains to the record before."""

    type: Literal["decision"] = "decision"
    intent_id: IntentId
    instrument: Instrument
    admitted: bool
    reasons: tuple[Denial, ...]
    message: str
    verdicts: dict[str, str]
    inputs: tuple[Input, ...]
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
    returns: Annotated[int, Field(ge=0)]


class KillCommand(Message):
    """Stop trading now; latched until a named operator resets it."""

    type: Literal["kill"] = "kill"
    operator: Annotated[str, Field(min_length=1)]
    reason: Annotated[str, Field(min_length=1)]
    ts_ns: TimeNs


class ResetCommand(Message):
    """Allow trading again after a kill."""

    type: Literal["reset"] = "reset"
    operator: Annotated[str, Field(min_length=1)]
    reason: Annotated[str, Field(min_length=1)]
    ts_ns: TimeNs


class SwitchEvent(Message):
    """The state of the kill switch and who set it, why."""

    type: Literal["switch"] = "switch"
    state: TradingState
    by: str
    reason: str
    ts_event_ns: TimeNs


class GateEvidence(Message):
    """One measured fact for one stage gate, true at `ts_event_ns`."""

    type: Literal["evidence"] = "evidence"
    stage: Annotated[int, Field(ge=1, le=8)]
    name: str
    value: float
    ts_event_ns: TimeNs


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
    DUPLICATE = "DUPLICATE"
    OUT_OF_ORDER = "OUT_OF_ORDER"


class DeadLetter(Message):
    """A record that could not be processed, whole: `original` is its bytes in base64."""

    type: Literal["dead_letter"] = "dead_letter"
    reason: DeadLetterReason
    field: str
    detail: str
    topic: str
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]
    contract_version: int
    original: str
