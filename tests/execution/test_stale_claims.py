"""No way around admission: what is replayed is not sent."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from agents.execution import step
from agents.orders import OrderRow
from agents.ports import PlaceOrder
from app.deadletters import DeadLetterError, replay
from connectors.kafka.access import Access
from contracts.controls import DeadLetter, DeadLetterReason
from contracts.orders import AmendCommand, CancelCommand, OrderState
from contracts.topics import ORDER_COMMANDS, REPLAY_HEADER
from tests.execution.order_parts import INTENT, NOW_NS, Life, command, record, sent, status

REPLAYED = ((REPLAY_HEADER, b"order_commands/0/1"), ("origin", b"replay/order_commands/0/1/ab|1||0"))


def heard(message: Any, *headers: tuple[str, bytes], row: OrderRow | None = None) -> tuple[Any, list[Any]]:
    """What execution makes of a record of `order_commands` with these headers."""
    found = msgspec.structs.replace(record(message, "order_commands"), headers=headers)
    row, outputs = step(row, found)
    return row, list(outputs)


def test_a_replayed_order_is_never_claimed() -> None:
    assert heard(command(), *REPLAYED) == (None, [])
    assert heard(command())[1] == [PlaceOrder(command())]


def test_a_replayed_amend_changes_no_order_and_a_replayed_cancel_ends_one() -> None:
    amend = AmendCommand(
        intent_id=INTENT,
        amend_id="d" * 24,
        instrument="SPY",
        quantity_lots=1_000_000,
        limit_price=Decimal("600.10"),
        ts_ingest_ns=NOW_NS,
    )
    row, outputs = heard(amend, *REPLAYED, row=Life(sent(), status("Submitted")).order)
    assert (row.state, outputs) == (OrderState.ACKNOWLEDGED, [])
    row, _ = heard(CancelCommand(intent_id=INTENT, reason="a test"), *REPLAYED, row=row)
    assert row.state is OrderState.PENDING_CANCEL


async def test_the_replay_of_a_dead_letter_of_an_order_is_refused_with_a_sentence() -> None:
    letter = DeadLetter(
        reason=DeadLetterReason.WRONG_SCHEMA,
        field="side",
        detail="a test",
        topic=ORDER_COMMANDS.name,
        partition=0,
        offset=1,
        contract_version=1,
        original=base64.b64encode(b"{}").decode(),
    )
    with pytest.raises(DeadLetterError, match="replay its intent"):
        await replay(Access("nobody:1"), letter, command().model_dump_json().encode(), 1.0)
