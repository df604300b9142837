"""Requests this gateway knows and does not serve: each gets the answer of a gateway that has nothing to offer.

That is an empty list where IB sends lists, and IB's error for a missing permission, product or account type elsewhere.
docs/reference/gateway.md names them; message ids that IB does not have get error 505.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from connectors.gateway.requests import Refused
from connectors.gateway.wire import Fields

if TYPE_CHECKING:
    from connectors.gateway.session import Session

Handler = Callable[["Session", Fields], None]


def _refuse(code: int, text: str) -> Handler:
    def handler(_: Session, __: Fields) -> None:
        raise Refused(code, text)

    return handler


def _empty(message: int, *tail: int) -> Handler:
    """Answer with the request's id and an empty list."""

    def handler(session: Session, fields: Fields) -> None:
        session.send([message, fields.integer(), *tail])

    return handler


def _nothing(_: Session, __: Fields) -> None:
    """Nothing to do and nothing to say, as with a cancel of what never ran."""


def _no_providers(session: Session, _: Fields) -> None:
    session.send([85, 0])


def _no_groups(session: Session, fields: Fields) -> None:
    fields.skip(1)
    session.send([67, 1, fields.integer(), ""])


def _no_headlines(session: Session, fields: Fields) -> None:
    session.send([87, fields.integer(), 0])


NO_ADVISOR = "Error validating request.-'bM' : cause - FA data operations ignored for non FA customers."
NO_FUNDAMENTALS = "The fundamentals data for the security specified is not available."
NO_OPTIONS = "No security definition has been found for the request"
NO_NEWS = "News feed is not allowed."

HANDLERS: dict[int, Handler] = {
    12: _nothing,  # news bulletins: there are none
    13: _nothing,
    18: _refuse(321, NO_ADVISOR),
    19: _refuse(321, NO_ADVISOR),
    21: _refuse(200, NO_OPTIONS),
    22: _refuse(162, "Historical Market Data Service error message:API scanner subscription is not available"),
    23: _nothing,
    24: _refuse(162, "Historical Market Data Service error message:Scanner parameters are not available"),
    52: _refuse(430, NO_FUNDAMENTALS),
    53: _nothing,
    54: _refuse(200, NO_OPTIONS),
    55: _refuse(200, NO_OPTIONS),
    56: _nothing,
    57: _nothing,
    65: _refuse(321, "Error validating request.-'bM' : cause - Verification is not supported."),
    66: _refuse(321, "Error validating request.-'bM' : cause - Verification is not supported."),
    67: _no_groups,
    68: _refuse(321, "Error validating request.-'bM' : cause - There are no display groups."),
    69: _refuse(321, "Error validating request.-'bM' : cause - There are no display groups."),
    70: _nothing,
    72: _refuse(321, "Error validating request.-'bM' : cause - Verification is not supported."),
    73: _refuse(321, "Error validating request.-'bM' : cause - Verification is not supported."),
    78: _empty(76),
    79: _empty(77, 0),
    83: _empty(82, 0),
    84: _refuse(10172, "Failed to request news article:No data available"),
    85: _no_providers,
    86: _no_headlines,
    100: _refuse(10276, NO_NEWS),
    101: _nothing,
    102: _refuse(10276, NO_NEWS),
    103: _nothing,
}
