"""Account values and positions that the gateway tells and the desk does not expect."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.ibkr import emergency
from connectors.ibkr.account_values import broker_account
from connectors.ibkr.ears import Ears
from connectors.ibkr.session import Address, IbkrSession
from contracts.instruments import INSTRUMENTS


def values(currency: str = "USD", **changes: str) -> list[Any]:
    amounts = {"NetLiquidation": "1000000.00", "TotalCashValue": "5.5", "BuyingPower": "4000000.00"} | changes
    rows = [SimpleNamespace(tag=tag, value=value, currency=currency) for tag, value in amounts.items()]
    return [*rows, SimpleNamespace(tag="NetLiquidation", value="7", currency="BASE")]


def test_the_currency_of_the_account_is_the_one_that_the_broker_names() -> None:
    assert broker_account("DU1", values()).currency == "USD"
    found = broker_account("DU1", values("EUR"))
    assert (found.currency, str(found.net_liquidation), str(found.cash)) == ("EUR", "1000000.00", "5.5")


@pytest.mark.parametrize("tag", ["NetLiquidation", "TotalCashValue", "BuyingPower"])
@pytest.mark.parametrize("value", ["", "N/A", "1.7976931348623157E308", "NaN", "-Infinity"])
def test_a_value_that_is_no_number_is_named_and_no_amount(tag: str, value: str) -> None:
    with pytest.raises(ValueError, match="of DU1 is"):
        broker_account("DU1", values(**{tag: value}))


def test_a_missing_value_or_one_in_another_currency_is_no_account() -> None:
    with pytest.raises(ValueError, match="BuyingPower of DU1 is missing"):
        broker_account("DU1", values()[:2])
    mixed = [*values()[:2], *values("EUR")[2:]]
    with pytest.raises(ValueError, match="in 'EUR', NetLiquidation in 'USD'"):
        broker_account("DU1", mixed)
    with pytest.raises(ValueError, match="currency of DU1"):
        broker_account("DU1", values(""))


def session() -> IbkrSession:
    async def publish(*_: Any) -> None:
        raise AssertionError("nothing runs here")

    return IbkrSession(Address("127.0.0.1", 4002, 1), publish)


async def test_account_values_that_are_no_numbers_do_not_end_the_session_and_are_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ours, now = session(), values(BuyingPower="N/A")
    ours.sender.account = "DU1"
    monkeypatch.setattr(ours._ib, "accountValues", lambda _account: now)
    with caplog.at_level(logging.WARNING, "connectors.ibkr"):
        for _ in range(3):
            ours._tell_account()
    assert [record.getMessage() for record in caplog.records] == [
        "account values are not passed on: BuyingPower of DU1 is 'N/A', which is no number"
    ]
    assert ours._said.empty()
    now = values()
    ours._tell_account()
    told: Any = ours._said.get_nowait()[2]
    assert told.buying_power == 4_000_000


def contract(con_id: int, symbol: str = "TSLA") -> Any:
    return SimpleNamespace(conId=con_id, symbol=symbol, secType="STK", currency="USD")


def test_a_position_outside_the_catalogue_is_told_with_its_name_once_a_session() -> None:
    said, strange = list[Any](), list[str]()
    ears = Ears(1, lambda _key, message: said.append(message), lambda *_: None, lambda _: None, strange.append)
    ears.on_position(contract(999), 0.0)
    assert strange == [], "what is over is nobody's"
    for units in (100.0, 100.0, 50.0):
        ears.on_position(contract(999), units)
    ears.on_position(contract(INSTRUMENTS["SPY"].con_id), 7.0)
    assert len(strange) == 1
    assert "100" in strange[0]
    assert "TSLA" in strange[0]
    assert "999" in strange[0]
    assert [message.instrument for message in said] == ["SPY"]
    ears.strangers.clear()
    ears.on_position(contract(999), 50.0)
    assert len(strange) == 2


class Ib:
    """An emergency connection to an account that holds these; orders fill at once."""

    def __init__(self, **held: float) -> None:
        con_ids = {name: INSTRUMENTS[name].con_id if name in INSTRUMENTS else 999 for name in held}
        self.held = {con_ids[name]: (name, units) for name, units in held.items()}
        self.wrapper = SimpleNamespace(positions={})
        self.client = SimpleNamespace(placeOrder=self.fill, getReqId=lambda: 1)
        self.ordered: list[int] = []

    async def reqPositionsAsync(self) -> None:  # noqa: N802 - the client library's name
        rows = {
            con_id: SimpleNamespace(contract=contract(con_id, name), position=units)
            for con_id, (name, units) in self.held.items()
        }
        self.wrapper.positions = {"DU1": rows}

    def fill(self, _order_id: int, contract: Any, _order: Any) -> None:
        self.ordered.append(contract.conId)
        del self.held[contract.conId]


async def test_an_emergency_flatten_that_skips_a_position_does_not_say_that_nothing_is_left() -> None:
    ib: Any = Ib(SPY=10.0, TSLA=-5.0)
    left = await emergency.flatten(ib, 5.0)
    assert ib.ordered == [INSTRUMENTS["SPY"].con_id]
    assert list(left.values()) == [-5.0]
    assert "TSLA" in next(iter(left))
    assert "999" in next(iter(left))
