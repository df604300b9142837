"""Which orders the gateway owes a word, and from when on it is asked; health, pacing, and the kill file."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from app import killfile
from connectors.ibkr.ears import Ears
from connectors.ibkr.health import Health
from connectors.ibkr.open_orders import ANSWER_S, EXECUTIONS_S, LIFE_S, OpenOrder, OpenOrders
from connectors.ibkr.pacing import MESSAGES_MAX, ORDERS_MAX, WINDOW_S, Pacing
from contracts.instruments import INSTRUMENTS
from contracts.orders import SessionState
from tests.execution.order_parts import INTENT
from tests.execution.test_session_health import ignore

PRICE = Decimal("600.10")
NEVER_S = 1e9


def sent(lots: int = 100) -> OpenOrders:
    """Order 7, sent at 0 s."""
    orders = OpenOrders()
    orders.add(7, OpenOrder(INTENT, INSTRUMENTS["SPY"], "ofi", lots, 0.0, ANSWER_S))
    return orders


def due_s(orders: OpenOrders) -> float:
    """When order 7 is asked for; checked against what `overdue` says."""
    order = orders.get(7)
    assert order is not None
    assert orders.overdue(order.due_s - 0.001) == []
    assert orders.overdue(order.due_s) == [7]
    return order.due_s


def test_an_order_without_a_word_is_asked_for_and_one_that_was_answered_within_its_life() -> None:
    orders = sent()
    assert due_s(orders) == ANSWER_S
    orders.status(7, "Submitted", 0, 1.0)
    assert due_s(orders) == LIFE_S
    orders.status(7, "Submitted", 0, 8.0)
    assert due_s(orders) == LIFE_S, "a repeat does not prolong it"


def test_an_execution_is_an_answer_too() -> None:
    orders = sent()
    orders.executed(7, 40)
    assert due_s(orders) == LIFE_S


def test_a_status_that_is_ahead_of_its_executions_is_asked_about_soon_until_they_are_here() -> None:
    orders = sent()
    orders.status(7, "Filled", 100, 1.0)
    assert due_s(orders) == 1.0 + EXECUTIONS_S
    orders.status(7, "Filled", 100, 2.0)
    assert due_s(orders) == 1.0 + EXECUTIONS_S, "a repeat does not put it off"
    orders.executed(7, 60)
    assert due_s(orders) == 1.0 + EXECUTIONS_S
    orders.executed(7, 100)
    assert (orders.overdue(NEVER_S), orders.working()) == ([], [])


def test_executions_in_another_order_are_not_fewer() -> None:
    orders = sent()
    orders.executed(7, 60)
    orders.executed(7, 40)
    orders.status(7, "Submitted", 60, 1.0)
    assert due_s(orders) == LIFE_S


@pytest.mark.parametrize("word", ["Filled", "Cancelled", "ApiCancelled"])
def test_an_order_that_is_over_owes_nothing_and_works_again_when_the_gateway_says_so(word: str) -> None:
    orders = sent()
    orders.status(7, word, 0, 1.0)
    orders.ask(7)
    assert (orders.overdue(NEVER_S), orders.working()) == ([], [])
    orders.status(7, "Submitted", 0, 2.0)
    assert [order_id for order_id, _ in orders.working()] == [7]


def test_an_order_that_may_still_fill_works() -> None:
    for word in ("PreSubmitted", "Submitted", "PendingCancel", "Inactive"):
        orders = sent()
        orders.status(7, word, 0, 1.0)
        assert [order_id for order_id, _ in orders.working()] == [7]
    orders.executed(7, 99)
    assert len(orders.working()) == 1


def test_it_is_asked_at_once_where_that_is_wanted_and_of_an_order_that_nobody_knows_nothing_is() -> None:
    orders = sent()
    orders.ask(7)
    assert due_s(orders) == 0.0
    orders.ask(8)
    orders.status(8, "Filled", 1, 0.0)
    orders.executed(8, 1)
    assert orders.overdue(NEVER_S) == [7]


def test_each_snapshot_asks_later_than_the_one_before_and_forgets_what_is_over() -> None:
    orders = sent()
    orders.add(8, OpenOrder(INTENT, INSTRUMENTS["SPY"], "ofi", 10, 0.0, ANSWER_S))
    orders.executed(8, 10)
    for number, now_s in ((1, 10.0), (2, 20.0), (3, 40.0)):
        orders.asked(now_s)
        assert due_s(orders) == now_s + number * LIFE_S
    assert orders.get(8) is None


def test_an_amend_is_owed_an_answer_of_its_own_and_a_status_is_none() -> None:
    orders = sent()
    orders.status(7, "Submitted", 0, 1.0)
    orders.amend(7, (120, PRICE), 5.0)
    assert due_s(orders) == 5.0 + ANSWER_S
    orders.status(7, "Submitted", 0, 6.0)
    orders.named(7, 900, (100, PRICE))
    assert due_s(orders) == 5.0 + ANSWER_S, "neither names the new terms"
    orders.named(7, 900, (120, PRICE))
    orders.status(7, "Submitted", 0, 7.0)
    assert due_s(orders) == 5.0 + LIFE_S


@pytest.mark.parametrize(("lots", "larger"), [(120, 120), (50, 100)])
def test_until_an_amend_is_settled_the_larger_size_is_the_one_that_has_to_fill(lots: int, larger: int) -> None:
    orders = sent()
    orders.amend(7, (lots, PRICE), 1.0)
    orders.named(7, 900, (100, PRICE))
    orders.executed(7, larger - 1)
    assert len(orders.working()) == 1
    orders.executed(7, larger)
    assert orders.working() == []


def test_terms_that_the_gateway_named_are_the_size_that_has_to_fill() -> None:
    orders = sent()
    orders.amend(7, (50, PRICE), 1.0)
    orders.named(7, 900, (50, PRICE))
    orders.executed(7, 49)
    assert len(orders.working()) == 1
    orders.executed(7, 50)
    assert orders.working() == []
    orders = sent()
    orders.named(7, 900, (0, None))
    orders.executed(7, 99)
    assert len(orders.working()) == 1, "a quantity of none is no term"


def test_an_amend_that_was_refused_is_asked_about_at_once_and_waited_for_no_more() -> None:
    orders = sent()
    orders.amend(7, (120, PRICE), 1.0)
    orders.amend_refused(7)
    order = orders.get(7)
    assert order is not None
    assert (due_s(orders), order.amend) == (0.0, None)


# ---- health and pacing


def test_the_health_of_a_session_names_its_state_and_the_violations_and_of_ten_the_slowest_counts() -> None:
    ears = Ears(1, ignore, ignore, ignore)
    health = Health(ears, Pacing())
    health.violated(507)
    assert health.report(SessionState.READY, "fine").reasons == ()
    health.violated(100)
    report = health.report(SessionState.SYNCING, "connected")
    assert report.reasons == ("session is SYNCING: connected", "pacing_violations=1")
    ears.answer_ms += [float(ms) for ms in range(100, 0, -1)]
    assert health.report(SessionState.READY, "").acknowledgement_ms_p95 == 95.0


def test_orders_leave_a_part_of_each_window_to_cancels() -> None:
    now = [0.0]
    pacing = Pacing(lambda: now[0])
    for number in range(ORDERS_MAX):
        now[0] = number / 1_000
        assert pacing.order_in_s() == 0.0
        pacing.count()
    assert pacing.order_in_s() == pytest.approx(WINDOW_S - now[0])
    assert pacing.free_in_s(MESSAGES_MAX) == 0.0
    now[0] = WINDOW_S
    assert pacing.order_in_s() == 0.0


def test_who_waits_is_counted_until_his_turn_and_the_longest_wait_is_kept() -> None:
    now = [0.0]
    pacing = Pacing(lambda: now[0])
    first, second = pacing.enter(), pacing.enter()
    assert pacing.queue == 2
    now[0] = 2.0
    pacing.leave(first)
    third = pacing.enter()
    pacing.leave(third)
    pacing.leave(second)
    assert (pacing.queue, pacing.wait_ms_max) == (0, 2_000.0)
    pacing.leave(pacing.enter())
    assert pacing.wait_ms_max == 2_000.0


# ---- the kill file


def test_a_kill_file_that_is_empty_or_cannot_be_read_kills_the_account(tmp_path: Path) -> None:
    assert killfile.read(tmp_path) == []
    (tmp_path / killfile.NAME).write_text("\n")
    assert [kill.scope for kill in killfile.read(tmp_path)] == ["account"]
    (tmp_path / killfile.NAME).unlink()
    (tmp_path / killfile.NAME).mkdir()
    assert [kill.scope for kill in killfile.read(tmp_path)] == ["account"]


def test_a_kill_file_is_made_where_there_is_no_folder_yet_and_a_reset_without_one_lifts_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "execution"
    assert killfile.remove(tmp_path, "account") == 0
    for scope in ("account", "strategy:ofi"):
        killfile.add(folder, killfile.Kill(scope, "Ada", "a test"))
    assert [kill.scope for kill in killfile.read(folder)] == ["account", "strategy:ofi"]
