"""The gateway's control port: HTTP on 127.0.0.1 with JSON, a small ledger page, and the command line that talks to it.

GET /status, /ledger, /faults; POST /faults with `{"fault": "G7", "count": 2, ...}`, POST /clear with `{"fault": "G7"}`
or `{}`, POST /locate with `{"instrument": "SPY"}`; GET / is the page.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from connectors.gateway.faults import CATALOGUE, FaultError

if TYPE_CHECKING:
    from connectors.gateway.server import Gateway

BODY_BYTES_MAX = 1 << 16
READ_S_MAX = 5.0


class Control:
    """Talks to a running gateway's control port; ConnectionError when there is none."""

    def __init__(self, port: int) -> None:
        self.port = port

    def status(self) -> dict[str, Any]:
        return self._call("/status")

    def ledger(self) -> dict[str, Any]:
        return self._call("/ledger")

    def faults(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._call("/faults")["faults"]
        return rows

    def hits(self, fault: str) -> int:
        """How often a fault has really happened."""
        return int(next(row["hits"] for row in self.faults() if row["id"] == fault))

    def arm(self, fault: str, **options: Any) -> None:
        """Switch a fault on; FaultError says what is wrong with the request."""
        self._call("/faults", {"fault": fault, **options})

    def clear(self, fault: str | None = None) -> None:
        self._call("/clear", {"fault": fault} if fault else {})

    def locate(self, instrument: str) -> None:
        """Find shares to borrow: short sales that wait for them go on."""
        self._call("/locate", {"instrument": instrument})

    def _call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data)
        try:
            with urllib.request.urlopen(request, timeout=READ_S_MAX) as response:
                answer: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            raise FaultError(json.load(error)["error"]) from None
        except OSError as error:
            raise ConnectionError(f"no gateway answers on control port {self.port}: {error}") from None
        return answer


class ControlServer:
    """Serves the control port of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def start(self, port: int) -> tuple[asyncio.Server, int]:
        """Listen on 127.0.0.1; the server and its real port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        return server, int(server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(READ_S_MAX):
                method, path, body = await self._read(reader)
            status, kind, content = self._answer(method, path, body)
            lines = (f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(content)}")
            writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode() + content)
            await writer.drain()
        except (TimeoutError, ValueError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # not an HTTP request, or nobody reads the answer: the connection just ends
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path, _ = head.split("\r\n", 1)[0].split(" ", 2)
        headers = [line.split(":", 1) for line in head.split("\r\n")[1:] if ":" in line]
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
        if not 0 <= length <= BODY_BYTES_MAX:
            raise ValueError("body too long")
        return method, path, await reader.readexactly(length)

    def _answer(self, method: str, path: str, body: bytes) -> tuple[str, str, bytes]:
        routes: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
            ("GET", "/status"): lambda _: self.gateway.status(),
            ("GET", "/ledger"): lambda _: ledger_json(self.gateway),
            ("GET", "/faults"): lambda _: {"faults": self.gateway.panel.table()},
            ("POST", "/faults"): self._arm,
            ("POST", "/clear"): self._clear,
            ("POST", "/locate"): self._locate,
        }
        if (method, path) == ("GET", "/"):
            return "200 OK", "text/html; charset=utf-8", page(self.gateway).encode()
        route = routes.get((method, path))
        if route is None:
            return "404 Not Found", "application/json", json.dumps({"error": f"no {method} {path}"}).encode()
        try:
            values = json.loads(body) if body else {}
            if not isinstance(values, dict):
                raise FaultError("the body must be a JSON object")
            return "200 OK", "application/json", json.dumps(route(values), default=str).encode()
        except (FaultError, json.JSONDecodeError, TypeError) as error:
            return "400 Bad Request", "application/json", json.dumps({"error": str(error)}).encode()

    def _arm(self, values: dict[str, Any]) -> dict[str, Any]:
        options = dict(values)
        self.gateway.arm(str(options.pop("fault", "")), **options)
        return {"armed": values}

    def _locate(self, values: dict[str, Any]) -> dict[str, Any]:
        self.gateway.locate(str(values.get("instrument", "")))
        return {"located": values["instrument"]}

    def _clear(self, values: dict[str, Any]) -> dict[str, Any]:
        self.gateway.panel.clear(values.get("fault"))
        return {"cleared": values.get("fault", "all")}


