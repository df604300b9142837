"""The session's states on real TCP: how it gets to READY, how it comes back, who may hold it, and who is told."""

from __future__ import annotations

import time
from typing import Any

import pytest

from connectors.ibkr import session
from contracts import topics as t
from contracts.orders import SessionEvent, SessionState
from tests.faults.desk_harness import MiniDesk, mini_desk

pytestmark = pytest.mark.slow

READY, CONNECTING = SessionState.READY, SessionState.CONNECTING


@pytest.fixture(autouse=True)
def no_outage_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever time of the night it is."""
    monkeypatch.setattr(session, "expected_outage", lambda now_s: "")
    monkeypatch.setattr(session, "second_factor_due", lambda now_s: False)


def events(desk: MiniDesk) -> list[SessionEvent]:
    return [message for topic, _, message in desk.log if topic is t.BROKER_EVENTS and isinstance(message, SessionEvent)]


def codes(desk: MiniDesk) -> list[str]:
    return [alert.code for _, alert in desk.alerts]


async def test_it_goes_through_its_states_and_each_ready_has_an_epoch_of_its_own() -> None:
    async with mini_desk() as desk:
        assert desk.epoch_states == [CONNECTING, SessionState.SYNCING, READY]
        await desk.reconnected(lambda: desk.gateway.arm("G10", mode="reset"))
        assert desk.epoch_states[3:] == [SessionState.DISCONNECTED, CONNECTING, SessionState.SYNCING, READY]
        epochs = [event.epoch for event in events(desk)]
        assert epochs == sorted(epochs)
        assert len({event.epoch for event in events(desk) if event.state is READY}) == 2


async def test_it_waits_longer_after_each_failure_and_begins_anew_after_a_success() -> None:
    assert session.BACK_OFF_S == (1, 2, 4, 8, 16)
    async with mini_desk() as desk:
        desk.session._back_off_s = waits_s = (0.2, 0.3, 0.4, 0.5, 0.6)  # type: ignore[assignment]
        desk.gateway.arm("G10", mode="reset", for_s=3.0)
        await desk.until(lambda: desk.epoch_states.count(READY) == 2, "READY")
        seen = events(desk)
        downs = [index for index, event in enumerate(seen) if event.state is SessionState.DISCONNECTED]
        gaps_s = [(seen[index + 1].ts_ns - seen[index].ts_ns) / 1e9 for index in downs]
        assert len(gaps_s) >= 5
        # The first is after a success, and so is the first failure of the series.
        wanted = [*waits_s, *[waits_s[-1]] * len(gaps_s)]
        assert all(wait <= gap < wait + 0.5 for wait, gap in zip(wanted, gaps_s, strict=False)), gaps_s
        await desk.reconnected(lambda: desk.gateway.arm("G10", mode="reset"))
        last = [event for event in events(desk) if event.state in (SessionState.DISCONNECTED, CONNECTING)][-2:]
        assert (last[1].ts_ns - last[0].ts_ns) / 1e9 < waits_s[1]


async def test_an_outage_that_nobody_planned_is_alerted_once_and_within_five_seconds() -> None:
    async with mini_desk() as desk:
        began = time.monotonic()
        desk.gateway.arm("G10", mode="reset", for_s=6.0)
        await desk.until(lambda: "GATEWAY_AWAY" in codes(desk), "the alert", 6.0)
        assert time.monotonic() - began < 5.0
        await desk.until(lambda: desk.epoch_states.count(READY) == 2, "READY")
        assert codes(desk).count("GATEWAY_AWAY") == 1


async def test_a_gateway_that_is_mute_in_the_middle_of_a_snapshot_is_alerted_too() -> None:
    async with mini_desk() as desk:
        desk.gateway.arm("G25", delay_s=30.0, count=4)
        desk.gateway.arm("G10", mode="reset")
        began = time.monotonic()
        await desk.until(lambda: "GATEWAY_AWAY" in codes(desk), "the alert", 6.0)
        assert time.monotonic() - began < 5.5
        desk.gateway.gateway.panel.clear("G25")
        await desk.until(lambda: desk.epoch_states.count(READY) == 2, "READY", session.SNAPSHOT_TIMEOUT_S + 4.0)


async def test_the_nightly_reset_is_named_and_wakes_nobody(monkeypatch: Any) -> None:
    async with mini_desk() as desk:
        monkeypatch.setattr(session, "expected_outage", lambda now_s: "nightly reset of IB's servers")
        desk.gateway.arm("G10", mode="reset", for_s=5.0)
        await desk.until(lambda: desk.epoch_states.count(READY) == 2, "READY")
        downs = [event.reason for event in events(desk) if event.state is SessionState.DISCONNECTED]
        assert all("nightly reset" in reason for reason in downs)
        assert codes(desk) == []


async def test_an_owner_that_sees_a_later_ready_than_its_own_is_gone() -> None:
    """Its connection may have died without a word while it slept; another has the client id and has reconciled."""
    async with mini_desk() as desk:
        desk.session.stay_away(True)
        other = MiniDesk(desk.gateway)
        await other.start()
        await other.until(lambda: other.session.state is READY, "READY of another owner")
        later = next(event for event in reversed(events(other)) if event.state is READY)
        await other.crash()
        desk.say(t.BROKER_EVENTS, t.BROADCAST, later)
        with pytest.raises(AssertionError, match="the desk stopped") as stopped:
            await desk.until(lambda: False, "nothing", 5.0)
        assert "of another owner is READY" in str(stopped.value.__cause__)


async def test_a_ready_from_before_a_restart_is_no_other_owner() -> None:
    async with mini_desk() as desk:
        before = events(desk)[-1]
        await desk.crash()
        desk.say(t.BROKER_EVENTS, t.BROADCAST, before)
        await desk.start()
        await desk.is_ready()
