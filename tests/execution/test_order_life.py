"""The life of an order, as pure steps: what the gateway may say, in which order, how often, and what becomes of it."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from agents.orders import LEGAL
from agents.ports import CancelAll, CancelOrder, PlaceOrder
from contracts.controls import ResolveCommand
from contracts.orders import STALE_NS, TERMINAL, CancelCommand, OrderState, SessionState
from tests.execution.order_parts import INTENT, NOW_NS, SIZE, Life, command, commission, execution, ready, sent, status

S = OrderState
SUBMITTED = (sent(), status("Submitted"))
CANCEL = CancelCommand(intent_id=INTENT, reason="the strategy asks for it")
RESOLVE = ResolveCommand(operator="Ada", reason="the broker says by telephone", intent_id=INTENT, ts_ns=NOW_NS)


def test_a_claim_asks_for_the_order_once_however_often_it_is_repeated() -> None:
    life = Life().hear(command(), command(order_id=8))
    assert life.effects == [PlaceOrder(command())]


def test_an_order_fills_in_two_parts_and_reports_each() -> None:
    life = Life(*SUBMITTED, execution(40), execution(60, number=2, cumulative=100), status("Filled", filled=100))
    assert [report.state for report in life.reports] == [S.SUBMITTED, S.ACKNOWLEDGED, S.PARTIALLY_FILLED, S.FILLED]
    assert life.bought == (100, Decimal("60005.00"))


def test_a_fill_without_any_status_fills_the_order() -> None:
    assert Life(sent(), execution(100)).order.state is S.FILLED


def test_an_execution_before_our_own_word_that_it_was_sent_counts() -> None:
    assert Life(execution(100), sent()).order.state is S.FILLED


def test_a_status_that_says_filled_does_not_fill_the_order_without_its_executions() -> None:
    life = Life(*SUBMITTED, status("Filled", filled=100))
    assert (life.order.state, life.order.filled_lots) == (S.ACKNOWLEDGED, 0)
    life.hear(ready(2))
    assert (life.order.state, life.alerts) == (S.UNKNOWN, ["ORDER_UNKNOWN"])
    assert life.hear(execution(100, epoch=2)).order.state is S.FILLED


@pytest.mark.parametrize("early", [True, False])
def test_the_commission_counts_once_before_or_after_its_execution_and_when_it_comes_twice(early: Any) -> None:
    pair = [commission("1.00"), execution(100)] if early else [execution(100), commission("1.00")]
    assert Life(*SUBMITTED, *pair, commission("1.00")).fees == Decimal("1.00")


def test_a_rebate_is_a_commission_too() -> None:
    assert Life(*SUBMITTED, execution(100), commission("-0.35")).fees == Decimal("-0.35")


def test_a_commission_that_changes_replaces_the_first() -> None:
    assert Life(*SUBMITTED, execution(100), commission("1.00"), commission("1.35")).fees == Decimal("1.35")


def test_a_correction_replaces_the_execution_and_its_repeat_changes_nothing() -> None:
    life = Life(*SUBMITTED, execution(100), execution(100, revision=2, price="600.07"))
    life.hear(execution(100), execution(100, revision=2, price="600.07"))
    assert life.bought == (100, Decimal("60007.00"))


def test_the_commission_of_a_correction_is_not_a_second_commission() -> None:
    life = Life(*SUBMITTED, execution(100), commission("1.00"), execution(100, revision=2, price="600.07"))
    assert life.hear(commission("1.00", revision=2)).fees == Decimal("1.00")


def test_a_fill_after_a_cancel_is_a_fill() -> None:
    life = Life(*SUBMITTED, status("Cancelled"), execution(100))
    assert (life.order.state, life.bought[0]) == (S.FILLED, 100)


def test_a_part_filled_after_a_cancel_stays_cancelled_and_is_booked() -> None:
    life = Life(*SUBMITTED, status("Cancelled"), execution(30))
    assert (life.order.state, life.bought[0]) == (S.CANCELLED, 30)


def test_a_cancel_on_its_way_may_still_fill() -> None:
    life = Life(*SUBMITTED, CancelCommand(intent_id=INTENT, reason="operator"))
    assert life.order.state is S.PENDING_CANCEL
    assert life.effects[-1] == CancelOrder(7, INTENT)
    assert life.hear(execution(100)).order.state is S.FILLED


def test_a_cancel_of_an_order_that_is_over_asks_for_nothing() -> None:
    life = Life(*SUBMITTED, execution(100), CancelCommand(intent_id=INTENT, reason="operator"))
    assert life.effects == [PlaceOrder(command())]


def test_an_inactive_order_is_cancelled_so_that_it_cannot_revive_unseen() -> None:
    life = Life(*SUBMITTED, status("Inactive", reason="201 no margin"))
    assert (life.order.state, life.effects[-1]) == (S.REJECTED, CancelOrder(7, INTENT))
    assert life.hear(status("Submitted")).order.state is S.ACKNOWLEDGED
    assert life.hear(execution(100)).order.state is S.FILLED


def test_a_second_permanent_id_under_our_order_cancels_all_and_locks_until_both_are_over() -> None:
    life = Life(*SUBMITTED, status("Submitted", perm_id=901))
    assert (life.order.state, life.effects[-1]) == (S.UNKNOWN, CancelAll())
    assert life.alerts == ["TWO_BROKER_ORDERS"]
    life.hear(status("Submitted"), status("Cancelled"), ready(2))
    assert life.order.state is S.UNKNOWN, "the other one still works"
    assert life.hear(status("Cancelled", perm_id=901)).order.state is S.CANCELLED


@pytest.mark.parametrize("end", [execution(SIZE), status("Cancelled"), status("Inactive")])
def test_a_second_order_that_works_when_the_first_is_over_locks_the_instrument_until_it_is_over_too(end: Any) -> None:
    life = Life(*SUBMITTED, end, status("Submitted", perm_id=901))
    assert (life.order.state, life.effects[-1], life.alerts) == (S.UNKNOWN, CancelAll(), ["TWO_BROKER_ORDERS"])
    assert life.reports[-1].state is S.UNKNOWN, "admission locks by this report"
    life.hear(status("Cancelled", perm_id=901))
    assert life.order.state is (S.FILLED if life.order.filled_lots else S.CANCELLED)


def test_two_orders_that_are_over_are_told_once_and_not_with_each_list_of_completed_orders() -> None:
    completed = (status("Cancelled", perm_id=901), status("Cancelled"))
    life = Life(*SUBMITTED, status("Cancelled"), *completed, *completed, ready(2))
    assert (life.order.state, life.alerts, CancelAll() in life.effects) == (S.CANCELLED, ["TWO_BROKER_ORDERS"], False)
    life = Life(*SUBMITTED, status("Submitted", perm_id=901), *completed, *completed, ready(2), *completed)
    assert (life.order.state, life.effects.count(CancelAll())) == (S.CANCELLED, 1)


def test_an_execution_does_not_unlock_the_instrument_while_the_other_order_works() -> None:
    life = Life(*SUBMITTED, status("Submitted", perm_id=901), execution(SIZE), status("Filled", filled=SIZE))
    assert (life.order.state, life.bought[0]) == (S.UNKNOWN, SIZE)
    assert life.hear(status("Cancelled", perm_id=901)).order.state is S.FILLED


def test_a_second_order_that_an_operator_called_over_and_that_works_locks_again() -> None:
    life = Life(*SUBMITTED, status("Submitted", perm_id=901), RESOLVE)
    assert life.order.state is S.CANCELLED
    assert life.hear(status("Cancelled")).order.state is S.CANCELLED
    life.hear(status("Submitted", perm_id=901))
    assert (life.order.state, life.effects[-1]) == (S.UNKNOWN, CancelAll())


def test_more_filled_than_ordered_is_booked_and_alerts() -> None:
    life = Life(*SUBMITTED, execution(100), execution(20, number=2, cumulative=120))
    assert (life.order.state, life.bought[0], life.alerts) == (S.FILLED, 120, ["OVERFILLED"])


def test_a_young_claim_that_may_never_have_left_us_is_sent_again_under_its_id() -> None:
    life = Life(ready(2))
    assert life.effects == [PlaceOrder(command()), PlaceOrder(command(), epoch=2)]


def test_an_old_claim_is_not_sent_into_another_market() -> None:
    life = Life(ready(2, age_s=STALE_NS / 1e9 + 1))
    assert life.order.state is S.UNKNOWN
    assert life.effects == [PlaceOrder(command()), CancelOrder(7, INTENT)]
    assert life.hear(status("NotFound", epoch=2)).order.reason.startswith("stale: 21 s after its decision")


@pytest.mark.parametrize("heard", [sent(), status("Filled", filled=100), status("Submitted")])
def test_an_order_that_has_left_us_is_never_sent_again(heard: Any) -> None:
    life = Life(heard, ready(2))
    assert life.effects.count(PlaceOrder(command())) == 1
    assert life.order.state is S.UNKNOWN


def test_a_resend_that_a_kill_stops_does_not_prove_that_the_first_did_not_arrive() -> None:
    life = Life(ready(2), status("NotSent", epoch=2, reason="killed: account"))
    assert (life.order.state, life.effects[-1]) == (S.UNKNOWN, CancelOrder(7, INTENT))
    assert life.hear(status("NotFound", epoch=2)).order.state is S.CANCELLED


def test_unknown_does_not_end_because_time_passes_or_sessions_come_and_go() -> None:
    life = Life(*SUBMITTED, ready(2), ready(3), ready(4))
    assert life.order.state is S.UNKNOWN
    assert life.effects.count(CancelOrder(7, INTENT)) == 3, "each session asks for its cancel, which is always safe"


def test_unknown_ends_when_the_gateway_denies_the_order_that_its_snapshot_did_not_have() -> None:
    assert Life(*SUBMITTED, ready(2), status("NotFound", epoch=2)).order.state is S.CANCELLED


def test_a_denial_of_an_order_that_the_snapshot_has_proves_nothing() -> None:
    life = Life(*SUBMITTED, status("Submitted", epoch=2), ready(2), status("NotFound", epoch=2))
    assert life.order.state is S.ACKNOWLEDGED
    life = Life(*SUBMITTED, ready(2), status("NotFound", epoch=1))
    assert life.order.state is S.UNKNOWN, "the denial is older than the snapshot"


def test_unknown_ends_by_a_named_operator() -> None:
    life = Life(*SUBMITTED, ready(2), RESOLVE)
    assert (life.order.state, "Ada" in life.order.reason) == (S.CANCELLED, True)
    assert Life(*SUBMITTED, RESOLVE).order.state is S.ACKNOWLEDGED, "an order that is known has nothing to settle"


@pytest.mark.parametrize(
    "evidence", [status("NotFound", epoch=2), RESOLVE, status("Submitted", epoch=2), execution(SIZE)]
)
def test_a_cancel_of_an_unknown_order_is_asked_for_and_leaves_it_unknown_until_there_is_evidence(evidence: Any) -> None:
    life = Life(*SUBMITTED, ready(2))
    said = len(life.reports)
    life.hear(CANCEL)
    assert (life.order.state, life.effects[-1]) == (S.UNKNOWN, CancelOrder(7, INTENT))
    assert len(life.reports) == said, "a report of another state would unlock the instrument"
    assert life.hear(evidence).order.state is not S.UNKNOWN


def test_a_cancel_that_a_crash_lost_is_asked_for_again_by_ready() -> None:
    """The row was written, the process died before the effect ran, and the command that comes again is skipped."""
    life = Life(*SUBMITTED, CANCEL)
    life.effects.clear()
    life.hear(status("Submitted", epoch=2), ready(2))
    assert (life.order.state, life.effects) == (S.PENDING_CANCEL, [CancelOrder(7, INTENT)])
    assert life.order.reason == CANCEL.reason


def test_a_word_that_says_nothing_of_an_unknown_order_does_not_unlock_it_when_its_cancel_is_asked_for_again() -> None:
    life = Life(*SUBMITTED, ready(2), CANCEL, status("PendingSubmit", epoch=3))
    life.effects.clear()
    life.hear(ready(3))
    assert (life.order.state, life.effects) == (S.UNKNOWN, [CancelOrder(7, INTENT)])


def test_a_cancel_that_the_gateway_has_or_whose_order_is_over_is_not_asked_for_again() -> None:
    for word in ("PendingCancel", "Cancelled"):
        life = Life(*SUBMITTED, CANCEL)
        life.effects.clear()
        life.hear(status(word, epoch=2), ready(2), ready(3) if word == "Cancelled" else ready(2))
        assert life.effects == []


def test_a_gateway_that_refuses_a_cancel_is_not_asked_with_each_of_the_snapshots_that_the_refusal_leads_to() -> None:
    life = Life(*SUBMITTED, CANCEL)
    life.effects.clear()
    for epoch in range(2, 22):
        life.hear(status("Submitted", epoch=epoch), ready(epoch, age_s=epoch))
    assert life.effects == [CancelOrder(7, INTENT)] * 2, "20 snapshots in 20 s"


def test_a_cancel_of_everything_that_a_crash_lost_is_asked_for_again_by_ready() -> None:
    life = Life(*SUBMITTED, status("Submitted", perm_id=901))
    life.effects.clear()
    life.hear(status("Submitted", epoch=2), status("Submitted", epoch=2, perm_id=901), ready(2))
    assert (life.order.state, life.effects) == (S.UNKNOWN, [CancelAll()])


def test_a_refused_order_that_revives_has_its_cancel_asked_for_again() -> None:
    life = Life(*SUBMITTED, status("Inactive"))
    life.effects.clear()
    life.hear(status("Submitted", epoch=2))
    assert (life.order.state, life.effects) == (S.ACKNOWLEDGED, [CancelOrder(7, INTENT)])


def test_the_time_of_a_report_never_goes_back() -> None:
    late = status("Submitted").model_copy(update={"ts_ns": NOW_NS + 5_000_000_000})
    life = Life(sent(), late, CANCEL, execution(SIZE))
    times = [report.ts_ns for report in life.reports]
    assert times == sorted(times)
    assert times[-1] == NOW_NS + 5_000_000_000


def test_children_never_exceed_their_parent_at_the_last_hop() -> None:
    within = {"parent_id": "b" * 24, "parent_lots": 250, "parent_sent_lots": 150}
    assert Life(**within).effects
    life = Life(**(within | {"parent_sent_lots": 151}))
    assert (life.order.state, life.effects) == (S.CANCELLED, [])


def test_terminal_states_are_left_by_facts_of_the_broker_alone() -> None:
    """Our own words and the silence of a snapshot do not take back an end."""
    ours = (CANCEL, RESOLVE, ready(3), ready(4), status("NotSent", epoch=4), status("NotFound", epoch=4), sent(4))
    for end in (execution(SIZE), status("Cancelled", epoch=2), status("Inactive", epoch=2)):
        life = Life(ready(2), end)
        state = life.order.state
        assert state in TERMINAL
        assert life.hear(*ours).order.state is state or state is S.REJECTED
        assert S.PENDING_SUBMIT not in LEGAL[state]


def random_messages(rng: random.Random) -> list[Any]:
    """What a careless gateway might say of an order of 100 lots, in any order, repeated, over three sessions."""
    words = ["PreSubmitted", "Submitted", "Filled", "PendingCancel", "Cancelled", "Inactive", "NotFound", "NotSent"]
    fills = [execution(lots, number=i) for i, lots in enumerate((30, 30, 40))]
    corrections = [execution(30, number=0, revision=2, price="600.07"), execution(40, number=2, revision=2)]
    fees = [commission("1.00", number=rng.randrange(3)) for _ in range(3)]
    others = [status(rng.choice(words), epoch=rng.randrange(1, 4), filled=rng.choice((0, 30, 60))) for _ in range(8)]
    said = (
        fills + corrections + fees + others + [sent(), ready(2), ready(3), CancelCommand(intent_id=INTENT, reason="")]
    )
    rng.shuffle(said)
    return said


@pytest.mark.parametrize("seed", range(300))
def test_whatever_the_gateway_says_the_books_hold(seed: Any) -> None:
    """One PlaceOrder per session, filled <= quantity, legal moves only, repeats change nothing, booked = filled."""
    rng = random.Random(seed)
    life, state = Life(), S.PENDING_SUBMIT
    for message in random_messages(rng):
        before = life.order.state
        life.hear(message)
        state = life.order.state
        assert state is before or state in LEGAL[before], f"seed {seed}: {before} -> {state} after {message}"
        assert 0 <= life.order.filled_lots <= SIZE, f"seed {seed}"
        assert life.bought[0] == life.order.filled_lots, f"seed {seed}"
        if isinstance(message, type(execution(1))) or message.type == "broker_commission":
            count = len(life.reports)
            life.hear(message)
            assert len(life.reports) == count, f"seed {seed}: a repeat of {message} was reported again"
    placed = [effect for effect in life.effects if isinstance(effect, PlaceOrder)]
    assert len(placed) == len(set(placed)) <= 3, f"seed {seed}"
    assert life.order.filled_lots == SIZE
    assert life.order.state is S.FILLED, f"seed {seed}: all executions came, and the order is {state}"


def test_a_session_that_is_not_ready_says_nothing_about_orders() -> None:
    syncing = ready(2).model_copy(update={"state": SessionState.SYNCING})
    assert Life(*SUBMITTED, syncing).order.state is S.ACKNOWLEDGED


def test_a_cancel_that_is_asked_for_again_and_again_is_sent_once() -> None:
    """Each took from the reserve that a kill needs; the first is on its way, and READY asks again if it was lost."""
    wish = CancelCommand(intent_id=INTENT, reason="ofi asks for it")
    life = Life(sent(), status("Submitted"), *[wish] * 300)
    assert life.effects[1:] == [CancelOrder(7, INTENT)]
