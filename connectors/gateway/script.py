"""Fault scripts: a YAML list of what happens when.

Each entry names a `fault` and when it is armed: `at_s` seconds after the start, or `after_orders` orders; `count`,
`rate` and the fault's own arguments as in the catalogue. `clear: G7` (or `clear: all`) switches off instead.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from connectors.gateway.faults import CATALOGUE, FaultError, Panel

if TYPE_CHECKING:
    from connectors.gateway.server import Gateway

POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a script; `fault` is None to clear all."""

    at_s: float
    after_orders: int
    clear: bool
    fault: str | None
    options: dict[str, Any]


def load(path: Path) -> list[Entry]:
    """The entries of a script, checked against the catalogue; FaultError names what is wrong."""
    try:
        rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise FaultError(f"cannot read the fault script {path}: {error}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise FaultError(f"{path} must be a list of entries like `- {{at_s: 1, fault: G7, count: 2}}`")
    return [_entry(dict(row)) for row in rows]


def _entry(row: dict[str, Any]) -> Entry:
    at_s, after = row.pop("at_s", 0), row.pop("after_orders", 0)
    if not isinstance(at_s, int | float) or not isinstance(after, int) or at_s < 0 or after < 0:
        raise FaultError("at_s and after_orders must be numbers of zero or more")
    if "clear" in row:
        name = row.pop("clear")
        if row or (name != "all" and name not in CATALOGUE):
            raise FaultError(f"clear wants a fault of the catalogue or `all`, and nothing else; got {name!r}")
        return Entry(at_s, after, True, None if name == "all" else name, {})
    name = row.pop("fault", None)
    Panel(0).arm(str(name), **row)
    return Entry(at_s, after, False, str(name), row)


async def play(gateway: Gateway, entries: list[Entry]) -> None:
    """Run a script to its end."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    waiting = list(entries)
    while waiting:
        orders = len(gateway.broker.by_perm)
        for entry in [e for e in waiting if loop.time() - start >= e.at_s and orders >= e.after_orders]:
            waiting.remove(entry)
            if entry.clear:
                gateway.panel.clear(entry.fault)
            else:
                gateway.arm(str(entry.fault), **entry.options)
        await asyncio.sleep(POLL_S)
