"""The story of one order as lines for a person: which records belong to it, and what each of them says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from agents.admission import PARENT_LIFE_BUCKETS
from contracts.controls import (
    FLATTEN,
    DecisionRecord,
    KillCommand,
    ResetCommand,
    ResolveCommand,
    SwitchEvent,
    TradingState,
    covers,
)
from contracts.orders import (
    TERMINAL,
    AmendCommand,
    AmendIntent,
    BrokerCommission,
    BrokerExecution,
    BrokerStatus,
    CancelCommand,
    CancelIntent,
    ExecutionReport,
    Input,
    OrderCommand,
    OrderIntent,
    OrderSent,
)

CLOCKS_MS: Final = 2_000
"""An operator's clock may be ahead of the desk's: what ended an order is told also if it seems to have come after."""


class Entry(NamedTuple):
    """A record, when it was written (milliseconds since 1970 by its writer's clock), and what it says.

    A text stands for a record that does not fit its contract, and says why.
    """

    source: Input
    at_ms: int
    message: Any


class Circle:
    """The intents that a story is about: an order, the children it went out in, the amends and cancels of these.

    Asked for an amend or a cancel, the story is that of the order it is about; asked for a child, that of the child,
    which begins with the intent it was cut from.
    """

    def __init__(self, asked: str) -> None:
        self.asked = asked
        self.orders = {asked}
        self.parents: set[str] = set()
        self.requests: set[str] = set()

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(self.orders | self.parents | self.requests)

    def take(self, message: Any) -> None:
        """Learn who belongs together. What came before is to be taken again while `ids` change."""
        match message:
            case AmendIntent():
                self._request(message.intent_id, message.amends)
            case CancelIntent():
                self._request(message.intent_id, message.cancels)
            case AmendCommand():
                self._request(message.amend_id, message.intent_id)
            case DecisionRecord() if message.about is not None:
                self._request(message.intent_id, message.about)
            case DecisionRecord() | OrderCommand() if message.parent_id not in (None, message.intent_id):
                if message.intent_id == self.asked:
                    self.parents.add(message.parent_id)
                elif message.parent_id == self.asked:
                    self.orders.add(message.intent_id)

    def _request(self, intent_id: str, about: str) -> None:
        """What names itself, or each other in a circle, is followed once."""
        if intent_id == self.asked and about not in self.requests | {intent_id}:
            self.asked, self.orders = about, {about}
            self.requests.add(intent_id)
        elif about in self.orders | self.parents and intent_id not in self.orders:
            self.requests.add(intent_id)

    def tells(self, message: Any) -> bool:
        """Whether a message is part of the story."""
        if isinstance(message, str):
            return True
        named = {getattr(message, name, None) for name in ("intent_id", "amend_id")}
        if named & (self.orders | self.requests):
            return True
        return isinstance(message, OrderIntent) and message.intent_id in self.parents


class Interventions:
    """What people and the kill switch did while an order lived, and what was in force when it began."""

    def __init__(self, circle: Circle, entries: Sequence[Entry]) -> None:
        self._circle = circle
        self._begin_ms, self._end_ms = min(entry.at_ms for entry in entries), _end_ms(circle, entries)
        terms = [entry.message for entry in entries if hasattr(entry.message, "strategy")]
        # A stranger may have tried to amend or cancel it.
        terms.sort(key=lambda message: message.intent_id not in circle.orders)
        strategy: str = terms[0].strategy if terms else ""
        self._instrument: str = terms[0].instrument if terms else ""
        self._strategy = "" if strategy == FLATTEN else strategy  # what flattens is of any kill that does
        self._in_force: dict[str, Entry] = {}
        self._since: list[Entry] = []
        self._switch: tuple[TradingState, str] | None = None

    def take(self, entry: Entry) -> None:
        """Look at one record of `control`, in their order."""
        match entry.message:
            case KillCommand() | ResetCommand() if self._covers(entry.message.scope):
                self._note(entry, f"scope {entry.message.scope}", lifts=isinstance(entry.message, ResetCommand))
            case SwitchEvent() if (word := (entry.message.state, entry.message.reason)) != self._switch:
                self._switch = word
                self._note(entry, "switch", lifts=entry.message.state is TradingState.ACTIVE)
            case ResolveCommand() if entry.message.intent_id in self._circle.orders:
                self._since.append(entry)

    @property
    def entries(self) -> list[Entry]:
        before = sorted(self._in_force.values(), key=lambda entry: entry.source.offset)
        return before + self._since

    def _covers(self, scope: str) -> bool:
        orders = self._circle.orders | self._circle.parents
        return any(covers(scope, self._strategy, self._instrument, order) for order in orders)

    def _note(self, entry: Entry, key: str, *, lifts: bool) -> None:
        if entry.at_ms >= self._begin_ms:
            if self._end_ms is None or entry.at_ms <= self._end_ms + CLOCKS_MS:
                self._since.append(entry)
        elif lifts:
            self._in_force.pop(key, None)
        else:
            self._in_force[key] = entry


def _end_ms(circle: Circle, entries: Sequence[Entry]) -> int | None:
    """When the order is over and nothing can become of it any more; None while it is not.

    Of an intent that has not gone out whole, the next child may have been stopped until its time was over.
    """
    last_ms = max(entry.at_ms for entry in entries)
    states: dict[str, Any] = {}
    left: dict[str, int] = {}
    for _, _, message in entries:
        match message:
            case OrderCommand():
                states.setdefault(message.intent_id, None)
                if message.parent_id is not None:
                    rest = message.parent_lots - message.parent_sent_lots - message.quantity_lots
                    left[message.parent_id] = min(left.get(message.parent_id, rest), rest)
            case ExecutionReport():
                states[message.intent_id] = message.state
    if any(state not in TERMINAL for state in states.values()):
        return None
    for _, at_ms, message in entries:
        if isinstance(message, OrderIntent) and left.get(circle.asked, 0) > 0:
            last_ms = max(last_ms, at_ms + PARENT_LIFE_BUCKETS * message.bucket_ns // 1_000_000)
    return last_ms


def tell(entries: Sequence[Entry]) -> list[str]:
    """A line for each record and a few for a decision, in the order in which they were written."""
    lines: list[str] = []
    for source, at_ms, message in sorted(entries, key=lambda entry: entry.at_ms):
        place = f"{source.topic}/{source.partition}/{source.offset}"
        time = datetime.fromtimestamp(at_ms / 1e3, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        lines += [f"{time}  {place:<24} {line}" for line in said(message)]
    return lines


def said(message: Any) -> list[str]:
    """What a message says; nothing if it is not about orders."""
    match message:
        case str():
            return [f"does not fit its contract: {message}"]
        case OrderIntent() | AmendIntent() | CancelIntent():
            return [_wanted(message)]
        case DecisionRecord():
            return _decision(message)
        case OrderCommand() | AmendCommand() | CancelCommand():
            return [_command(message)]
        case OrderSent():
            return [f"order {message.order_id}: bytes given to the socket in session {message.epoch}"]
        case BrokerStatus():
            return [
                f"gateway: order {message.order_id} {message.status} (permanent id {message.perm_id}) {message.reason}"
            ]
        case BrokerExecution():
            text = f"{message.exec_id} filled {message.quantity_lots} at {message.price}"
            return [f"gateway: order {message.order_id}, {text}"]
        case BrokerCommission():
            return [f"gateway: commission {message.commission} {message.currency} of {message.exec_id}"]
        case ExecutionReport():
            settled = f", amend {message.amend_id} is settled" if message.amend_id else ""
            text = f"{message.state}, filled {message.filled_lots} of {message.order_lots}{settled} {message.reason}"
            return [f"{message.kind.lower()}: order {message.order_id} {text}"]
        case KillCommand() | ResetCommand() | ResolveCommand() | SwitchEvent():
            return [_intervention(message)]
    return []


def _wanted(message: OrderIntent | AmendIntent | CancelIntent) -> str:
    who = f"{message.strategy} wants"
    match message:
        case OrderIntent():
            quote = f"{message.arrival_bid_ticks} x {message.arrival_ask_ticks} ticks"
            text = f"to {message.side} {message.quantity_lots} {message.instrument}, quote {quote}"
            return f"intent: {who} {text}, position {message.position_lots}, regime {message.regime}"
        case AmendIntent():
            text = f"{message.quantity_lots} {message.instrument} at {message.limit_price}"
            return f"amend {message.intent_id} of {message.amends}: {who} {text}"
        case CancelIntent():
            return f"cancel {message.intent_id} of {message.cancels}: {who} it"


def _decision(message: DecisionRecord) -> list[str]:
    inputs = ", ".join(f"{i.topic}/{i.partition}/{i.offset}" for i in message.inputs)
    verdicts = ", ".join(f"{stage} {verdict}" for stage, verdict in message.verdicts.items())
    limits = ", ".join(f"{name}={value}" for name, value in message.limits.items())
    return [
        f"decision: {message.message}",
        f"  on {_terms(message)}",
        f"  rests on {inputs}",
        f"  gates {verdicts or 'none'}",
        f"  build {message.build[:12]}, configuration {message.configuration_hash[:12]}",
        f"  limits {limits}",
    ]


def _terms(message: DecisionRecord) -> str:
    """What a decision was made on, in one line."""
    name = f"{message.request.removesuffix('_intent')} {message.intent_id}"
    of = f" of {message.about}" if message.about else f", child of {message.parent_id}" if message.parent_id else ""
    asked = [message.side, message.quantity_lots or None, message.instrument, message.order_type]
    text = " ".join(str(term) for term in asked if term is not None)
    price = f" at {message.limit_price}" if message.limit_price is not None else ""
    admitted = f", {message.admitted_lots} lots admitted" if message.admitted_lots else ""
    return f"{name}{of}: {message.strategy} {text}{price} {message.time_in_force or ''}".rstrip() + admitted


def _command(message: OrderCommand | AmendCommand | CancelCommand) -> str:
    match message:
        case OrderCommand():
            child = f", child of {message.parent_id}" if message.parent_id else ""
            terms = "at market, valued at" if message.order_type == "MARKET" else "no worse than"
            text = f"{message.side} {message.quantity_lots} {message.instrument} {terms} {message.limit_price}"
            return f"order {message.order_id}: {text} {message.time_in_force}{child}"
        case AmendCommand():
            return f"amend {message.amend_id} goes out: {message.quantity_lots} lots at {message.limit_price}"
        case CancelCommand():
            return f"cancel of the order of {message.intent_id} goes out: {message.reason}"


def _intervention(message: KillCommand | ResetCommand | ResolveCommand | SwitchEvent) -> str:
    match message:
        case KillCommand():
            flatten = ", and positions are closed" if message.flatten else ""
            return f"kill of {message.scope} by {message.operator}: {message.reason}{flatten}"
        case ResetCommand():
            return f"reset of {message.scope} by {message.operator}: {message.reason}"
        case ResolveCommand():
            return f"resolved by {message.operator}: {message.reason}"
        case SwitchEvent():
            return f"switch {message.state} by {message.by}: {message.reason}"
