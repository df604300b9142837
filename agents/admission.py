"""Admission: may this intent become an order? One pure decision, closed by default.

Everything it needs arrives as messages: the session's state and the life of every order (`exec_reports`), prices
(`signal_events`), risk (`risk_events`), the account (`account_values`), kills and the switch (`control`), verdicts
(`gate_verdicts`), what every worker runs (`workers`). What has not arrived, or is too old, denies. An intent larger
than its share of the volume goes out in children, one a bucket; a kill that flattens closes positions once the
instrument's orders are over. An amend of a working order passes the controls of any order, with its new terms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from agents.controls import facts, journal
from agents.controls.case import Case, Finding, Identity, cap_ticks
from agents.controls.checks import findings
from agents.controls.exposure import share_lots
from agents.controls.state import AdmissionState, Parent, Working
from agents.parameters import Limits
from agents.spec import Out, Record, Step
from contracts.controls import Denial
from contracts.instruments import INSTRUMENTS
from contracts.market import Heartbeat, Side
from contracts.orders import (
    AmendCommand,
    AmendIntent,
    CancelCommand,
    CancelIntent,
    ExecutionReport,
    Input,
    OrderCommand,
    OrderIntent,
    SessionState,
)
from contracts.signals import SignalEvent
from contracts.topics import ORDER_COMMANDS
from tables.rows import TableSpec

ADMISSION = TableSpec("admission", AdmissionState, "session, switch, verdicts, marks, positions and locks, one row")

PARENT_LIFE_BUCKETS: Final = 30
"""A parent that has not gone out by then has missed its forecast; the portfolio decides anew each bucket anyway."""


def key(message: Any) -> str | None:
    return None if isinstance(message, Heartbeat) else "desk"


def make(limits: Limits, universe: Sequence[str], identity: Identity) -> Step:
    """The step with these limits; `identity` is what this worker runs, named in each decision."""
    desk = Admission(limits, frozenset(universe), identity)
    return desk.step


class Admission:
    """The step and its constants."""

    def __init__(self, limits: Limits, universe: frozenset[str], identity: Identity) -> None:
        self._limits = limits
        self._universe = universe
        self._identity = identity
        self._shown = journal.shown(limits)

    def step(self, state: AdmissionState | None, record: Record) -> tuple[AdmissionState, Sequence[Out]]:
        """An intent is decided on, anything else is learnt; marks and reports let waiting orders go on."""
        state = state or AdmissionState()
        message = record.message
        match message:
            case OrderIntent():
                return state, self.decide(state, message, record.input)
            case AmendIntent():
                return state, self._amend(state, message, record.input)
            case CancelIntent():
                return state, self._cancel(state, message, record.input)
        outputs = facts.learn(state, message, self._limits)
        if isinstance(message, SignalEvent | ExecutionReport):
            outputs += self._go_on(state, message.instrument, record.input)
        return state, outputs

    def decide(self, state: AdmissionState, intent: OrderIntent, source: Input) -> list[Out]:
        """Admit or deny one intent; either way there is a decision record, chained to the one before."""
        limits = facts.in_force(state, self._limits, intent.ts_event_ns)
        share = share_lots(state, intent, limits)
        lots = min(intent.quantity_lots, share or intent.quantity_lots)
        case = self._case(state, intent, limits, lots)
        found = findings(case)
        state.parents.pop(intent.instrument, None)
        outputs: list[Out] = []
        if not found:
            parent = Parent(intent, lots, 1) if lots < intent.quantity_lots else None
            if parent is not None:
                state.parents[intent.instrument] = parent
            outputs.append(self._admit(case, parent, sent_before=0))
        return [self._decided(case, intent, source, found), *outputs]

    def _amend(self, state: AdmissionState, amend: AmendIntent, source: Input) -> list[Out]:
        """New terms of a working order; until the gateway has spoken, the larger of both quantities counts."""
        working, mark = state.working.get(amend.instrument), state.marks.get(amend.instrument)
        terms = OrderIntent(
            intent_id=amend.intent_id,
            strategy=amend.strategy,
            instrument=amend.instrument,
            side="SELL" if working is not None and working.side == "SELL" else "BUY",
            quantity_lots=amend.quantity_lots,
            arrival_bid_ticks=mark.bid_ticks if mark else 1,
            arrival_ask_ticks=mark.ask_ticks if mark else 1,
            position_lots=state.positions.get(amend.instrument, 0),
            regime="calm",
            ts_event_ns=amend.ts_event_ns,
            ts_ingest_ns=amend.ts_ingest_ns,
            bucket_ns=amend.bucket_ns,
            inputs=amend.inputs,
            order_type="LIMIT",
            limit_price=amend.limit_price,
            time_in_force="DAY",
        )
        limits = facts.in_force(state, self._limits, amend.ts_event_ns)
        lots = amend.quantity_lots - (working.filled_lots if working is not None else 0)
        case = self._case(state, terms, limits, lots, amend)
        found = findings(case)
        record = self._decided(case, amend, source, found, f"admitted as an amend of intent {amend.amends}")
        if found or working is None:
            return [record]
        working.amend_id, working.amend_lots = amend.intent_id, amend.quantity_lots
        command = AmendCommand(
            intent_id=amend.amends,
            amend_id=amend.intent_id,
            instrument=amend.instrument,
            quantity_lots=amend.quantity_lots,
            limit_price=amend.limit_price,
            ts_ingest_ns=amend.ts_ingest_ns,
        )
        return [record, Out(ORDER_COMMANDS, amend.amends, command)]

    def _cancel(self, state: AdmissionState, cancel: CancelIntent, source: Input) -> list[Out]:
        """A cancel makes the desk safer, so no limit denies it: only that its strategy has no such order."""
        working = state.working.get(cancel.instrument)
        found: list[Finding] = []
        if working is None or working.intent_id != cancel.cancels or working.strategy not in ("", cancel.strategy):
            found = [(Denial.ORDER_NOT_WORKING, f"no order of intent {cancel.cancels} and {cancel.strategy} works")]
        text = f"admitted as a cancel of intent {cancel.cancels}"
        record = journal.decision(state, cancel, source, found, self._shown, self._identity, text)
        if found:
            return [record]
        journal.count_message(state, cancel.ts_event_ns)
        command = CancelCommand(intent_id=cancel.cancels, reason=f"{cancel.strategy} asks for it")
        return [record, Out(ORDER_COMMANDS, cancel.cancels, command)]

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
                "quantity_lots": min(left, share_lots(state, intent, limits) or left),
                "position_lots": state.positions.get(intent.instrument, 0),
                "ts_event_ns": now_ns,
            }
        )
        case = self._case(state, child, limits, child.quantity_lots)
        found = findings(case)
        outputs: list[Out] = []
        if found:
            del state.parents[intent.instrument]
        else:
            outputs.append(self._admit(case, parent, sent_before=parent.sent_lots))
            parent.sent_lots += child.quantity_lots
            parent.children += 1
        return [self._decided(case, child, source, found), *outputs]

    def _flatten(self, state: AdmissionState, instrument: str, source: Input) -> list[Out]:
        """Close a position that a kill wants closed: at each mark, until it is."""
        position, mark = state.positions.get(instrument, 0), state.marks.get(instrument)
        if position == 0:
            del state.flattening[instrument]
            return []
        if mark is None or mark.halted or self._limits.collar_frac is None:
            return []
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
        case = self._case(state, intent, self._limits, intent.quantity_lots)
        command = self._admit(case, None, sent_before=0, reduces=True)
        text = f"{self._admitted(state)} to flatten: {state.flattening[instrument]}"
        return [self._decided(case, intent, source, [], text), command]

    def _case(
        self, state: AdmissionState, intent: OrderIntent, limits: Limits, lots: int, amend: AmendIntent | None = None
    ) -> Case:
        return Case(state, intent, limits, self._universe, lots, self._identity, amend)

    def _admit(self, case: Case, parent: Parent | None, *, sent_before: int, reduces: bool = False) -> Out:
        """The command, under an order id of its own; its exposure counts from here on."""
        state, intent = case.state, case.intent
        command = OrderCommand(
            intent_id=intent.intent_id,
            order_id=state.next_order_id,
            instrument=intent.instrument,
            side=intent.side,
            quantity_lots=case.lots,
            limit_price=intent.limit_price or _cap(case),
            time_in_force=intent.time_in_force,
            ts_event_ns=intent.ts_event_ns,
            ts_ingest_ns=intent.ts_ingest_ns,
            order_type=intent.order_type,
            strategy=intent.strategy,
            reduces=reduces or case.reduces,
            parent_id=parent.intent.intent_id if parent else None,
            parent_lots=parent.intent.quantity_lots if parent else 0,
            parent_sent_lots=sent_before,
        )
        state.next_order_id += 1
        state.admitted += 1
        state.working[intent.instrument] = Working(
            intent.intent_id, intent.side, case.lots, strategy=intent.strategy, child=parent is not None
        )
        return Out(ORDER_COMMANDS, intent.intent_id, command)

    def _decided(
        self, case: Case, request: journal.Request, source: Input, found: list[Finding], admitted: str = ""
    ) -> Out:
        """Count and record a decision; what is older than any intent may be is forgotten."""
        intent, limits = case.intent, case.limits
        buckets = (limits.intent_age_buckets_max or 0) + PARENT_LIFE_BUCKETS
        journal.remember(case, found, intent.ts_event_ns - intent.bucket_ns * buckets)
        text = admitted or self._admitted(case.state)
        shown = self._shown if limits is self._limits else journal.shown(limits)
        return journal.decision(case.state, request, source, found, shown, self._identity, text)

    def _admitted(self, state: AdmissionState) -> str:
        return f"admitted as order {state.next_order_id - 1}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _cap(case: Case) -> Decimal:
    """The limit of a marketable order, and the price at which a market order is valued."""
    mark = case.state.marks[case.intent.instrument]
    collar_frac = float(case.limits.collar_frac or 0.0)
    return INSTRUMENTS[case.intent.instrument].price(cap_ticks(mark, case.intent.side, collar_frac))
