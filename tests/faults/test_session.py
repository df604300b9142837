"""The session's states on real TCP: how it gets to READY, how it comes back, who may hold it, and who is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from connectors import crash
from connectors.ibkr import guard, outages, session
from contracts import topics as t
from contracts.orders import TERMINAL, SessionEvent, SessionHealth, SessionState
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
        desk.session._back_off_s = waits_s = (0.2, 1.2, 1.3, 1.4, 1.5)  # type: ignore[assignment]
        desk.gateway.arm("G10", mode="reset", for_s=6.0)
        await desk.until(lambda: desk.epoch_states.count(READY) == 2, "READY")
        seen = events(desk)
        downs = [index for index, event in enumerate(seen) if event.state is SessionState.DISCONNECTED]
        gaps_s = [(seen[index + 1].ts_ns - seen[index].ts_ns) / 1e9 for index in downs]
        assert len(gaps_s) >= 5
        # The first is after a success, and so is the first failure of the series.
        wanted = [*waits_s, *[waits_s[-1]] * len(gaps_s)]
        assert all(wait <= gap < wait + 0.9 for wait, gap in zip(wanted, gaps_s, strict=False)), gaps_s
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


async def test_orders_of_the_moment_in_which_the_socket_ends_stop_no_agent_and_go_out_at_the_next_ready() -> None:
    async with mini_desk() as desk:
        working = desk.intend("SPY")
        await desk.settled()
        sender, seen = desk.session.sender, list[SessionState]()

        def order(_text: str) -> None:
            """As the peer closes, before anybody else has had a turn."""
            seen.append(desk.session.state)
            intents.extend(desk.intend(name) for name in ("SPY", "QQQ", "AAPL", "MSFT"))

        intents: list[str] = []
        desk.mark()
        desk.session._ib.client.conn.disconnected += order
        await desk.reconnected(lambda: desk.gateway.arm("G10", mode="reset"))
        assert seen[:1] == [SessionState.DISCONNECTED], "it notices at once"
        assert intents
        assert sender._owed == {}
        await desk.settled()
        assert all(desk.order(intent).state in TERMINAL for intent in (working, *intents[:4]))


async def test_a_global_cancel_without_a_connection_is_owed_and_stops_no_agent() -> None:
    async with mini_desk() as desk:
        desk.session.stay_away(True)
        await desk.until(lambda: not desk.session._ib.isConnected(), "the end of the connection")
        await desk.session.sender.cancel_all()
        await desk.session.sender.cancel(7, "a" * 24)
        desk.session.stay_away(False)
        await desk.is_ready()
        await desk.until(lambda: not desk.session.sender._owed and not desk.session.sender._owes_all, "what was owed")


LOST, RESTORED = (-1, 1100, "Connectivity has been lost."), (-1, 1102, "Connectivity has been restored.")


def when(monkeypatch: pytest.MonkeyPatch, place: str, *calls: Callable[[], None]) -> list[str]:
    """Do something once, at a place of the session; the places that were passed since."""
    waiting, passed = list(calls), list[str]()
    checked = guard.refusal

    def at(name: str) -> None:
        passed.append(name)
        while name == place and waiting:
            waiting.pop(0)()

    def refusal(*args: Any, **options: Any) -> str:
        at("handshake")
        return checked(*args, **options)

    monkeypatch.setattr(crash, "at", at)
    monkeypatch.setattr(session, "refusal", refusal)
    return passed


@pytest.mark.parametrize("place", ["handshake", "session:open_orders", "session:executions"])
async def test_the_end_of_a_snapshot_is_not_ready_while_the_link_to_ib_is_lost(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    async with mini_desk() as desk:
        passed = when(monkeypatch, place, lambda: desk.session._on_error(*LOST))
        before = desk.epoch_states.count(READY)
        desk.gateway.arm("G10", mode="reset")
        await desk.until(lambda: place in passed, "1100")
        heard = len(desk.log)
        await desk.until(
            lambda: sum(isinstance(m, SessionHealth) for _, _, m in desk.log[heard:]) >= 2, "two seconds of the session"
        )
        assert desk.epoch_states.count(READY) == before
        assert desk.session.state is SessionState.DISCONNECTED
        desk.mark()
        intent = desk.intend()
        await desk.until(lambda: intent in desk.decided, "a decision")
        assert not desk.decided[intent]
        desk.session._on_error(*RESTORED)
        await desk.is_ready()


async def test_a_link_that_was_lost_and_came_back_within_a_snapshot_makes_it_be_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with mini_desk() as desk:
        lose, restore = (lambda: desk.session._on_error(*LOST)), (lambda: desk.session._on_error(*RESTORED))
        when(monkeypatch, "session:open_orders", lose, restore)
        await desk.reconnected(lambda: desk.gateway.arm("G10", mode="reset"))
        assert desk.epoch_states[-3:] == [CONNECTING, SessionState.SYNCING, READY]


async def test_a_link_that_was_lost_before_the_socket_ended_keeps_no_new_session_from_ready() -> None:
    """The gateway that is there after the reset has not said that its link is lost."""
    async with mini_desk() as desk:
        desk.session._on_error(*LOST)
        await desk.reconnected(lambda: desk.gateway.arm("G10", mode="reset"))


async def test_a_session_that_runs_measures_the_delay_of_its_loop_and_names_the_next_order_id() -> None:
    async with mini_desk() as desk:
        ready = next(event for event in events(desk) if event.state is READY)
        assert ready.next_order_id >= 1
        await desk.until(lambda: any(isinstance(m, SessionHealth) for _, _, m in desk.log), "a word on its health")
        [health, *_] = [m for _, _, m in desk.log if isinstance(m, SessionHealth)]
        assert health.loop_delay_ms_max > 0.0


async def test_connections_that_fail_are_said_while_the_session_is_away() -> None:
    """They reach the kill switch and the page while it is of use."""
    async with mini_desk() as desk:
        desk.session._back_off_s = (0, 0, 0, 1)
        desk.gateway.arm("G10", mode="reset", for_s=6.0)
        await desk.until(lambda: desk.session.state is not READY, "the loss")
        heard = len(desk.log)

        def said() -> list[SessionHealth]:
            return [m for _, _, m in desk.log[heard:] if isinstance(m, SessionHealth) and m.state is not READY]

        await desk.until(lambda: len(said()) >= 3, "three words on it", 5.0)
        assert desk.epoch_states[-1] is not READY
        assert said()[-1].connection_failures >= 3
        assert "session is" in said()[-1].reasons[0]
        await desk.is_ready()


async def test_a_rollback_that_is_lifted_leaves_nothing_behind_that_ends_the_next_connection() -> None:
    async with mini_desk() as desk:
        desk.session.stay_away(True)
        await desk.until(lambda: desk.epoch_states[-1] is SessionState.DISCONNECTED, "the end")
        desk.session.stay_away(True)  # another line in the kill file
        failures, seen = desk.session.health.connection_failures, len(desk.epoch_states)
        desk.session.stay_away(False)
        await desk.until(lambda: desk.epoch_states[seen:].count(READY) == 1, "READY")
        assert desk.epoch_states[seen:] == [CONNECTING, SessionState.SYNCING, READY]
        assert desk.session.health.connection_failures == failures


async def test_a_client_id_that_stays_with_another_owner_is_told_and_the_loser_goes_with_his_later_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outages, "HELD_S", 1.0)
    async with mini_desk() as owner:
        loser = MiniDesk(owner.gateway)
        await loser.start()
        try:
            await loser.until(lambda: codes(loser).count("CLIENT_ID_HELD") == 1, "the alert", 8.0)
            assert owner.session.state is READY, "it tries on, and takes nothing away"
            await owner.reconnected(lambda: setattr(owner.session, "_resync", "an order"))
            later = next(event for event in reversed(events(owner)) if event.state is READY)
            assert later.epoch > loser.session.epoch
            loser.say(t.BROKER_EVENTS, t.BROADCAST, later)
            with pytest.raises(AssertionError, match="the desk stopped") as stopped:
                await loser.until(lambda: False, "nothing", 5.0)
            assert "of another owner is READY" in str(stopped.value.__cause__)
            assert codes(loser).count("CLIENT_ID_HELD") == 1
        finally:
            await loser.crash()


async def test_the_next_rejection_reaches_its_owner_when_the_first_one_is_an_hour_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with mini_desk() as desk:
        for _ in range(3):
            desk.session._on_error(5000, 201, "Order rejected - reason: margin")
        monkeypatch.setattr(outages, "CODE_AGAIN_S", 0.0)
        desk.session._on_error(5001, 201, "Order rejected - reason: margin")
        await desk.until(lambda: codes(desk).count("201") == 2, "both alerts")
