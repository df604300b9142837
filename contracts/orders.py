"""From an intent to a fill: what the portfolio wants, what admission lets through, what the broker says."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from contracts.base import (
    Count,
    Currency,
    DurationNs,
    Instrument,
    Lots,
    Message,
    Money,
    Part,
    Price,
    Ticks,
    TimeNs,
    Whole,
)
from contracts.instruments import KnownInstrument, on_tick
from contracts.market import Side

IntentId = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]
OrderId = Annotated[int, Field(gt=0, lt=2**31)]
Quantity = Annotated[int, Field(gt=0, lt=2**53)]

OrderType = Literal["MARKETABLE_LIMIT", "LIMIT", "MARKET"]
"""A marketable limit crosses the quote up to a cap that admission sets; a limit has a price of the strategy's own."""

TimeInForce = Literal["IOC", "DAY"]
"""DAY rests until its cancel or the close, and for some minutes at most: nothing of ours works while nobody looks."""


class Input(Part):
    """A record that a decision rests on."""

    topic: str
    partition: Count
    offset: Count


class OrderIntent(Message):
    """The wish to trade `quantity_lots`, not yet an order.

    `arrival_bid_ticks` and `arrival_ask_ticks` are the quote the decision saw; `position_lots` the position it assumed.
    Only a limit order has a `limit_price` and may rest (DAY); the others are for immediate execution.
    """

    type: Literal["intent"] = "intent"
    intent_id: IntentId
    strategy: str
    instrument: Instrument
    side: Side
    quantity_lots: Quantity
    arrival_bid_ticks: Ticks
    arrival_ask_ticks: Ticks
    position_lots: Whole
    regime: Literal["calm", "normal", "storm"]
    ts_event_ns: TimeNs
    ts_ingest_ns: TimeNs
    bucket_ns: DurationNs
    inputs: tuple[Input, ...]
    order_type: OrderType = "MARKETABLE_LIMIT"
    limit_price: Price | None = None
    time_in_force: TimeInForce = "IOC"

    @model_validator(mode="after")
    def _terms(self) -> OrderIntent:
        if (self.order_type == "LIMIT") != (self.limit_price is not None):
            raise ValueError("a limit order has a limit_price, any other order has none")
        if self.order_type != "LIMIT" and self.time_in_force != "IOC":
            raise ValueError(f"a {self.order_type} order is for immediate execution (IOC)")
        if self.limit_price is not None:
            on_tick(self.instrument, self.limit_price)
        return self


class AmendIntent(Message):
    """The wish to give the working order of the intent `amends` new terms: all of them, also those that stay.

    `quantity_lots` is the whole quantity, lots that are filled already included.
    """

    type: Literal["amend_intent"] = "amend_intent"
    intent_id: IntentId
    amends: IntentId
    strategy: str
    instrument: Instrument
    quantity_lots: Quantity
    limit_price: Price
    ts_event_ns: TimeNs
    ts_ingest_ns: TimeNs
    bucket_ns: DurationNs
    inputs: tuple[Input, ...]

    @model_validator(mode="after")
    def _on_tick(self) -> AmendIntent:
        on_tick(self.instrument, self.limit_price)
        return self


class CancelIntent(Message):
    """The wish to end the working order of the intent `cancels`."""

    type: Literal["cancel_intent"] = "cancel_intent"
    intent_id: IntentId
    cancels: IntentId
    strategy: str
    instrument: Instrument
    ts_event_ns: TimeNs
    ts_ingest_ns: TimeNs
    bucket_ns: DurationNs
    inputs: tuple[Input, ...]


STALE_NS: Final = 20_000_000_000
"""An order this long after the event that led to it has missed its market: a killed worker is back in 5 to 10 s."""

CANCEL_AGAIN_NS: Final = 10_000_000_000
"""A cancel is on its way for so long, or refused: nobody asks for it again, as the refusal leads to a snapshot."""


