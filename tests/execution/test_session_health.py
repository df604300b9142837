"""What the session says of itself, and who may write an order."""

from __future__ import annotations

import asyncio
import re
import threading
from datetime import UTC, datetime
from typing import Any

from app.stack import ROOT
from connectors.ibkr.calendar import LoginWatch
from connectors.ibkr.ears import Ears
from connectors.ibkr.health import ANSWERS_S, LOOP_DELAY_MS_MAX, Health
from connectors.ibkr.pacing import Pacing
from contracts.orders import SessionState
from tests.gateway.gateway_harness import until

BLOCKED_S = 0.4


def ignore(*_: Any) -> None:
    """Nobody listens."""


async def test_an_event_loop_that_is_blocked_is_measured_and_named_once() -> None:
    health = Health(Ears(1, ignore, ignore, ignore), Pacing())
    measuring = asyncio.create_task(health.measure())
    try:
        await until(lambda: health.loop_delay_ms_max > 0.0)
        assert health.report(SessionState.READY, "").reasons == ()
        threading.Event().wait(BLOCKED_S)  # what must not happen: nothing else runs meanwhile
        await until(lambda: health.loop_delay_ms_max > LOOP_DELAY_MS_MAX)
        report = health.report(SessionState.READY, "")
        assert report.loop_delay_ms_max > LOOP_DELAY_MS_MAX
        assert [reason.split("=")[0] for reason in report.reasons] == ["loop_delay_ms"]
        assert health.loop_delay_ms_max == 0.0, "each report is about its own second"
    finally:
        measuring.cancel()


def test_the_nightly_reset_and_the_restart_of_the_gateway_are_no_failures() -> None:
    midnight_s = datetime(2026, 1, 14, 4, 50, tzinfo=UTC).timestamp()  # 23:50 in New York
    now_s = [midnight_s]
    health = Health(Ears(1, ignore, ignore, ignore), Pacing(), lambda: now_s[0])
    for _ in range(22):
        health.failed()
    assert health.report(SessionState.DISCONNECTED, "").connection_failures == 0
    now_s[0] += 12 * 3_600
    health.failed()
    assert health.report(SessionState.DISCONNECTED, "").connection_failures == 1


def test_a_login_that_waits_for_a_person_is_no_failure_until_it_has_succeeded() -> None:
    """The kill switch would trip by itself on a Sunday, and somebody would have to reset it on Monday morning."""
    noon_s = datetime(2026, 11, 22, 17, tzinfo=UTC).timestamp()
    health, login = Health(Ears(1, ignore, ignore, ignore), Pacing(), lambda: noon_s), LoginWatch()
    for due in (True, False):
        login.failed(noon_s, due=due, planned=False)
        health.failed(login_waits=login.waits)
    assert health.connection_failures == 0
    login.succeeded()
    health.failed(login_waits=login.waits)
    assert health.connection_failures == 1


def test_acknowledgements_of_long_ago_say_nothing_about_now() -> None:
    now_s, ears = [0.0], Ears(1, ignore, ignore, ignore)
    health = Health(ears, Pacing(), lambda: now_s[0])

    def p95() -> float | None:
        return health.report(SessionState.READY, "").acknowledgement_ms_p95

    ears.answer_ms += [5_000.0] * 20
    assert p95() == 5_000.0
    now_s[0] = ANSWERS_S - 1
    ears.answer_ms += [5.0] * 10
    assert p95() == 5_000.0
    now_s[0] = ANSWERS_S
    assert p95() == 5.0
    now_s[0] = 2 * ANSWERS_S
    assert p95() is None
    ears.answer_ms += [900.0] * 500
    assert p95() == 900.0
    ears.answer_ms += [7.0] * 500
    assert p95() == 7.0, "the oldest go first, not the fastest"


def test_an_order_is_written_to_a_socket_by_the_sender_and_by_the_emergency_command_alone() -> None:
    """No way to the wire leads around admission, the kills and the count of children; the emergency only closes."""
    sources = [path for folder in ("agents", "app", "connectors/ibkr") for path in (ROOT / folder).rglob("*.py")]
    writers = {path.name for path in sources if re.search(r"placeOrder\(|bracketOrder\(", path.read_text())}
    assert writers == {"sender.py", "emergency.py"}
