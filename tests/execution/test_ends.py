"""When an order is over: not before the executions that the gateway spoke of are here, and never against its word."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from agents.execution import PARENT_NS
from agents.orders import ORDERS, S
from agents.ports import CancelAll, CancelOrder, CountChild
from contracts.controls import ResolveCommand
from contracts.orders import TERMINAL, AmendCommand, BrokerStatus
from tables.rows import Row
from tests.execution.order_parts import INTENT, NOW_NS, SIZE, Life, execution, ready, sent, status

SUBMITTED = (sent(), status("Submitted"))
CANCEL = CancelOrder(7, INTENT)
OPERATOR = ResolveCommand(operator="Ada", reason="the broker says by telephone", intent_id=INTENT, ts_ns=NOW_NS)


def snapshot(word: str, epoch: int = 2, filled: int = 0) -> BrokerStatus:
    return status(word, epoch=epoch, filled=filled).model_copy(update={"snapshot": True})


def terms(lots: int, price: str, word: str = "Submitted", filled: int = 0) -> BrokerStatus:
    named = {"order_lots": lots, "limit_price": Decimal(price)}
    return status(word, filled=filled).model_copy(update=named)


def amend(lots: int = 150, price: str = "600.20") -> AmendCommand:
    return AmendCommand(
        intent_id=INTENT,
        amend_id="d" * 24,
        instrument="SPY",
        quantity_lots=lots,
        limit_price=Decimal(price),
        ts_ingest_ns=NOW_NS,
    )


@pytest.mark.parametrize(("word", "end"), [("Cancelled", S.CANCELLED), ("Inactive", S.REJECTED)])
def test_an_order_that_was_filled_in_part_is_not_over_before_its_executions_are_here(word: str, end: S) -> None:
    """Its exposure was released and its position was the old one, so that the next order went over the limit."""
    life = Life(*SUBMITTED, execution(10), status(word, filled=40, reason="why"))
    assert life.order.state not in TERMINAL
    assert life.hear(execution(20, number=2)).order.state not in TERMINAL
    life.hear(execution(10, number=3))
    assert (life.order.state, life.order.filled_lots, life.order.reason) == (end, 40, "why")
    assert (life.reports[-1].kind, life.reports[-1].state) == ("FILL", end), "admission is told with the last fill"


def test_executions_that_never_come_after_a_cancel_are_unknown_and_asked_for() -> None:
    life = Life(*SUBMITTED, status("Cancelled", filled=40), snapshot("Cancelled", filled=40), ready(2))
    assert (life.order.state, life.alerts) == (S.UNKNOWN, ["ORDER_UNKNOWN"])
    assert "executions of 40 lots are missing" in life.order.reason
    assert life.hear(status("NotFound", epoch=2)).order.state is S.UNKNOWN, "the snapshot had it: that is no evidence"
    assert life.hear(execution(40, epoch=3)).order.state is S.CANCELLED


def test_a_filled_order_whose_executions_are_not_listed_any_more_is_not_called_cancelled() -> None:
    life = Life(*SUBMITTED, snapshot("Filled", filled=10), ready(2), status("NotFound", epoch=2))
    assert (life.order.state, life.alerts) == (S.UNKNOWN, ["ORDER_UNKNOWN"])
    assert life.hear(OPERATOR).order.reason.startswith("settled by Ada")
    life.hear(snapshot("Filled", epoch=3, filled=10), ready(3))
    assert life.order.state is S.CANCELLED, "the operator has settled that much"


@pytest.mark.parametrize("word", ["Cancelled", "Filled"])
def test_lots_that_the_gateway_speaks_of_only_after_the_end_lock_the_instrument_too(word: str) -> None:
    life = Life(*SUBMITTED, status("Cancelled"), snapshot(word, filled=40), ready(2))
    assert (life.order.state, life.alerts) == (S.UNKNOWN, ["ORDER_UNKNOWN"])
    tomorrow = life.hear(ready(3), status("NotFound", epoch=3))
    assert (tomorrow.order.state, tomorrow.alerts) == (S.UNKNOWN, ["ORDER_UNKNOWN"])


@pytest.mark.parametrize("end", [(status("Cancelled"),), (ready(2), status("NotFound", epoch=2)), (ready(2), OPERATOR)])
def test_an_order_that_was_over_and_that_a_snapshot_has_working_locks_its_instrument(end: Any) -> None:
    life = Life(*SUBMITTED, *end)
    assert life.order.state is S.CANCELLED
    known = len(life.alerts)
    life.hear(snapshot("Submitted", epoch=3), ready(3))
    assert (life.order.state, life.effects[-1], life.alerts[known:]) == (S.UNKNOWN, CANCEL, ["ORDER_UNKNOWN"])
    assert life.hear(status("Cancelled", epoch=3)).order.state is S.CANCELLED


def test_a_repeated_word_from_before_the_end_changes_nothing() -> None:
    """The gateway says a status twice or three times, and late."""
    life = Life(*SUBMITTED, status("Cancelled"))
    told = len(life.reports)
    assert life.hear(status("Submitted"), snapshot("Cancelled"), ready(2)).order.state is S.CANCELLED
    assert (len(life.reports), life.alerts) == (told, [])


@pytest.mark.parametrize("word_first", [True, False])
def test_an_order_that_is_full_at_a_size_it_was_reduced_to_is_filled(word_first: bool) -> None:
    """It stayed PARTIALLY_FILLED for ever: its instrument was busy, and a flatten waited for it."""
    said, done = terms(60, "600.10", "Filled", filled=60), execution(60)
    life = Life(*SUBMITTED, *((said, done) if word_first else (done, said)))
    assert (life.order.state, life.order.command.quantity_lots) == (S.FILLED, 60)


def test_a_fill_beyond_the_old_size_puts_the_amend_in_force() -> None:
    """It was called more than ordered, which locks the instrument, and nobody was told why."""
    life = Life(*SUBMITTED, amend(150), execution(150))
    assert (life.order.state, life.order.command.quantity_lots, life.order.amend) == (S.FILLED, 150, None)
    assert [(r.amend_id, r.order_lots) for r in life.reports if r.amend_id] == [("d" * 24, 150)]
    assert all(report.filled_lots <= report.order_lots for report in life.reports)
    over = Life(*SUBMITTED, amend(150), execution(160))
    assert over.alerts == ["OVERFILLED"]


def test_a_resend_that_is_refused_is_an_unknown_order_that_somebody_is_told_of() -> None:
    life = Life(ready(2), status("NotSent", epoch=2, reason="killed: account"), status("NotSent", epoch=2))
    assert (life.order.state, life.alerts) == (S.UNKNOWN, ["ORDER_UNKNOWN"])


def test_a_clock_that_was_set_back_between_two_sessions_hides_no_missing_order() -> None:
    life = Life(sent(9_000), status("Submitted", epoch=9_000), ready(5))
    assert life.order.state is S.UNKNOWN
    assert Life(sent(9_000), status("Submitted", epoch=9_000), status("Submitted", epoch=5), ready(5)).alerts == []


def test_a_price_between_our_ticks_that_the_gateway_names_leaves_a_row_that_can_be_read() -> None:
    """A hand at the terminal knows other ticks; the row was written, and no worker could start with it."""
    life = Life(*SUBMITTED, terms(SIZE, "600.085"), terms(SIZE, "600.085"))
    assert life.alerts == ["TERMS_CHANGED"]
    assert "at 600.085" in life.reports[-1].reason
    assert life.order.command.limit_price in (Decimal("600.08"), Decimal("600.09"))
    tiny = Life(*SUBMITTED, terms(SIZE, "0.0001"))
    for order in (life.order, tiny.order):
        row = Row(0, {}, order)
        assert ORDERS.codec().decode(ORDERS.codec().encode(row)) == row


@pytest.mark.parametrize("seed", range(200))
def test_every_row_that_the_gateway_can_lead_to_survives_a_restart_and_no_end_hides_executions(seed: int) -> None:
    rng, life, codec = random.Random(seed), Life(*SUBMITTED), ORDERS.codec()
    words = ["Submitted", "Filled", "PendingCancel", "Cancelled", "Inactive", "NotFound", "AmendRefused"]
    epoch = 1
    for _ in range(25):
        match rng.randrange(5):
            case 0:
                epoch += 1
                life.hear(snapshot(rng.choice(words[:5]), epoch, rng.choice((0, 40))), ready(epoch, epoch))
            case 1:
                life.hear(amend(rng.randrange(1, 200), f"{rng.randrange(59_900, 60_100) / 100:.2f}"))
            case 2:
                life.hear(terms(rng.randrange(1, 200), f"{rng.uniform(0.001, 700):.4f}", rng.choice(words)))
            case 3:
                life.hear(execution(rng.randrange(1, 40), number=rng.randrange(6), epoch=epoch))
            case 4:
                life.hear(status(rng.choice(words), epoch=epoch, filled=rng.choice((0, 20, 40))))
        row = Row(0, {}, life.order)
        assert codec.decode(codec.encode(row)) == row, f"seed {seed}"
    life.hear(ready(epoch + 1, 26.0))
    assert life.order.state not in TERMINAL or life.order.filled_lots >= life.order.status_filled_lots, f"seed {seed}"


def test_an_order_that_a_snapshot_lists_as_filled_with_less_than_we_know_it_to_have_is_filled() -> None:
    """A hand at the terminal has reduced it, and a list of completed orders names no size."""
    life = Life(*SUBMITTED, execution(60), status("Filled", filled=60))
    assert life.order.state is S.PARTIALLY_FILLED
    life.hear(snapshot("Filled", filled=60))
    assert (life.order.state, life.order.filled_lots) == (S.FILLED, 60)


def test_an_execution_of_a_second_broker_order_of_which_no_status_speaks_cancels_everything() -> None:
    life = Life(*SUBMITTED, execution(30), execution(20, number=2).model_copy(update={"perm_id": 901}))
    assert (life.order.state, life.effects[-1], life.alerts) == (S.UNKNOWN, CancelAll(), ["TWO_BROKER_ORDERS"])
    assert life.order.filled_lots == 50, "its fills are ours all the same"
    life.hear(status("Cancelled"), status("Cancelled", perm_id=901))
    assert life.order.state is S.CANCELLED


def test_ready_has_the_last_hop_count_the_children_that_were_at_the_gateway_before() -> None:
    """A process that has just started knows none, and would let their parent grow by what they were."""
    child = {"parent_id": "b" * 24, "parent_lots": 250, "parent_sent_lots": 50}
    counted = CountChild("b" * 24, 7, SIZE)
    for messages in ((*SUBMITTED,), (*SUBMITTED, execution(SIZE)), (*SUBMITTED, status("Cancelled"))):
        life = Life(*messages, **child)
        assert counted not in life.effects
        assert counted in life.hear(ready(2)).effects
        assert life.hear(ready(3, PARENT_NS / 1e9 + 1)).effects.count(counted) == 1, "its parent is over"
    assert counted not in Life(ready(2), **child).effects, "it was never there"
    assert counted not in Life(*SUBMITTED, ready(2)).effects, "it has no parent"
