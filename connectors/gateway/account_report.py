"""What the account looks like to a client: the named values of account updates and summaries, and what-if margins."""

from __future__ import annotations

from decimal import Decimal

from connectors.gateway.account import INITIAL_MARGIN, MAINTENANCE_MARGIN, order_commission
from connectors.gateway.broker import Broker
from connectors.gateway.order_frames import WhatIf
from connectors.gateway.orders import Ticket
from contracts.instruments import InstrumentSpec

AccountValue = tuple[str, str, str]
"""(key, value, currency)."""

SUMMARY_TAGS = frozenset(
    {
        "AccountType",
        "NetLiquidation",
        "TotalCashValue",
        "SettledCash",
        "AccruedCash",
        "BuyingPower",
        "EquityWithLoanValue",
        "PreviousEquityWithLoanValue",
        "GrossPositionValue",
        "ReqTEquity",
        "ReqTMargin",
        "SMA",
        "InitMarginReq",
        "MaintMarginReq",
        "AvailableFunds",
        "ExcessLiquidity",
        "Cushion",
        "FullInitMarginReq",
        "FullMaintMarginReq",
        "FullAvailableFunds",
        "FullExcessLiquidity",
        "LookAheadNextChange",
        "LookAheadInitMarginReq",
        "LookAheadMaintMarginReq",
        "LookAheadAvailableFunds",
        "LookAheadExcessLiquidity",
        "HighestSeverity",
        "DayTradesRemaining",
        "Leverage",
    }
)


def values(broker: Broker) -> list[AccountValue]:
    """All account values, money with 2 decimals in USD."""
    account, mark = broker.account, broker.mark
    equity = account.equity(mark)
    initial, maintenance = account.margin(mark, INITIAL_MARGIN), account.margin(mark, MAINTENANCE_MARGIN)
    gross = sum((abs(p.value(mark(p.spec))) for p in account.positions.values()), Decimal(0))
    cushion = (equity - maintenance) / equity if equity > 0 else Decimal(0)
    money = {
        "AvailableFunds": equity - initial,
        "BuyingPower": max(Decimal(0), (equity - initial) / INITIAL_MARGIN["STK"]),
        "EquityWithLoanValue": equity,
        "ExcessLiquidity": equity - maintenance,
        "GrossPositionValue": gross,
        "InitMarginReq": initial,
        "MaintMarginReq": maintenance,
        "NetLiquidation": equity,
        "PreviousEquityWithLoanValue": account.cash_start,
        "ReqTEquity": equity,
        "ReqTMargin": initial,
        "SMA": equity - initial,
        "SettledCash": account.cash,
        "TotalCashValue": account.cash,
        "AccruedCash": Decimal(0),
    }
    for key in ("InitMarginReq", "MaintMarginReq", "AvailableFunds", "ExcessLiquidity"):
        money[f"Full{key}"] = money[f"LookAhead{key}"] = money[key]
    rows: list[AccountValue] = [(key, f"{value:.2f}", "USD") for key, value in sorted(money.items())]
    rows += [
        ("AccountCode", account.name, ""),
        ("AccountReady", "true", ""),
        ("AccountType", "INDIVIDUAL", ""),
        ("Cushion", f"{cushion:.6f}", ""),
        ("DayTradesRemaining", "-1", ""),
        ("HighestSeverity", "0", ""),
        ("Leverage", f"{gross / equity if equity > 0 else Decimal(0):.2f}", ""),
        ("LookAheadNextChange", "0", ""),
    ]
    return rows + ledger_values(broker)


def ledger_values(broker: Broker) -> list[AccountValue]:
    """The per-currency part (`$LEDGER`); the base currency is USD."""
    account, mark = broker.account, broker.mark
    kinds = {"STK": Decimal(0), "CRYPTO": Decimal(0)}
    for position in account.positions.values():
        kinds[position.spec.sec_type] += position.value(mark(position.spec))
    money = {
        "CashBalance": account.cash,
        "TotalCashBalance": account.cash,
        "NetLiquidationByCurrency": account.equity(mark),
        "StockMarketValue": kinds["STK"],
        "CryptocurrencyValue": kinds["CRYPTO"],
        "RealizedPnL": account.realized,
        "UnrealizedPnL": account.unrealized(mark),
    }
    rows = [(key, f"{value:.2f}", currency) for currency in ("BASE", "USD") for key, value in money.items()]
    rows += [("Currency", "BASE", "BASE"), ("Currency", "USD", "USD"), ("ExchangeRate", "1.00", "USD")]
    return rows


def summary(broker: Broker, tags: str) -> list[AccountValue]:
    """The rows a list of tags asks for, separated by commas; `$LEDGER` (with or without a currency) adds the ledger."""
    wanted = {tag.strip() for tag in tags.split(",")}
    rows = [row for row in values(broker) if row[0] in wanted and row[0] in SUMMARY_TAGS]
    if any(tag.startswith("$LEDGER") for tag in wanted):
        currency = "BASE" if "$LEDGER" in wanted else "USD"
        rows += [row for row in ledger_values(broker) if "$LEDGER:ALL" in wanted or row[2] == currency]
    return rows


def what_if(broker: Broker, ticket: Ticket) -> WhatIf:
    """Margins and commission if the order filled at its price, or at the mark."""
    account = broker.account
    price = ticket.limit or ticket.stop or broker.mark(ticket.spec)
    change = {ticket.spec.instrument: ticket.lots if ticket.side == "BUY" else -ticket.lots}
    account.position(ticket.spec)

    def marks(spec: InstrumentSpec) -> int:
        return broker.mark(spec) or (price if spec is ticket.spec else 0)

    initial, maintenance = account.margin(marks, INITIAL_MARGIN), account.margin(marks, MAINTENANCE_MARGIN)
    commission = order_commission(ticket.spec, ticket.lots, ticket.spec.notional(price, ticket.lots))
    cents = Decimal("0.01")
    return WhatIf(
        initial_before=initial.quantize(cents),
        maintenance_before=maintenance.quantize(cents),
        equity_before=account.equity(marks).quantize(cents),
        initial_change=(account.margin(marks, INITIAL_MARGIN, change) - initial).quantize(cents),
        maintenance_change=(account.margin(marks, MAINTENANCE_MARGIN, change) - maintenance).quantize(cents),
        equity_change=-commission.quantize(cents),
        commission=commission,
    )
