"""Admission: may this intent become an order? One pure decision, closed by default.

Everything it needs arrives as messages: the session's state and the life of every order (`exec_reports`), prices
(`signal_events`), risk (`risk_events`), the account (`account_values`), kills and the switch (`control`), verdicts
(`gate_verdicts`), what every worker runs (`workers`). What has not arrived, or is too old, denies. An intent larger
than its share of the volume goes out in children, one a bucket; a kill that flattens closes positions once the
instrument's orders are over. An amend of a working order passes the controls of any order, with its new terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from agents.controls import clock, counters, facts, journal
from agents.controls.case import Case, Finding, Identity, cap_ticks
from agents.controls.checks import findings, order_id_left
from agents.controls.exposure import left_lots
from agents.controls.overrides import in_force
from agents.controls.state import AdmissionState, Mark, Parent, Working, digest
from agents.parameters import Limits, Market
from agents.spec import Out, Record, Step
from contracts.controls import FLATTEN, Denial, KillCommand, covers
from contracts.instruments import INSTRUMENTS
from contracts.market import Heartbeat, Side
from contracts.orders import (
    CANCEL_AGAIN_NS,
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


QUANTITY_MAX: Final = 2**53 - 1
"""Most lots of one order on the wire."""


def key(message: Any) -> str | None:
    return None if isinstance(message, Heartbeat) else "desk"


def make(limits: Limits, market: Market, identity: Identity) -> Step:
    """The step with these limits; `identity` is what this worker runs, named in each decision."""
    desk = Admission(limits, frozenset(market.universe), identity, market.bucket_ns)
    return desk.step


class Admission:
    """The step and its constants."""

    def __init__(self, limits: Limits, universe: frozenset[str], identity: Identity, bucket_ns: int) -> None:
        self._limits = limits
        self._universe = universe
        self._identity = identity
        self._bucket_ns = bucket_ns
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
        journal.hear(state, message, record.input)
        outputs = facts.learn(state, message, self._limits)
        if isinstance(message, KillCommand):
            outputs += _cancel_children(state, message)
            for name, working in state.working.items():
                # What the kill covers the latch cancels, with one message for the whole account.
                if not covers(message.scope, working.strategy, name, working.intent_id):
                    outputs += _make_way(state, name)
        if isinstance(message, SignalEvent | ExecutionReport):
            outputs += self._go_on(state, message.instrument, record.input)
        return state, outputs

    def decide(self, state: AdmissionState, intent: OrderIntent, source: Input) -> list[Out]:
        """Admit or deny one intent; either way there is a decision record, chained to the one before."""
        limits = in_force(state, self._limits)
        lots = min(intent.quantity_lots, left_lots(state, intent, limits) or intent.quantity_lots)
        case = self._case(state, intent, limits, lots)
        found = findings(case)
        _supersede(state, intent, found)
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
        limits = in_force(state, self._limits)
        lots = amend.quantity_lots - (working.filled_lots if working is not None else 0)
        case = self._case(state, terms, limits, lots, amend)
        found = findings(case)
        record = self._decided(case, amend, source, found, f"admitted as an amend of intent {amend.amends}")
        if found or working is None:
            return [record]
        counters.take_lots(state, amend.instrument, case.added_lots, self._bucket_ns)
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
        """A cancel makes the desk safer, so no limit denies it, only that there is no such order or it comes again.

        One that names an intent which goes out in children, or one of these, ends all of it: the child that works, and
        those to come also while none works.
        """
        working, parent = state.working.get(cancel.instrument), state.parents.get(cancel.instrument)
        works = (
            working is not None
            and cancel.cancels in (working.intent_id, working.parent_id)
            and working.strategy in ("", cancel.strategy)
        )
        goes_on = parent is not None and parent.intent.strategy == cancel.strategy and parent.names(cancel.cancels)
        age_ns = counters.cancel_age_ns(state, working) if works and working is not None else None
        works = works and age_ns is None
        found = _cancel_findings(state, cancel, None if goes_on else age_ns)
        if not found and not works and not goes_on:
            found = [(Denial.ORDER_NOT_WORKING, f"no order of intent {cancel.cancels} and {cancel.strategy} works")]
        ends = " and ".join(["its working order"] * works + ["its children to come"] * goes_on)
        text = f"admitted as a cancel of intent {cancel.cancels}: {ends}"
        outputs = [journal.decision(state, cancel, source, found, self._shown, self._identity, text)]
        if found:
            return outputs  # and is not remembered: a storm of cancels would make the row too large to write
        counters.remember_intent(state, cancel.intent_id, self._oldest_ns(state, in_force(state, self._limits)))
        if goes_on:
            del state.parents[cancel.instrument]
        if works and working is not None:
            outputs.append(_ask_for_cancel(state, working, f"{cancel.strategy} asks for it"))
        return outputs

    def _go_on(self, state: AdmissionState, instrument: str, source: Input) -> list[Out]:
        """What waits for this instrument to be free: its end by a kill, or the next child of a parent."""
        if instrument in state.working:
            return _make_way(state, instrument)
        if state.session is not SessionState.READY or state.in_doubt(instrument):
            return []
        if state.flattened(instrument):
            return self._flatten(state, instrument, source)
        if state.locks.get(instrument):
            return []
        parent = state.parents.get(instrument)
        mark = state.marks.get(instrument)
        if parent is None or mark is None or mark.ts_event_ns <= parent.intent.ts_event_ns:
            return []
        return self._next_child(state, parent, mark, source)

    def _next_child(self, state: AdmissionState, parent: Parent, mark: Mark, source: Input) -> list[Out]:
        """One child a bucket, of its own time and by the same checks as any intent; one denied ends its parent.

        It waits while nothing is left of the share of this bucket.
        """
        intent, now_ns = parent.intent, mark.ts_event_ns
        left = parent.left_lots
        bucket = (now_ns - intent.ts_event_ns) // self._bucket_ns
        if left <= 0 or bucket > PARENT_LIFE_BUCKETS:
            del state.parents[intent.instrument]
            return []
        limits = in_force(state, self._limits)
        share = left_lots(state, intent, limits)
        if parent.children > bucket or share == 0:
            return []
        child = intent.model_copy(
            update={
                "intent_id": parent.child_id(parent.children),
                "quantity_lots": min(left, share or left),
                "position_lots": state.positions.get(intent.instrument, 0),
                "ts_event_ns": now_ns,
                "ts_ingest_ns": max(intent.ts_ingest_ns, mark.ts_ingest_ns),
            }
        )
        case = self._case(state, child, limits, child.quantity_lots)
        case.parent_id = intent.intent_id
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
        """Close a position that a kill wants closed: whenever there is one, at each mark, while the kill is in force.

        An order that filled too much does not keep its position from being closed: it is over and counted to the last
        lot. What is in doubt does, as closing it could open the opposite.
        """
        position, mark = state.positions.get(instrument, 0), state.marks.get(instrument)
        limits = in_force(state, self._limits)
        if position == 0 or mark is None or mark.halted or limits.collar_frac is None:
            return []
        if any(covers(scope, FLATTEN, instrument, "") for scope in state.kills.keys() - state.flattening.keys()):
            return []  # it would not go out, and be asked for again at the next mark
        side: Side = "SELL" if position > 0 else "BUY"
        intent = OrderIntent(
            intent_id=digest(f"flatten|{instrument}|{mark.ts_event_ns}|{position}"),
            strategy=FLATTEN,
            instrument=instrument,
            side=side,
            quantity_lots=min(abs(position), limits.order_lots_max or QUANTITY_MAX, QUANTITY_MAX),
            arrival_bid_ticks=mark.bid_ticks,
            arrival_ask_ticks=mark.ask_ticks,
            position_lots=position,
            regime="storm",
            ts_event_ns=mark.ts_event_ns,
            ts_ingest_ns=mark.ts_ingest_ns,
            bucket_ns=self._bucket_ns,
            inputs=(),
        )
        if intent.intent_id in state.recent:
            return []
        case = self._case(state, intent, limits, intent.quantity_lots)
        if found := order_id_left(case):
            return [self._decided(case, intent, source, found)]
        command = self._admit(case, None, sent_before=0)
        text = f"{self._admitted(state)} to flatten: {state.flattened(instrument)}"
        return [self._decided(case, intent, source, [], text), command]

    def _case(
        self, state: AdmissionState, intent: OrderIntent, limits: Limits, lots: int, amend: AmendIntent | None = None
    ) -> Case:
        return Case(state, intent, limits, self._universe, lots, self._identity, self._bucket_ns, amend)

    def _admit(self, case: Case, parent: Parent | None, *, sent_before: int) -> Out:
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
            parent_id=parent.intent.intent_id if parent else None,
            parent_lots=parent.intent.quantity_lots if parent else 0,
            parent_sent_lots=sent_before,
        )
        counters.take_lots(state, intent.instrument, case.lots, self._bucket_ns)
        state.next_order_id += 1
        state.admitted += 1
        state.working[intent.instrument] = Working(
            intent.intent_id,
            intent.side,
            case.lots,
            strategy=intent.strategy,
            parent_id=parent.intent.intent_id if parent else "",
        )
        return Out(ORDER_COMMANDS, intent.intent_id, command)

    def _decided(
        self, case: Case, request: journal.Request, source: Input, found: list[Finding], admitted: str = ""
    ) -> Out:
        """Count and record a decision; what is older than any intent may be is forgotten."""
        limits = case.limits
        counters.remember(case, found, self._oldest_ns(case.state, limits))
        text = admitted or self._admitted(case.state)
        shown = self._shown if limits is self._limits else journal.shown(limits)
        adv_lots = (limits.adv_lots or {}).get(case.intent.instrument)
        if adv_lots is not None:
            shown = {**shown, "adv_lots": str(adv_lots)}
        return journal.decision(case.state, request, source, found, shown, self._identity, text, case)

    def _oldest_ns(self, state: AdmissionState, limits: Limits) -> int:
        """What was decided before then is too old to come again."""
        buckets = (limits.intent_age_buckets_max or 0) + PARENT_LIFE_BUCKETS
        return clock.event_ns(state) - self._bucket_ns * buckets

    def _admitted(self, state: AdmissionState) -> str:
        return f"admitted as order {state.next_order_id - 1}"


def _supersede(state: AdmissionState, intent: OrderIntent, found: list[Finding]) -> None:
    """A strategy's newer intent takes the place of what is left of its parent; one that came before does not."""
    parent = state.parents.get(intent.instrument)
    again = any(reason in (Denial.DUPLICATE_INTENT, Denial.DUPLICATE_CONTENT) for reason, _ in found)
    if parent is not None and (parent.left_lots <= 0 or (parent.intent.strategy == intent.strategy and not again)):
        del state.parents[intent.instrument]


