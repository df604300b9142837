"""IB's error codes: what each means, what we do about it, whether it is tried again, and who is told.

Numbers and texts are those of the TWS API's message codes page. An error never decides the fate of an order alone:
orderStatus, execDetails and snapshots do. `Action.ASK` reads a snapshot at once; its answer is the evidence.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Action(StrEnum):
    """What the session does with a code."""

    NOTE = "write it down"
    REFUSED = "the order is refused"
    ASK = "read a snapshot: what does the gateway know of the order?"
    NOT_FOUND = "evidence that no such order works; counts if the snapshot does not have it either"
    CANCEL_LATE = "the order is in a state that cannot be cancelled; read a snapshot"
    LINK_LOST = "send nothing until 1101 or 1102"
    LINK_RESTORED = "read a snapshot, then READY"
    RECONNECT = "close the socket and connect again, with back-off"
    CLIENT_ID_BUSY = "connect again under the same client id, with back-off"
    MARKET_DATA = "the order session goes on; the market feed sees to it"


class ErrorCode(NamedTuple):
    """One row of the table; `owner` is who is told, empty for nobody."""

    code: int
    meaning: str
    action: Action
    retried: bool
    owner: str


_DESK, _DATA, _OPS, _DEV = "trading desk", "market data", "operations", "developers"

_ROWS: Final = (
    ErrorCode(100, "more than 50 messages a second", Action.RECONNECT, True, _DEV),
    ErrorCode(102, "duplicate ticker id", Action.MARKET_DATA, False, _DEV),
    ErrorCode(103, "duplicate order id", Action.ASK, False, _DESK),
    ErrorCode(104, "a filled order cannot be modified", Action.ASK, False, ""),
    ErrorCode(105, "the modified order does not match the original", Action.ASK, False, _DEV),
    ErrorCode(110, "the price does not conform to the minimum price variation", Action.ASK, False, _DEV),
    ErrorCode(135, "no order with this id can be found", Action.NOT_FOUND, False, ""),
    ErrorCode(161, "the order is not in a cancellable state", Action.CANCEL_LATE, False, ""),
    ErrorCode(162, "historical data: pacing violation or no data", Action.MARKET_DATA, True, _DATA),
    ErrorCode(200, "no security definition found, or it is ambiguous", Action.ASK, False, _DESK),
    ErrorCode(201, "order rejected", Action.REFUSED, False, _DESK),
    ErrorCode(202, "order cancelled", Action.NOTE, False, ""),
    ErrorCode(203, "the security is not available or allowed for this account", Action.REFUSED, False, _DESK),
    ErrorCode(300, "no such ticker id", Action.MARKET_DATA, False, _DATA),
    ErrorCode(309, "too many market depth requests", Action.MARKET_DATA, False, _DATA),
    ErrorCode(316, "market depth halted", Action.MARKET_DATA, True, _DATA),
    ErrorCode(317, "market depth reset", Action.MARKET_DATA, True, _DATA),
    ErrorCode(320, "the server could not read the request", Action.ASK, False, _DEV),
    ErrorCode(321, "the server could not validate the request", Action.ASK, False, _DEV),
    ErrorCode(322, "the server could not process the request", Action.ASK, False, _DEV),
    ErrorCode(326, "the client id is in use", Action.CLIENT_ID_BUSY, True, _OPS),
    ErrorCode(354, "not subscribed to this market data", Action.MARKET_DATA, False, _DATA),
    ErrorCode(366, "no historical data query of this id", Action.MARKET_DATA, False, ""),
    ErrorCode(387, "unsupported order type for this exchange and security", Action.ASK, False, _DEV),
    ErrorCode(399, "order message: a warning, the order lives", Action.NOTE, False, ""),
    ErrorCode(404, "shares are being located for a short sale; the order is held", Action.NOTE, False, _DESK),
    ErrorCode(434, "the order size cannot be zero", Action.ASK, False, _DEV),
    ErrorCode(436, "the allocation must be specified", Action.ASK, False, _DEV),
    ErrorCode(501, "already connected", Action.NOTE, False, _DEV),
    ErrorCode(502, "cannot connect to TWS", Action.RECONNECT, True, _OPS),
    ErrorCode(503, "TWS is out of date", Action.RECONNECT, True, _OPS),
    ErrorCode(504, "not connected", Action.RECONNECT, True, _OPS),
    ErrorCode(505, "fatal error: unknown message id", Action.NOTE, False, _DEV),
    ErrorCode(507, "bad message length, or the socket was closed", Action.RECONNECT, True, _OPS),
    ErrorCode(1100, "connectivity between IB and TWS has been lost", Action.LINK_LOST, True, _OPS),
    ErrorCode(1101, "connectivity restored, market data lost", Action.LINK_RESTORED, True, ""),
    ErrorCode(1102, "connectivity restored, market data kept", Action.LINK_RESTORED, True, ""),
    ErrorCode(1300, "the socket port has been reset", Action.RECONNECT, True, _OPS),
    ErrorCode(2103, "market data farm broken", Action.MARKET_DATA, True, ""),
    ErrorCode(2104, "market data farm is fine", Action.NOTE, False, ""),
    ErrorCode(2105, "historical data farm broken", Action.MARKET_DATA, True, ""),
    ErrorCode(2106, "historical data farm is fine", Action.NOTE, False, ""),
    ErrorCode(2107, "historical data farm inactive, on demand", Action.NOTE, False, ""),
    ErrorCode(2108, "market data farm inactive, on demand", Action.NOTE, False, ""),
    ErrorCode(2109, "outside regular trading hours was ignored", Action.NOTE, False, ""),
    ErrorCode(2110, "TWS has lost the server; it reconnects by itself", Action.LINK_LOST, True, _OPS),
    ErrorCode(2119, "market data farm is connecting", Action.NOTE, True, ""),
    ErrorCode(2157, "security definition farm broken", Action.MARKET_DATA, True, ""),
    ErrorCode(2158, "security definition farm is fine", Action.NOTE, False, ""),
    ErrorCode(10090, "part of the requested market data is not subscribed", Action.MARKET_DATA, False, _DATA),
    ErrorCode(10147, "the order to be cancelled is not found", Action.NOT_FOUND, False, ""),
    ErrorCode(10148, "the order to be cancelled cannot be cancelled, with its state", Action.CANCEL_LATE, False, ""),
    ErrorCode(10167, "market data is delayed", Action.MARKET_DATA, False, _DATA),
    ErrorCode(10182, "failed to request live updates, the session was disconnected", Action.MARKET_DATA, True, _DATA),
    ErrorCode(10197, "no market data during a competing live session", Action.MARKET_DATA, True, _OPS),
    ErrorCode(10289, "the account must be funded in this currency", Action.ASK, False, _DESK),
    ErrorCode(10349, "time in force was set by an order preset; the order lives", Action.NOTE, False, _DEV),
)

ERRORS: Final[dict[int, ErrorCode]] = {row.code: row for row in _ROWS}


def lookup(code: int) -> ErrorCode:
    """The row of a code. One that is not in the table is told to the developers, and a snapshot is read."""
    return ERRORS.get(code) or ErrorCode(code, "not in our table", Action.ASK, False, _DEV)


def table() -> str:
    """The table as Markdown."""
    head = ["| code | meaning | what we do | tried again | told |", "| --- | --- | --- | --- | --- |"]
    return "\n".join(
        [
            *head,
            *(
                f"| {row.code} | {row.meaning} | {row.action} | {'yes' if row.retried else 'no'} | {row.owner or '–'} |"
                for row in _ROWS
            ),
        ]
    )
