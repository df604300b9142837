"""The paper account: exact cash, positions with their cost basis, commissions, margin.

Commissions follow IB's fixed plan: stocks 0.005 USD a share, at least 1.00, at most 1 % of the trade value (the maximum
wins over the minimum); crypto 0.18 % of the value, at least 1.75. They are computed per order over its fills so far and
charged fill by fill, rounded to 4 decimals. The cost basis includes commissions, as IB's average cost does, so that
`equity = cash at the start + realized PnL + unrealized PnL` holds to the last digit.
Margin: stocks 50 % initial and 25 % maintenance of the position value (Regulation T); crypto is paid in full and not
sold short.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from contracts.instruments import InstrumentSpec

CENT4: Final = Decimal("0.0001")
BASIS_UNIT: Final = Decimal("1e-10")
INITIAL_MARGIN: Final = {"STK": Decimal("0.5"), "CRYPTO": Decimal(1)}
MAINTENANCE_MARGIN: Final = {"STK": Decimal("0.25"), "CRYPTO": Decimal(1)}

Marks = Callable[[InstrumentSpec], int]
"""The price in ticks at which an instrument is valued."""


def order_commission(spec: InstrumentSpec, lots: int, value: Decimal) -> Decimal:
    """Commission in USD of an order filled for `lots` worth `value`, 4 decimals."""
    if spec.sec_type == "CRYPTO":
        charge = max(Decimal("0.0018") * value, Decimal("1.75"))
    else:
        charge = min(max(Decimal("0.005") * lots * spec.lot_size, Decimal("1.00")), Decimal("0.01") * value)
    return charge.quantize(CENT4, ROUND_HALF_UP)


@dataclass(slots=True)
class Position:
    """Signed lots and what they cost (`basis`: cash paid, commissions included; negative for a short)."""

    spec: InstrumentSpec
    lots: int = 0
    basis: Decimal = Decimal(0)
    realized: Decimal = Decimal(0)

    @property
    def average_cost(self) -> Decimal:
        """Cost per unit, 8 decimals; 0 when flat."""
        return (self.basis / (self.lots * self.spec.lot_size)).quantize(Decimal("1e-8")) if self.lots else Decimal(0)

    def value(self, ticks: int) -> Decimal:
        return self.spec.notional(ticks, self.lots)

    def fill(self, lots: int, ticks: int, commission: Decimal) -> Decimal | None:
        """Book signed `lots` at a price; the PnL realized net of costs, or None when nothing was closed."""
        closing = min(abs(lots), abs(self.lots)) if lots * self.lots < 0 else 0
        flow = -self.spec.notional(ticks, lots) - commission
        if not closing:
            self.lots += lots
            self.basis -= flow
            return None
        fee = (commission * closing / abs(lots)).quantize(BASIS_UNIT)
        closed = closing if lots > 0 else -closing
        flow_closed = -self.spec.notional(ticks, closed) - fee
        released = self.basis
        if closing != abs(self.lots):
            released = (self.basis * closing / abs(self.lots)).quantize(BASIS_UNIT)
        self.basis -= released
        self.basis -= flow - flow_closed
        self.lots += lots
        realized = flow_closed - released
        self.realized += realized
        return realized


class Account:
    """Cash and positions of one paper account."""

    def __init__(self, name: str, cash: Decimal) -> None:
        self.name = name
        self.cash_start = cash
        self.cash = cash
        self.commissions = Decimal(0)
        self.positions: dict[str, Position] = {}

    def fill(self, spec: InstrumentSpec, lots: int, ticks: int, commission: Decimal) -> Decimal | None:
        """Book a fill of signed `lots`; the PnL it realized, or None."""
        self.cash -= spec.notional(ticks, lots) + commission
        self.commissions += commission
        return self.position(spec).fill(lots, ticks, commission)

    def position(self, spec: InstrumentSpec) -> Position:
        return self.positions.setdefault(spec.instrument, Position(spec))

    @property
    def realized(self) -> Decimal:
        return sum((position.realized for position in self.positions.values()), Decimal(0))

    def unrealized(self, marks: Marks) -> Decimal:
        return sum((p.value(marks(p.spec)) - p.basis for p in self.positions.values() if p.lots), Decimal(0))

    def equity(self, marks: Marks) -> Decimal:
        """Net liquidation value: cash and positions at their marks."""
        return self.cash + sum((p.value(marks(p.spec)) for p in self.positions.values() if p.lots), Decimal(0))

    def margin(self, marks: Marks, rates: dict[str, Decimal], change: dict[str, int] | None = None) -> Decimal:
        """Margin for all positions, after a `change` of signed lots by instrument."""
        total = Decimal(0)
        for position in self.positions.values():
            lots = position.lots + (change or {}).get(position.spec.instrument, 0)
            total += abs(position.spec.notional(marks(position.spec), lots)) * rates[position.spec.sec_type]
        return total
