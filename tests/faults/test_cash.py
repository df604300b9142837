"""Cash against the simulated gateway's account: equal after real trading, and a difference locks the account."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from agents import ledger
from contracts import topics as t
from contracts.controls import DecisionRecord, Denial, ResolveCommand
from tests.faults.desk_harness import MiniDesk, mini_desk

pytestmark = pytest.mark.slow


def own(desk: MiniDesk) -> ledger.CashLedger:
    found: ledger.CashLedger = desk.rows["account"]["desk"].own_cash
    return found


async def test_after_fills_commissions_and_a_correction_both_sides_are_equal_to_the_cent() -> None:
    async with mini_desk() as desk:
        for number in range(6):
            desk.mark()
            desk.intend(side="BUY" if number % 2 else "SELL", lots=10 + number)
            await desk.until(lambda n=number: not desk.open_orders() and len(desk.seen.executions) > n, "the fill")
        gateway = desk.gateway.gateway
        corrected = gateway.office.correct(gateway.broker.executions[0], 10_003)
        gateway.on_execution(corrected)
        await desk.until(lambda: own(desk).cash == gateway.account.cash, "the same cash on both sides")
        await desk.until(lambda: own(desk).earlier == [], "that the two were compared")
        assert own(desk).apart_since_ns == 0


async def test_money_that_nobody_can_explain_locks_the_account_until_a_named_operator_settles_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger, "APART_NS", 1_000_000_000)
    async with mini_desk() as desk:
        await desk.until(lambda: own(desk).base is not None, "our side")
        desk.gateway.gateway.account.cash -= Decimal("12.34")
        desk.intend("QQQ")  # the gateway tells the account when a position changes
        await desk.until(lambda: own(desk).open, "the break")
        assert "CASH_BREAK" in [alert.code for _, alert in desk.alerts]
        desk.mark()
        intent = desk.intend()
        await desk.until(lambda: intent in desk.decided, "a decision")
        decision = [m for _, _, m in desk.log if isinstance(m, DecisionRecord)][-1]
        assert decision.reasons == (Denial.ACCOUNT_LOCKED,)
        assert f"ours {own(desk).cash:f}" in decision.message
        assert f"broker's {desk.gateway.gateway.account.cash:.2f}" in decision.message
        resolve = ResolveCommand(operator="Ada", reason="a fee", cash=True, ts_ns=time.time_ns())
        desk.say(t.CONTROL, "switch", resolve)
        await desk.until(lambda: not own(desk).open, "the end of the break")
        desk.mark()
        intent = desk.intend(lots=11)
        await desk.until(lambda: intent in desk.decided, "a decision")
        assert desk.decided[intent]
        await desk.settled()
