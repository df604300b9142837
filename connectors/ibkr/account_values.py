"""The account's values as the gateway tells them: texts by tag and currency, of which some are no number."""

from __future__ import annotations

import time
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from pydantic import ValidationError

from contracts.orders import BrokerAccount

WANTED: Final = ("NetLiquidation", "TotalCashValue", "BuyingPower")
ALL_CURRENCIES: Final = "BASE"


def broker_account(account: str, values: Iterable[Any]) -> BrokerAccount:
    """The message, in the account's own currency; ValueError, which names the value, if one is missing or no number.

    IB sends 1.79e308 for a value that is not set, and an empty text or N/A for one that it does not have.
    """
    found = {value.tag: value for value in values if value.tag in WANTED and value.currency != ALL_CURRENCIES}
    for tag in WANTED:
        if tag not in found:
            raise ValueError(f"{tag} of {account} is missing")
    currency = found["NetLiquidation"].currency
    amounts: list[Decimal] = []
    for tag in WANTED:
        text = found[tag].value
        if found[tag].currency != currency:
            raise ValueError(f"{tag} of {account} is in {found[tag].currency!r}, NetLiquidation in {currency!r}")
        try:
            amounts.append(Decimal(text))
        except InvalidOperation:
            raise ValueError(f"{tag} of {account} is {text!r}, which is no number") from None
    try:
        return BrokerAccount(
            account=account,
            currency=currency,
            net_liquidation=amounts[0],
            cash=amounts[1],
            buying_power=amounts[2],
            ts_ns=time.time_ns(),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{first['loc'][0]} of {account} is {first['input']!r}: {first['msg']}") from None
