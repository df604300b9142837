"""Bad company: whatever one connection does, the others notice nothing."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from random import SystemRandom

import pytest
from ib_insync import IB, MarketOrder, Stock

from connectors.gateway import session as session_module
from connectors.gateway.wire import frame
from tests.gateway.gateway_harness import LocalGateway, Market, RawClient, local_gateway, place_order_fields, until

SPY = Stock("SPY", "SMART", "USD", conId=756733)


async def _alive(ib: IB) -> None:
    """The good client still gets answers, and fast."""
    start = time.monotonic()
    await asyncio.wait_for(ib.reqCurrentTimeAsync(), 2)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    "stream",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"API\0" + struct.pack(">I", 2**31) + b"v100..178",
        b"API\0" + struct.pack(">I", 0),
        b"API\0" + struct.pack(">I", 5) + b"hello",
        b"API\0" + struct.pack(">I", 9) + b"v999..1000",
        b"API\0" + struct.pack(">I", 8) + b"v10..100",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
async def test_a_stream_that_is_not_tws_is_cut_off(local: LocalGateway, local_ib: IB, stream: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", local.port)
    writer.write(stream)
    with pytest.raises((EOFError, ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reader.readexactly(1), 5)
    writer.close()
    await _alive(local_ib)


async def test_a_client_that_dies_in_the_middle_of_a_message_leaves_no_order(local: LocalGateway, local_ib: IB) -> None:
    raw = await RawClient.started(local.port, 8)
    await raw.expect(9)
    message = frame(place_order_fields(1))
    raw.writer.write(message[: len(message) // 2])
    await raw.writer.drain()
    raw.writer.transport.abort()
    await until(lambda: 8 not in local.gateway.sessions)
    assert local.ledger.orders == {}
    await _alive(local_ib)


async def test_a_request_with_broken_fields_is_answered_with_320_or_321_and_harms_nobody(
    local: LocalGateway, local_ib: IB
) -> None:
    raw = await RawClient.started(local.port, 8)
    await raw.expect(4, 2, -1, 2158)
    for request in (
        [3, 1, "x"],
        [1, 11, "abc"],
        [9, 8],
        [20, 5, "", ""],
        [97, 1],
        [62, 1, 7],
        [59, 1, 77],
        [94, 1],
        [3],
    ):
        raw.send(*request)
        fields = await raw.expect(4)
        assert fields[3] in ("320", "321", "200"), fields
    await _alive(local_ib)
    await raw.close()


async def test_random_requests_never_end_the_gateway(local: LocalGateway, local_ib: IB) -> None:
    seed = SystemRandom().randrange(2**32)
    print(f"seed={seed}")  # noqa: T201
    rng = random.Random(seed)
    local.gateway.settings = type(local.gateway.settings)(pacing=False)
    raw = await RawClient.started(local.port, 8)
    await raw.expect(9)
    words = [
        "",
        "0",
        "1",
        "-1",
        "2147483647",
        "1e309",
        "nan",
        "SPY",
        "STK",
        "SMART",
        "USD",
        "BUY",
        "é",
        "\\",
        "9" * 400,
    ]
    for _ in range(3000):
        raw.send(rng.randrange(110), *(rng.choice(words) for _ in range(rng.randrange(60))))
        if raw.writer.transport.get_write_buffer_size() > 1 << 16:
            await raw.writer.drain()
    raw.send(49, 1)
    await raw.expect(49)
    await _alive(local_ib)
    await raw.close()


async def test_a_slow_reader_goes_without_data_and_is_cut_off_while_others_trade(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_module, "DATA_BYTES_MAX", 1 << 16)
    monkeypatch.setattr(session_module, "OUTBOX_BYTES_MAX", 1 << 18)
    async with local_gateway(pacing=False) as local:
        ib = IB()
        await ib.connectAsync("127.0.0.1", local.port, clientId=1, timeout=10)
        sock = socket.create_connection(("127.0.0.1", local.port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader, writer = await asyncio.open_connection(sock=sock)
        slow = RawClient(reader, writer)
        await slow.greet("v100..178")
        slow.send(71, 2, 9, "")
        await slow.expect(9)
        slow.reader._transport.pause_reading()  # type: ignore[attr-defined]
        slow.send(10, 5, 1, 0, "SPY", "STK", "", 0.0, "", "", "SMART", "", "USD", "", "", 5, 0, "")
        await until(lambda: local.gateway.sessions[9].subscriptions)
        server_side = local.gateway.sessions[9].transport.get_extra_info("socket")  # type: ignore[union-attr]
        server_side.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        size = 0

        def flood(market: Market) -> bool:
            nonlocal size
            for _ in range(500):
                size += 1
                market.book([("100.00", 500 + size % 97)], [("100.01", 500 + size % 89)])
            transport = local.gateway.sessions[9].transport
            assert transport is not None
            return transport.get_write_buffer_size() >= 1 << 16

        await until(lambda: flood(local.market))
        backlog = local.gateway.sessions[9].transport.get_write_buffer_size()  # type: ignore[union-attr]
        flood(local.market)
        assert local.gateway.sessions[9].transport.get_write_buffer_size() == backlog  # type: ignore[union-attr]
        trade = ib.placeOrder(SPY, MarketOrder("BUY", 10))
        await until(lambda: trade.orderStatus.status == "Filled")
        for _ in range(4000):
            slow.send(76, 1, 5, "", "", 0)
        await until(lambda: 9 not in local.gateway.sessions)
        await _alive(ib)
        ib.disconnect()
        writer.transport.abort()


async def test_a_client_that_asks_to_be_paced_is_not_cut_off(local: LocalGateway) -> None:
    raw = await RawClient.connect(local.port)
    await raw.greet("v100..176 +PACEAPI")
    raw.send(71, 2, 8, "")
    for _ in range(80):
        raw.send(49, 1)
    for _ in range(80):
        await raw.expect(49)
    await raw.close()
