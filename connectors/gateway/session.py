"""One client's connection: handshake, version, id, framing, and a bounded way out for what is sent to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from connectors.gateway import frames
from connectors.gateway.pacing import MessageRate
from connectors.gateway.requests import Refused
from connectors.gateway.wire import Deframer, FieldError, Fields, Value, WireError, frame

if TYPE_CHECKING:
    from connectors.gateway.server import Gateway

log = logging.getLogger(__name__)

VERSION_MIN, VERSION_MAX = 157, 178
OUTBOX_BYTES_MAX = 32 << 20
"""A client that reads nothing is cut off here; market data is left out long before."""
DATA_BYTES_MAX = 1 << 20
"""Above this backlog a client gets no market data until it has read some."""

LINGER_S = 1.0
"""A client that does not close after our goodbye is reset after this time."""

START_API = 71

REQ_ID_AT = dict.fromkeys((3, 20, 22, 78, 79, *range(81, 99), 100, 101, 102, 103, 104), 0)
"""Requests without a version field, whose id comes first; elsewhere it comes second."""


class DelayLine:
    """Passes bytes on after a fixed delay, in order; at once when the delay is zero."""

    def __init__(self, delay_s: float, out: Callable[[bytes], None]) -> None:
        self._delay_s, self._out = delay_s, out
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def put(self, data: bytes) -> None:
        if self._delay_s <= 0:
            self._out(data)
            return
        loop = asyncio.get_running_loop()
        self._waiting.append((loop.time() + self._delay_s, data))
        if self._timer is None:
            self._timer = loop.call_at(self._waiting[0][0], self._flush)

    def drain(self) -> None:
        """Pass everything on now."""
        while self._waiting:
            self._out(self._waiting.popleft()[1])

    def stop(self) -> None:
        """Forget what waits: the connection is gone."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._waiting and self._waiting[0][0] <= loop.time():
            self._out(self._waiting.popleft()[1])
        if self._waiting:
            self._timer = loop.call_at(self._waiting[0][0], self._flush)


class Session(asyncio.Protocol):
    """Bytes in, requests out to the dispatch table; answers in, bytes out."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.version = 0
        self.client_id: int | None = None
        self.muted = False
        self.paced = False
        self.subscriptions: dict[tuple[str, int], Any] = {}
        self.market_data_type = 1
        self.rate = MessageRate()
        self.transport: asyncio.Transport | None = None
        self._deframer = Deframer()
        self._answers = DelayLine(gateway.settings.response_s, self.write)
        self._data = DelayLine(gateway.settings.feed_s, self.write)

    # ---- the socket ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if not self.gateway.admit(self):
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        log.debug("client %s has gone: %s", self.client_id, exc)
        self.transport = None
        self._answers.stop()
        self._data.stop()
        self.gateway.release(self)

    def data_received(self, data: bytes) -> None:
        if self.muted or self.transport is None:
            return
        try:
            for payload in self._deframer.feed(data):
                self._payload(payload)
                if self.transport is None or self.transport.is_closing():
                    return
        except WireError as error:
            log.warning("client %s is cut off: %s", self.client_id, error)
            self.abort()

    def close(self) -> None:
        """Say goodbye: what is written still goes out, the client id is free at once, and nothing more is read.

        A plain close with unread input would reset the connection and take the last message, the reason, with it.
        """
        self.gateway.release(self)
        if self.transport is not None and not self.muted:
            self._answers.drain()
            self.muted = True
            self.transport.write_eof()
            asyncio.get_running_loop().call_later(LINGER_S, self.abort)

    def abort(self) -> None:
        """Reset the connection."""
        self.gateway.release(self)
        if self.transport is not None:
            self.transport.abort()

    # ---- requests ------------------------------------------------------------------------------------------------

    def _payload(self, payload: bytes) -> None:
        if not self.version:
            self._negotiate(payload)
            return
        fields = Fields(payload)
        try:
            message_id = fields.integer(-1)
        except FieldError:
            raise WireError("a frame does not begin with a message id") from None
        if self.client_id is None:
            if message_id == START_API:
                self._start(fields)
            return
        self.gateway.request(self, message_id, fields)

    def _negotiate(self, payload: bytes) -> None:
        """`v<min>..<max>[ options]`: the highest version both sides know, or the end."""
        head, _, options = payload.decode("ascii", "replace").rstrip("\0").partition(" ")
        low, _, high = head.removeprefix("v").partition("..")
        try:
            client_min, client_max = int(low), int(high or low)
        except ValueError:
            raise WireError(f"not a version range: {head[:40]!r}") from None
        version = min(client_max, VERSION_MAX)
        if version < max(client_min, VERSION_MIN):
            raise WireError(f"no common version: client {head[:40]}, gateway {VERSION_MIN}..{VERSION_MAX}")
        self.version, self.paced = version, "+PACEAPI" in options
        self.gateway.greet(self, lambda: self.write(frame([version, frames.clock(self.gateway.now_ns())])))

    def _start(self, fields: Fields) -> None:
        fields.skip(1)
        self.gateway.start(self, fields.integer())

    def handle(self, handler: Callable[[Session, Fields], None], message_id: int, fields: Fields) -> None:
        """Run a handler; a request it cannot read or must refuse becomes IB's error."""
        req_id = fields.peek(REQ_ID_AT.get(message_id, 1))
        try:
            handler(self, fields)
        except FieldError as error:
            self.error(req_id, 320, f"Error reading request. Message id {message_id}: {error}.")
        except Refused as refusal:
            self.error(req_id, refusal.code, refusal.text)

    # ---- answers -------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        return self.client_id is not None and self.transport is not None

    def send(self, values: Iterable[Value]) -> None:
        """Queue one message after the response latency."""
        if self.transport is not None:
            self.deliver(values)

    def send_data(self, values: Iterable[Value]) -> bool:
        """Queue market data; False when the client lags behind, or data does not flow, and goes without."""
        if self.transport is None or not self.gateway.link_faults.data_flows():
            return False
        if self.transport.get_write_buffer_size() >= DATA_BYTES_MAX:
            return False
        self._data.put(frame(values))
        return True

    def error(self, req_id: int, code: int, text: str) -> None:
        self.send(frames.error(req_id, code, text, self.version))

    def deliver(self, values: Iterable[Value]) -> None:
        """Encode and send after the response latency; the order of answers is kept."""
        self._answers.put(frame(values))

    def write(self, data: bytes) -> None:
        """Hand bytes to the socket; a client with too much unread is cut off."""
        if self.transport is None or self.transport.is_closing() or self.muted:
            return
        if self.transport.get_write_buffer_size() > OUTBOX_BYTES_MAX:
            log.warning("client %s reads nothing and is cut off", self.client_id)
            self.abort()
            return
        with contextlib.suppress(RuntimeError):
            self.transport.write(data)