def _cancel_findings(state: AdmissionState, cancel: CancelIntent, age_ns: int | None) -> list[Finding]:
    """What was asked for already is no news to the gateway, which counts each message; a flatten is nobody's to end."""
    if cancel.strategy == FLATTEN:
        return [(Denial.STRATEGY_NOT_ALLOWED, f"strategy={FLATTEN}: a reset, by name, ends a flatten")]
    if cancel.intent_id in state.recent:
        return [(Denial.DUPLICATE_INTENT, "the same intent was decided before")]
    if age_ns is None:
        return []
    numbers = f"cancel_age_s={age_ns / 1e9:.10g} cancel_again_s={CANCEL_AGAIN_NS / 1e9:.10g}"
    return [(Denial.DUPLICATE_INTENT, f"{numbers}: the cancel of {cancel.cancels} is on its way")]


def _ask_for_cancel(state: AdmissionState, working: Working, reason: str) -> Out:
    """The cancel of an order that works; it counts as a message."""
    counters.count_message(state)
    working.cancel_ns = clock.event_ns(state)
    return Out(ORDER_COMMANDS, working.intent_id, CancelCommand(intent_id=working.intent_id, reason=reason))


def _cancel_children(state: AdmissionState, kill: KillCommand) -> list[Out]:
    """A kill of an intent that goes out in children covers the one that works, which has a name of its own."""
    return [
        _ask_for_cancel(state, working, f"{kill.operator} killed intent {working.parent_id}")
        for working in state.working.values()
        if working.parent_id and kill.scope == f"order:{working.parent_id}"
    ]


def _make_way(state: AdmissionState, instrument: str) -> list[Out]:
    """A flatten waits for no order of another strategy: one that rests for the day may fill after all was closed."""
    working, why = state.working[instrument], state.flattened(instrument)
    if not why or working.strategy == FLATTEN or counters.cancel_age_ns(state, working) is not None:
        return []
    return [_ask_for_cancel(state, working, f"it is in the way of a flatten: {why}")]


def _cap(case: Case) -> Decimal:
    """The limit of a marketable order, and the price at which a market order is valued."""
    mark = case.state.marks[case.intent.instrument]
    collar_frac = float(case.limits.collar_frac or 0.0)
    return INSTRUMENTS[case.intent.instrument].price(cap_ticks(mark, case.intent.side, collar_frac))