class OrderCommand(Message):
    """An admitted order under a reserved order id.

    `limit_price` is on the tick grid of the instrument, in its currency; of a market order it is the cap that its value
    was checked at, which does not go to the broker. A child order names its parent, the parent's size and what was sent
    of it before.
    """

    type: Literal["new_order"] = "new_order"
    intent_id: IntentId
    order_id: OrderId
    instrument: Instrument
    side: Side
    quantity_lots: Quantity
    limit_price: Price
    time_in_force: TimeInForce
    ts_event_ns: TimeNs
    ts_ingest_ns: TimeNs
    order_type: OrderType = "MARKETABLE_LIMIT"
    strategy: str = ""
    parent_id: IntentId | None = None
    parent_lots: Lots = 0
    parent_sent_lots: Lots = 0

    @model_validator(mode="after")
    def _on_tick(self) -> OrderCommand:
        on_tick(self.instrument, self.limit_price)
        return self


class CancelCommand(Message):
    """Cancel one working order."""

    type: Literal["cancel_order"] = "cancel_order"
    intent_id: IntentId
    reason: str


class AmendCommand(Message):
    """Give the working order of `intent_id` a new quantity (all of it, filled lots included) and limit price.

    `amend_id` is the intent that asked for it.
    """

    type: Literal["amend_order"] = "amend_order"
    intent_id: IntentId
    amend_id: IntentId
    instrument: Instrument
    quantity_lots: Quantity
    limit_price: Price
    ts_ingest_ns: TimeNs

    @model_validator(mode="after")
    def _on_tick(self) -> AmendCommand:
        on_tick(self.instrument, self.limit_price)
        return self


class OrderState(StrEnum):
    """States of an order; `agents.orders.LEGAL` has the transitions."""

    PENDING_SUBMIT = "PENDING_SUBMIT"
    SUBMITTED = "SUBMITTED"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    PENDING_AMEND = "PENDING_AMEND"
    PENDING_CANCEL = "PENDING_CANCEL"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    UNKNOWN = "UNKNOWN"


TERMINAL = frozenset({OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED})


class SessionState(StrEnum):
    """States of the session to the gateway."""

    DISCONNECTED = "DISCONNECTED"
    CONNECTING = "CONNECTING"
    SYNCING = "SYNCING"
    READY = "READY"
    LOCKED = "LOCKED"


class SessionEvent(Message):
    """The session changed its state; `epoch` counts connections and grows over restarts."""

    type: Literal["session"] = "session"
    state: SessionState
    epoch: Count
    next_order_id: Count
    account: str
    reason: str
    ts_ns: TimeNs


class OrderSent(Message):
    """The bytes of an order were given to the socket."""

    type: Literal["order_sent"] = "order_sent"
    intent_id: IntentId
    order_id: OrderId
    epoch: Count
    ts_ns: TimeNs


class BrokerStatus(Message):
    """The gateway's word on an order, from a status message or a snapshot (`snapshot`).

    `order_lots` and `limit_price` are the terms that the gateway last named for it, 0 and None if it named none.
    """

    type: Literal["broker_status"] = "broker_status"
    intent_id: IntentId
    order_id: Count
    perm_id: Count
    status: str
    epoch: Count
    snapshot: bool
    reason: str
    ts_ns: TimeNs
    filled_lots: Lots = 0
    order_lots: Lots = 0
    limit_price: Price | None = None


class BrokerExecution(Message):
    """One execution as the gateway reported it; a correction that leaves no lots of it is a bust."""

    type: Literal["broker_execution"] = "broker_execution"
    intent_id: IntentId
    exec_id: str
    order_id: Count
    perm_id: Count
    instrument: KnownInstrument
    side: Side
    quantity_lots: Lots
    price: Price
    cumulative_lots: Lots
    epoch: Count
    ts_ns: TimeNs


