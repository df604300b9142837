"""What was bought and what was sold, both sides: executions that cancel out leave no trace in a position.

Our fold counts lots for ever, the broker lists a day. So from one drop copy at which nothing moved to the next, both
sides have to grow by the same lots.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from contracts.orders import DropCopy, ExecutionReport

Lots = tuple[int, int]
"""Bought, and sold."""

GAP_NS: Final = 60_000_000_000
"""Drop copies come every two seconds; after a gap the broker's list may be that of another day."""


@dataclass(slots=True)
class TradedLedger:
    """`own` is our side; `listed` both sides, ours first, at the last drop copy, which was of `listed_ns`; `agreed`
    when they last had grown alike. All by instrument.
    """

    own: dict[str, Lots] = field(default_factory=dict)
    listed: dict[str, tuple[Lots, Lots]] = field(default_factory=dict)
    listed_ns: int = 0
    agreed: dict[str, tuple[Lots, Lots]] = field(default_factory=dict)


def book(ledger: TradedLedger, report: ExecutionReport) -> None:
    """Take a fill or a correction into our side; a commission has no lots."""
    lots = report.fill_lots - report.replaced_lots
    bought, sold = ledger.own.get(report.instrument, (0, 0))
    ledger.own[report.instrument] = (bought + lots, sold) if report.side == "BUY" else (bought, sold + lots)


def compare(ledger: TradedLedger, copy: DropCopy, apart: Collection[str], breaks: Mapping[str, str]) -> dict[str, str]:
    """Instruments in which one side has traded more since both agreed, with both sides; not those `apart` in position.

    Only what stood still since the copy before is compared, and nothing with a list without any execution; an open
    break stays as it is meanwhile. The broker's list begins anew each day, and then so does the comparison, but for
    what is broken.
    """
    if not copy.executions or copy.ts_ns - ledger.listed_ns > GAP_NS:
        ledger.listed = {}
        ledger.agreed = {name: sides for name, sides in ledger.agreed.items() if name in breaks}
    ledger.listed_ns, found = copy.ts_ns, dict[str, str]()
    for name in sorted((ledger.own.keys() | copy.bought_lots.keys() | copy.sold_lots.keys()) - set(apart)):
        own = ledger.own.get(name, (0, 0))
        broker = copy.bought_lots.get(name, 0), copy.sold_lots.get(name, 0)
        before, ledger.listed[name] = ledger.listed.get(name), (own, broker)
        if before != (own, broker):
            found |= {name: breaks[name]} if name in breaks and name in ledger.agreed else {}
            continue
        agreed_own, agreed_broker = ledger.agreed.get(name, before)
        ours, theirs = _growth(own, agreed_own), _growth(broker, agreed_broker)
        if ours == theirs or (min(theirs) < 0 and name not in breaks):
            ledger.agreed[name] = before
        else:
            found[name] = f"executions: ours bought {ours[0]} and sold {ours[1]}, broker's {theirs[0]} and {theirs[1]}"
    return found


def _growth(now: Lots, then: Lots) -> Lots:
    return now[0] - then[0], now[1] - then[1]
