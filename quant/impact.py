"""What trading costs: slippage against arrival price, published impact laws, and an impact learned from our own fills.

Costs are positive when they hurt. `sigma` is volatility per day as a fraction, quantities are in lots or shares
(only their ratios enter), costs are fractions of the price unless they end in `_bp`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Final

ALMGREN_GAMMA: Final = 0.314
ALMGREN_ETA: Final = 0.142
"""Permanent and temporary coefficients fitted to US equities by Almgren, Thum, Hauptmann & Li 2005."""


def slippage_bp(side: int, arrival: float, price: float) -> float:
    """Basis points lost against the arrival price (mid when the intent was made): side 1 bought, -1 sold.

    side x (price - arrival) / arrival x 10^4. ValueError unless prices are positive and the side is 1 or -1.
    """
    if side not in (1, -1) or not arrival > 0.0 or not price > 0.0:
        raise ValueError(f"slippage needs a side of 1 or -1 and positive prices, got {side}, {arrival}, {price}")
    return side * (price - arrival) / arrival * 1e4


def square_root_cost(sigma: float, quantity: float, volume: float, coefficient: float) -> float:
    """coefficient x sigma x sqrt(quantity / volume): Barra's law, `volume` over the time that `sigma` covers.

    0 for no quantity. ValueError on a quantity without volume: there is nothing to trade it against.
    """
    return coefficient * sigma * sqrt(_share(quantity, volume))


def almgren_cost(sigma: float, quantity: float, volume: float, shares_out: float, days: float) -> float:
    """Expected cost J of `quantity` X (signed) worked evenly over `days` T, as a fraction of the price, never negative.

    J = sgn(X) (gamma sigma / 2 (X/V) (Theta/V)^(1/4) + sgn(X) eta sigma |X / (V T)|^(3/5)), V the daily volume and
    Theta the shares outstanding. Almgren, Thum, Hauptmann & Li 2005 (Risk 18(7)), eq. 8. ValueError without volume.
    """
    share = _share(quantity, volume)
    if share == 0.0:
        return 0.0
    permanent = ALMGREN_GAMMA * sigma / 2.0 * share * float((shares_out / volume) ** 0.25)
    return permanent + ALMGREN_ETA * sigma * float((share / days) ** 0.6)


def _share(quantity: float, volume: float) -> float:
    if quantity == 0.0:
        return 0.0
    if not volume > 0.0:
        raise ValueError(f"a cost needs a positive volume to trade against, got {volume}")
    return abs(quantity) / volume


@dataclass(frozen=True, slots=True)
class ImpactState:
    """Recursive least squares of y = lambda u: `value` lambda, `p` its variance over the noise variance.

    `noise` is the fading sum of squared residuals, `weight` its total weight, `n` fills seen.
    """

    value: float
    p: float
    noise: float = 0.0
    weight: float = 0.0
    n: int = 0


@dataclass(frozen=True, slots=True)
class Impact:
    """Lambda and its standard error (None before two fills: nothing is known of the noise)."""

    value: float
    error: float | None


def init_impact(prior: float = 1.0, p: float = 100.0) -> ImpactState:
    """`prior` lambda (about 1 in the literature), held as loosely as `p` is large against 1 / sum u^2."""
    return ImpactState(prior, p)


def update_impact(
    state: ImpactState, slippage: float, sigma: float, quantity: float, volume: float, forget: float = 1.0
) -> ImpactState:
    """Learn lambda from one fill: slippage = lambda sigma sqrt(q/V) + noise, both sides over sigma.

    `slippage` is a fraction, positive when it hurt (`slippage_bp` / 10^4), so y = slippage / sigma and u = sqrt(q/V)
    are free of units and all instruments share one lambda. With forget = 1 it equals ridge regression with weight 1/p
    on the prior; forget < 1 fades old fills. A fill of size 0 or without volatility or volume changes nothing.
    Haykin, Adaptive Filter Theory, ch. 10. ValueError when a number is not finite.
    """
    if not all(isfinite(v) for v in (slippage, sigma, quantity, volume)):
        raise ValueError(f"impact learns from finite fills, got {slippage}, {sigma}, {quantity}, {volume}")
    if quantity == 0.0 or sigma <= 0.0 or volume <= 0.0:
        return state
    u, y = sqrt(abs(quantity) / volume), slippage / sigma
    residual = y - state.value * u
    gain = state.p * u / (forget + u * u * state.p)
    return ImpactState(
        state.value + gain * residual,
        (state.p - gain * u * state.p) / forget,
        # Prior residual times posterior residual: the exact growth of the weighted sum of squares.
        forget * state.noise + residual * (residual - gain * u * residual),
        forget * state.weight + 1.0,
        state.n + 1,
    )


def impact(state: ImpactState) -> Impact:
    """Lambda with its standard error sqrt(p x residual variance)."""
    if state.n < 2:
        return Impact(state.value, None)
    return Impact(state.value, sqrt(state.p * state.noise / (state.weight * (1.0 - 1.0 / state.n))))
