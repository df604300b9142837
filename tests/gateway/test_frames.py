"""The exact shape of frames: captured ones as the gold, and the number of fields per negotiated version.

Clients read the end of openOrder as "the rest" and do not complain about a field too few in the middle, so counting is
the only proof. The captured frames are those in the tests of wboayue/rust-ibapi (src/orders), account numbers changed.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.gateway import contract, frames
from connectors.gateway.order_frames import completed_order, open_order
from connectors.gateway.orders import Execution, Order, Status, Ticket
from connectors.gateway.wire import text
from contracts.instruments import INSTRUMENTS
from tests.gateway.gateway_harness import RawClient, local_gateway, place_order_fields

UNSET = "1.7976931348623157E308"
CAPTURED_OPEN_ORDER_V162 = (
    "5|13|76792991|TSLA|STK||0|?||SMART|USD|TSLA|NMS|BUY|100|MKT|0.0|0.0|DAY||DU1234567||0||100|1376327563|0|0|0||"
    "1376327563.0/DU1234567/100||||||||||0||-1|0||||||2147483647|0|0|0||3|0|0||0|0||0|None||0||||?|0|0||0|0||||||0|0|0|"
    f"2147483647|2147483647|||0||IB|0|0||0|0|PreSubmitted|{'|'.join([UNSET] * 9)}"
    f"||||||0|0|0|None|{'|'.join([UNSET] * 6)}|"
    "0||||0|1|0|0|0|||0"
)
CAPTURED_COMPLETED_ORDER_V162 = (
    "101|265598|AAPL|STK||0|?||SMART|USD|AAPL|NMS|BUY|0|MKT|0.0|0.0|DAY||DU1234567||0||1824933227|0|0|0|||||||||||0||-1||||||"
    "2147483647|0|0||3|0||0|None||0|0|0||0|0||||0|0|0|2147483647|2147483647||||IB|0|0||0|Filled|0|0|0|"
    f"{UNSET}|{UNSET}|0|1|0||100|2147483647|0|Not an insider or substantial shareholder|0|0|9223372036854775807|"
    "20230306 12:28:30 America/Los_Angeles|Filled Size: 100"
)
AAPL = INSTRUMENTS["AAPL"]
OPEN_ORDER_FIELDS = {157: 128, 158: 129, 160: 130, 162: 131, 166: 131, 169: 131, 170: 136, 176: 136, 177: 135, 178: 135}
COMPLETED_ORDER_FIELDS = {157: 96, 162: 96, 169: 96, 170: 101, 176: 101, 177: 100, 178: 100}


def order(status: Status, filled: int = 0, perm_id: int = 1376327563) -> Order:
    ticket = Ticket(client_id=100, order_id=13, spec=AAPL, side="BUY", lots=100, order_type="MKT")
    return Order(ticket, perm_id=perm_id, placed_ns=0, status=status, filled=filled)


def test_open_order_equals_the_captured_frame_but_for_the_contract() -> None:
    captured = CAPTURED_OPEN_ORDER_V162.split("|")
    captured[2:4], captured[11] = ["265598", "AAPL"], "AAPL"
    assert [text(value) for value in open_order(order(Status.PRE_SUBMITTED), "DU1234567", 162)] == captured


def test_completed_order_equals_the_captured_frame_but_for_the_time() -> None:
    captured = CAPTURED_COMPLETED_ORDER_V162.split("|")
    ours = [
        text(value) for value in completed_order(order(Status.FILLED, filled=100, perm_id=1824933227), "DU1234567", 162)
    ]
    assert ours[:94] + ours[95:] == captured[:94] + captured[95:]


@pytest.mark.parametrize(("version", "fields"), OPEN_ORDER_FIELDS.items())
def test_open_order_has_the_fields_of_its_version(version: int, fields: int) -> None:
    assert len(open_order(order(Status.SUBMITTED), "DU1", version)) == fields


@pytest.mark.parametrize(("version", "fields"), COMPLETED_ORDER_FIELDS.items())
def test_completed_order_has_the_fields_of_its_version(version: int, fields: int) -> None:
    assert len(completed_order(order(Status.CANCELLED), "DU1", version)) == fields


@pytest.mark.parametrize(("version", "fields"), [(157, 39), (163, 40), (164, 40), (178, 40)])
def test_contract_details_have_the_fields_of_their_version(version: int, fields: int) -> None:
    assert len(contract.details(1, AAPL, version, 0)) == fields


def test_trading_hours_name_a_week_and_its_closed_days() -> None:
    friday_noon_utc = 1_767_960_000_000_000_000
    values = contract.details(1, AAPL, 178, friday_noon_utc)
    assert str(values[27]).split(";")[:3] == ["20260109:0930-20260109:1600", "20260110:CLOSED", "20260111:CLOSED"]


@pytest.mark.parametrize(("version", "fields"), [(157, 31), (177, 31), (178, 32)])
def test_execution_details_have_the_fields_of_their_version(version: int, fields: int) -> None:
    fill = Execution("a.b.01.01", order(Status.FILLED), 100, 100, 0, 100, Decimal(1), 2, Decimal(1), None)
    assert len(frames.execution(-1, fill, "DU1", version)) == fields
    assert len(frames.commission_report(fill)) == 8


@pytest.mark.parametrize(("version", "fields"), [(157, 5), (165, 5), (166, 6), (178, 6)])
def test_errors_have_the_fields_of_their_version(version: int, fields: int) -> None:
    assert len(frames.error(-1, 2104, "ok", version)) == fields


def test_order_status_has_twelve_fields() -> None:
    assert len(frames.order_status(order(Status.SUBMITTED))) == 12


async def test_the_life_of_a_market_order_comes_in_the_captured_sequence() -> None:
    """Captured: 5 PreSubmitted, 3 PreSubmitted, 11, 5 Filled, 3 Filled, 59; at every version a client negotiates."""
    for version in (157, 162, 176, 178):
        async with local_gateway() as local:
            raw = await RawClient.started(local.port, 5, version)
            await raw.expect(4, 2, -1, 2158)
            raw.send(*place_order_fields(1, version=version))
            messages = [await raw.receive() for _ in range(6)]
            assert [fields[0] for fields in messages] == ["5", "3", "11", "5", "3", "59"]
            assert [messages[1][2], messages[4][2]] == ["PreSubmitted", "Filled"]
            assert len(messages[0]) == OPEN_ORDER_FIELDS[version]
            assert len(messages[2]) == (32 if version >= 178 else 31)
            await raw.close()


async def test_sizes_are_whole_numbers_for_clients_that_read_them_with_int() -> None:
    async with local_gateway() as local:
        raw = await RawClient.started(local.port, 5, 157)
        raw.send(1, 11, 9, 0, "SPY", "STK", "", 0.0, "", "", "SMART", "", "USD", "", "", 0, "", 0, 0, "")
        fields = await raw.expect(1, 6, 9, 1)
        assert len(fields) == 7
        assert fields[5] == "500"
        raw.send(10, 5, 10, 0, "SPY", "STK", "", 0.0, "", "", "SMART", "", "USD", "", "", 2, 0, "")
        assert await raw.expect(12) == ["12", "1", "10", "0", "0", "1", "100", "500"]
        await raw.close()


async def test_short_answers_have_the_counts_that_ibapi_demands() -> None:
    """ibapi drops a message silently when the count differs from its callback's."""
    async with local_gateway() as local:
        raw = await RawClient.started(local.port, 5, 157)
        await raw.expect(4, 2, -1, 2158)
        counts = {
            "8": 3,
            "6": 6,
            "7": 20,
            "54": 3,
            "63": 7,
            "64": 3,
            "61": 16,
            "62": 2,
            "53": 2,
            "55": 3,
            "49": 3,
            "73": 8,
        }
        counts |= {"74": 3, "102": 1, "94": 5, "95": 7, "52": 3, "9": 3, "15": 3, "11": 31, "59": 8, "5": 128, "3": 12}
        raw.send(*place_order_fields(1, version=157))
        for request in (
            (6, 2, 1, ""), (61, 1), (62, 1, 21, "All", "NetLiquidation"), (5, 1), (7, 3, 22, 0, "", "", "", "", "", ""),
            (49, 1), (76, 1, 23, "", "", 0), (99, 0), (92, 24, "", ""), (94, 25, "", "", 756733), (8, 1, 1), (17, 1),
        ):  # fmt: skip
            raw.send(*request)
        seen = set()
        while "15" not in seen:
            fields = await raw.receive()
            if fields[0] not in ("10", "101"):
                assert len(fields) == counts[fields[0]], fields
            seen.add(fields[0])
        assert {
            "6",
            "7",
            "8",
            "54",
            "61",
            "62",
            "63",
            "64",
            "53",
            "55",
            "49",
            "73",
            "74",
            "102",
            "94",
            "95",
            "9",
        } <= seen
        await raw.close()
