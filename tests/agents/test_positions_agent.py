"""positions: lots and money of each instrument, exact."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agents import positions
from contracts.breaks import PositionBreak
from contracts.instruments import INSTRUMENTS
from contracts.orders import ExecutionReport, OrderState, Position
from tests.agents.harness import fold, sent


def report(kind: Any, instrument: str = "SPY", side: Any = "BUY", **change: Any) -> ExecutionReport:
    fields: dict[str, Any] = {"state": OrderState.PARTIALLY_FILLED, **change}
    return ExecutionReport(
        kind=kind,
        intent_id="0" * 24,
        order_id=1,
        instrument=instrument,
        side=side,
        order_lots=1_000,
        filled_lots=0,
        ts_ns=1,
        **fields,
    )


def fill(side: Any, lots: int, price: str, exec_id: str = "1.01", instrument: str = "SPY") -> ExecutionReport:
    return report("FILL", instrument, side, fill_lots=lots, fill_price=Decimal(price), exec_id=exec_id)


def commission(amount: str) -> ExecutionReport:
    return report("COMMISSION", commission=Decimal(amount), exec_id="1.01")


def last(*reports: ExecutionReport) -> Position:
    _, outputs = fold(positions.step, reports)
    position: Position = sent(outputs, "positions")[-1]
    return position


def test_a_purchase_takes_its_money_and_its_commission_out_to_the_cent() -> None:
    position = last(fill("BUY", 100, "134.91"), commission("1.00"))
    assert (position.position_lots, position.cash_flow, position.commissions) == (
        100,
        Decimal("-13492.00"),
        Decimal("1.00"),
    )


def test_a_round_trip_leaves_the_difference() -> None:
    position = last(fill("BUY", 100, "134.91"), fill("SELL", 100, "135.01", exec_id="2.01"))
    assert (position.position_lots, position.cash_flow, position.fills) == (0, Decimal("10.00"), 2)
    assert position.last_exec_id == "2.01"


def test_a_short_sale_is_a_negative_position_and_money_in_hand() -> None:
    position = last(fill("SELL", 30, "100"))
    assert (position.position_lots, position.cash_flow) == (-30, Decimal(3_000))


def test_a_lot_of_bitcoin_costs_a_hundred_thousandth_of_its_price() -> None:
    assert last(fill("BUY", 123, "60123.45", instrument="BTCUSDT")).cash_flow == Decimal("-73.9518435")


def test_a_commission_may_come_before_its_fill() -> None:
    assert last(commission("0.35"), fill("BUY", 1, "10")) == last(fill("BUY", 1, "10"), commission("0.35"))


def correction(side: Any, new: tuple[int, str], old: tuple[int, str]) -> ExecutionReport:
    return report(
        "CORRECTION",
        side=side,
        exec_id="1.02",
        fill_lots=new[0],
        fill_price=Decimal(new[1]),
        replaced_exec_id="1.01",
        replaced_lots=old[0],
        replaced_price=Decimal(old[1]),
    )


def test_a_corrected_execution_counts_as_if_it_had_been_right_from_the_start() -> None:
    corrected = last(fill("BUY", 100, "134.91"), correction("BUY", (90, "134.90"), (100, "134.91")))
    right = last(fill("BUY", 90, "134.90", exec_id="1.02"))
    assert corrected == right
    sold = last(fill("SELL", 100, "134.91"), correction("SELL", (100, "134.90"), (100, "134.91")))
    assert (sold.position_lots, sold.cash_flow, sold.fills) == (-100, Decimal(13_490), 1)


def test_a_named_operator_may_settle_a_position_and_the_money_stays() -> None:
    settled = PositionBreak(
        instrument="SPY", own_lots=100, broker_lots=90, open=False, source="operator", reason="ann: a gift", ts_ns=1
    )
    found = settled.model_copy(update={"open": True, "source": "drop_copy"})
    assert (positions.key(settled), positions.key(found)) == ("SPY", None)
    _, outputs = fold(positions.step, [fill("BUY", 100, "134.91"), settled])
    position: Position = sent(outputs, "positions")[-1]
    assert (position.position_lots, position.cash_flow) == (90, Decimal("-13491.00"))


def test_a_change_of_state_alone_is_no_news_for_the_position() -> None:
    assert positions.key(report("STATE")) is None
    assert positions.key(fill("BUY", 1, "10")) == "SPY"


def test_each_report_sends_the_new_position_under_its_instrument() -> None:
    _, outputs = fold(positions.step, [fill("BUY", 1, "10"), commission("0.35")])
    assert [(out.topic.name, out.key) for out in outputs] == [("positions", "SPY")] * 2


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["BUY", "SELL"]),
            st.integers(1, 10**6),
            st.decimals("0.01", "999999.99", places=2),
            st.decimals("0", "999.9999", places=4),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_money_is_exact_over_any_sequence_of_fills(fills: list[tuple[Any, int, Decimal, Decimal]]) -> None:
    reports = [r for side, lots, price, paid in fills for r in (fill(side, lots, str(price)), commission(str(paid)))]
    position = last(*reports)
    signed = [(lots if side == "BUY" else -lots, Fraction(price), Fraction(paid)) for side, lots, price, paid in fills]
    assert position.position_lots == sum(lots for lots, _, _ in signed)
    assert Fraction(position.cash_flow) == -sum(lots * price + paid for lots, price, paid in signed)


PRICES = st.decimals("0.00000001", 10**6, places=8)
FILLS = st.lists(
    st.tuples(st.sampled_from(["BUY", "SELL"]), st.integers(1, 10**8), PRICES, st.decimals(0, 1_000, places=8)),
    min_size=1,
    max_size=8,
)


@given(st.sampled_from(sorted(INSTRUMENTS)), FILLS)
def test_the_money_of_any_fill_fits_its_message_exactly(instrument: str, fills: Any) -> None:
    """A broker may improve a price to 8 decimals, and a lot of bitcoin has 5 of its own."""
    reports, money = [], Fraction(0)
    for number, (side, lots, price, fee) in enumerate(fills):
        reports += [
            fill(side, lots, str(price), f"{number}.01", instrument),
            report("COMMISSION", instrument, commission=fee, exec_id=f"{number}.01"),
        ]
        value = Fraction(price) * lots * Fraction(INSTRUMENTS[instrument].lot_size)
        money += (value if side == "SELL" else -value) - Fraction(fee)
    position = last(*reports)
    assert Fraction(position.cash_flow) == money
    assert Position.model_validate_json(position.model_dump_json()) == position
