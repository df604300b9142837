"""What the session does with each word of the gateway that is no answer, and whom it tells; without a connection."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from connectors.ibkr.account_values import AGAIN_S
from connectors.ibkr.errors import ERRORS, Action
from connectors.ibkr.open_orders import ANSWER_S, OpenOrder
from connectors.ibkr.session import Address, IbkrSession
from contracts.controls import Alert
from contracts.instruments import INSTRUMENTS
from contracts.orders import BrokerStatus, SessionEvent, SessionState
from tests.execution.order_parts import INTENT
from tests.execution.test_account_values import values

READY, DISCONNECTED = SessionState.READY, SessionState.DISCONNECTED


async def publish(*_: Any) -> None:
    """Nobody reads it."""


class Quiet:
    """A session that is READY and has sent order 7; `said` empties what it has said since."""

    def __init__(self) -> None:
        self.session = IbkrSession(Address("127.0.0.1", 1, 1, simulated=True), publish)
        self.session.state = READY
        self.ears = self.session._ears
        now_s = time.monotonic()
        self.ears.orders.add(7, OpenOrder(INTENT, INSTRUMENTS["SPY"], "ofi", 100, now_s, now_s + ANSWER_S))

    def hear(self, code: int, request_id: int = 7) -> list[Any]:
        self.session._on_error(request_id, code, "a text")
        return self.said()

    def said(self) -> list[Any]:
        queue = self.session._said
        return [queue.get_nowait()[2] for _ in range(queue.qsize())]

    @property
    def asked(self) -> bool:
        """Whether a snapshot is to tell what became of order 7."""
        return self.ears.orders.overdue(0.0) == [7]


def with_action(action: Action) -> list[int]:
    return [row.code for row in ERRORS.values() if row.action is action]


def words(said: list[Any]) -> list[tuple[str, str]]:
    return [(word.status, word.reason) for word in said if isinstance(word, BrokerStatus)]


@pytest.mark.parametrize("code", with_action(Action.REFUSED))
def test_a_refusal_is_said_of_the_order_that_it_names_and_of_no_other(code: int) -> None:
    assert words(Quiet().hear(code)) == [("Inactive", f"{code} a text")]
    assert words(Quiet().hear(code, request_id=8)) == []


@pytest.mark.parametrize("code", with_action(Action.NOT_FOUND))
def test_that_the_gateway_knows_no_such_order_counts_where_its_cancel_was_asked_for(code: int) -> None:
    quiet = Quiet()
    assert (words(quiet.hear(code)), quiet.asked) == ([], False)
    quiet.ears.probed[7] = INTENT
    assert (words(quiet.hear(code)), quiet.asked) == ([("NotFound", f"{code} a text")], True)


@pytest.mark.parametrize("code", [*with_action(Action.ASK), *with_action(Action.CANCEL_LATE), 424242])
def test_what_is_not_clear_is_asked_about_and_ends_nothing(code: int) -> None:
    quiet = Quiet()
    assert (words(quiet.hear(code)), quiet.asked, quiet.session.state) == ([], True, READY)


@pytest.mark.parametrize("code", [*with_action(Action.NOTE), *with_action(Action.MARKET_DATA)])
def test_what_is_no_matter_of_orders_touches_none(code: int) -> None:
    quiet = Quiet()
    assert (words(quiet.hear(code)), quiet.asked, quiet.session.state) == ([], False, READY)
    assert (quiet.session._reconnect, quiet.session._resync) == ("", "")


@pytest.mark.parametrize("code", [201, 103])
def test_an_error_on_an_amend_is_not_one_on_the_order(code: int) -> None:
    quiet = Quiet()
    quiet.ears.orders.amend(7, (50, Decimal("600.10")), time.monotonic())
    assert (words(quiet.hear(code)), quiet.asked) == ([("AmendRefused", f"{code} a text")], True)
    assert words(quiet.hear(201)) == [("Inactive", "201 a text")], "the amend has had its answer"


@pytest.mark.parametrize("code", with_action(Action.RECONNECT))
def test_what_ends_the_connection_is_counted_as_a_violation_of_the_rate_only_where_it_is_one(code: int) -> None:
    quiet = Quiet()
    quiet.hear(code, request_id=-1)
    assert quiet.session._reconnect == f"{code} a text"
    assert quiet.session.health.pacing_violations == (code == 100)


@pytest.mark.parametrize("restored", with_action(Action.LINK_RESTORED))
def test_a_lost_link_ends_ready_at_once_and_one_that_is_back_has_a_snapshot_read(restored: int) -> None:
    quiet = Quiet()
    lost = [event.state for event in quiet.hear(1100, -1) if isinstance(event, SessionEvent)]
    assert (lost, quiet.session.state, quiet.session._link_lost) == ([DISCONNECTED], DISCONNECTED, True)
    back = [event.state for event in quiet.hear(restored, -1) if isinstance(event, SessionEvent)]
    assert (back, quiet.session._link_lost) == ([SessionState.CONNECTING], False)
    assert quiet.session._resync == f"{restored} a text"


def test_a_code_is_told_once_to_its_owner_and_one_that_nobody_knows_each_time() -> None:
    quiet = Quiet()

    def told(code: int) -> list[tuple[str, str, str]]:
        return [(a.severity, a.code, a.owner) for a in quiet.hear(code) if isinstance(a, Alert)]

    for code, row in ERRORS.items():
        assert told(code) == ([("WARNING", str(code), row.owner)] if row.owner else [])
        assert told(code) == []
    for _ in range(2):
        assert told(424242) == [("WARNING", "424242", "developers")]


def test_a_position_that_nobody_knows_is_a_critical_alert() -> None:
    quiet = Quiet()
    quiet.session._on_stranger("5 of XYZ")
    [alert] = quiet.said()
    assert (alert.severity, alert.code, "5 of XYZ" in alert.text) == ("CRITICAL", "UNKNOWN_POSITION", True)


def test_the_next_order_id_never_goes_back_and_no_epoch_is_used_twice() -> None:
    session = Quiet().session
    for next_id in (50, 40):
        session._on_next_id(next_id)
        assert session._next_id == 50
    epochs = []
    for _ in range(3):
        session._new_epoch()
        epochs.append(session.epoch)
    assert len(set(epochs)) == 3
    assert epochs == sorted(epochs)
    assert epochs[0] >= time.time_ns() // 1_000_000 - 10_000, "later than any epoch of a process before"


@pytest.mark.parametrize(("state", "ends"), [(READY, True), (SessionState.SYNCING, True), (DISCONNECTED, False)])
def test_a_gateway_that_hangs_up_ends_ready_in_the_same_moment(state: SessionState, ends: bool) -> None:
    quiet = Quiet()
    quiet.session.state = state
    quiet.session._on_hang_up("")
    assert [event.state for event in quiet.said()] == [DISCONNECTED] * ends
    assert quiet.session._refused.is_set()
    assert quiet.session._refusal == "the gateway closed the connection"


def test_the_account_is_said_when_it_changes_and_again_so_that_it_is_not_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = Quiet()
    rows = values()
    monkeypatch.setattr(quiet.session._ib, "accountValues", lambda _account: rows)
    quiet.session.sender.account = "DU1"

    def told() -> list[str]:
        quiet.session._tell_account()
        return [str(word.cash) for word in quiet.said()]

    assert (told(), told()) == (["5.5"], [])
    rows = values(TotalCashValue="6.5")
    assert (told(), told()) == (["6.5"], [])
    quiet.session._account._told_s -= AGAIN_S
    assert (told(), told()) == (["6.5"], [])
