"""What was bought and what was sold, by our fold and by the drop copy: executions that cancel out are seen too."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

from agents import account
from agents.spec import Out
from agents.traded import GAP_NS
from contracts.breaks import PositionBreak
from contracts.controls import Alert, ResolveCommand
from contracts.orders import BrokerPosition, DropCopy, ExecutionReport, OrderState, SessionState
from contracts.topics import BROKER_EVENTS, EXEC_REPORTS
from tests.execution.order_parts import NOW_NS, ready, record
from tests.execution.test_controls_and_account import alive

EVERY_NS = 2_000_000_000


class Sides:
    """The account row, and a broker whose executions reach it, or do not."""

    def __init__(self) -> None:
        self.row: account.AccountRow | None = None
        self.said: list[Any] = []
        self.own, self.broker = {"BUY": 0, "SELL": 0}, {"BUY": 0, "SELL": 0}
        self.yesterday, self.now_ns = 0, NOW_NS
        for topic in (BROKER_EVENTS.name, EXEC_REPORTS.name):
            for state in (SessionState.SYNCING, SessionState.READY):
                self.tell(ready(1).model_copy(update={"state": state}), topic)

    def tell(self, message: Any, topic: str = BROKER_EVENTS.name) -> None:
        self.row, outputs = account.step(self.row, record(message, topic))
        self.said += [out.message for out in outputs if isinstance(out, Out)]

    def trade(self, side: Any, lots: int, *, heard: bool = True) -> None:
        self.broker[side] += lots
        if heard:
            self.hear(side, lots)

    def hear(self, side: Any, lots: int) -> None:
        self.own[side] += lots
        report = ExecutionReport(
            kind="FILL",
            intent_id="a" * 24,
            order_id=7,
            instrument="SPY",
            side=side,
            state=OrderState.FILLED,
            order_lots=lots,
            filled_lots=lots,
            fill_lots=lots,
            fill_price=Decimal("600.05"),
            exec_id=f"a.{sum(self.own.values())}.01",
            ts_ns=self.now_ns,
        )
        self.tell(report, EXEC_REPORTS.name)

    def copy(self, count: int = 1, *, position: int = 0, after_ns: int = EVERY_NS) -> list[bool]:
        """Drop copies; which breaks opened (true) and closed (false) so far."""
        for _ in range(count):
            self.now_ns += after_ns
            executions = sum(self.broker.values())
            held = self.broker["BUY"] - self.broker["SELL"] + position
            lots = ({"SPY": self.broker[side]} if self.broker[side] else {} for side in ("BUY", "SELL"))
            bought, sold = lots
            self.tell(
                DropCopy(
                    positions={"SPY": held} if held else {},
                    bought_lots=bought,
                    sold_lots=sold,
                    executions=executions,
                    ts_ns=self.now_ns,
                )
            )
            self.tell(alive())
        return [message.open for message in self.said if isinstance(message, PositionBreak)]


def test_two_executions_that_we_never_heard_of_and_that_cancel_out_lock_the_instrument() -> None:
    sides = Sides()
    sides.trade("BUY", 5)
    assert sides.copy(3) == []
    sides.trade("BUY", 2, heard=False)
    sides.trade("SELL", 2, heard=False)
    assert sides.copy(1) == [], "they may be on their way"
    assert sides.copy(4) == [True]
    (found,) = [message for message in sides.said if isinstance(message, Alert)]
    assert "ours bought 0 and sold 0, broker's 2 and 2, seen in the drop copy; SPY is locked" in found.text
    sides.hear("BUY", 2)
    sides.hear("SELL", 2)
    assert sides.copy(4) == [True, False], "they came late: the evidence ends it"


def test_an_operator_ends_it_and_a_new_day_does_not() -> None:
    sides = Sides()
    sides.trade("BUY", 5)
    sides.copy(3)
    sides.trade("SELL", 1, heard=False)
    sides.trade("BUY", 1, heard=False)
    assert sides.copy(2) == [True]
    sides.broker = {"BUY": 0, "SELL": 0}
    assert False not in sides.copy(3, position=5)
    sides.tell(BrokerPosition(instrument="SPY", position_lots=5, ts_ns=NOW_NS))
    sides.tell(ResolveCommand(instrument="SPY", operator="ann", reason="a person traded", ts_ns=NOW_NS))
    assert sides.copy(5, position=5)[-1] is False


def test_a_list_that_begins_anew_at_midnight_is_no_break() -> None:
    for night_ns in (EVERY_NS, GAP_NS + 1):
        sides = Sides()
        sides.trade("BUY", 5)
        sides.trade("SELL", 3)
        sides.copy(3)
        sides.broker = {"BUY": 0, "SELL": 0}
        sides.trade("BUY", 9 if night_ns > GAP_NS else 1)
        sides.trade("SELL", 4 if night_ns > GAP_NS else 1)
        sides.copy(1, position=2, after_ns=night_ns)
        assert sides.copy(3, position=2) == []
        sides.trade("SELL", 1, heard=False)
        sides.trade("BUY", 1, heard=False)
        assert sides.copy(3, position=2) == [True], "and from then on it is compared again"


def test_trading_in_any_rhythm_is_no_break_and_whatever_is_lost_is_one_soon_after_it_rests() -> None:
    for seed in range(60):
        rng, sides = random.Random(seed), Sides()
        late: list[tuple[str, int]] = []
        for _ in range(30):
            for _ in range(rng.choice((0, 0, 1, 3))):
                side, lots = rng.choice(("BUY", "SELL")), rng.randrange(1, 9)
                sides.trade(side, lots, heard=False)
                late.append((side, lots))
            while late and rng.random() < 0.8:
                sides.hear(*late.pop(0))
            if not late:
                assert False not in [not opened for opened in sides.copy()], f"seed {seed}"
        while late:
            sides.hear(*late.pop(0))
        assert sides.copy(3) == [], f"seed {seed}"
        lots = rng.randrange(1, 9)
        sides.trade("BUY", lots, heard=False)
        sides.trade("SELL", lots, heard=False)
        assert sides.copy(2) == [True], f"seed {seed}"
