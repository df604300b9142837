"""Which account may be traded: one paper account, on a paper port. Everything else is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

PAPER_PREFIX: Final = "D"
"""Paper accounts begin with D (DU…, DF…); live ones with U or F."""

PAPER_PORTS: Final = frozenset({4002, 4004, 7497})
"""IB Gateway paper, its usual container port, TWS paper. Live ones are 4001, 4003 and 7496."""


def refusal(accounts: Sequence[str], port: int, *, simulated: bool) -> str:
    """Why this login must not be traded, empty when it may. `simulated` says that the port is our own gateway's."""
    if not simulated and port not in PAPER_PORTS:
        ports = ", ".join(str(number) for number in sorted(PAPER_PORTS))
        return f"port {port} is no paper port ({ports})"
    if len(accounts) != 1:
        return f"the login has {len(accounts)} accounts, and must have one"
    if not accounts[0].startswith(PAPER_PREFIX):
        return f"{accounts[0]} is not a paper account (they begin with {PAPER_PREFIX})"
    return ""
