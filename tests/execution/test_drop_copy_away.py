"""Nobody looks on: drop copies that stay away are told, and what a person says while nothing is known is refused."""

from __future__ import annotations

from typing import Self

from contracts.breaks import PositionBreak
from contracts.controls import Alert, GateEvidence, ResolveCommand
from contracts.orders import BrokerPosition, DropCopy, SessionHealth, SessionState
from contracts.topics import EXEC_REPORTS
from tests.execution.admission_parts import risk, session
from tests.execution.order_parts import NOW_NS
from tests.execution.test_controls_and_account import Books

SECOND_NS = 1_000_000_000


def health(second: int, state: SessionState = SessionState.READY) -> SessionHealth:
    return SessionHealth(
        state=state,
        reasons=(),
        connection_failures=0,
        pacing_violations=0,
        pacing_queue=0,
        pacing_wait_ms_max=0.0,
        loop_delay_ms_max=0.0,
        acknowledgement_ms_p95=None,
        ts_ns=NOW_NS + second * SECOND_NS,
    )


def copy(hours_ahead: int = 0) -> DropCopy:
    ts_ns = NOW_NS + hours_ahead * 3_600 * SECOND_NS
    return DropCopy(positions={}, bought_lots={}, sold_lots={}, executions=0, ts_ns=ts_ns)


class Watched(Books):
    """The account agent, and what it says of who looks on."""

    def ready(self, *held: BrokerPosition) -> Self:
        self.tell(session(SessionState.CONNECTING), session(SessionState.SYNCING), *held, session())
        return self.tell(session(), topic=EXEC_REPORTS.name)

    @property
    def alerts(self) -> list[str]:
        return [message.code for message in self.said if isinstance(message, Alert)]

    def evidence(self) -> dict[str, float]:
        said, self.said = self.said, []
        found = {m.name: m.value for m in self.tell(risk()).said if isinstance(m, GateEvidence)}
        self.said = said
        return found


def test_drop_copies_that_stay_away_while_the_session_is_ready_are_told_once_an_outage() -> None:
    books = Watched().ready().tell(health(1), copy(), *(health(second) for second in range(2, 12)))
    assert books.alerts == []
    assert books.evidence()["execution.drop_copy_away"] == 0.0
    books.tell(*(health(second) for second in range(12, 40)))
    assert books.alerts == ["DROP_COPY_AWAY"]
    assert books.evidence()["execution.drop_copy_away"] == 1.0
    books.tell(copy(), health(40))
    assert books.evidence()["execution.drop_copy_away"] == 0.0
    books.tell(*(health(second) for second in range(41, 60)))
    assert books.alerts == ["DROP_COPY_AWAY"] * 2


def test_a_drop_copy_by_a_clock_that_is_ahead_does_not_hide_that_the_next_ones_stay_away() -> None:
    books = Watched().ready().tell(copy(hours_ahead=1), *(health(second) for second in range(1, 20)))
    assert books.alerts == ["DROP_COPY_AWAY"]


def test_a_session_that_was_away_is_given_the_time_for_a_drop_copy() -> None:
    away = (health(second, SessionState.CONNECTING) for second in range(2, 100))
    books = Watched().ready().tell(health(1), *away)
    assert books.alerts == [], "GATEWAY_AWAY says it"
    books.ready().tell(*(health(second) for second in range(3_600, 3_609)))
    assert books.alerts == []


def test_a_break_is_not_settled_by_the_part_of_a_snapshot_that_has_come() -> None:
    """In the middle of one every position is 0: the next READY would open the break anew, the other way round."""
    held = BrokerPosition(instrument="SPY", position_lots=100, ts_ns=NOW_NS)
    resolve = ResolveCommand(operator="Ada", reason="a transfer of shares", instrument="SPY", ts_ns=NOW_NS)
    books = Watched().ready(held).tell(session(SessionState.SYNCING), resolve)
    assert books.alerts == ["POSITION_BREAK", "RESOLVE_REFUSED"]
    assert books.row is not None
    assert books.row.breaks.keys() == {"SPY"}
    later = session().model_copy(update={"epoch": session().epoch + 1})
    books.tell(held, later, resolve)
    assert books.alerts[2:] == ["RESOLVE_REFUSED"], "executions of the snapshot are still on their way to our side"
    books.tell(later, topic=EXEC_REPORTS.name).tell(resolve)
    assert [m.broker_lots for m in books.said if isinstance(m, PositionBreak) and not m.open] == [100]
    assert books.row.own_positions == {"SPY": 100}
