"""The simulated gateway's speed: `python -m benchmarks.gateway [--orders 2000] [--seconds 10] [--replay-hours 1]`.

Latency is from writing placeOrder to reading the order's first status, one order at a time. The floor is the same
client against a server that knows nothing and answers each frame with two prepared ones, so the ratio is what the
gateway itself adds; both run in processes of their own, in one run, in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import re
import struct
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ib_insync import IB, LimitOrder, Stock

from connectors.gateway.ctl import Control
from connectors.gateway.order_frames import open_order
from connectors.gateway.orders import Order, Status, Ticket
from connectors.gateway.wire import Deframer, Fields, Value, frame
from contracts.instruments import INSTRUMENTS

ROOT = Path(__file__).resolve().parents[1]
SPY = INSTRUMENTS["SPY"]
CONTRACT: tuple[Value, ...] = (SPY.con_id, "SPY", "STK", "", 0.0, "", "", "SMART", "", "USD", "", "")
ROUNDS = 4
"""Gateway and floor take turns, so that a busy moment of the machine hits both."""


def place_fields(order_id: int, side: str, price: Value, tif: str) -> list[Value]:
    values: list[Value] = [3, order_id, *CONTRACT, "", "", side, 1, "LMT", price, "", tif, "", "", "", 0, "", 1, 0]
    values += [0, 0, 0, 0, 0, 0, "", 0, "", "", "", "", "", "", "", 0, "", -1, 0, "", "", 0, "", "", 0, 0, "", 0]
    values += ["", "", "", "", "", 0, "", "", "", "", 0, "", "", "", "", "", "", "", "", "", "", 0, "", "", 0, 0]
    return [*values, "", "", 0]


class FloorServer(asyncio.Protocol):
    """Speaks the handshake and answers every placeOrder and cancelOrder with two frames, without a thought."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.deframer, self.version = transport, Deframer(), 0
        self.greeted = False

    def data_received(self, data: bytes) -> None:
        for payload in self.deframer.feed(data):
            if not self.greeted:
                self.greeted = True
                self.transport.write(frame([176, "20260105 14:30:00 UTC"]))
                continue
            fields = Fields(payload)
            self.answer(fields.integer(), fields)

    def answer(self, message: int, fields: Fields) -> None:
        ends: dict[int, list[Value]] = {5: [53, 1], 61: [62, 1], 99: [102], 6: [54, 1, "DU1"]}
        if message == 71:
            self.transport.write(frame([15, 1, "DU1"]) + frame([9, 1, 1]))
        elif message == 7:
            fields.skip(1)
            self.transport.write(frame([55, 1, fields.integer()]))
        elif message == 76:
            fields.skip(1)
            self.transport.write(frame([74, 1, fields.integer()]))
        elif message in ends:
            self.transport.write(frame(ends[message]))
        elif message == 3:
            self.order(fields.integer())
        elif message == 4:
            fields.skip(1)
            order_id = fields.integer()
            status: list[Value] = [3, order_id, "Cancelled", 0, 1, 0, order_id, 0, 0, 1, "", 0]
            self.transport.write(frame(status) + frame([4, 2, order_id, 202, "Order Canceled - reason:", ""]))

    def order(self, order_id: int) -> None:
        client_id = 1
        order = Order(
            Ticket(client_id, order_id, SPY, "BUY", 1, "LMT", limit=100), order_id, 0, status=Status.SUBMITTED
        )
        status: list[Value] = [3, order_id, "Submitted", 0, 1, 0, order_id, 0, 0, client_id, "", 0]
        self.transport.write(frame(open_order(order, "DU1", 176)) + frame(status))


