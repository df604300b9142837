"""Orders as the broker keeps them: the ticket a client sent, the order it became, and IB's graph of statuses."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from contracts.instruments import InstrumentSpec


class Status(enum.StrEnum):
    """IB's order statuses that a gateway sends (`ApiPending` and `PendingSubmit` live in the client)."""

    PRE_SUBMITTED = "PreSubmitted"
    SUBMITTED = "Submitted"
    PENDING_CANCEL = "PendingCancel"
    FILLED = "Filled"
    CANCELLED = "Cancelled"
    INACTIVE = "Inactive"


TERMINAL: Final = frozenset({Status.FILLED, Status.CANCELLED, Status.INACTIVE})

NEXT: Final[dict[Status | None, frozenset[Status]]] = {
    None: frozenset({Status.PRE_SUBMITTED, Status.SUBMITTED, Status.CANCELLED, Status.INACTIVE}),
    Status.PRE_SUBMITTED: frozenset(
        {Status.SUBMITTED, Status.PENDING_CANCEL, Status.FILLED, Status.CANCELLED, Status.INACTIVE}
    ),
    Status.SUBMITTED: frozenset(
        {Status.PRE_SUBMITTED, Status.PENDING_CANCEL, Status.FILLED, Status.CANCELLED, Status.INACTIVE}
    ),
    Status.PENDING_CANCEL: frozenset({Status.SUBMITTED, Status.FILLED, Status.CANCELLED}),
    Status.FILLED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.INACTIVE: frozenset({Status.PRE_SUBMITTED, Status.SUBMITTED}),
}
"""Which status may follow which. Submitted goes back to PreSubmitted when an amend turns an order into a stop;
Inactive revives when what held the order is gone (FAULTS.md G13)."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a client asked for. Prices in ticks, quantity in lots, `gtd_ns` the end of a GTD order."""

    client_id: int
    order_id: int
    spec: InstrumentSpec
    side: str
    lots: int
    order_type: str
    limit: int | None = None
    stop: int | None = None
    tif: str = "DAY"
    gtd_ns: int | None = None
    gtd_text: str = ""
    oca_group: str = ""
    oca_type: int = 0
    order_ref: str = ""
    parent_id: int = 0
    transmit: bool = True
    outside_rth: bool = False
    what_if: bool = False
    exchange: str = "SMART"


@dataclass(slots=True)
class Order:
    """An order at the broker; `filled` and `ticket.lots` in lots, `value` in the instrument's currency."""

    ticket: Ticket
    perm_id: int
    placed_ns: int
    status: Status | None = None
    filled: int = 0
    value: Decimal = Decimal(0)
    last_price: Decimal = Decimal(0)
    commission: Decimal = Decimal(0)
    executions: int = 0
    triggered: bool = False
    live: bool = False
    why_held: str = ""
    queue_ahead: int | None = None
    completed_ns: int = 0
    children: list[Order] = field(default_factory=list)

    @property
    def remaining(self) -> int:
        return self.ticket.lots - self.filled

    @property
    def done(self) -> bool:
        return self.status in TERMINAL

    @property
    def sign(self) -> int:
        return 1 if self.ticket.side == "BUY" else -1

    @property
    def average_price(self) -> Decimal:
        """Volume-weighted price of the fills, 8 decimals; 0 before the first."""
        if not self.filled:
            return Decimal(0)
        units = self.filled * self.ticket.spec.lot_size
        return (self.value / units).quantize(Decimal("1e-8"))

    def move(self, status: Status) -> None:
        """Change the status along IB's graph; an illegal change is a bug and raises AssertionError."""
        if status != self.status:
            assert status in NEXT[self.status], f"{self.status} -> {status} is not in IB's graph"
            self.status = status


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill. `exec_id` is `aaaaaaaa.bbbbbbbb.nn.mm`; a correction repeats all but the last part."""

    exec_id: str
    order: Order
    lots: int
    ticks: int
    ts_ns: int
    cumulative: int
    average_price: Decimal
    liquidity: int
    commission: Decimal
    realized_pnl: Decimal | None