def ledger_json(gateway: Gateway) -> dict[str, Any]:
    """The ledger view with money as strings."""
    view = asdict(gateway.ledger.view())
    view["orders"] = list(view["orders"].values())
    return view


def page(gateway: Gateway) -> str:
    """The ledger as one HTML page, read only."""
    view, status = gateway.ledger.view(), gateway.status()

    def table(title: str, head: list[str], rows: list[list[Any]]) -> str:
        cells = "".join(f"<th>{html.escape(name)}</th>" for name in head)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>" for row in rows)
        return f"<h2>{html.escape(title)}</h2><table><tr>{cells}</tr>{body}</table>"

    orders = [
        [
            o.perm_id,
            o.client_id,
            o.order_id,
            o.order_ref,
            o.side,
            o.instrument,
            f"{o.filled}/{o.lots}",
            o.order_type,
            o.status,
        ]
        for o in list(view.orders.values())[-200:]
    ]
    fills = [[e.exec_id, e.perm_id, e.side, e.instrument, e.lots, e.ticks] for e in view.executions[-200:]]
    faults = [[row["id"], row["title"], row["armed"] or "", row["hits"]] for row in gateway.panel.table()]
    parts = [
        "<!doctype html><meta charset=utf-8><title>Gateway ledger</title>",
        "<style>body{font:14px system-ui;margin:2em}td,th{padding:2px 10px;text-align:left}</style>",
        f"<h1>Gateway {html.escape(view.account)}</h1>",
        f"<p>cash {view.cash:.2f} USD, realized {view.realized_pnl:.2f} USD</p>",
        table("State", list(status), [list(status.values())]),
        table("Positions (lots)", ["instrument", "lots"], [[k, v] for k, v in view.positions.items()]),
        table(
            "Orders", ["perm", "client", "id", "ref", "side", "instrument", "filled", "type", "status"], orders[::-1]
        ),
        table("Executions", ["exec", "perm", "side", "instrument", "lots", "ticks"], fills[::-1]),
        table("Faults", ["id", "fault", "armed", "hits"], faults),
    ]
    return "".join(parts)


def main(argv: list[str]) -> int:
    """`python -m connectors.gateway ctl --port P2 status|ledger|faults|arm|clear`: print JSON lines."""
    parse = argparse.ArgumentParser(prog="python -m connectors.gateway ctl", description="Control a running gateway.")
    parse.add_argument("--port", type=int, required=True, help="the control port of the ready line (ctl=...)")
    commands = parse.add_subparsers(dest="command", required=True)
    commands.add_parser("status", help="connections, records, orders")
    commands.add_parser("ledger", help="orders, executions, cash, positions")
    commands.add_parser("faults", help="all faults: armed or not, hits")
    arm = commands.add_parser("arm", help="switch a fault on")
    arm.add_argument("fault", help=", ".join(CATALOGUE))
    arm.add_argument("--count", type=int, help="happen on the next COUNT occasions (default: 1)")
    arm.add_argument("--rate", type=float, help="chance of each occasion, above 0 and up to 1")
    arm.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="an argument of the fault")
    clear = commands.add_parser("clear", help="switch one fault off, or all")
    clear.add_argument("fault", nargs="?")
    locate = commands.add_parser("locate", help="find shares to borrow for short sales that wait")
    locate.add_argument("instrument")
    args = parse.parse_args(argv)
    try:
        answer = _command(Control(args.port), args)
    except (FaultError, ConnectionError) as error:
        sys.stderr.write(f"ctl: {error}\n")
        return 1
    for row in answer if isinstance(answer, list) else [answer]:
        sys.stdout.write(json.dumps(row) + "\n")
    return 0


def _command(control: Control, args: argparse.Namespace) -> Any:
    match args.command:
        case "status":
            return control.status()
        case "ledger":
            return control.ledger()
        case "faults":
            return control.faults()
        case "arm":
            options = {key: value for key, value in (("count", args.count), ("rate", args.rate)) if value is not None}
            control.arm(args.fault, **options, **dict(_pair(raw) for raw in args.set))
        case "clear":
            control.clear(args.fault)
        case "locate":
            control.locate(args.instrument)
    return []


def _pair(raw: str) -> tuple[str, Any]:
    """NAME=VALUE; the value is JSON when it reads as JSON, else text."""
    name, sign, value = raw.partition("=")
    if not sign:
        raise FaultError(f"{raw!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
