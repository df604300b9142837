"""All that admission decides on, in one row."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from contracts.controls import GateVerdict, TradingState, WorkerState
from contracts.orders import Input, OrderIntent, OrderState, SessionState

OVERFILL: Final = "overfill "
"""Before an intent id: the lock of an order that is known to the last lot, only that these are too many."""


@dataclass(slots=True)
class Mark:
    """Last quote of an instrument, from the bucket that ended at `ts_event_ns` and came in at `ts_ingest_ns`.

    `volume_lots` is what traded in a bucket, on average over the last ones, of which there were `buckets`.
    """

    bid_ticks: int
    ask_ticks: int
    halted: bool
    ts_event_ns: int
    ts_ingest_ns: int
    volume_lots: float = 0.0
    buckets: int = 0


@dataclass(slots=True)
class Working:
    """An order that may still fill `lots`: its exposure counts from the claim until it ends.

    `amend_id` is an amend to `amend_lots` that is not settled: until then the larger of both quantities counts. Of a
    child `parent_id` is the intent that it is a part of. `cancel_ns` is when its cancel was asked for, in event time.
    """

    intent_id: str
    side: str
    order_lots: int
    filled_lots: int = 0
    strategy: str = ""
    parent_id: str = ""
    state: OrderState = OrderState.PENDING_SUBMIT
    amend_id: str = ""
    amend_lots: int = 0
    cancel_ns: int | None = None

    @property
    def lots(self) -> int:
        return max(max(self.order_lots, self.amend_lots) - self.filled_lots, 0)


@dataclass(slots=True)
class Parent:
    """An intent that goes out in children, and what of it went out so far."""

    intent: OrderIntent
    sent_lots: int = 0
    children: int = 0

    @property
    def left_lots(self) -> int:
        return self.intent.quantity_lots - self.sent_lots

    def child_id(self, number: int) -> str:
        """The intent of a child; the first one, number 0, has that of its parent."""
        return digest(f"{self.intent.intent_id}|{number}")

    def names(self, intent_id: str) -> bool:
        """Whether it is the intent itself or one of the children that went out."""
        own = self.intent.intent_id
        return intent_id == own or any(intent_id == self.child_id(number) for number in range(1, self.children))


@dataclass(slots=True)
class Window:
    """A count within a tumbling window that began at `start_ns`."""

    start_ns: int = 0
    count: int = 0


@dataclass(slots=True)
class Reference:
    """The mid (half ticks) at the beginning of a period, against which its prices are held."""

    start_ns: int
    mid_half_ticks: int


@dataclass(slots=True)
class Override:
    """Another value of one limit, until `expires_ts_event_ns`, and who is behind it."""

    value: float
    expires_ts_event_ns: int
    by: str


@dataclass(slots=True)
class Spent:
    """Buying power that the fills of one second took, in currency, and when the last of them came."""

    ts_ns: int
    usd: float


@dataclass(slots=True)
class AdmissionState:
    """What has arrived; what has not, denies.

    `kills` maps a scope to who and why, `flattening` those of them that close positions; `locks` an instrument to the
    reasons of its locks by their source (an intent id, one after OVERFILL, or "break"); `overfills` an intent id to the
    lots that its order filled beyond its size; `recent` an intent id to the time it was decided at, only as far back as
    an intent may be old; `throttled` what was repeated too often, latched.
    `workers` are those that say what they run; `cash_break` has both sides of a cash break while one is open; `spent`
    are fills that the broker's `buying_power_usd` may not have seen.
    `rate` are messages by the second of event time; `taken` the lots that went out to an instrument in a bucket.
    `heard` is where the newest word of each source stands.
    """

    session: SessionState = SessionState.DISCONNECTED
    session_ns: int = 0
    epoch: int = 0
    next_order_id: int = 1
    switch: TradingState | None = None
    kills: dict[str, str] = field(default_factory=dict)
    flattening: dict[str, str] = field(default_factory=dict)
    risk_ns: int | None = None
    pnl_usd: float | None = None
    pnl_start_usd: float = 0.0
    pnl_day: int = 0
    nav_usd: float | None = None
    account_ns: int | None = None
    account_nav_start_usd: float | None = None
    account_day: int = 0
    buying_power_usd: float = 0.0
    currency: str = ""
    spent: list[Spent] = field(default_factory=list)
    cash_break: str = ""
    workers: dict[str, WorkerState] = field(default_factory=dict)
    verdicts: dict[int, GateVerdict] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    references: dict[str, Reference] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    working: dict[str, Working] = field(default_factory=dict)
    locks: dict[str, dict[str, str]] = field(default_factory=dict)
    overfills: dict[str, int] = field(default_factory=dict)
    parents: dict[str, Parent] = field(default_factory=dict)
    recent: dict[str, int] = field(default_factory=dict)
    contents: dict[str, int] = field(default_factory=dict)
    rate: dict[int, int] = field(default_factory=dict)
    taken: dict[str, Window] = field(default_factory=dict)
    repeats: dict[str, Window] = field(default_factory=dict)
    throttled: dict[str, str] = field(default_factory=dict)
    overrides: dict[str, Override] = field(default_factory=dict)
    denied: dict[str, int] = field(default_factory=dict)
    admitted: int = 0
    last_hash: str = ""
    heard: dict[str, Input] = field(default_factory=dict)

    def flattened(self, instrument: str) -> str:
        """Who wants positions in this instrument closed, and why; empty if nobody does.

        Positions are the desk's, not a strategy's: flattening a strategy closes what it may have opened, all of them.
        """
        for scope, why in self.flattening.items():
            kind, _, name = scope.partition(":")
            if kind != "instrument" or name == instrument:
                return why
        return ""

    def in_doubt(self, instrument: str) -> bool:
        """Whether it is not sure what is held, or what may still fill: no order may go out, not even to close it."""
        return any(not source.startswith(OVERFILL) for source in self.locks.get(instrument, {}))


def digest(text: str) -> str:
    """The intent id of what admission asks for by itself."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def opened(before_lots: int, after_lots: int) -> int:
    """Lots by which a position grows, long or short; 0 if it becomes smaller."""
    return max(abs(after_lots) - abs(before_lots), 0)
