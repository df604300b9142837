"""C20: who may change a limit, and until when; C6: whose reset lifts a throttle."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.controls import Alert, Denial, LimitOverride, ResetCommand
from contracts.orders import SessionEvent, SessionState
from tests.execution.admission_parts import (
    BUCKET_NS,
    LIMITS,
    Front,
    account,
    fleet,
    intent,
    kill,
    mark,
    report,
    risk,
    verdict,
)
from tests.execution.order_parts import NOW_NS

D = Denial


def override(
    value: float, operator: str = "Ada", approver: str = "", lives: int = 50, limit: str = "order_lots_max"
) -> LimitOverride:
    return LimitOverride(
        limit=limit,
        value=value,
        operator=operator,
        approver=approver,
        reason="a test",
        expires_ts_event_ns=NOW_NS + lives * BUCKET_NS,
        ts_ns=NOW_NS,
    )


def refused(front: Front, order: LimitOverride) -> bool:
    alerts = [out.message for out in front.tell(order)]
    assert all(isinstance(alert, Alert) for alert in alerts)
    return bool(alerts)


@pytest.mark.parametrize("second", [6.0, 9.0, 100_000.0])
def test_what_one_person_tightened_no_other_one_raises_again_alone(second: float) -> None:
    """Not even to less than the limit that was set: it is in force what Ada said."""
    front = Front()
    assert not refused(front, override(5.0))
    assert refused(front, override(second, "Bob"))
    assert front.decide(intent(1))[0].reasons == (D.QUANTITY_EXCEEDS_MAXIMUM,)
    assert not refused(front, override(4.0, "Bob"))
    assert not refused(front, override(11.0, "Bob", "Ada"))
    assert front.decide(intent(2))[0].admitted


def test_what_one_person_tightened_no_other_one_ends_sooner_alone() -> None:
    front = Front()
    assert not refused(front, override(5.0, lives=50))
    assert refused(front, override(5.0, "Bob", lives=1))
    assert refused(front, override(4.0, "Bob", lives=-1))
    assert not refused(front, override(4.0, "Bob", lives=60))
    assert not refused(front, override(4.0, "Bob", "Ada", lives=-1))
    assert front.decide(intent(1))[0].admitted


def test_what_two_persons_raised_no_single_one_prolongs() -> None:
    front = Front(limits=LIMITS.model_copy(update={"order_lots_max": 9}))
    assert not refused(front, override(20.0, "Ada", "Bob", lives=5))
    assert refused(front, override(20.0, "Ada", lives=6))
    assert not refused(front, override(15.0, "Ada", lives=5)), "to lower it again needs one"
    front.tell(mark(later=5), risk(-5))
    assert front.decide(intent(1, later=5))[0].reasons == (D.QUANTITY_EXCEEDS_MAXIMUM,)


@pytest.mark.parametrize("approver", ["", "  ", "ada", "Ada", " ADA ", "Ada\t"])
def test_one_person_is_not_two_by_another_spelling(approver: str) -> None:
    assert refused(Front(), override(10.0**6, "ada", approver))
    assert not refused(Front(), override(10.0**6, "ada", "Bob"))


def test_a_window_that_is_better_long_needs_two_persons_to_become_short() -> None:
    front = Front()
    assert not refused(front, override(100.0, limit="duplicate_window_buckets"))
    assert refused(front, override(99.0, "Bob", limit="duplicate_window_buckets"))
    assert not refused(front, override(99.0, "Bob", "Ada", limit="duplicate_window_buckets"))


# ---- numbers that stop an agent ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1.0, 5.0, 1e300, -0.1])
def test_a_collar_that_is_none_is_not_taken_over(value: float) -> None:
    front = Front()
    assert refused(front, override(value, "Ada", "Bob", limit="collar_frac"))
    _, command = front.decide(intent(side="SELL"))
    assert command is not None
    assert str(command.limit_price) == "598.80"


@pytest.mark.parametrize("side", ["BUY", "SELL"])
@pytest.mark.parametrize("collar_frac", [0.999999, 1.0, 1e300])
def test_the_cap_of_an_order_is_a_price_whatever_the_collar(side: Any, collar_frac: float) -> None:
    """The smallest is one tick, the largest twice the quote; a price of nothing stops the agent."""
    front = Front(limits=LIMITS.model_copy(update={"collar_frac": collar_frac}))
    _, command = front.decide(intent(side=side))
    assert command is not None
    assert str(command.limit_price) in ("1200.01", "1200.02") if side == "BUY" else "0.01"


@pytest.mark.parametrize("next_order_id", [2**31, 10**12, 2**63 - 1])
def test_a_gateway_that_has_no_order_ids_left_gets_no_order(next_order_id: int) -> None:
    spent = SessionEvent(
        state=SessionState.READY, epoch=2, next_order_id=next_order_id, account="DU1", reason="", ts_ns=NOW_NS
    )
    front = Front(spent)
    decision, command = front.decide(intent())
    assert (decision.reasons, command) == ((D.SESSION_NOT_READY,), None)
    assert f"next_order_id={next_order_id} order_id_max=2147483647" in decision.message
    front = Front(spent, report(9, kind="FILL", fill=10), kill(flatten=True))
    front.tell(mark(later=1))
    assert [decision.reasons for decision in front.decisions] == [(D.SESSION_NOT_READY,)]


def test_the_last_order_id_is_used_and_then_no_other() -> None:
    last = SessionEvent(state=SessionState.READY, epoch=2, next_order_id=2**31 - 1, account="", reason="", ts_ns=NOW_NS)
    front = Front(last, mark("QQQ"))
    assert front.decide(intent(1))[0].admitted
    assert front.decide(intent(2, instrument="QQQ"))[0].reasons == (D.SESSION_NOT_READY,)


# ---- throttles -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "lifts"),
    [
        ("account", True),
        ("strategy:ofi", True),
        ("strategy:pairs", False),
        ("instrument:SPY", False),
        ("instrument:QQQ", False),
        (f"order:{5:024x}", False),
    ],
)
def test_a_throttle_is_lifted_by_a_reset_of_the_account_or_of_its_strategy_alone(scope: str, lifts: bool) -> None:
    front = Front(limits=LIMITS.model_copy(update={"repeat_orders_max": 1}))
    front.decide(intent(1))
    front.tell(report(1))
    assert front.decide(intent(2, quantity_lots=11))[0].reasons == (D.REPEATED_EXECUTION,)
    later = 61
    front.tell(mark(later=later), risk(-later), account(age_s=-later), verdict(lives_buckets=99), *fleet(-later))
    front.tell(ResetCommand(operator="Ada", reason="looked at", scope=scope, ts_ns=NOW_NS))
    assert front.decide(intent(3, later))[0].admitted is lifts