class BrokerCommission(Message):
    """The commission of one execution."""

    type: Literal["broker_commission"] = "broker_commission"
    intent_id: IntentId
    exec_id: str
    commission: Money
    currency: Currency
    ts_ns: TimeNs


class BrokerPosition(Message):
    """The gateway's own count of one position, for reconciliation."""

    type: Literal["broker_position"] = "broker_position"
    instrument: KnownInstrument
    position_lots: Whole
    ts_ns: TimeNs


class DropCopy(Message):
    """What a second, read-only connection sees: positions, and lots bought and sold in today's executions."""

    type: Literal["drop_copy"] = "drop_copy"
    positions: dict[Instrument, Whole]
    bought_lots: dict[Instrument, Lots]
    sold_lots: dict[Instrument, Lots]
    executions: Count
    ts_ns: TimeNs


class SessionHealth(Message):
    """How the session is, once in a few seconds; counts are since its process started."""

    type: Literal["session_health"] = "session_health"
    state: SessionState
    reasons: tuple[str, ...]
    connection_failures: Count
    pacing_violations: Count
    pacing_queue: Count
    pacing_wait_ms_max: Annotated[float, Field(ge=0)]
    loop_delay_ms_max: Annotated[float, Field(ge=0)]
    acknowledgement_ms_p95: Annotated[float, Field(ge=0)] | None
    ts_ns: TimeNs


class BrokerAccount(Message):
    """The gateway's account values, in `currency`, the account's base currency."""

    type: Literal["broker_account"] = "broker_account"
    account: str
    currency: Currency = "USD"
    net_liquidation: Money
    cash: Money
    buying_power: Money
    ts_ns: TimeNs


class ExecutionReport(Message):
    """A change in the life of an order. Fill reports carry `exec_id`; a commission arrives as a report of its own.

    A correction replaces the fill `replaced_exec_id`. `commission` is the amount by which the order's commissions grew.
    `order_lots` and `limit_price` are the terms in force; `amend_id` names an amend that is settled by this report: its
    terms are in force, or `reason` says why not.
    """

    type: Literal["exec_report"] = "exec_report"
    kind: Literal["STATE", "FILL", "CORRECTION", "COMMISSION"]
    intent_id: IntentId
    order_id: OrderId
    instrument: KnownInstrument
    side: Side
    state: OrderState
    order_lots: Quantity
    filled_lots: Lots
    exec_id: str | None = None
    fill_lots: Lots = 0
    fill_price: Price | None = None
    commission: Money | None = None
    commission_currency: Currency | None = None
    reason: str = ""
    ts_ns: TimeNs
    replaced_exec_id: str | None = None
    replaced_lots: Lots = 0
    replaced_price: Price | None = None
    limit_price: Price | None = None
    amend_id: IntentId | None = None

    @model_validator(mode="after")
    def _complete(self) -> ExecutionReport:
        needed = {
            "STATE": (),
            "FILL": (self.exec_id, self.fill_price),
            "CORRECTION": (self.exec_id, self.fill_price, self.replaced_exec_id, self.replaced_price),
            "COMMISSION": (self.exec_id, self.commission),
        }
        if None in needed[self.kind]:
            raise ValueError(f"a report of kind {self.kind} names its execution, with all prices and amounts")
        return self


class Position(Message):
    """Fold of the executions of one instrument; money in the instrument's currency.

    `cash_flow` is the sum of signed notionals and commissions paid so far, exact.
    """

    type: Literal["position"] = "position"
    instrument: KnownInstrument
    position_lots: Whole
    cash_flow: Money
    commissions: Money
    fills: Count
    last_exec_id: str


class AccountValue(Message):
    """The account as the broker reports it, in `currency`, the account's base currency."""

    type: Literal["account_value"] = "account_value"
    account: str
    currency: Currency = "USD"
    net_liquidation: Money
    cash: Money
    buying_power: Money
    ts_ns: TimeNs
