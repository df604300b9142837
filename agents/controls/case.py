"""One request in front of the desk: what it asks for, what the desk knows, and what it would cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Any, NamedTuple

from agents.controls import clock
from agents.controls.state import AdmissionState, Mark, Working
from agents.parameters import Limits
from contracts.controls import Denial
from contracts.instruments import INSTRUMENTS, InstrumentSpec
from contracts.orders import AmendIntent, OrderIntent

Finding = tuple[Denial, str]


class Identity(NamedTuple):
    """What a worker runs: the hash of its source, and of the settings that decide trades."""

    build: str
    configuration_hash: str


@dataclass(slots=True)
class Case:
    """One intent; `lots` is the part of it that would go out now, `bucket_ns` the length of the desk's buckets.

    Of an amend, `intent` has the order's new terms, `lots` what of them is not filled, and `amend` the request itself;
    of a child, `parent_id` is the intent that it is a part of. `now_ns` is the newest event time that anybody has said,
    the intent too.
    """

    state: AdmissionState
    intent: OrderIntent
    limits: Limits
    universe: frozenset[str]
    lots: int
    identity: Identity
    bucket_ns: int
    amend: AmendIntent | None = None
    parent_id: str = ""
    now_ns: int = field(init=False)

    def __post_init__(self) -> None:
        self.now_ns = max(self.intent.ts_event_ns, clock.event_ns(self.state))

    @property
    def spec(self) -> InstrumentSpec | None:
        return INSTRUMENTS.get(self.intent.instrument)

    @property
    def mark(self) -> Mark | None:
        return self.state.marks.get(self.intent.instrument)

    @property
    def working(self) -> Working | None:
        return self.state.working.get(self.intent.instrument)

    @property
    def sign(self) -> int:
        return 1 if self.intent.side == "BUY" else -1

    @property
    def position(self) -> int:
        return self.state.positions.get(self.intent.instrument, 0)

    @property
    def reduces(self) -> bool:
        """Whether the order only makes the position smaller."""
        return self.position * self.sign < 0 and self.lots <= abs(self.position)

    @property
    def added_lots(self) -> int:
        """Lots by which an amend makes the order larger than any terms that may be in force; 0 of anything else."""
        working = self.working
        if self.amend is None or working is None:
            return 0
        return max(self.amend.quantity_lots - max(working.order_lots, working.amend_lots), 0)

    @property
    def strategy_instrument(self) -> str:
        return f"{self.intent.strategy}|{self.intent.instrument}"

    @property
    def order_intent_id(self) -> str:
        """The intent of the order that this is about."""
        return self.amend.amends if self.amend else self.intent.intent_id

    @property
    def order_intent_ids(self) -> tuple[str, ...]:
        """The intents by which a kill may name the order: its own and, of a child, its parent's."""
        own = self.order_intent_id
        return (own, self.working.parent_id) if self.amend and self.working else (own,)

    @property
    def content(self) -> str:
        """What makes two requests the same to a market."""
        intent, amend = self.intent, self.amend
        if amend is not None:
            return f"amend|{amend.amends}|{amend.quantity_lots}|{amend.limit_price}"
        text = f"{intent.strategy}|{intent.instrument}|{intent.side}|{intent.quantity_lots}"
        return text if intent.limit_price is None else f"{text}|{intent.limit_price}"

    def limit(self, name: str) -> tuple[Any, list[Finding]]:
        """A limit, or the finding that it is not set."""
        value = getattr(self.limits, name)
        return value, [(Denial.LIMIT_NOT_SET, name)] if value is None else []

    def age_buckets(self, then_ns: int) -> float:
        return (self.now_ns - then_ns) / self.bucket_ns

    def notional(self, lots: int) -> float:
        """Value in currency of so many lots at the worst price the order may pay; infinite without a price.

        A marketable limit pays the far side of the quote. A limit may pay its own price, a market order its cap.
        """
        spec, mark, intent = self.spec, self.mark, self.intent
        if spec is None or mark is None:
            return float("inf")
        ticks = far_ticks(mark, intent.side)
        if intent.limit_price is not None:
            ticks = max(ticks, spec.ticks(intent.limit_price))
        elif intent.order_type == "MARKET":
            if self.limits.collar_frac is None:
                return float("inf")
            ticks = cap_ticks(mark, intent.side, self.limits.collar_frac)
        return float(spec.notional(ticks, lots))


def far_ticks(mark: Mark, side: str) -> int:
    """The side of the quote that an order crosses to."""
    return mark.ask_ticks if side == "BUY" else mark.bid_ticks


def cap_ticks(mark: Mark, side: str, collar_frac: float) -> int:
    """Through the far side of the quote by the collar and no further; at least the smallest price there is."""
    collar = min(Decimal(str(collar_frac)), Decimal(1))
    if side == "BUY":
        return int((mark.ask_ticks * (1 + collar)).to_integral_value(ROUND_DOWN))
    return max(int((mark.bid_ticks * (1 - collar)).to_integral_value(ROUND_UP)), 1)


def over(reason: Denial, name: str, value: float, limit_name: str, limit: float | None) -> list[Finding]:
    """The finding that a value is over its limit, with both numbers; nothing without a limit."""
    if limit is None or value <= limit:
        return []
    return [(reason, f"{name}={value:.10g} {limit_name}={limit:.10g}")]
