"""Flatten: as long as its kill is in force, whatever position it covers is closed, and nothing opens another."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from contracts.breaks import PositionBreak
from contracts.controls import Denial, ResetCommand, ResolveCommand
from contracts.orders import CancelCommand, ExecutionReport, OrderCommand, OrderState, SessionState
from tests.execution.admission_parts import LIMITS, USUAL, Front, intent, kill, mark, report, risk, session
from tests.execution.order_parts import NOW_NS
from tests.execution.test_overrides import override

D = Denial


def filled(number: int = 1, fill: int = 10, **changes: Any) -> ExecutionReport:
    return report(number, OrderState.FILLED, kind="FILL", fill=fill, **changes)


def reset(scope: str = "account") -> ResetCommand:
    return ResetCommand(operator="Bo", reason="looked at", scope=scope, ts_ns=NOW_NS)


def resolve(**changes: Any) -> ResolveCommand:
    return ResolveCommand(operator="Bo", reason="looked at", ts_ns=NOW_NS, **changes)


def closing(front: Front) -> list[OrderCommand]:
    """Orders of the next buckets, the first of which works from then on."""
    front.outputs.clear()
    front.tell(*(fact for bucket in range(1, 6) for fact in (risk(-bucket), mark(later=bucket))))
    return front.commands


@pytest.mark.parametrize("scope", ["account", "instrument:SPY", "strategy:ofi"])
def test_a_fill_that_crosses_a_flattening_kill_is_closed_too(scope: str) -> None:
    front = Front()
    front.decide(intent(1))
    front.tell(kill(scope, flatten=True))
    front.outputs.clear()
    front.tell(filled())
    [command] = front.commands
    assert (command.side, command.quantity_lots, command.strategy) == ("SELL", 10, "flatten")


def test_a_position_that_turns_up_after_the_first_was_closed_is_closed_too() -> None:
    front = Front(filled(9), kill(flatten=True))
    [first] = closing(front)
    front.tell(filled(2, side="SELL", intent_id=first.intent_id), filled(9, fill_price=Decimal("600.00")))
    assert front.state is not None
    assert front.state.positions == {"SPY": 10}
    assert [command.side for command in front.commands] == ["SELL", "SELL"]


@pytest.mark.parametrize("other", ["strategy:other", "instrument:QQQ", f"order:{5:024x}"])
def test_a_reset_of_another_scope_does_not_end_a_flatten_but_its_own_does(other: str) -> None:
    front = Front(filled(9), kill(other), kill("account", flatten=True), reset(other))
    assert len(closing(front)) == 1
    front = Front(filled(9), kill(other, flatten=True), kill("account", flatten=True), reset("account"))
    if other.startswith("strategy"):
        assert len(closing(front)) == 1, "what a strategy may have opened is every position"
        front.tell(report(9, OrderState.CANCELLED, intent_id=front.commands[-1].intent_id), reset(other))
    assert closing(front) == []


def test_a_kill_of_the_same_scope_that_does_not_flatten_ends_the_flatten_as_it_does_at_the_latch() -> None:
    assert closing(Front(filled(9), kill("account", flatten=True), kill("account"))) == []
    assert len(closing(Front(filled(9), kill("account"), kill("account", flatten=True)))) == 1


def test_nothing_opens_a_position_that_a_flatten_would_close_again() -> None:
    front = Front(mark("QQQ"), kill("instrument:SPY", flatten=True))
    assert D.INSTRUMENT_LOCKED in front.decide(intent(1))[0].reasons
    assert front.decide(intent(2, instrument="QQQ"))[0].admitted
    front.tell(reset("instrument:SPY"))
    assert front.decide(intent(3))[0].admitted


# ---- an order that filled more than it asked for -----------------------------------------------------------------


def overfilled(*facts: Any) -> Front:
    front = Front()
    front.decide(intent(1))
    front.tell(filled(1, 12, lots=10), *facts)
    return front


def test_an_overfilled_order_locks_its_instrument_until_a_named_operator_resolves_it() -> None:
    front = overfilled(resolve(intent_id=f"{2:024x}"), resolve(instrument="SPY"), reset())
    assert front.decide(intent(2, quantity_lots=11, position_lots=12))[0].reasons == (D.INSTRUMENT_LOCKED,)
    front.tell(resolve(intent_id=f"{1:024x}"))
    front.tell(report(1, kind="COMMISSION", filled=12, exec_id="1.1", commission=Decimal(1)))
    assert front.decide(intent(3, quantity_lots=11, position_lots=12))[0].admitted, "what is settled stays so"
    front.tell(filled(1, 1, filled=13, lots=10))
    assert D.INSTRUMENT_LOCKED in front.decide(intent(4, position_lots=13))[0].reasons, "one lot more is news"


def test_a_correction_that_brings_an_overfilled_order_to_its_size_is_evidence_enough() -> None:
    busted = report(
        1,
        kind="CORRECTION",
        fill=10,
        exec_id="1.2",
        fill_price=Decimal("600.01"),
        replaced_exec_id="1.1",
        replaced_lots=12,
        replaced_price=Decimal("600.01"),
    )
    assert overfilled(busted).decide(intent(2, quantity_lots=11, position_lots=10))[0].admitted


def test_resolving_an_overfilled_order_does_not_unlock_one_that_is_unknown() -> None:
    front = overfilled(report(9, OrderState.UNKNOWN), resolve(intent_id=f"{1:024x}"), resolve(intent_id=f"{9:024x}"))
    found = front.decide(intent(2, position_lots=12))[0]
    assert D.INSTRUMENT_LOCKED in found.reasons
    assert "is UNKNOWN" in found.message


def test_the_children_of_an_overfilled_parent_end_with_it() -> None:
    thin = tuple(fact for fact in USUAL if fact.type != "signal")
    front = Front(mark(volume=100), usual=thin)
    front.decide(intent(1, quantity_lots=40))
    front.tell(filled(1, 12, lots=10), resolve(intent_id=f"{1:024x}"))
    assert closing(front) == []


def test_a_position_made_by_an_overfill_can_be_flattened() -> None:
    [command] = closing(overfilled(kill(flatten=True)))
    assert (command.side, command.quantity_lots) == ("SELL", 12)


@pytest.mark.parametrize("doubt", ["break", "unknown"])
def test_a_flatten_still_waits_for_a_position_or_an_order_that_is_in_doubt(doubt: str) -> None:
    apart = PositionBreak(
        instrument="SPY", own_lots=12, broker_lots=10, open=True, source="drop_copy", reason="", ts_ns=NOW_NS
    )
    front = overfilled(apart if doubt == "break" else report(9, OrderState.UNKNOWN), kill(flatten=True))
    assert closing(front) == []


@pytest.mark.parametrize("stopper", ["account", "instrument:SPY", "strategy:flatten"])
def test_a_flatten_that_another_kill_stops_is_not_asked_for_again_and_again(stopper: str) -> None:
    """Each ask was an order id, a decision and a refusal of the sender, at every mark."""
    front = Front(filled(9), kill("strategy:ofi", flatten=True), kill(stopper))
    assert closing(front) == []
    front.tell(reset(stopper))
    assert len(closing(front)) == 1


# ---- another strategy's order in the way -----------------------------------------------------------------------------


def in_the_way(*facts: Any) -> Front:
    """Ten lots of one strategy, and an order of another that rests for the day."""
    front = Front(filled(9), limits=LIMITS.model_copy(update={"strategies": ("ofi", "other")}))
    terms: dict[str, Any] = {"order_type": "LIMIT", "limit_price": Decimal("600.00"), "time_in_force": "DAY"}
    assert front.decide(intent(1, strategy="other", position_lots=10, **terms))[0].admitted
    front.tell(report(1, OrderState.ACKNOWLEDGED), *facts)
    return front


def cancels(front: Front) -> list[str]:
    return [out.message.intent_id for out in front.outputs if isinstance(out.message, CancelCommand)]


@pytest.mark.parametrize("scope", ["strategy:ofi", "instrument:SPY", "account"])
def test_a_flatten_does_not_wait_for_the_resting_order_of_another_strategy(scope: str) -> None:
    """It rested for the day, and what it filled was never closed."""
    front = in_the_way()
    front.outputs.clear()
    front.tell(kill(scope, flatten=True))
    assert cancels(front) == ([f"{1:024x}"] if scope == "strategy:ofi" else []), "at once, or the latch does it"
    front.tell(*(fact for bucket in range(1, 6) for fact in (risk(-bucket), mark(later=bucket))))
    assert cancels(front) == [f"{1:024x}"], "asked for once"
    assert front.commands == []
    front.tell(filled(1, 4, filled=4, lots=10), report(1, OrderState.CANCELLED, filled=4))
    assert [(command.side, command.quantity_lots) for command in front.commands] == [("SELL", 14)]
    front.tell(mark(later=6))
    assert cancels(front) == [f"{1:024x}"], "the order that closes is left alone"


def test_an_order_in_the_way_of_a_flatten_is_asked_about_again_after_ten_seconds() -> None:
    front = in_the_way()
    front.outputs.clear()
    front.tell(kill("strategy:ofi", flatten=True))
    front.tell(*(fact for bucket in range(1, 13) for fact in (risk(-bucket), mark(later=bucket))))
    assert cancels(front) == [f"{1:024x}"] * 2
    assert front.commands == []


def test_an_order_in_the_way_is_cancelled_while_the_session_is_away_and_while_in_doubt() -> None:
    """The sender keeps a cancel until READY; what is in doubt is no reason to let it fill."""
    for fact in (session(SessionState.SYNCING), report(8, OrderState.UNKNOWN)):
        front = in_the_way(fact, kill("strategy:ofi", flatten=True))
        assert cancels(front) == [f"{1:024x}"]


def test_a_flatten_goes_by_the_limits_in_force() -> None:
    """A collar that two persons widened for a fast market, and a size that one tightened."""
    front = Front(filled(9, 100, lots=100))
    front.tell(override(0.05, "Ada", "Bo", limit="collar_frac"), override(10, "Ada"))
    front.tell(kill(flatten=True), risk(-1), mark(later=1))
    [command] = front.commands
    assert (command.quantity_lots, str(command.limit_price)) == (10, "570.00")


@pytest.mark.parametrize(("largest", "lots"), [(4, 4), (10, 10), (None, 10)])
def test_a_flatten_is_no_larger_than_an_order_may_be(largest: int | None, lots: int) -> None:
    front = Front(filled(9), kill(flatten=True), limits=LIMITS.model_copy(update={"order_lots_max": largest}))
    assert [command.quantity_lots for command in closing(front)] == [lots]


def test_a_flatten_that_ended_at_once_is_tried_again_with_the_next_price_and_each_try_is_on_record() -> None:
    """Under the same intent it would be the same order to execution, which has seen that end."""
    front = Front(filled(9), kill(flatten=True))
    front.outputs.clear()
    front.tell(mark(later=1))
    [first] = front.commands
    front.tell(report(1, OrderState.CANCELLED, intent_id=first.intent_id, order_id=first.order_id, side="SELL"))
    assert front.commands == [first]
    front.tell(mark(later=2))
    assert len({command.intent_id for command in front.commands}) == len(front.commands) == 2
    assert [record.intent_id for record in front.decisions] == [command.intent_id for command in front.commands]
