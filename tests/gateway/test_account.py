"""Money: commissions, cost basis and margin, with numbers checked by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.gateway.account import INITIAL_MARGIN, MAINTENANCE_MARGIN, Account, order_commission
from contracts.instruments import INSTRUMENTS

SPY, BTC = INSTRUMENTS["SPY"], INSTRUMENTS["BTCUSDT"]


@pytest.mark.parametrize(
    ("lots", "price", "commission"),
    [(1000, "100", "5.0000"), (100, "100", "1.0000"), (1, "100", "1.0000"), (1, "50", "0.5000"), (10, "1", "0.1000")],
)
def test_stocks_pay_half_a_cent_a_share_within_one_dollar_and_one_percent(
    lots: int, price: str, commission: str
) -> None:
    assert order_commission(SPY, lots, Decimal(price) * lots) == Decimal(commission)


def test_crypto_pays_eighteen_basis_points_and_at_least_one_seventy_five() -> None:
    assert order_commission(BTC, 100_000, Decimal(60_000)) == Decimal("108.0000")
    assert order_commission(BTC, 10, Decimal(6)) == Decimal("1.7500")


def test_a_round_trip_realizes_the_difference_less_both_commissions() -> None:
    account = Account("DU1", Decimal(100_000))
    assert account.fill(SPY, 100, 10_000, Decimal(1)) is None
    assert account.position(SPY).average_cost == Decimal("100.01")
    assert account.fill(SPY, -100, 10_100, Decimal(1)) == Decimal(98)
    assert account.cash == Decimal(100_098)


def test_a_sale_through_zero_closes_the_long_and_opens_a_short() -> None:
    account = Account("DU1", Decimal(100_000))
    account.fill(SPY, 100, 10_000, Decimal(0))
    assert account.fill(SPY, -300, 10_100, Decimal(3)) == Decimal(99), "100 gained, and a third of the 3 paid"
    position = account.position(SPY)
    assert (position.lots, position.average_cost) == (-200, Decimal("100.99"))


def test_equity_is_the_start_plus_realized_plus_unrealized() -> None:
    account = Account("DU1", Decimal(100_000))
    account.fill(SPY, 7, 10_003, Decimal("1"))
    account.fill(SPY, -3, 10_011, Decimal("0.9"))
    mark = lambda _: 9_999  # noqa: E731 - a price
    assert account.equity(mark) == account.cash_start + account.realized + account.unrealized(mark)


def test_margin_is_half_and_a_quarter_of_the_position() -> None:
    account = Account("DU1", Decimal(100_000))
    account.fill(SPY, -100, 10_000, Decimal(0))
    mark = lambda _: 10_000  # noqa: E731 - a price
    assert account.margin(mark, INITIAL_MARGIN) == Decimal(5_000)
    assert account.margin(mark, MAINTENANCE_MARGIN) == Decimal(2_500)
    assert account.margin(mark, INITIAL_MARGIN, {"SPY": 100}) == 0
