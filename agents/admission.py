"""Admission: may this intent become an order? One pure decision, closed by default.

Everything it needs arrives as messages: the session's state and the life of every order (`exec_reports`), prices
(`signal_events`), risk (`risk_events`), the account (`account_values`), kills and the switch (`control`), verdicts
(`gate_verdicts`). What has not arrived, or is too old, denies. An intent larger than its share of the volume goes out
in children, one a bucket; a kill that flattens closes positions once the instrument's orders are over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Any, Final

from agents.controls import facts
from agents.controls.checks import MINUTE_NS, Case, Finding, content, findings, share_lots
from agents.controls.state import AdmissionState, Parent, Window, Working
from agents.parameters import Limits
from agents.spec import Out, Record, Step
from contracts.controls import DecisionRecord, Denial
from contracts.instruments import INSTRUMENTS
from contracts.market import Heartbeat, Side
from contracts.orders import ExecutionReport, Input, OrderCommand, OrderIntent, SessionState
from contracts.signals import SignalEvent
from contracts.topics import DECISIONS, ORDER_COMMANDS
from tables.rows import TableSpec

ADMISSION = TableSpec("admission", AdmissionState, "session, switch, verdicts, marks, positions and locks, one row")

PARENT_LIFE_BUCKETS: Final = 30
"""A parent that has not gone out by then has missed its forecast; the portfolio decides anew each bucket anyway."""


def key(message: Any) -> str | None:
    return None if isinstance(message, Heartbeat) else "desk"


def make(limits: Limits, universe: Sequence[str], configuration_hash: str) -> Step:
    """The step with these limits; `configuration_hash` names them in each decision."""
    desk = Admission(limits, frozenset(universe), configuration_hash)
    return desk.step


class Admission:
    """The step and its constants."""

    def __init__(self, limits: Limits, universe: frozenset[str], configuration_hash: str) -> None:
        self._limits = limits
        self._universe = universe
        self._hash = configuration_hash

    def step(self, state: AdmissionState | None, record: Record) -> tuple[AdmissionState, Sequence[Out]]:
        """An intent is decided on, anything else is learnt; marks and reports let waiting orders go on."""
        state = state or AdmissionState()
        message = record.message
        if isinstance(message, OrderIntent):
            return state, self.decide(state, message, record.input)
        outputs = facts.learn(state, message, self._limits)
        if isinstance(message, SignalEvent | ExecutionReport):
            outputs += self._go_on(state, message.instrument, record.input)
        return state, outputs

    def decide(self, state: AdmissionState, intent: OrderIntent, source: Input) -> list[Out]:
        """Admit or deny one intent; either way there is a decision record, chained to the one before."""
        limits = facts.in_force(state, self._limits, intent.ts_event_ns)
        share = share_lots(intent, limits)
        lots = min(intent.quantity_lots, share or intent.quantity_lots)
        case = Case(state, intent, limits, self._universe, lots)
        found = findings(case)
        state.parents.pop(intent.instrument, None)
        outputs: list[Out] = []
        if not found:
            parent = Parent(intent, lots, 1) if lots < intent.quantity_lots else None
            if parent is not None:
                state.parents[intent.instrument] = parent
            outputs.append(self._admit(case, intent, parent, sent_before=0))
        self._remember(case, found)
        return [self._record(state, intent, source, found, limits), *outputs]

    def _go_on(self, state: AdmissionState, instrument: str, source: Input) -> list[Out]:
        """What waits for this instrument to be free: its end by a kill, or the next child of a parent."""
        if state.session is not SessionState.READY or instrument in state.working or state.locks.get(instrument):
            return []
        if instrument in state.flattening:
            return self._flatten(state, instrument, source)
        parent = state.parents.get(instrument)
        mark = state.marks.get(instrument)
        if parent is None or mark is None or mark.ts_event_ns <= parent.intent.ts_event_ns:
            return []
        return self._next_child(state, parent, mark.ts_event_ns, source)

    def _next_child(self, state: AdmissionState, parent: Parent, now_ns: int, source: Input) -> list[Out]:
        """One child a bucket, by the same checks as any intent; one that is denied ends its parent."""
        intent = parent.intent
        left = intent.quantity_lots - parent.sent_lots
        bucket = (now_ns - intent.ts_event_ns) // intent.bucket_ns
        if left <= 0 or bucket > PARENT_LIFE_BUCKETS:
            del state.parents[intent.instrument]
            return []
        if parent.children > bucket:
            return []
        limits = facts.in_force(state, self._limits, now_ns)
        child = intent.model_copy(
            update={
                "intent_id": _digest(f"{intent.intent_id}|{parent.children}"),
                "quantity_lots": min(left, share_lots(intent, limits) or left),
                "position_lots": state.positions.get(intent.instrument, 0),
                "ts_event_ns": now_ns,
            }
        )
        case = Case(state, child, limits, self._universe, child.quantity_lots)
        found = findings(case)
        outputs: list[Out] = []
        if found:
            del state.parents[intent.instrument]
        else:
            outputs.append(self._admit(case, child, parent, sent_before=parent.sent_lots))
            parent.sent_lots += child.quantity_lots
            parent.children += 1
        self._remember(case, found)
        return [self._record(state, child, source, found, limits), *outputs]

    def _flatten(self, state: AdmissionState, instrument: str, source: Input) -> list[Out]:
        """Close a position that a kill wants closed: at each mark, until it is."""
        position, mark = state.positions.get(instrument, 0), state.marks.get(instrument)
        if position == 0:
            del state.flattening[instrument]
            return []
        if mark is None or mark.halted or self._limits.collar_frac is None:
            return []
        why = state.flattening[instrument]
        side: Side = "SELL" if position > 0 else "BUY"
        intent = OrderIntent(
            intent_id=_digest(f"flatten|{instrument}|{mark.ts_event_ns}|{position}"),
            strategy="flatten",
            instrument=instrument,
            side=side,
            quantity_lots=min(abs(position), self._limits.order_lots_max or abs(position)),
            arrival_bid_ticks=mark.bid_ticks,
            arrival_ask_ticks=mark.ask_ticks,
            position_lots=position,
            regime="storm",
            ts_event_ns=mark.ts_event_ns,
            ts_ingest_ns=mark.ts_event_ns,
            bucket_ns=1,
            inputs=(),
        )
        if intent.intent_id in state.recent:
            return []
        case = Case(state, intent, self._limits, self._universe, intent.quantity_lots)
        command = self._admit(case, intent, None, sent_before=0, reduces=True)
        self._remember(case, [])
        return [self._record(state, intent, source, [], self._limits, f" to flatten: {why}"), command]

    def _admit(
        self, case: Case, intent: OrderIntent, parent: Parent | None, *, sent_before: int, reduces: bool = False
    ) -> Out:
        """The command, under an order id of its own; its exposure counts from here on."""
        state = case.state
        command = OrderCommand(
            intent_id=intent.intent_id,
            order_id=state.next_order_id,
            instrument=intent.instrument,
            side=intent.side,
            quantity_lots=case.lots,
            limit_price=_cap(case),
            time_in_force="IOC",
            ts_event_ns=intent.ts_event_ns,
            ts_ingest_ns=intent.ts_ingest_ns,
            strategy=intent.strategy,
            reduces=reduces or case.reduces,
            parent_id=parent.intent.intent_id if parent else None,
            parent_lots=parent.intent.quantity_lots if parent else 0,
            parent_sent_lots=sent_before,
        )
        state.next_order_id += 1
        state.admitted += 1
        state.working[intent.instrument] = Working(intent.intent_id, intent.side, case.lots)
        return Out(ORDER_COMMANDS, intent.intent_id, command)

    def _remember(self, case: Case, found: list[Finding]) -> None:
        """Counters and windows after a decision; what is older than any intent may be is forgotten."""
        state, intent, limits = case.state, case.intent, case.limits
        now_ns, bucket_ns = intent.ts_event_ns, intent.bucket_ns
        for reason, _ in found:
            state.denied[reason] = state.denied.get(reason, 0) + 1
        if any(reason is Denial.REPEATED_EXECUTION for reason, _ in found):
            numbers = next(numbers for reason, numbers in found if reason is Denial.REPEATED_EXECUTION)
            state.throttled.setdefault(case.strategy_instrument, numbers)
        oldest_ns = now_ns - bucket_ns * ((limits.intent_age_buckets_max or 0) + PARENT_LIFE_BUCKETS)
        state.recent = {name: ts for name, ts in state.recent.items() if ts >= oldest_ns}
        state.recent[intent.intent_id] = now_ns
        if found:
            return
        window_ns = now_ns - bucket_ns * (limits.duplicate_window_buckets or 0)
        state.contents = {text: ts for text, ts in state.contents.items() if ts > window_ns}
        state.contents[content(intent)] = now_ns
        minute = now_ns // MINUTE_NS * MINUTE_NS
        state.rate = Window(minute, state.rate.count + 1 if state.rate.start_ns == minute else 1)
        repeats = state.repeats.get(case.strategy_instrument)
        if repeats is None or case.age_buckets(repeats.start_ns) >= (limits.repeat_window_buckets or 0):
            state.repeats[case.strategy_instrument] = Window(now_ns, 1)
        else:
            repeats.count += 1

    def _record(
        self,
        state: AdmissionState,
        intent: OrderIntent,
        source: Input,
        found: list[Finding],
        limits: Limits,
        more: str = "",
    ) -> Out:
        message = "; ".join(f"denied {reason}: {numbers} intent={intent.intent_id}" for reason, numbers in found)
        used = limits.model_dump(mode="json", exclude_none=True, exclude={"adv_lots"})
        record = DecisionRecord(
            intent_id=intent.intent_id,
            instrument=intent.instrument,
            admitted=not found,
            reasons=tuple(reason for reason, _ in found),
            message=message or f"admitted as order {state.next_order_id - 1}{more}",
            verdicts={str(stage): verdict.verdict.value for stage, verdict in sorted(state.verdicts.items())},
            inputs=(source, *intent.inputs),
            limits={name: str(value) for name, value in sorted(used.items())},
            configuration_hash=self._hash,
            ts_event_ns=intent.ts_event_ns,
            previous_hash=state.last_hash,
            record_hash="",
        )
        state.last_hash = chain_hash(record)
        return Out(DECISIONS, intent.intent_id, record.model_copy(update={"record_hash": state.last_hash}))


def chain_hash(record: DecisionRecord) -> str:
    """SHA-256 of a record without its own hash; it holds the hash of the record before, and so all of them."""
    return hashlib.sha256(record.model_copy(update={"record_hash": ""}).model_dump_json().encode()).hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _cap(case: Case) -> Decimal:
    """The limit of a marketable order: through the far side of the quote by the collar and no further."""
    spec, mark = INSTRUMENTS[case.intent.instrument], case.state.marks[case.intent.instrument]
    collar = Decimal(str(case.limits.collar_frac))
    if case.intent.side == "BUY":
        ticks = (mark.ask_ticks * (1 + collar)).to_integral_value(ROUND_DOWN)
    else:
        ticks = (mark.bid_ticks * (1 - collar)).to_integral_value(ROUND_UP)
    return spec.price(int(ticks))
