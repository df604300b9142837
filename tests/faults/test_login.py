"""The weekly login that waits for a person: one alert, at once, and READY as soon as the person has seen to it."""

from __future__ import annotations

import pytest

from connectors.ibkr import session
from contracts.orders import SessionState
from tests.faults.desk_harness import mini_desk

pytestmark = pytest.mark.slow


async def test_on_sunday_one_alert_says_that_a_human_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "second_factor_due", lambda now_s: True)
    monkeypatch.setattr(session, "expected_outage", lambda now_s: "")
    async with mini_desk() as desk:
        desk.gateway.arm("G10", mode="2fa", for_s=6.0)
        down = desk.epoch_states.count(SessionState.DISCONNECTED)
        await desk.until(
            lambda: desk.epoch_states.count(SessionState.DISCONNECTED) >= down + 3, "the loss and two failed logins"
        )
        alerts = [alert for _, alert in desk.alerts if alert.code == "SECOND_FACTOR"]
        assert len(alerts) == 1
        assert "a person is needed" in alerts[0].text
        assert alerts[0].severity == "CRITICAL"
        await desk.is_ready()


async def test_the_alert_comes_after_the_reset_in_which_the_login_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planned = ["nightly reset of IB's servers"]
    monkeypatch.setattr(session, "second_factor_due", lambda now_s: True)
    monkeypatch.setattr(session, "expected_outage", lambda now_s: planned[0])
    async with mini_desk() as desk:
        desk.gateway.arm("G10", mode="2fa", for_s=6.0)
        down = desk.epoch_states.count(SessionState.DISCONNECTED)
        await desk.until(
            lambda: desk.epoch_states.count(SessionState.DISCONNECTED) >= down + 3, "the loss and two failed logins"
        )
        assert not [alert for _, alert in desk.alerts if alert.code == "SECOND_FACTOR"]
        planned[0] = ""
        await desk.until(lambda: "SECOND_FACTOR" in [alert.code for _, alert in desk.alerts], "the alert", 5.0)
        await desk.is_ready()
        assert len([alert for _, alert in desk.alerts if alert.code == "SECOND_FACTOR"]) == 1
