"""Cash, both sides: what the broker says the account has, and what our fills and commissions make of it.

The broker's word lags, by seconds while we trade and by up to three minutes when IB sees no reason to send account
values. So it has to be the cash that we have, or one that we had a while ago: it moves along the line of our balances.
A word that is none of them, for a minute, is a break. It is one of the whole account, as no instrument can be blamed:
admission denies all but orders that make a position smaller. It ends when the word is one of our balances again, or by
a named operator, who knows of what no execution tells: a deposit, a dividend, a fee.

Our side begins with the word of the first snapshot: no order is sent before it is complete.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal

from agents.spec import Out
from contracts.breaks import CashBreak
from contracts.controls import Alert, ResolveCommand
from contracts.instruments import INSTRUMENTS
from contracts.orders import ExecutionReport
from contracts.topics import ALERTS, EXEC_REPORTS

LAG_NS: Final = 200_000_000_000
"""Three minutes between two words of IB on the account, and some seconds."""

APART_NS: Final = 60_000_000_000
"""Our bookings may come in another order than the broker's, so that a single word need not be one of our balances."""

EARLIER_MAX: Final = 500
"""Balances kept while the broker's word stands still; a busy desk makes some ten between two words."""

ROUNDING: Final = Decimal("0.005")
"""The broker books to the cent, we exactly: half a cent for each booking, and for the balance it shows."""


@dataclass(slots=True)
class CashLedger:
    """Our cash is `base + flow`; `base` is None before the broker has named its own for the first time.

    `first_word` is what the broker had said, and `first_flow` what we had booked, when a snapshot was complete.
    `earlier` has what `flow` was, and until when, since the broker's word last was one of our balances;
    `apart_since_ns` is when it was first seen to be none of them, 0 while it is; `open` says that this is a break.
    """

    base: Decimal | None = None
    flow: Decimal = Decimal(0)
    first_word: Decimal | None = None
    first_flow: Decimal = Decimal(0)
    earlier: list[tuple[int, Decimal]] = field(default_factory=list)
    apart_since_ns: int = 0
    open: bool = False

    @property
    def cash(self) -> Decimal:
        return (self.base or Decimal(0)) + self.flow


def book(ledger: CashLedger, report: ExecutionReport) -> None:
    """Take a fill, a correction or a commission into our side."""
    ledger.earlier = [*ledger.earlier[1 - EARLIER_MAX :], (report.ts_ns, ledger.flow)]
    if report.kind == "COMMISSION":
        ledger.flow -= report.commission or Decimal(0)
        return
    value = (report.fill_price or Decimal(0)) * report.fill_lots
    value -= (report.replaced_price or Decimal(0)) * report.replaced_lots
    value *= INSTRUMENTS[report.instrument].lot_size
    ledger.flow += value if report.side == "SELL" else -value


def begin(ledger: CashLedger) -> None:
    """The first snapshot is complete on both sides."""
    if ledger.base is None and ledger.first_word is not None:
        ledger.base = ledger.first_word - ledger.first_flow


def compare(ledger: CashLedger, broker_cash: Decimal, ts_ns: int) -> list[Out]:
    """Hold the broker's word against our balances; a break that opens or ends."""
    own = ledger.cash
    if ledger.base is None or _moves_along(ledger, ledger.base, broker_cash, ts_ns):
        ledger.base = broker_cash - ledger.flow if ledger.base is None else ledger.base
        was_open, ledger.open, ledger.apart_since_ns = ledger.open, False, 0
        return [_break(ledger, own, broker_cash, "account", "both sides agree", ts_ns)] if was_open else []
    ledger.apart_since_ns = ledger.apart_since_ns or ts_ns
    if ledger.open or ts_ns - ledger.apart_since_ns < APART_NS:
        return []
    ledger.open = True
    text = f"ours {own}, broker's {broker_cash}, apart by {broker_cash - own} for {APART_NS // 10**9} s"
    alert = Alert(
        severity="CRITICAL",
        code="CASH_BREAK",
        subject="cash of the account",
        text=f"{text}; only orders that make a position smaller pass",
        owner="trading desk",
        ts_ns=ts_ns,
    )
    return [_break(ledger, own, broker_cash, "account", text, ts_ns), Out(ALERTS, alert.code, alert)]


def _moves_along(ledger: CashLedger, base: Decimal, broker_cash: Decimal, ts_ns: int) -> bool:
    """Whether the broker's word is our balance now, or one that was not too long ago; those before it are forgotten.

    The base takes over what rounding has made of it, so that rounding does not add up.
    """
    tolerance = ROUNDING * (len(ledger.earlier) + 2)
    flows = [ledger.flow, *(flow for until_ns, flow in reversed(ledger.earlier) if until_ns >= ts_ns - LAG_NS)]
    for back, flow in enumerate(flows):
        if abs(broker_cash - base - flow) <= tolerance:
            ledger.base = broker_cash - flow
            ledger.earlier = ledger.earlier[len(ledger.earlier) - back :]
            return True
    return False


def resolve(ledger: CashLedger, broker_cash: Decimal, command: ResolveCommand) -> list[Out]:
    """A named operator says that the broker is right, about a break or about a difference that would become one."""
    if not ledger.apart_since_ns:
        return []
    own = ledger.cash
    ledger.base, ledger.earlier, ledger.apart_since_ns, ledger.open = broker_cash - ledger.flow, [], 0, False
    return [_break(ledger, own, broker_cash, "operator", f"{command.operator}: {command.reason}", command.ts_ns)]


def _break(
    ledger: CashLedger, own: Decimal, broker: Decimal, source: Literal["account", "operator"], reason: str, ts_ns: int
) -> Out:
    found = CashBreak(own_cash=own, broker_cash=broker, open=ledger.open, source=source, reason=reason, ts_ns=ts_ns)
    return Out(EXEC_REPORTS, "cash", found)
