"""Requests about time, ids, accounts and contracts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from connectors.gateway import contract, frames
from connectors.gateway.requests import Refused
from connectors.gateway.wire import Fields, Value

if TYPE_CHECKING:
    from connectors.gateway.session import Session


def current_time(session: Session, _: Fields) -> None:
    session.send([49, 1, session.gateway.now_ns() // 1_000_000_000])


def next_id(session: Session, _: Fields) -> None:
    assert session.client_id is not None
    session.send(frames.next_valid_id(session.gateway.broker.next_id(session.client_id)))


def managed_accounts(session: Session, _: Fields) -> None:
    session.send(frames.managed_accounts(session.gateway.account.name))


def log_level(session: Session, _: Fields) -> None:
    """setServerLogLevel is taken and has no effect."""


def contract_details(session: Session, fields: Fields) -> None:
    fields.skip(1)
    req_id, query = fields.integer(), contract.ContractQuery.read(fields)
    found = query.find()
    if not found:
        raise Refused(200, contract.NO_SECURITY)
    for spec in found:
        session.send(contract.details(req_id, spec, session.version, session.gateway.now_ns()))
    session.send([52, 1, req_id])


def matching_symbols(session: Session, fields: Fields) -> None:
    req_id, pattern = fields.integer(), fields.text()
    session.send(contract.symbol_samples(req_id, contract.search(pattern), session.version))


def market_rule(session: Session, fields: Fields) -> None:
    rule = fields.integer()
    if rule != 26:
        raise Refused(321, f"Error validating request.-'bM' : cause - Unknown market rule {rule}.")
    session.send([93, rule, 1, 0, "0.01"])


def depth_exchanges(session: Session, _: Fields) -> None:
    venues = (("ARCA", "STK"), ("NASDAQ", "STK"), ("PAXOS", "CRYPTO"))
    values: list[Value] = [80, len(venues)]
    for exchange, sec_type in venues:
        values += [exchange, sec_type, "", "Deep2", 2147483647]
    session.send(values)


def family_codes(session: Session, _: Fields) -> None:
    session.send([78, 1, session.gateway.account.name, ""])


def user_info(session: Session, fields: Fields) -> None:
    session.send([107, fields.integer(), ""])


HANDLERS: dict[int, Callable[[Session, Fields], None]] = {
    8: next_id,
    9: contract_details,
    14: log_level,
    17: managed_accounts,
    49: current_time,
    80: family_codes,
    81: matching_symbols,
    82: depth_exchanges,
    91: market_rule,
    104: user_info,
}
