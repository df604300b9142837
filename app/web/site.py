"""The page's routes: the page, the stream behind it, tables as JSON and CSV, health, and two operator commands."""

from __future__ import annotations

import asyncio
import csv
import io
import ipaddress
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.health import Health
from app.web import metrics
from app.web.view import View
from contracts.controls import KillCommand, Name, ResetCommand

STATIC: Final = Path(__file__).parent / "static"

FILES: Final = {
    "/": STATIC / "index.html",
    "/page.js": STATIC / "page.js",
    "/page.css": STATIC / "page.css",
    "/icon.svg": STATIC / "icon.svg",
    "/uplot/uPlot.iife.min.js": STATIC / "uplot" / "uPlot.iife.min.js",
    "/uplot/uPlot.min.css": STATIC / "uplot" / "uPlot.min.css",
    "/uplot/LICENSE": STATIC / "uplot" / "LICENSE",
}

TICK_S: Final = 0.25
"""The stream speaks four times a second, also when there is nothing to say: silence means the connection is lost."""

PAGES_MAX: Final = 32
"""Open streams; each costs a few milliseconds a second."""

SEND_TIMEOUT_S: Final = 5.0
"""A healthy broker acknowledges in milliseconds; an operator who waits longer must look for another way."""

COMMAND_HEADER: Final = "X-Flowgate-Command"
"""A page of another origin cannot set it without asking first, and we never say yes."""

NO_COMMANDS: Final = (
    "this page only shows, as it has no login and more than its own machine can reach it; run python -m app kill, or "
    "set FLOWGATE_WEB__COMMANDS=true behind a proxy that signs people in"
)

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

Send = Callable[[KillCommand | ResetCommand], Awaitable[int]]
"""Puts a command on the `control` topic and returns its offset there."""

COMMANDS: Final[Mapping[str, type[KillCommand | ResetCommand]]] = {"KILL": KillCommand, "RESET": ResetCommand}


class Order(BaseModel):
    """What an operator types: who, why, and the word."""

    model_config = ConfigDict(strict=True, extra="forbid", str_strip_whitespace=True)

    operator: Annotated[Name, Field(max_length=64)]
    reason: str = Field(min_length=1, max_length=500)
    word: Literal["KILL", "RESET"]