def serve_floor(ready: Connection) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(FloorServer, "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


class Bare:
    """A client of nothing but frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.next_id = reader, writer, 1

    @classmethod
    async def connect(cls, port: int, client_id: int) -> Bare:
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        client.writer.write(b"API\0" + struct.pack(">I", 9) + b"v157..176")
        await client.read()
        client.writer.write(frame([71, 2, client_id, ""]))
        while (fields := await client.read())[0] != b"9":
            pass
        client.next_id = int(fields[2])
        return client

    async def read(self) -> list[bytes]:
        (length,) = struct.unpack(">I", await self.reader.readexactly(4))
        return (await self.reader.readexactly(length)).split(b"\0")

    async def latencies(self, orders: int) -> list[float]:
        """Microseconds from placeOrder to the first status, one order at a time, each cancelled afterwards."""
        result = []
        for _ in range(orders):
            order_id = self.next_id
            self.next_id += 1
            start = time.perf_counter()
            self.writer.write(frame(place_fields(order_id, "BUY", 100, "DAY")))
            wanted = str(order_id).encode()
            while (fields := await self.read())[0] != b"3" or fields[1] != wanted:
                pass
            result.append((time.perf_counter() - start) * 1e6)
            self.writer.write(frame([4, 1, order_id, ""]))
        return result


async def library_latencies(ib: IB, orders: int) -> list[float]:
    """The same through ib_insync: from placeOrder() to statusEvent, its own throttle switched off."""
    contract = Stock("SPY", "SMART", "USD", conId=SPY.con_id)
    result = []
    for _ in range(orders):
        acknowledged = asyncio.Event()
        start = time.perf_counter()
        trade = ib.placeOrder(contract, LimitOrder("BUY", 1, 100.0))
        trade.statusEvent += lambda _, event=acknowledged: event.set()
        await acknowledged.wait()
        result.append((time.perf_counter() - start) * 1e6)
        ib.client.cancelOrder(trade.order.orderId)
    return result


async def connect_library(port: int) -> IB:
    logging.getLogger("ib_insync").setLevel(logging.CRITICAL)
    ib = IB()
    ib.client.MaxRequests = 0
    await ib.connectAsync("127.0.0.1", port, clientId=1, timeout=20)
    return ib


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def summary(name: str, gateway: list[float], floor: list[float]) -> dict[str, Any]:
    row: dict[str, Any] = {"what": name, "orders": len(gateway)}
    for label, share in (("p50", 0.5), ("p99", 0.99)):
        ours, least = percentile(gateway, share), percentile(floor, share)
        row |= {f"{label}_us": round(ours), f"{label}_floor_us": round(least), f"{label}_ratio": round(ours / least, 2)}
    return row


async def latency(port: int, floor_port: int, orders: int) -> list[dict[str, Any]]:
    share = orders // ROUNDS
    bare, bare_floor = await Bare.connect(port, 2), await Bare.connect(floor_port, 2)
    library, library_floor = await connect_library(port), await connect_library(floor_port)
    results: list[list[float]] = [[], [], [], []]
    for client in (bare, bare_floor):
        await client.latencies(100)
    for ib in (library, library_floor):
        await library_latencies(ib, 100)
    for _ in range(ROUNDS):
        results[0] += await bare.latencies(share)
        results[1] += await bare_floor.latencies(share)
        results[2] += await library_latencies(library, share)
        results[3] += await library_latencies(library_floor, share)
    library.disconnect()
    library_floor.disconnect()
    return [summary("bare client", results[0], results[1]), summary("ib_insync", results[2], results[3])]


async def throughput(port: int, rate: int, seconds: float) -> dict[str, Any]:
    """Send orders at a fixed rate whatever comes back; half of them trade. Latency counts from the planned moment."""
    client = await Bare.connect(port, 3)
    first, total = client.next_id, int(rate * seconds)
    planned = [0.0] * total
    latencies: list[float] = []

    async def read() -> None:
        seen = 0
        while seen < total:
            fields = await client.read()
            if fields[0] == b"3":
                number = int(fields[1]) - first
                if planned[number]:
                    latencies.append((time.perf_counter() - planned[number]) * 1e6)
                    planned[number] = 0.0
                    seen += 1

    reader = asyncio.create_task(read())
    start = time.perf_counter()
    for number in range(total):
        planned[number] = start + number / rate
        wait = planned[number] - time.perf_counter()
        if wait > 0.001:
            await asyncio.sleep(wait)
        price = (100, 10_000)[number % 2] if number % 4 < 2 else (10_000, 100)[number % 2]
        client.writer.write(frame(place_fields(first + number, "BUY" if number % 4 < 2 else "SELL", price, "IOC")))
    await asyncio.wait_for(reader, 60)
    elapsed = time.perf_counter() - start
    return {
        "what": "open loop",
        "orders_per_s_asked": rate,
        "orders_per_s": round(total / elapsed),
        "p50_ms": round(percentile(latencies, 0.5) / 1e3, 2),
        "p99_ms": round(percentile(latencies, 0.99) / 1e3, 2),
    }


def start_gateway(*args: str) -> tuple[subprocess.Popen[str], int, int]:
    command = [sys.executable, "-m", "connectors.gateway", "--port", "0", "--no-pacing", *args]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    match = re.search(r"port=(\d+) ctl=(\d+)", process.stdout.readline())
    assert match is not None
    return process, int(match[1]), int(match[2])


def resident_mib(pid: int) -> float:
    """Resident memory, from /proc (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def replay(hours: float) -> dict[str, Any]:
    """Memory over a replay at full speed: after a tenth of it, and at its end."""
    process, _, ctl = start_gateway("--speed", "0")
    control = Control(ctl)
    target = int(hours * 3600 * 200)
    memory, start = [], time.perf_counter()
    try:
        for share in (0.1, 0.5, 1.0):
            while control.status()["records"] < target * share:
                time.sleep(0.2)
            memory.append(round(resident_mib(process.pid), 1))
        elapsed = time.perf_counter() - start
    finally:
        process.terminate()
        process.wait(10)
    rate = round(target / elapsed)
    return {
        "what": "replay",
        "hours": hours,
        "records": target,
        "records_per_s": rate,
        "rss_mib_at_10_50_100_percent": memory,
    }


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--orders", type=int, default=2000)
    parse.add_argument("--rate", type=int, default=1000)
    parse.add_argument("--seconds", type=float, default=10.0)
    parse.add_argument("--replay-hours", type=float, default=1.0)
    args = parse.parse_args()
    ours, theirs = multiprocessing.Pipe()
    floor = multiprocessing.get_context("spawn").Process(target=serve_floor, args=(theirs,), daemon=True)
    floor.start()
    process, port, _ = start_gateway("--source", "synthetic:SPY")
    try:
        rows = asyncio.run(latency(port, ours.recv(), args.orders))
        before = resident_mib(process.pid)
        rows.append(asyncio.run(throughput(port, args.rate, args.seconds)))
        grown = (resident_mib(process.pid) - before) / (args.rate * args.seconds) * 1024
        rows[-1]["rss_kib_per_order"] = round(grown, 2)
    finally:
        process.terminate()
        process.wait(10)
        floor.terminate()
    rows.append(replay(args.replay_hours))
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
