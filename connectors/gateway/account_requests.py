"""Requests about the account: updates, summary, positions, profit and loss."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from connectors.gateway import account_report, frames
from connectors.gateway.order_frames import trading_class
from connectors.gateway.requests import Refused
from connectors.gateway.wire import Fields, Value
from contracts.instruments import BY_CON_ID, InstrumentSpec

if TYPE_CHECKING:
    from connectors.gateway.server import Gateway
    from connectors.gateway.session import Session

SUMMARIES_MAX = 2
"""Simultaneous account summary subscriptions of one client (docs account_summary)."""


def _check_account(session: Session, account: str) -> None:
    if account not in ("", "All", session.gateway.account.name):
        raise Refused(321, f"Error validating request.-'bM' : cause - Invalid account code '{account[:20]}'.")


def account_updates(session: Session, fields: Fields) -> None:
    fields.skip(1)
    subscribe = fields.flag()
    _check_account(session, fields.text())
    if not subscribe:
        session.subscriptions.pop(("account", 0), None)
        return
    session.subscriptions["account", 0] = True
    _send_account(session)


def _send_account(session: Session) -> None:
    gateway = session.gateway
    name = gateway.account.name
    for key, value, currency in account_report.values(gateway.broker):
        session.send([6, 2, key, value, currency, name])
    for held in gateway.account.positions.values():
        if held.lots or held.realized:
            session.send(frames.portfolio(name, held, gateway.broker.mark(held.spec)))
    session.send([8, 1, datetime.fromtimestamp(gateway.now_ns() / 1e9, UTC).strftime("%H:%M")])
    session.send([54, 1, name])


def account_updates_multi(session: Session, fields: Fields) -> None:
    fields.skip(1)
    req_id, account, model, ledger = fields.integer(), fields.text(), fields.text(), fields.flag()
    _check_account(session, account)
    broker = session.gateway.broker
    rows = account_report.ledger_values(broker) if ledger else account_report.values(broker)
    for key, value, currency in rows:
        session.send([73, 1, req_id, session.gateway.account.name, model, key, value, currency])
    session.send([74, 1, req_id])


def account_summary(session: Session, fields: Fields) -> None:
    fields.skip(1)
    req_id, _group, tags = fields.integer(), fields.text(), fields.text()
    if sum(kind == "summary" for kind, _ in session.subscriptions) >= SUMMARIES_MAX:
        raise Refused(
            322, "Error processing request.-'bM' : cause - Maximum number of account summary requests exceeded"
        )
    session.subscriptions["summary", req_id] = tags
    _send_summary(session, req_id, tags)
    session.send([64, 1, req_id])


def _send_summary(session: Session, req_id: int, tags: str) -> None:
    for tag, value, currency in account_report.summary(session.gateway.broker, tags):
        session.send([63, 1, req_id, session.gateway.account.name, tag, value, currency])


def positions(session: Session, _: Fields) -> None:
    session.subscriptions["positions", 0] = True
    for held in list(session.gateway.account.positions.values()):
        if held.lots:
            session.send(frames.position(session.gateway.account.name, held))
    session.send([62, 1])


def positions_multi(session: Session, fields: Fields) -> None:
    fields.skip(1)
    req_id, account, model = fields.integer(), fields.text(), fields.text()
    _check_account(session, account)
    for held in session.gateway.account.positions.values():
        if held.lots:
            spec = held.spec
            head: list[Value] = [71, 1, req_id, session.gateway.account.name, spec.con_id, spec.symbol, spec.sec_type]
            middle: list[Value] = ["", 0, "", "", spec.primary_exchange or spec.exchange, spec.currency, spec.symbol]
            quantity: list[Value] = [trading_class(spec), held.lots * spec.lot_size, held.average_cost, model]
            session.send([*head, *middle, *quantity])
    session.send([72, 1, req_id])


def pnl(session: Session, fields: Fields) -> None:
    req_id, account = fields.integer(), fields.text()
    _check_account(session, account)
    session.subscriptions["pnl", req_id] = True
    _send_pnl(session, req_id)


def pnl_single(session: Session, fields: Fields) -> None:
    req_id, account = fields.integer(), fields.text()
    fields.skip(1)
    _check_account(session, account)
    spec = BY_CON_ID.get(fields.integer())
    if spec is None:
        raise Refused(200, "No security definition has been found for the request")
    session.subscriptions["pnl_single", req_id] = spec
    _send_pnl_single(session, req_id, spec)


def _send_pnl(session: Session, req_id: int) -> None:
    account, mark = session.gateway.account, session.gateway.broker.mark
    unrealized, realized = account.unrealized(mark), account.realized
    session.send([94, req_id, *(round(value, 6) for value in (unrealized + realized, unrealized, realized))])


def _send_pnl_single(session: Session, req_id: int, spec: InstrumentSpec) -> None:
    held = session.gateway.account.position(spec)
    value = held.value(session.gateway.broker.mark(spec))
    unrealized = value - held.basis if held.lots else Decimal(0)
    numbers = (unrealized + held.realized, unrealized, held.realized, value)
    session.send([95, req_id, held.lots * spec.lot_size, *(round(number, 6) for number in numbers)])


def _cancel(kind: str, *, numbered: bool, versioned: bool = True) -> Callable[[Session, Fields], None]:
    def cancel(session: Session, fields: Fields) -> None:
        fields.skip(1 if versioned else 0)
        session.subscriptions.pop((kind, fields.integer() if numbered else 0), None)

    return cancel


def refresh(session: Session, *, changed: bool) -> None:
    """Once a second: PnL; after a change of the account also its values, its summary and portfolio."""
    for (kind, req_id), subject in list(session.subscriptions.items()):
        if kind == "pnl":
            _send_pnl(session, req_id)
        elif kind == "pnl_single":
            _send_pnl_single(session, req_id, subject)
        elif changed and kind == "summary":
            _send_summary(session, req_id, subject)
        elif changed and kind == "account":
            _send_account(session)


def position_changed(gateway: Gateway, spec: InstrumentSpec) -> None:
    """Tell every client that watches positions."""
    for session in list(gateway.sessions.values()):
        if ("positions", 0) in session.subscriptions:
            session.send(frames.position(gateway.account.name, gateway.account.position(spec)))


HANDLERS: dict[int, Callable[[Session, Fields], None]] = {
    6: account_updates,
    61: positions,
    62: account_summary,
    63: _cancel("summary", numbered=True),
    64: _cancel("positions", numbered=False),
    74: positions_multi,
    75: _cancel("positions_multi", numbered=True),
    76: account_updates_multi,
    77: _cancel("account_multi", numbered=True),
    92: pnl,
    93: _cancel("pnl", numbered=True, versioned=False),
    94: pnl_single,
    95: _cancel("pnl_single", numbered=True, versioned=False),
}
