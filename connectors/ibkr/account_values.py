"""The account's values as the gateway tells them: texts by tag and currency, of which some are no number."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from pydantic import ValidationError

from contracts.orders import BrokerAccount

log = logging.getLogger(__name__)

AGAIN_S: Final = 5.0
"""Unchanged account values are said again this often: admission wants them fresh."""

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


class AccountNews:
    """What of the account's values is worth saying: what changed, and everything again after a while."""

    def __init__(self) -> None:
        self._last: dict[str, Any] = {}
        self._told_s = float("-inf")
        self._unreadable = ""

    def news(self, account: str, values: Iterable[Any]) -> BrokerAccount | None:
        """The message to be said now, or None; values that are no number are not passed on, and are logged once."""
        try:
            message = broker_account(account, values)
        except ValueError as error:
            # Nothing is told, so admission takes the account for stale and denies.
            if str(error) != self._unreadable:
                log.warning("account values are not passed on: %s", error)
            self._unreadable = str(error)
            return None
        now_s, amounts = time.monotonic(), message.model_dump(exclude={"ts_ns"})
        if amounts == self._last and now_s - self._told_s < AGAIN_S:
            return None
        self._last, self._told_s = amounts, now_s
        return message
