"""Requests for market data: quotes and depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from connectors.gateway.contract import NO_SECURITY, ContractQuery
from connectors.gateway.market_data import GENERIC_TICKS, DepthLine, QuoteLine
from connectors.gateway.requests import Refused
from connectors.gateway.wire import Fields
from contracts.instruments import InstrumentSpec

if TYPE_CHECKING:
    from connectors.gateway.session import Session

DATA: Final = frozenset({"quotes", "depth", "ticks", "bars", "history"})
"""Kinds of market data subscription."""
LINES_MAX: Final = 100
DEPTHS_MAX: Final = 3
"""Market data lines and depth subscriptions of one account (docs market_data, market_depth)."""


def read_contract(fields: Fields) -> InstrumentSpec:
    spec = ContractQuery.read(fields).resolve()
    if spec is None:
        raise Refused(200, NO_SECURITY)
    return spec


def count(session: Session, kind: str) -> int:
    """Subscriptions of a kind, over all clients: the limits are the account's."""
    return sum(k == kind for other in session.gateway.sessions.values() for k, _ in other.subscriptions)


def claim(session: Session, kind: str, req_id: int) -> None:
    if (kind, req_id) in session.subscriptions:
        raise Refused(322, "Error processing request.-'bM' : cause - Duplicate ticker id")


def market_data(session: Session, fields: Fields) -> None:
    fields.skip(1)
    req_id = fields.integer()
    spec = read_contract(fields)
    fields.skip(3 if fields.flag() else 0)  # delta neutral contract
    generic, snapshot = _generic(fields.text()), fields.flag()
    claim(session, "quotes", req_id)
    if session.gateway.settings.pacing and count(session, "quotes") >= LINES_MAX:
        raise Refused(101, "Max number of tickers has been reached")
    line = QuoteLine(
        spec=spec,
        req_id=req_id,
        version=session.version,
        send=session.send_data,
        generic=generic,
        delayed=session.market_data_type in (3, 4),
    )
    line.start(session.gateway.broker.books[spec.instrument])
    if snapshot:
        session.send([57, 1, req_id])
        return
    session.subscriptions["quotes", req_id] = line
    session.gateway.hub.add(line)


def _generic(raw: str) -> frozenset[int]:
    """The generic ticks asked for; the news ticks (`mdoff`, provider codes) are ignored."""
    wanted = [part.strip() for part in raw.split(",") if part.strip() and part.strip()[0].isdigit()]
    numbers = frozenset(int(part.split(":")[0]) for part in wanted if part.split(":")[0].isdigit())
    unknown = numbers - GENERIC_TICKS
    if unknown:
        legal = ",".join(str(number) for number in sorted(GENERIC_TICKS))
        reason = f"Incorrect generic tick list of {raw[:60]}. Legal ones are: {legal}"
        text = f"Error validating request.-'bM' : cause - {reason}"
        raise Refused(321, text)
    return numbers


def market_depth(session: Session, fields: Fields) -> None:
    fields.skip(1)
    req_id = fields.integer()
    spec = read_contract(fields)
    rows, smart = fields.integer(), fields.flag()
    claim(session, "depth", req_id)
    if session.gateway.settings.pacing and count(session, "depth") >= DEPTHS_MAX:
        raise Refused(309, f"Max number ({DEPTHS_MAX}) of market depth requests has been reached")
    line = DepthLine(
        spec=spec, req_id=req_id, version=session.version, send=session.send_data, rows=max(1, rows), smart=smart
    )
    line.start(session.gateway.broker.books[spec.instrument])
    session.subscriptions["depth", req_id] = line
    session.gateway.hub.add(line)


def market_data_type(session: Session, fields: Fields) -> None:
    """1 live, 2 frozen, 3 delayed, 4 delayed frozen; the delayed ones carry their own tick types."""
    fields.skip(1)
    kind = fields.integer()
    if kind not in (1, 2, 3, 4):
        raise Refused(321, f"Error validating request.-'bM' : cause - Invalid market data type {kind}.")
    session.market_data_type = kind


def cancel(kind: str, missing: tuple[int, str]) -> Callable[[Session, Fields], None]:
    def handler(session: Session, fields: Fields) -> None:
        fields.skip(1)
        req_id = fields.integer()
        if (kind, req_id) not in session.subscriptions:
            raise Refused(missing[0], f"{missing[1]}{req_id}")
        drop(session, (kind, req_id))

    return handler


def drop(session: Session, key: tuple[str, int]) -> None:
    """End a subscription; nothing when there is none."""
    subject = session.subscriptions.pop(key, None)
    if hasattr(subject, "update"):
        session.gateway.hub.remove(subject)


HANDLERS: dict[int, Callable[[Session, Fields], None]] = {
    1: market_data,
    2: cancel("quotes", (300, "Can't find EId with tickerId:")),
    10: market_depth,
    11: cancel("depth", (310, "Can't find the subscribed market depth with tickerId:")),
    59: market_data_type,
}
