"""One synthetic order book and the flow that moves it: zero intelligence, leaning towards a value.

In the spirit of Cont, Stoikov & Talreja 2010 (Operations Research 58(3), 549-563): limit orders arrive at a rate that
falls with the distance from the best price, each resting share has the same chance to be cancelled (so the depth of a
level is a birth-death process), and market orders take from the best. Added, because a desk needs returns worth
estimating:
- a fundamental value tilts births, cancellations and market orders towards it;
- trade signs have a long memory (Lillo & Farmer 2004), as DAR(p) of Jacobs & Lewis 1978 with power-law lags: with
  probability `P_SIGN_COPY` a market order repeats the sign of one of the last `SIGN_MEMORY`;
- a market order is no larger than the best queue, as traders who see the book send them.
A side never runs empty: behind its last level there is always another one.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from functools import lru_cache
from itertools import count
from typing import Final, NamedTuple

import numpy as np

from contracts.market import RawLevel, Side

DEPTH: Final = 5
LEVELS_MIN: Final = 12
LEVELS_MAX: Final = 30
ROUND_LOT: Final = 100
SIGN_MEMORY: Final = 500

# The constants below were chosen so that the statistics of docs/reference/synthetic.md fall where they are published.
P_MARKET: Final = 0.15
P_INSIDE: Final = 0.45
"""Chance that a passive event improves the best price, where the spread leaves room."""
P_LEVEL: Final = 0.7
"""Distance in ticks from the best price is geometric with this parameter."""
DEPTH_ORDERS: Final = 1.5
"""Median orders resting at a level at which a birth and a death are equally likely."""
TILT_PER_TICK: Final = 0.25
"""Lean of limit orders and cancellations per tick between value and mid."""
TRADE_TILT_PER_TICK: Final = 1.2
"""The same for market orders, P(buy) = (1 + tilt) / 2: those who trade know more."""
TILT_MAX: Final = 0.9
P_SIGN_COPY: Final = 0.55


class Draw(NamedTuple):
    """The randomness of one event; `kind`, `side`, `chance`, `act` uniform on [0, 1), `lag` from 1 to SIGN_MEMORY."""

    kind: float
    side: float
    chance: float
    act: float
    distance: int
    size: float
    lag: int


class Ladder:
    """One side of a book. Keys rise towards the market (asks are negative ticks), so the best level is the last."""

    __slots__ = ("_wire", "keys", "sizes")

    def __init__(self, best: int, sizes: list[int]) -> None:
        self.keys = list(range(best - len(sizes) + 1, best + 1))
        self.sizes = sizes
        self._wire: tuple[RawLevel, ...] | None = None

    def add(self, key: int, size: int) -> None:
        """Rest `size` shares at a level, a new one or not."""
        pos = bisect_left(self.keys, key)
        if pos < len(self.keys) and self.keys[pos] == key:
            self.sizes[pos] += size
        else:
            self.keys.insert(pos, key)
            self.sizes.insert(pos, size)
            if len(self.keys) > LEVELS_MAX:
                del self.keys[0], self.sizes[0]
        self._wire = None

    def resting(self, key: int) -> int:
        """Shares at a level, 0 where there is none."""
        pos = bisect_left(self.keys, key)
        return self.sizes[pos] if pos < len(self.keys) and self.keys[pos] == key else 0

    def remove(self, key: int, size: int, refill: int) -> None:
        """Take `size` of the shares at a level; where that ends a short side's level, `refill` shares appear behind."""
        pos = bisect_left(self.keys, key)
        self.sizes[pos] -= size
        if self.sizes[pos] == 0:
            del self.keys[pos], self.sizes[pos]
            if len(self.keys) < LEVELS_MIN:
                self.keys.insert(0, self.keys[0] - 1)
                self.sizes.insert(0, refill)
        self._wire = None

    def levels(self) -> tuple[RawLevel, ...]:
        """The best levels as (price, size) in decimals, best first; kept until the side changes."""
        if self._wire is None:
            best = zip(self.keys[: -DEPTH - 1 : -1], self.sizes[: -DEPTH - 1 : -1], strict=True)
            self._wire = tuple([(price_text(abs(key)), str(size)) for key, size in best])
        return self._wire


class Book:
    """The order book of one instrument; `value` (ticks) and `size_scale` (shares of a median order) may be set."""

    __slots__ = ("asks", "bids", "instrument", "seq", "signs", "size_scale", "value")

    def __init__(self, instrument: str, ticks: int, size_scale: float, rng: np.random.Generator) -> None:
        sizes = rng.integers(1, int(2 * DEPTH_ORDERS * size_scale), size=(2, LEVELS_MIN)).tolist()
        self.instrument = instrument
        self.bids = Ladder(ticks, sizes[0])
        self.asks = Ladder(-(ticks + 1), sizes[1])
        self.signs: deque[int] = deque((2 * rng.integers(2, size=SIGN_MEMORY) - 1).tolist(), maxlen=SIGN_MEMORY)
        self.value = float(ticks)
        self.size_scale = size_scale
        self.seq = count()

    def step(self, draw: Draw) -> tuple[Side, int, int] | None:
        """Apply one event; a market order returns its trade (aggressor, ticks, shares)."""
        gap = self.value - 0.5 * (self.bids.keys[-1] - self.asks.keys[-1])
        size = _shares(draw.size * self.size_scale)
        if draw.kind < P_MARKET:
            return self._market_order(draw, _clip(TRADE_TILT_PER_TICK * gap), size)
        self._passive_order(draw, _clip(TILT_PER_TICK * gap), size)
        return None

    def _market_order(self, draw: Draw, tilt: float, size: int) -> tuple[Side, int, int]:
        fresh = 1 if draw.side < 0.5 * (1.0 + tilt) else -1
        sign = self.signs[-draw.lag] if draw.chance < P_SIGN_COPY else fresh
        self.signs.append(sign)
        taken = self.asks if sign > 0 else self.bids
        key, available = taken.keys[-1], taken.sizes[-1]
        taken.remove(key, min(size, available), refill=size)
        return ("BUY" if sign > 0 else "SELL"), abs(key), min(size, available)

    def _passive_order(self, draw: Draw, tilt: float, size: int) -> None:
        """A quote inside the spread, or a birth or death at a level: P(birth) = b / (b + d).

        b = exp(lean) and d = exp(-lean) x depth / target, so a level's depth reverts to its target, and a side
        that the value leans on grows while the other one shrinks.
        """
        spread = -(self.bids.keys[-1] + self.asks.keys[-1])
        if spread > 1 and draw.chance < P_INSIDE:
            own = self.bids if draw.side < 0.5 * (1.0 + tilt) else self.asks
            own.add(own.keys[-1] + 1, size)
            return
        own, lean = (self.bids, tilt) if draw.side < 0.5 else (self.asks, -tilt)
        key = own.keys[-1] - draw.distance
        resting = own.resting(key)
        birth, death = math.exp(lean), math.exp(-lean) * resting / (DEPTH_ORDERS * self.size_scale)
        if draw.act * (birth + death) < birth:
            own.add(key, size)
        else:
            own.remove(key, min(size, resting), refill=size)


@lru_cache(maxsize=65_536)
def price_text(ticks: int) -> str:
    """Dollars and cents of whole ticks of 0.01 USD."""
    return f"{ticks // 100}.{ticks % 100:02d}"


def _clip(tilt: float) -> float:
    return max(-TILT_MAX, min(TILT_MAX, tilt))


def _shares(size: float) -> int:
    """A positive order size, in whole round lots above the first."""
    shares = int(size) + 1
    return shares if shares < ROUND_LOT else shares - shares % ROUND_LOT
