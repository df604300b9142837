"""The gateway's door: passes bytes between the desk and the gateway, and notes when the bytes of an order come by."""

from __future__ import annotations

import asyncio
import re
import time

INTENT_ID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{24}(?![0-9a-f])")
"""What the desk puts into `orderRef`; a cancel carries only the broker's order id."""


class Door:
    """A proxy in front of the gateway. `arrived` has wall nanoseconds by intent id, of the first time it came by."""

    def __init__(self) -> None:
        self.arrived: dict[str, int] = {}
        self.port = 0
        self._server: asyncio.Server | None = None
        self._guests: set[asyncio.Task[None]] = set()

    async def open(self, gateway_port: int) -> None:
        """Listen on a free port and pass everything on to the gateway."""

        async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", gateway_port)
            for way in (self._inwards(reader, inner_writer), _pass(inner_reader, writer)):
                guest = asyncio.create_task(way)
                self._guests.add(guest)
                guest.add_done_callback(self._guests.discard)

        self._server = await asyncio.start_server(meet, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and drop the connections that are left."""
        if self._server is not None:
            self._server.close()
        for guest in list(self._guests):
            guest.cancel()
        await asyncio.gather(*self._guests, return_exceptions=True)

    async def _inwards(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65_536):
                now_ns = time.time_ns()
                writer.write(chunk)
                for name in INTENT_ID.findall(chunk):
                    self.arrived.setdefault(name.decode(), now_ns)
        except OSError:
            pass
        writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65_536):
            writer.write(chunk)
    except OSError:
        pass
    writer.close()
