"""The catalogue of faults (G1 to G25), which of them are armed, and how often each has really happened.

A fault is armed with a `count` (the next N occasions), a `rate` (the chance of each occasion, drawn from a generator
seeded by the gateway's seed and the fault's id), or both. Occasions are what the catalogue names: an order placed, a
cancel, a fill, a connection, a request. Faults whose occasion is `now` happen when armed, or once a second at a rate.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Final

from contracts.instruments import INSTRUMENTS

Args = dict[str, Any]


class FaultError(ValueError):
    """A fault was asked for in a way that the catalogue does not know."""


@dataclass(frozen=True, slots=True)
class FaultInfo:
    """What a fault is, when it strikes, and its arguments with their defaults (times in seconds)."""

    title: str
    occasion: str
    defaults: Args = field(default_factory=dict)
    choices: dict[str, tuple[Any, ...]] = field(default_factory=dict)


CHOICES: Final[dict[str, tuple[Any, ...]]] = {
    "symbol": tuple(INSTRUMENTS),
    "side": ("BUY", "SELL"),
    "data": ("kept", "lost"),
    "on": ("place", "cancel"),
}


def _info(title: str, occasion: str, modes: tuple[Any, ...] = (), **defaults: Any) -> FaultInfo:
    """Catalogue entry; `modes` are the choices of the argument `mode`, the first is its default."""
    choices = {name: CHOICES[name] for name in defaults if name in CHOICES}
    if modes:
        defaults, choices = {"mode": modes[0], **defaults}, {"mode": modes, **choices}
    return FaultInfo(title, occasion, defaults, choices)


CATALOGUE: Final[dict[str, FaultInfo]] = {
    "G1": _info("order never answered", "place", ("accepted", "dropped")),
    "G2": _info("execution without order status", "place", ("late", "early", "twice", "normal"), delay_s=0.5),
    "G3": _info("link lost in the middle of fills", "fill", ("lost", "sent"), for_s=1.0, data="kept"),
    "G4": _info("socket dies with the order", "order request", ("reached", "lost"), on="place"),
    "G5": _info("amend makes a second live order", "amend"),
    "G6": _info("another session's order under our id", "open orders request"),
    "G7": _info("status repeated, stale open order", "status", copies=2),
    "G8": _info("handshake trouble", "connection", ("busy", "slow", "mute"), delay_s=1.0),
    "G9": _info("data farms flap", "now", for_s=5.0, every_s=0.5),
    "G10": _info("reset or no login", "now", ("reset", "2fa", "unauthenticated"), for_s=0.0),
    "G11": _info("rate limit", "request", ("100", "162")),
    "G12": _info("cancel late or not acknowledged", "cancel", ("late", "10147", "10148"), delay_s=1.0),
    "G13": _info("rejected after acceptance", "place", ("201", "203", "321", "revive"), delay_s=0.05),
    "G14": _info("positions late, cut or endless", "positions request", ("late", "partial", "unended"), delay_s=5.0),
    "G15": _info("contract details never answered", "contract details request"),
    "G16": _info(
        "hands at the terminal", "now", ("order", "cancel", "position"), symbol="SPY", side="BUY", lots=1, ticks=0
    ),
    "G17": _info("commission or execution corrected", "fill", ("commission", "correction"), delay_s=0.2, ticks=1),
    "G18": _info("competing session, or ids jump", "now", ("competing", "ids"), for_s=2.0, ids=1000),
    "G19": _info("order refused in a halt", "now", symbol="SPY", for_s=2.0),
    "G20": _info("yesterday's executions are gone", "now"),
    "G21": _info("order ids roll back", "now", ids=5),
    "G22": _info("informational error on a live order", "place", (10349, 321, 103, 10147, 10148)),
    "G23": _info("fill after cancel", "cancel", ("pending", "cancelled"), delay_s=0.2),
    "G24": _info("half-open socket", "now", for_s=0.0),
    "G25": _info("answer after its time-out", "snapshot request", delay_s=5.0),
}


def _check(fault: str, info: FaultInfo, name: str, value: Any) -> None:
    """FaultError when an argument is unknown, of the wrong kind, or out of range."""
    if name not in info.defaults:
        raise FaultError(f"{fault} has no argument {name}; it has: {', '.join(info.defaults) or 'none'}")
    default = info.defaults[name]
    fits = isinstance(value, type(default)) or (isinstance(default, float) and isinstance(value, int))
    if not fits or isinstance(value, bool):
        raise FaultError(f"{fault} wants {name} like {default!r}, not {value!r}")
    if value not in info.choices.get(name, (value,)):
        raise FaultError(f"{fault} knows {name} as one of {info.choices[name]}, not {value!r}")
    if name not in info.choices and not isinstance(default, str):
        least = 1 if isinstance(default, int) and default else 0
        if not least <= value < 1e9 or (name == "every_s" and value == 0):
            raise FaultError(f"{fault} wants {name} from {least} up, not {value!r}")


@dataclass(slots=True)
class Armed:
    """How a fault is switched on; `left` None means without end."""

    left: int | None
    rate: float
    args: Args


class Panel:
    """The switches and counters of all faults."""

    def __init__(self, seed: int) -> None:
        self.hits: dict[str, int] = dict.fromkeys(CATALOGUE, 0)
        self.armed: dict[str, Armed] = {}
        self._random = {fault: random.Random(f"{seed}/{fault}") for fault in CATALOGUE}

    def arm(self, fault: str, *, count: int | None = None, rate: float | None = None, **args: Any) -> None:
        """Switch a fault on: once, `count` times, or at a `rate`. FaultError says what is wrong."""
        info = CATALOGUE.get(fault)
        if info is None:
            raise FaultError(f"no fault {fault}; choose from {', '.join(CATALOGUE)}")
        if rate is not None and not 0 < rate <= 1:
            raise FaultError(f"the rate of {fault} must lie above 0 and at most at 1")
        if count is not None and count < 1:
            raise FaultError(f"the count of {fault} must be at least 1")
        for name, value in args.items():
            if isinstance(value, int) and isinstance(info.defaults.get(name), str):
                args[name] = str(value)  # YAML and JSON read the mode 201 as a number
            _check(fault, info, name, args[name])
        left = count if count is not None else (1 if rate is None else None)
        self.armed[fault] = Armed(left, 1.0 if rate is None else rate, {**info.defaults, **args})

    def clear(self, fault: str | None = None) -> None:
        """Switch one fault off, or all; what has begun runs to its end."""
        if fault is None:
            self.armed.clear()
        elif fault not in CATALOGUE:
            raise FaultError(f"no fault {fault}; choose from {', '.join(CATALOGUE)}")
        else:
            self.armed.pop(fault, None)

    def strike(self, fault: str, *, hit: bool = True) -> Args | None:
        """On an occasion of a fault: its arguments when it happens now, else None; `hit` counts it."""
        armed = self.armed.get(fault)
        if armed is None or (armed.rate < 1 and self._random[fault].random() >= armed.rate):
            return None
        if armed.left is not None:
            armed.left -= 1
            if armed.left <= 0:
                del self.armed[fault]
        if hit:
            self.hits[fault] += 1
        return armed.args

    def peek(self, fault: str) -> Args | None:
        """The arguments of a fault that is armed, without striking."""
        armed = self.armed.get(fault)
        return armed.args if armed else None

    def table(self) -> list[Args]:
        """One row per fault: id, title, occasion, how it is armed, hits."""
        rows = []
        for fault, info in CATALOGUE.items():
            armed = self.armed.get(fault)
            state = None if armed is None else {"left": armed.left, "rate": armed.rate, "args": armed.args}
            row = {
                "id": fault,
                "title": info.title,
                "occasion": info.occasion,
                "armed": state,
                "hits": self.hits[fault],
            }
            rows.append(row)
        return rows