@dataclass
class Site:
    """The page of one view. `facts` are what the page must know of the desk and no topic says.

    A `local` page answers to this machine alone. Any other takes commands only if `commands` says so: it has no login.
    Commands come from the page itself, which is at `origin` when a proxy stands before it.
    """

    view: View
    facts: Mapping[str, Any]
    send: Send
    local: bool
    commands: bool = False
    origin: str = ""
    health: Health | None = None
    pages: int = 0
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._guard])
        app.add_routes([web.get(path, self._file) for path in FILES])
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/metrics", self._metrics),
                web.get("/api/desk", self._desk),
                web.get("/api/stream", self._stream),
                web.get("/api/tables", self._tables),
                web.get(r"/api/tables/{name}.{form:json|csv}", self._table),
                web.post("/api/kill", self._kill),
                web.post("/api/reset", self._reset),
            ]
        )
        app.on_shutdown.append(self._close)
        return app

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Security headers on every answer, and errors as one JSON sentence."""
        try:
            if self.local and not is_local(request.url.host or ""):
                # Another site may point its name at 127.0.0.1 and so become "the same origin" as this page.
                raise problem(web.HTTPForbidden, "this page answers to 127.0.0.1 and localhost only")
            return await handler(request)
        except web.HTTPException as error:
            if error.content_type != "application/json":
                raise problem(type(error), f"{request.method} {request.path}: {error.reason}") from None
            raise

    async def _close(self, _app: web.Application) -> None:
        self.closing.set()

    async def _file(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(FILES[request.path], headers=SECURITY_HEADERS)

    async def _health(self, _request: web.Request) -> web.Response:
        """That the page runs (200, whatever it sees), what it has read, and the health of the desk."""
        read = {"records": self.view.version, "tables": len(self.view.tables), **self._age()}
        return answer({"status": "ok", **read, "desk": self.health.document() if self.health else None})

    async def _metrics(self, _request: web.Request) -> web.Response:
        headers = {**SECURITY_HEADERS, "Content-Type": metrics.CONTENT_TYPE}
        return web.Response(body=metrics.exposition(self.health), headers=headers)

    async def _desk(self, _request: web.Request) -> web.Response:
        return answer({**self.facts, "commands": self.may_command})

    @property
    def may_command(self) -> bool:
        """Whether the page takes a kill and a reset."""
        return self.local or self.commands

    def _age(self) -> dict[str, float | None]:
        """Seconds since the newest record was made, None before the first."""
        newest_ms = self.view.newest_ms
        return {"age_s": round(max(0.0, time.time() - newest_ms / 1e3), 3) if newest_ms else None}

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: all there is, then what has changed, four times a second."""
        if self.pages >= PAGES_MAX:
            raise problem(web.HTTPServiceUnavailable, f"{PAGES_MAX} pages are open; close one and load this one again")
        response = web.StreamResponse(headers={**SECURITY_HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        self.pages += 1
        version, told = 0, None
        try:
            while not self.closing.is_set():
                message = {"since": version, **self.view.changes(version), **self._age()}
                if self.health is not None and self.health is not told:
                    message["health"] = self.health.document()
                text = json.dumps(message, separators=(",", ":"))
                await response.write(f"data: {text}\n\n".encode())
                version, told = message["version"], self.health
                await asyncio.sleep(TICK_S)
        except ConnectionError:
            pass  # the page was closed
        finally:
            self.pages -= 1
        return response

    async def _tables(self, _request: web.Request) -> web.Response:
        return answer(
            [
                {"name": name, "rows": len(self.view.rows(name)), "json": f"{path}.json", "csv": f"{path}.csv"}
                for name in self.view.tables
                for path in [f"/api/tables/{name}"]
            ]
        )

    async def _table(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.view.tables:
            there = ", ".join(self.view.tables) or "none yet"
            raise problem(web.HTTPNotFound, f"no table {name}; there are: {there}")
        rows = self.view.rows(name)
        if request.match_info["form"] == "json":
            return answer(rows)
        return web.Response(text=as_csv(rows), content_type="text/csv", headers=SECURITY_HEADERS)

    async def _kill(self, request: web.Request) -> web.Response:
        return await self._command(request, "KILL")

    async def _reset(self, request: web.Request) -> web.Response:
        return await self._command(request, "RESET")

    async def _command(self, request: web.Request, word: str) -> web.Response:
        if not self.may_command:
            raise problem(web.HTTPForbidden, NO_COMMANDS)
        # A proxy's word on what it forwards would be anybody's word, so the settings name the origin.
        same = self.origin or f"{request.scheme}://{request.host}"
        if request.headers.get("Origin") != same or request.headers.get(COMMAND_HEADER) != word:
            text = (
                f"send this command from the page at {same}/; behind a proxy, set FLOWGATE_WEB__ORIGIN to its address"
            )
            raise problem(web.HTTPForbidden, text)
        if request.content_type != "application/json":
            raise problem(web.HTTPUnsupportedMediaType, "send the command as application/json")
        try:
            order = Order.model_validate_json(await request.read())
        except ValidationError as error:
            fields = ", ".join(sorted({".".join(map(str, detail["loc"])) or "body" for detail in error.errors()}))
            raise problem(web.HTTPUnprocessableEntity, f"fill in operator, reason and word; wrong: {fields}") from None
        if order.word != word:
            raise problem(web.HTTPUnprocessableEntity, f"type the word {word}")
        command = COMMANDS[word](operator=order.operator, reason=order.reason, ts_ns=time.time_ns())
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                offset = await self.send(command)
        except (TimeoutError, OSError, RuntimeError) as error:
            text = f"Kafka did not take the command ({type(error).__name__}); it may or may not arrive, so try again"
            raise problem(web.HTTPGatewayTimeout, text) from error
        return answer({"topic": "control", "offset": offset})


def answer(body: Any) -> web.Response:
    return web.json_response(body, headers=SECURITY_HEADERS)


def problem(kind: type[web.HTTPException], text: str) -> web.HTTPException:
    """An error with one sentence that says what to do."""
    return kind(text=json.dumps({"error": text}), content_type="application/json", headers=SECURITY_HEADERS)


def is_local(host: str) -> bool:
    """Whether a request's host is a name of this machine that no other site can own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def as_csv(rows: Mapping[str, Any]) -> str:
    """A table as CSV: one column per field, nested fields with a dot, lists as JSON."""
    flat = {key: flatten(state) for key, state in rows.items()}
    columns = list(dict.fromkeys(column for cells in flat.values() for column in cells))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["key", *columns])
    writer.writerows([key, *(cells.get(column, "") for column in columns)] for key, cells in flat.items())
    return out.getvalue()


def flatten(state: Any, prefix: str = "") -> dict[str, Any]:
    """Cells of a state by dotted name."""
    if isinstance(state, dict):
        parts = (flatten(value, f"{prefix}{key}.") for key, value in state.items())
        return {name: cell for part in parts for name, cell in part.items()}
    cell = json.dumps(state) if isinstance(state, list | bool) else state
    return {prefix.removesuffix(".") or "state": "" if cell is None else cell}
