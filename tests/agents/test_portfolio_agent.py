"""portfolio: targets within their limits, and intents that a second computation names the same."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from agents import portfolio
from agents.parameters import Market, Portfolio
from agents.spec import Step
from contracts.base import Message
from contracts.orders import AccountValue, OrderIntent, Position
from contracts.signals import CrossSection, Mark
from quant.covariance import encode_matrix
from tests.agents.harness import SECOND_NS, covariance_event, fold, record, sent

MARKET = Market(universe=("SPY", "QQQ"), bucket_ms=1_000, bars_per_year=100)
PARAMETERS = Portfolio(
    covariance_half_life_buckets=60,
    covariance_warm_buckets=8,
    gamma=5.0,
    kappa=0.0,
    box=0.05,
    turnover=0.08,
    vol_target_annual=0.10,
    order_notional_usd_min=1_000,
)
QUIET = encode_matrix(1e-6 * np.eye(2))
"""0.1 % a bar and 1 % a year: the volatility target does not bind."""


@pytest.fixture(scope="module")
def step() -> Step:
    return portfolio.make(MARKET, PARAMETERS, 25_000)


def mark(name: str, alpha: float, **change: Any) -> Mark:
    """Bid 99.99, ask 100.01: a lot is worth 100 USD."""
    fields: dict[str, Any] = {"bid_ticks": 9_999, "ask_ticks": 10_001, "halted": False, **change}
    return Mark(instrument=name, alpha=alpha, ret=0.0, **fields)


def section(*marks: Mark, covariance: str | None = QUIET, second: int = 9, regime: Any = "normal") -> CrossSection:
    model = covariance_event(second, marks, covariance)
    return CrossSection(regime=regime, vol_annual=0.0, mean_correlation=0.0, model=model)


def account(nav: str) -> AccountValue:
    return AccountValue(
        account="DU1", net_liquidation=Decimal(nav), cash=Decimal(nav), buying_power=Decimal(nav), ts_ns=1
    )


def position(name: str, lots: int) -> Position:
    zero = Decimal(0)
    return Position(instrument=name, position_lots=lots, cash_flow=zero, commissions=zero, fills=1, last_exec_id="1.01")


NAV = account("100500")
"""5 % of it is 50.25 lots, so 50."""

BULLISH = section(mark("SPY", 1e-3), mark("QQQ", 0.0))


def intents(step: Step, *messages: Message) -> list[OrderIntent]:
    _, outputs = fold(step, messages)
    wanted: list[OrderIntent] = sent(outputs, "order_intents")
    return wanted


def test_a_good_forecast_buys_up_to_the_box(step: Step) -> None:
    [intent] = intents(step, NAV, BULLISH)
    assert (intent.instrument, intent.side, intent.quantity_lots, intent.position_lots) == ("SPY", "BUY", 50, 0)
    assert (intent.arrival_bid_ticks, intent.arrival_ask_ticks) == (9_999, 10_001)
    assert (intent.ts_event_ns, intent.ts_ingest_ns) == (9 * SECOND_NS, 9 * SECOND_NS)


def test_a_bad_forecast_sells_short(step: Step) -> None:
    [intent] = intents(step, NAV, section(mark("SPY", -1e-3), mark("QQQ", 0.0)))
    assert (intent.side, intent.quantity_lots) == ("SELL", 50)


def test_a_coin_is_not_sold_short_because_nobody_lends_it() -> None:
    """Each such order would come back rejected, and while it works the instrument is busy."""
    coins = portfolio.make(Market(universe=("BTCUSDT",), bucket_ms=1_000, bars_per_year=100), PARAMETERS, 25_000)
    one = encode_matrix(1e-6 * np.eye(1))
    bearish = section(mark("BTCUSDT", -1e-3, bid_ticks=6_000_000, ask_ticks=6_000_100), covariance=one)
    state, outputs = fold(coins, [NAV, bearish])
    assert sent(outputs, "order_intents") == []
    assert sent(outputs, "portfolio_targets")[0].lines[0].lots_target == 0
    assert state.weights == {"BTCUSDT": 0.0}
    [closing] = intents(coins, NAV, position("BTCUSDT", 5_000), bearish)
    assert (closing.side, closing.quantity_lots) == ("SELL", 5_000)


def test_what_is_held_already_is_not_bought_again(step: Step) -> None:
    [intent] = intents(step, NAV, position("SPY", 20), BULLISH)
    assert (intent.side, intent.quantity_lots, intent.position_lots) == ("BUY", 30, 20)
    assert intents(step, NAV, position("SPY", 50), BULLISH) == []


def test_turnover_is_kept_over_all_instruments_together(step: Step) -> None:
    state, outputs = fold(step, [NAV, section(mark("SPY", 1e-3), mark("QQQ", 1e-3))])
    [target] = sent(outputs, "portfolio_targets")
    assert sum(abs(line.weight) for line in target.lines) == pytest.approx(0.08, abs=1e-6)
    assert all(abs(line.weight) <= 0.05 + 1e-6 for line in target.lines)
    assert state.weights == {line.instrument: line.weight for line in target.lines}
    assert sent(outputs, "gate_evidence")[0].value <= 1e-6


def test_a_hedge_of_less_than_a_lot_does_not_leave_its_long_above_the_volatility_target() -> None:
    """QQQ at 8,000 USD a lot rounds to nothing, and SPY alone at its box would be five times as volatile as allowed."""
    calm = PARAMETERS.model_copy(update={"vol_target_annual": 0.002})
    alike = np.array([[0.04, 0.0396], [0.0396, 0.04]])
    hedged = section(
        mark("SPY", 1e-3),
        mark("QQQ", -1e-3, bid_ticks=799_990, ask_ticks=800_010),
        covariance=encode_matrix(alike / MARKET.bars_per_year),
    )
    _, outputs = fold(portfolio.make(MARKET, calm, 25_000), [NAV, hedged])
    lots = {line.instrument: line.lots_target for line in sent(outputs, "portfolio_targets")[0].lines}
    assert lots["QQQ"] == 0
    assert 0 < lots["SPY"] * 100 / 100_500 * 0.20 <= 0.002


def test_a_covariance_of_another_universe_trades_nothing_and_raises_nothing(step: Step) -> None:
    strange = section(mark("SPY", 1e-3), mark("QQQ", 0.0), covariance=encode_matrix(np.eye(3)))
    state, outputs = fold(step, [NAV, position("SPY", 20), strange])
    assert state.rung == "invalid"
    assert sent(outputs, "order_intents") == []
    assert {line.instrument: line.lots_target for line in sent(outputs, "portfolio_targets")[0].lines}["SPY"] == 20


def test_the_same_decision_has_the_same_id_however_often_it_is_computed(step: Step) -> None:
    [first], [second] = intents(step, NAV, BULLISH), intents(step, NAV, BULLISH)
    assert first == second
    text = f"ofi|SPY|{9 * SECOND_NS}|BUY"
    assert first.intent_id == hashlib.sha256(text.encode()).hexdigest()[:24]


def test_another_bucket_instrument_or_side_is_another_intent() -> None:
    ids = {
        portfolio.intent_id(name, bucket, side)
        for name in ("SPY", "QQQ")
        for bucket in (1, 2)
        for side in ("BUY", "SELL")
    }
    assert len(ids) == 8


@pytest.mark.parametrize(
    "messages",
    [
        (BULLISH,),
        (NAV, section(mark("SPY", 1e-3), mark("QQQ", 0.0), covariance=None)),
        (NAV, section(mark("SPY", 1e-3))),
        (account("0"), BULLISH),
        (account("-5000"), BULLISH),
    ],
    ids=["no account", "no covariance", "no mark of QQQ", "nothing in the account", "less than nothing"],
)
def test_nothing_is_wanted_while_an_input_is_missing(step: Step, messages: tuple[Message, ...]) -> None:
    _, outputs = fold(step, messages)
    assert outputs == []


def test_a_halted_instrument_is_not_traded(step: Step) -> None:
    assert intents(step, NAV, section(mark("SPY", 1e-3, halted=True), mark("QQQ", 0.0))) == []


def test_no_order_is_larger_than_admission_lets_through_at_its_own_arrival_price() -> None:
    """30 lots are worth 3,000.00 USD at the mid, but 3,000.30 at the ask, where a buyer pays."""
    capped = portfolio.make(MARKET, PARAMETERS, 3_000)
    [bought] = intents(capped, NAV, BULLISH)
    assert bought.quantity_lots == 29
    [sold] = intents(capped, NAV, section(mark("SPY", -1e-3), mark("QQQ", 0.0)))
    assert sold.quantity_lots == 30


def test_without_a_limit_on_the_order_nothing_is_ordered() -> None:
    assert intents(portfolio.make(MARKET, PARAMETERS, None), NAV, BULLISH) == []


def test_a_trade_too_small_to_be_worth_its_cost_is_not_made(step: Step) -> None:
    assert intents(step, NAV, position("SPY", 41), BULLISH) == []
    assert [intent.quantity_lots for intent in intents(step, NAV, position("SPY", 39), BULLISH)] == [11]


def test_a_storm_leaves_less_room_than_a_calm(step: Step) -> None:
    wide = PARAMETERS.model_copy(update={"box": 3.0, "turnover": 9.0})
    stormy = portfolio.make(MARKET, wide, 25_000)
    marks = (mark("SPY", 1.0), mark("QQQ", -1.0))
    gross = {}
    for regime in ("calm", "normal", "storm"):
        _, outputs = fold(stormy, [NAV, section(*marks, regime=regime)])
        [target] = sent(outputs, "portfolio_targets")
        gross[regime] = sum(abs(line.weight) for line in target.lines)
    assert gross == pytest.approx({"calm": 2.5, "normal": 2.0, "storm": 1.0}, abs=1e-4)


def test_an_intent_names_the_records_it_rests_on(step: Step) -> None:
    state = None
    for offset, message in ((3, NAV), (7, position("QQQ", 1))):
        state, _ = step(state, record(message, offset, topic=f"from {message.type}"))
    _, outputs = step(state, record(BULLISH, 11, topic="cross_sections"))
    [intent] = sent(outputs, "order_intents")
    assert [(source.topic, source.offset) for source in intent.inputs] == [
        ("cross_sections", 11),
        ("from account_value", 3),
        ("from position", 7),
    ]


def test_what_was_sent_does_not_change_when_the_row_does(step: Step) -> None:
    state, outputs = fold(step, [NAV, BULLISH])
    before = [out.message.model_dump_json() for out in outputs]
    fold(step, [position("SPY", 10), section(mark("SPY", -1e-3), mark("QQQ", 1e-3), second=10)], state)
    assert [out.message.model_dump_json() for out in outputs] == before
