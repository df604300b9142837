"""What admission writes down of a decision: the counters of the controls, and the record for the audit."""

from __future__ import annotations

import hashlib
from typing import Any

from agents.controls import clock
from agents.controls.case import Case, Finding, Identity
from agents.controls.checks import MINUTE_NS
from agents.controls.state import AdmissionState, Window
from agents.parameters import Limits
from agents.spec import Out
from contracts.controls import DecisionRecord, Denial, RiskEvent, SwitchEvent
from contracts.orders import AccountValue, AmendIntent, CancelIntent, Input, OrderIntent, SessionEvent
from contracts.signals import SignalEvent
from contracts.topics import DECISIONS

Request = OrderIntent | AmendIntent | CancelIntent


def remember(case: Case, found: list[Finding], oldest_ns: int) -> None:
    """Counters and windows after a decision on an order or an amend; intents older than `oldest_ns` are forgotten.

    They go by what the market and risk say the time is: by an intent from the future much would be forgotten.
    """
    state, intent, limits = case.state, case.intent, case.limits
    now_ns = clock.event_ns(state)
    for reason, _ in found:
        state.denied[reason] = state.denied.get(reason, 0) + 1
    if any(reason is Denial.REPEATED_EXECUTION for reason, _ in found):
        numbers = next(numbers for reason, numbers in found if reason is Denial.REPEATED_EXECUTION)
        state.throttled.setdefault(case.strategy_instrument, numbers)
    state.recent = {name: ts for name, ts in state.recent.items() if ts >= oldest_ns}
    state.recent[intent.intent_id] = now_ns
    if found:
        return
    window_ns = now_ns - case.bucket_ns * (limits.duplicate_window_buckets or 0)
    state.contents = {text: ts for text, ts in state.contents.items() if ts > window_ns}
    state.contents[case.content] = now_ns
    count_message(state)
    repeats = state.repeats.get(case.strategy_instrument)
    if repeats is None or case.age_buckets(repeats.start_ns) >= (limits.repeat_window_buckets or 0):
        state.repeats[case.strategy_instrument] = Window(now_ns, 1)
    else:
        repeats.count += 1


def hear(state: AdmissionState, message: Any, source: Input) -> None:
    """Note where the newest word on a price, on risk, on the account, on the session and on the switch stands."""
    match message:
        case SignalEvent():
            state.heard[f"price.{message.instrument}"] = source
        case RiskEvent() | AccountValue() | SessionEvent() | SwitchEvent():
            state.heard[message.type] = source


def _rested_on(state: AdmissionState, instrument: str) -> list[Input]:
    """The words that a decision on an instrument rests on, besides the request's own."""
    price = f"price.{instrument}"
    return [source for name, source in sorted(state.heard.items()) if name == price or not name.startswith("price.")]


def shown(limits: Limits) -> dict[str, str]:
    """Limits as a record shows them."""
    used = limits.model_dump(mode="json", exclude_none=True, exclude={"adv_lots"})
    return {name: str(value) for name, value in sorted(used.items())}


def count_message(state: AdmissionState) -> None:
    """C4: submits, amends and cancels are messages all alike."""
    minute = clock.event_ns(state) // MINUTE_NS * MINUTE_NS
    state.rate = Window(minute, state.rate.count + 1 if state.rate.start_ns == minute else 1)


def decision(
    state: AdmissionState,
    request: Request,
    source: Input,
    found: list[Finding],
    limits: dict[str, str],
    identity: Identity,
    admitted: str,
) -> Out:
    """The record of a decision, chained to the one before; `admitted` is its text if nothing was found."""
    message = "; ".join(f"denied {reason}: {numbers} intent={request.intent_id}" for reason, numbers in found)
    record = DecisionRecord(
        intent_id=request.intent_id,
        instrument=request.instrument,
        admitted=not found,
        reasons=tuple(reason for reason, _ in found),
        message=message or admitted,
        verdicts={str(stage): verdict.verdict.value for stage, verdict in sorted(state.verdicts.items())},
        inputs=(source, *request.inputs, *_rested_on(state, request.instrument)),
        limits=limits,
        build=identity.build,
        configuration_hash=identity.configuration_hash,
        ts_event_ns=request.ts_event_ns,
        previous_hash=state.last_hash,
        record_hash="",
    )
    state.last_hash = _hash(record)
    return Out(DECISIONS, request.intent_id, record.model_copy(update={"record_hash": state.last_hash}))


def chain_hash(record: DecisionRecord) -> str:
    """SHA-256 of a record without its own hash; it holds the hash of the record before, and so all of them."""
    return _hash(record.model_copy(update={"record_hash": ""}))


def _hash(record: DecisionRecord) -> str:
    return hashlib.sha256(record.model_dump_json().encode()).hexdigest()
