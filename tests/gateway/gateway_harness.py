"""What the gateway's tests share: a raw TWS client, a market made by hand, and waiting with a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import re
import select
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connectors.gateway.ctl import Control, ControlServer
from connectors.gateway.ledger import LedgerView
from connectors.gateway.server import Gateway, Settings
from connectors.gateway.session import Session
from connectors.gateway.wire import Value, frame
from contracts.instruments import INSTRUMENTS
from contracts.market import RawBook, RawHalt, RawTrade, Side

DEADLINE_S = 10.0
ROOT = Path(__file__).resolve().parents[2]
READY_S = 30.0
READY = re.compile(r"^gateway ready port=(\d+) ctl=(\d+) account=(\S+)$")


@dataclass(frozen=True)
class Address:
    """Where the gateway under test listens; `ctl` is 0 for a real one."""

    host: str
    port: int
    ctl: int
    ledger: Path | None

    def control(self) -> Control:
        if not self.ctl:
            pytest.skip("a real gateway has no control port; unset IB_GATEWAY_HOST to test the simulated one")
        return Control(self.ctl)


def start_gateway(*args: str) -> tuple[subprocess.Popen[str], re.Match[str]]:
    """Start `python -m connectors.gateway` and wait for its ready line."""
    command = [sys.executable, "-m", "connectors.gateway", "--port", "0", *args]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], READY_S)
    line = process.stdout.readline() if ready else ""
    match = READY.match(line.strip())
    if match is None:
        process.kill()
        raise AssertionError(f"no ready line within {READY_S} s, but {line!r}")
    return process, match


STK = (0, "SPY", "STK", "", 0.0, "", "", "SMART", "", "USD", "", "")
"""The twelve contract fields of SPY."""


async def until(condition: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    """Wait for a condition to become true and return its value; AssertionError after the deadline."""
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline_s
    while not (value := condition()):
        assert loop.time() < end, f"not true within {deadline_s} s"
        await asyncio.sleep(0.005)
    return value


class RawClient:
    """Speaks frames and nothing else: for the tests that must see fields, or break them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.version = 0

    @classmethod
    async def connect(cls, port: int, host: str = "127.0.0.1") -> RawClient:
        return cls(*await asyncio.open_connection(host, port))

    @classmethod
    async def started(cls, port: int, client_id: int, version: int = 178, host: str = "127.0.0.1") -> RawClient:
        """Connected, version agreed, API started; the greeting messages are still to be read."""
        client = await cls.connect(port, host)
        await client.greet(f"v100..{version}")
        client.send(71, 2, client_id, "")
        return client

    async def greet(self, versions: str) -> list[str]:
        self.writer.write(b"API\0" + struct.pack(">I", len(versions)) + versions.encode())
        answer = await self.receive()
        self.version = int(answer[0])
        return answer

    def send(self, *fields: Value) -> None:
        self.writer.write(frame(fields))

    async def receive(self, deadline_s: float = DEADLINE_S) -> list[str]:
        """The fields of the next message; EOFError when the connection is closed."""
        async with asyncio.timeout(deadline_s):
            try:
                (length,) = struct.unpack(">I", await self.reader.readexactly(4))
                return (await self.reader.readexactly(length)).decode().split("\0")[:-1]
            except (asyncio.IncompleteReadError, ConnectionError):
                raise EOFError("the gateway closed the connection") from None

    async def expect(self, *head: Value) -> list[str]:
        """The next message that begins with these fields (None matches anything); others are passed over."""
        while True:
            fields = await self.receive()
            if all(want is None or str(want) == got for want, got in zip(head, fields, strict=False)):
                return fields

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


def place_order_fields(
    order_id: int,
    side: str = "BUY",
    quantity: Value = 100,
    kind: str = "MKT",
    limit: Value = "",
    *,
    version: int = 178,
    contract: Iterable[Value] = STK,
    tif: str = "DAY",
    ref: str = "",
) -> list[Value]:
    """The fields of placeOrder up to whatIf, as ib_async sends them."""
    values: list[Value] = [
        3,
        order_id,
        *contract,
        "",
        "",
        side,
        quantity,
        kind,
        limit,
        "",
        tif,
        "",
        "",
        "",
        0,
        ref,
        1,
        0,
    ]
    values += [
        0,
        0,
        0,
        0,
        0,
        0,
        "",
        0,
        "",
        "",
        "",
        "",
        "",
        *([""] if version < 177 else []),
        "",
        0,
        "",
        -1,
        0,
        "",
        "",
        0,
    ]
    values += ["", "", 0, 0, "", 0, "", "", "", "", "", 0, "", "", "", "", 0, "", "", "", "", "", "", "", "", "", ""]
    return [*values, 0, "", "", 0, 0, "", "", 0]


class Market:
    """Feeds a gateway or a broker with books and trades made by hand; prices in dollars, sizes in shares."""

    def __init__(self, feed: Callable[[Any], None]) -> None:
        self._feed = feed
        self._seq = 0
        self.ts_ns = 1_767_623_400_000_000_000

    def _next(self) -> dict[str, Any]:
        self._seq += 1
        self.ts_ns += 1_000_000
        return {"source": "synthetic", "seq": self._seq, "ts_event_ns": self.ts_ns, "ts_ingest_ns": self.ts_ns}

    def book(
        self,
        bids: Iterable[tuple[str, int]] = (("100.00", 500), ("99.99", 500)),
        asks: Iterable[tuple[str, int]] = (("100.01", 500), ("100.02", 500)),
        instrument: str = "SPY",
    ) -> None:
        def levels(rows: Iterable[tuple[str, int]]) -> tuple[tuple[str, str], ...]:
            return tuple((price, str(size)) for price, size in rows)

        self._feed(RawBook(instrument=instrument, bids=levels(bids), asks=levels(asks), **self._next()))

    def trade(self, price: str, size: int, aggressor: Side, instrument: str = "SPY") -> None:
        self._feed(RawTrade(instrument=instrument, price=price, size=str(size), side=aggressor, **self._next()))

    def halt(self, *, halted: bool, instrument: str = "SPY") -> None:
        self._feed(RawHalt(instrument=instrument, halted=halted, **self._next()))


class LocalGateway:
    """A gateway in this process, on real TCP ports, with a market made by hand."""

    def __init__(self, settings: Settings) -> None:
        self.gateway = Gateway(settings)
        self.market = Market(self.gateway.on_record)
        self.port = self.ctl_port = 0
        self.armed: set[str] = set()

    @property
    def ledger(self) -> LedgerView:
        return self.gateway.ledger.view()

    def arm(self, fault: str, **options: Any) -> None:
        self.armed.add(fault)
        self.gateway.arm(fault, **options)

    def hits(self, fault: str) -> int:
        return self.gateway.panel.hits[fault]


@contextlib.asynccontextmanager
async def local_gateway(**settings: Any) -> AsyncIterator[LocalGateway]:
    """Start a gateway whose SPY book is 100.00 x 100.01 with 500 on each level."""
    local = LocalGateway(Settings(**settings))
    for instrument in INSTRUMENTS:
        if instrument != "BTCUSDT":
            local.market.book(instrument=instrument)
    server = await asyncio.get_running_loop().create_server(lambda: Session(local.gateway), "127.0.0.1", 0)
    control, local.ctl_port = await ControlServer(local.gateway).start(0)
    local.port = server.sockets[0].getsockname()[1]
    housekeeping = asyncio.create_task(local.gateway.housekeeping())
    try:
        yield local
    finally:
        housekeeping.cancel()
        server.close()
        control.close()
        for session in list(local.gateway.connections):
            session.abort()
        local.gateway.ledger.close()
