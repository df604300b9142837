"""Where our books and the broker's are apart, until evidence or a named operator settles it."""

from __future__ import annotations

from typing import Literal

from contracts.base import Message, Money, TimeNs, Whole
from contracts.instruments import KnownInstrument


class PositionBreak(Message):
    """Our fold of the executions and the broker's count of a position differ, or (`open` false) no longer do."""

    type: Literal["position_break"] = "position_break"
    instrument: KnownInstrument
    own_lots: Whole
    broker_lots: Whole
    open: bool
    source: Literal["snapshot", "drop_copy", "operator"]
    reason: str
    ts_ns: TimeNs


class CashBreak(Message):
    """The broker's cash and ours (fills and commissions) differ, or (`open` false) no longer do; account currency."""

    type: Literal["cash_break"] = "cash_break"
    own_cash: Money
    broker_cash: Money
    open: bool
    source: Literal["account", "operator"]
    reason: str
    ts_ns: TimeNs
