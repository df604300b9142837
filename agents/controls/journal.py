"""What admission writes down of a decision: the record for the audit."""

from __future__ import annotations

import hashlib
from typing import Any

from agents.controls.case import Case, Finding, Identity
from agents.controls.state import AdmissionState
from agents.parameters import Limits
from agents.spec import Out
from contracts.base import Message
from contracts.controls import DecisionRecord, GateVerdict
from contracts.orders import AmendIntent, CancelIntent, Input, OrderIntent
from contracts.signals import SignalEvent
from contracts.topics import DECISIONS

Request = OrderIntent | AmendIntent | CancelIntent


def hear(state: AdmissionState, message: Any, source: Input) -> None:
    """Note where the newest word of each kind stands: prices by instrument, verdicts by stage, all else by its type.

    Their topics have one partition each, so the newest word stands for all of its kind that came before it.
    """
    match message:
        case SignalEvent():
            state.heard[f"price.{message.instrument}"] = source
        case GateVerdict():
            state.heard[f"verdict.{message.stage}"] = source
        case Message():
            state.heard[message.type] = source


def _rested_on(state: AdmissionState, instrument: str) -> list[Input]:
    """The words that a decision on an instrument rests on, besides the request's own."""
    price = f"price.{instrument}"
    return [source for name, source in sorted(state.heard.items()) if name == price or not name.startswith("price.")]


def shown(limits: Limits) -> dict[str, str]:
    """Limits as a record shows them."""
    used = limits.model_dump(mode="json", exclude_none=True, exclude={"adv_lots"})
    return {name: str(value) for name, value in sorted(used.items())}


def decision(
    state: AdmissionState,
    request: Request,
    source: Input,
    found: list[Finding],
    limits: dict[str, str],
    identity: Identity,
    admitted: str,
    case: Case | None = None,
) -> Out:
    """The record of a decision, chained to the one before; `admitted` is its text if nothing was found.

    A cancel has no `case`, as no limit is held against it.
    """
    message = "; ".join(f"denied {reason}: {numbers} intent={request.intent_id}" for reason, numbers in found)
    record = DecisionRecord(
        intent_id=request.intent_id,
        instrument=request.instrument,
        request=request.type,
        about=_about(request),
        strategy=request.strategy,
        **(_terms(case, request, admitted=not found) if case is not None else {}),
        admitted=not found,
        reasons=tuple(reason for reason, _ in found),
        message=message or admitted,
        verdicts={str(stage): verdict.verdict.value for stage, verdict in sorted(state.verdicts.items())},
        inputs=tuple(dict.fromkeys((source, *request.inputs, *_rested_on(state, request.instrument)))),
        limits=limits,
        build=identity.build,
        configuration_hash=identity.configuration_hash,
        ts_event_ns=request.ts_event_ns,
        previous_hash=state.last_hash,
        record_hash="",
    )
    state.last_hash = _hash(record)
    return Out(DECISIONS, request.intent_id, record.model_copy(update={"record_hash": state.last_hash}))


def _about(request: Request) -> str | None:
    """The intent of the order that an amend or a cancel is of."""
    match request:
        case AmendIntent():
            return request.amends
        case CancelIntent():
            return request.cancels
    return None


def _terms(case: Case, request: Request, *, admitted: bool) -> dict[str, Any]:
    """What was asked for, and how much of it may go out; the side of an amend is that of the order, if it works."""
    intent = case.intent
    terms: dict[str, Any] = {
        "parent_id": case.parent_id or None,
        "side": intent.side if case.amend is None or case.working is not None else None,
        "quantity_lots": intent.quantity_lots,
        "limit_price": intent.limit_price,
        "admitted_lots": case.lots if admitted else 0,
    }
    if isinstance(request, OrderIntent):
        terms |= {"order_type": intent.order_type, "time_in_force": intent.time_in_force}
    return terms


def _hash(record: DecisionRecord) -> str:
    """SHA-256 of a record whose own hash is empty; it holds the hash of the record before, and so all of them."""
    return hashlib.sha256(record.model_dump_json().encode()).hexdigest()
