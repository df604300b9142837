"""What a reset of the kill switch means: the desk goes on from here, if nothing that holds now is against it."""

from __future__ import annotations

from typing import Any

import pytest

from agents import killswitch
from agents.spec import Out
from contracts.controls import Alert, ResetCommand, RiskEvent, SwitchEvent, TradingState
from tests.execution.admission_parts import kill, risk
from tests.execution.order_parts import NOW_NS, record
from tests.execution.test_controls_and_account import KILL_LIMITS, evidence, letter

BREAKS = "execution.position_breaks"


class Switch:
    """The switch row; `alerts` are those since the last look."""

    def __init__(self, **limits: Any) -> None:
        self.row: killswitch.SwitchRow | None = None
        self.step = killswitch.make(KILL_LIMITS.model_copy(update=limits))
        self.said: list[Any] = []

    def tell(self, *messages: Any) -> Switch:
        for message in messages:
            self.row, outputs = self.step(self.row, record(message))
            self.said += [out.message for out in outputs if isinstance(out, Out)]
        return self

    def reset(self) -> Switch:
        return self.tell(ResetCommand(operator="Bo", reason="looked at", scope="account", ts_ns=NOW_NS))

    @property
    def active(self) -> bool:
        assert self.row is not None
        switches = [message for message in self.said if isinstance(message, SwitchEvent)]
        assert not switches or switches[-1].state is self.row.state, "what it is has been said"
        return self.row.state is TradingState.ACTIVE

    @property
    def alerts(self) -> list[str]:
        found = [f"{m.code} {m.subject}: {m.text}" for m in self.said if isinstance(m, Alert)]
        self.said = [m for m in self.said if not isinstance(m, Alert)]
        return found


def measured(bucket: int, **changes: Any) -> RiskEvent:
    pnl = changes.get("pnl_usd", 0.0)
    return risk(-bucket).model_copy(update={"nav_usd": 1e6 + pnl} | changes)


def test_a_reset_while_positions_differ_opens_nothing_and_says_what_stands_against_it() -> None:
    """Between a reset and the next word of risk, seconds later, the desk traded."""
    switch = Switch().tell(measured(0), evidence(BREAKS, 9.0))
    assert not switch.active
    assert len(switch.alerts) == 1
    assert not switch.reset().active
    (refused,) = switch.alerts
    assert refused.startswith("RESET_REFUSED")
    assert f"Bo's reset is refused while this lasts: {BREAKS}=9 position_breaks_max=1" in refused
    assert not switch.tell(evidence(BREAKS, 0.0)).active, "it is latched"
    assert switch.reset().active


def test_a_reset_is_refused_after_a_kill_by_hand_too_while_the_market_is_silent() -> None:
    switch = Switch().tell(evidence("data.age_s", 0.0, stage=1), measured(0), kill("account"), measured(61))
    assert not switch.reset().active
    fresh = evidence("data.age_s", 0.0, stage=1)
    switch.tell(fresh.model_copy(update={"ts_event_ns": measured(62).ts_event_ns}), measured(62))
    assert switch.reset().active


def test_a_limit_that_is_not_set_lets_nobody_reset() -> None:
    assert not Switch(loss_usd_max=None).tell(measured(0)).reset().active
    unset = Switch(pacing_violations_max=None).tell(evidence("execution.pacing_violations", 0.0))
    assert not unset.reset().active


def test_what_nobody_has_spoken_of_for_long_keeps_no_desk_closed() -> None:
    """An instrument that has left the universe is measured by nobody any more."""
    gone = evidence("data.refused_frac", 0.9, stage=1).model_copy(update={"instrument": "AAPL"})
    minutes = killswitch.STANDING_NS // 60_000_000_000
    switch = Switch().tell(measured(0), gone, measured(60 * minutes))
    assert not switch.reset().active
    assert switch.tell(measured(60 * minutes + 1)).reset().active


@pytest.mark.parametrize(
    ("lost", "more"),
    [
        ({"pnl_usd": -50_001.0}, {"pnl_usd": -50_001.0 - 0.0501 * 949_999}),
        ({"pnl_usd": -60_001.0, "nav_usd": 9e6}, {"pnl_usd": -120_002.0, "nav_usd": 8.94e6}),
        ({"drawdown_frac": 0.151}, {"drawdown_frac": 0.28, "nav_usd": 0.849e6}),
        ({"psr": 0.15, "returns": 30}, {"psr": 0.149, "returns": 31}),
    ],
)
def test_after_a_reset_the_desk_has_its_limits_anew_and_not_more(lost: dict[str, Any], more: dict[str, Any]) -> None:
    """Held against the whole past, each reset would end at the next bucket, for ever."""
    switch = Switch().tell(measured(0, **lost))
    assert not switch.active
    switch.reset().tell(*(measured(bucket, **lost) for bucket in range(1, 9)))
    assert switch.active
    assert not switch.tell(measured(9, **more)).active


def test_a_psr_that_has_recovered_since_the_reset_may_not_fall_again() -> None:
    low, high = {"psr": 0.1, "returns": 30}, {"psr": 0.5, "returns": 60}
    switch = Switch().tell(measured(0, **low)).reset().tell(measured(1, **low), measured(2, **high))
    assert switch.active
    assert not switch.tell(measured(3, psr=0.15, returns=61)).active


def test_whatever_happens_while_halted_is_alerted_once() -> None:
    """Killed for lunch: who resets it in the afternoon has to know what happened meanwhile."""
    switch = Switch().tell(measured(0), kill("account"))
    assert switch.alerts == []
    switch.tell(*(letter(number) for number in range(50)))
    switch.tell(*(evidence("execution.pacing_violations", float(count)) for count in (1, 2, 3)))
    switch.tell(measured(1, pnl_usd=-55_000.0), measured(2, pnl_usd=-56_000.0))
    alerts = switch.alerts
    assert [alert.split(":")[0] for alert in alerts] == ["KILL_SWITCH while the kill switch is HALTED"] * 3
    assert ["dead_letters" in alerts[0], "pacing_violations=1" in alerts[1], "loss_frac" in alerts[2]] == [True] * 3
    switch.reset().tell(kill("account"), letter(99), letter(100), letter(101))
    assert len(switch.alerts) == 1, "and so is the next time"


def test_a_reset_to_reducing_lets_the_desk_out_of_its_positions_and_into_none_until_the_next_one() -> None:
    def reset(*, reducing: bool = False) -> ResetCommand:
        return ResetCommand(operator="Bo", reason="carefully", scope="account", ts_ns=NOW_NS, reducing=reducing)

    switch = Switch().tell(measured(0), kill("account"), reset(reducing=True))
    assert [m.state for m in switch.said if isinstance(m, SwitchEvent)][-1] is TradingState.REDUCING
    assert switch.tell(reset()).active
    assert not switch.tell(reset(reducing=True)).active, "at any time"
    switch.tell(evidence(BREAKS, 9.0), reset(reducing=True))
    assert len(switch.alerts) == 2, "and it trips, and is refused, as ever"
