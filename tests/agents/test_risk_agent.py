"""risk: the book at the mid, once per bucket, when every market partition has passed it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from agents import risk
from contracts.base import Message
from contracts.controls import RiskEvent
from contracts.orders import AccountValue, Position
from contracts.topics import MARKET_PARTITIONS
from quant.performance import PSR_OBSERVATIONS_MIN
from tests.agents.harness import SECOND_NS, fold, heartbeat, sent, signal

STEP = risk.make(SECOND_NS)


def account(nav: str) -> AccountValue:
    return AccountValue(
        account="DU1", net_liquidation=Decimal(nav), cash=Decimal(nav), buying_power=Decimal(nav), ts_ns=1
    )


def position(name: str, lots: int, cash_flow: str, exec_id: str = "1.01") -> Position:
    return Position(
        instrument=name,
        position_lots=lots,
        cash_flow=Decimal(cash_flow),
        commissions=Decimal(0),
        fills=1,
        last_exec_id=exec_id,
    )


def beats(second: float) -> list[Message]:
    return [heartbeat(second, partition) for partition in range(MARKET_PARTITIONS)]


def priced(second: int, half_ticks: int, name: str = "SPY") -> list[Message]:
    """A mid of `half_ticks` half cents, and the heartbeats that complete its bucket."""
    bid = (half_ticks - 1) // 2
    return [signal(second, name, bid_ticks=bid, ask_ticks=half_ticks - bid), *beats(second)]


def events(*messages: Message) -> list[RiskEvent]:
    _, outputs = fold(STEP, messages)
    seen: list[RiskEvent] = sent(outputs, "risk_events")
    return seen


def test_profit_is_cash_flow_plus_the_position_at_the_mid() -> None:
    [event] = events(account("100000"), position("SPY", 10, "-1000.50"), *priced(1, 20_000))
    assert (event.pnl_usd, event.nav_usd) == (-0.5, 99_999.5)
    assert (event.gross_usd, event.net_usd) == (1_000.0, 1_000.0)
    assert event.drawdown_frac == pytest.approx(0.5 / 100_000)
    assert (event.returns, event.psr) == (1, None)


def test_a_mid_between_two_ticks_is_not_rounded() -> None:
    [event] = events(account("100000"), position("SPY", 100, "-10000.00"), *priced(1, 20_001))
    assert event.pnl_usd == 0.5


def test_long_and_short_add_in_gross_and_cancel_in_net() -> None:
    [event] = events(
        account("100000"),
        position("SPY", 10, "-1000"),
        position("QQQ", -10, "1000"),
        signal(1, "SPY"),
        signal(1, "QQQ"),
        *beats(1),
    )
    assert (event.gross_usd, event.net_usd, event.pnl_usd) == (2_000.0, 0.0, 0.0)


def test_drawdown_is_measured_from_the_highest_value() -> None:
    held = [account("10000"), position("SPY", 10, "-1000")]
    seen = events(*held, *priced(1, 20_000), *priced(2, 40_000), *priced(3, 30_000), *priced(4, 40_000))
    assert [event.nav_usd for event in seen] == [10_000, 11_000, 10_500, 11_000]
    assert [event.drawdown_frac for event in seen] == pytest.approx([0, 0, 500 / 11_000, 0])


@pytest.mark.parametrize("lots", [100, -100])
def test_a_position_that_an_operator_takes_over_is_neither_profit_nor_loss(lots: int) -> None:
    """Its later moves are: 100 lots at 100.00, and then at 101.00."""
    before, taken = priced(1, 20_000), position("SPY", lots, "0", exec_id="")
    seen = events(account("1000000"), *before, taken, *beats(2), *priced(3, 20_200))
    assert [event.pnl_usd for event in seen] == [0.0, 0.0, lots]
    assert [abs(event.net_usd) for event in seen] == [0.0, 10_000.0, 10_100.0]
    assert seen[1].drawdown_frac == 0.0


def test_a_takeover_before_the_first_price_is_booked_at_that_price() -> None:
    seen = events(account("1000000"), position("SPY", -100, "0", exec_id=""), *priced(1, 20_000), *priced(2, 20_200))
    assert [event.pnl_usd for event in seen] == [0.0, -100.0]


def test_what_an_operator_takes_away_from_a_position_leaves_its_profit_as_it_was() -> None:
    """Bought at 99.00, worth 100.00, ten lots fewer by an operator; then ten more are bought at 100.00."""
    held, fewer = position("SPY", 100, "-9900"), position("SPY", 90, "-9900")
    bought = position("SPY", 100, "-10900", exec_id="2.01")
    seen = events(account("1000000"), held, *priced(1, 20_000), fewer, *beats(2), bought, *beats(3), *priced(4, 20_200))
    assert [event.pnl_usd for event in seen] == [100.0, 100.0, 100.0, 200.0]


def test_risk_speaks_once_per_bucket_and_only_when_the_last_partition_has_passed_it() -> None:
    start: list[Message] = [account("100000")]
    assert events(*start, *beats(1)[:-1]) == []
    assert len(events(*start, *beats(1), *beats(1))) == 1
    assert [event.ts_event_ns for event in events(*start, *beats(1), *beats(1.5), *beats(2))] == [
        SECOND_NS,
        2 * SECOND_NS,
    ]


def test_a_position_without_a_price_silences_risk_rather_than_being_worth_nothing() -> None:
    messages = [account("100000"), position("SPY", 10, "-1000"), *beats(1)]
    assert events(*messages) == []
    assert {event.gross_usd for event in events(*messages, *priced(2, 20_000))} == {1_000.0}


def test_a_closed_position_needs_no_price() -> None:
    [event] = events(account("100000"), position("SPY", 0, "12.5"), *beats(1))
    assert event.pnl_usd == 12.5


def test_the_first_account_value_is_the_start_and_later_ones_do_not_move_it() -> None:
    seen = events(account("100000"), *beats(1), account("50"), *beats(2))
    assert [event.nav_usd for event in seen] == [100_000, 100_000]


def test_without_an_account_value_or_with_an_empty_account_risk_is_silent() -> None:
    assert events(*beats(1), *beats(2)) == []
    assert events(account("0"), *beats(1)) == []


def test_the_sharpe_probability_appears_with_the_thirtieth_return() -> None:
    messages: list[Message] = [account("10000"), position("SPY", 10, "-1000")]
    for second in range(1, PSR_OBSERVATIONS_MIN + 2):
        messages += priced(second, 20_000 + 10 * second + (20 if second % 2 else 0))
    seen = events(*messages)
    assert [event.psr is None for event in seen] == [True] * (PSR_OBSERVATIONS_MIN - 1) + [False] * 2
    assert seen[-1].psr is not None
    assert 0.5 < seen[-1].psr <= 1.0
