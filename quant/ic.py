"""Information coefficient of one standardised signal, learned online from lagged values.

    ic = (k0 ic0 + sum z_{t-1} u_t) / (k0 + sum z_{t-1}^2),      u_t = r_t / sigma_{t-1}

the posterior mean of the slope of u on z under a normal prior with mean ic0 and the weight of k0 observations (Bayesian
linear regression with known variance; k0 = 0 is least squares). Only a signal of the bucket before meets a return, so
there is no look-ahead. alpha = sigma IC z: Grinold & Kahn, Active Portfolio Management, 2nd ed., ch. 10.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IcState:
    """Sums of z u, z z and u u over the `n` pairs seen."""

    zu: float = 0.0
    zz: float = 0.0
    uu: float = 0.0
    n: int = 0


def update(state: IcState, z_before: float, u: float) -> IcState:
    """Add one pair: the signal of the bucket before and the standardised return of this one."""
    return IcState(state.zu + z_before * u, state.zz + z_before * z_before, state.uu + u * u, state.n + 1)


def coefficient(state: IcState, prior: float, prior_weight: float) -> float:
    """The shrunk information coefficient."""
    return (prior_weight * prior + state.zu) / (prior_weight + state.zz)


def r_squared(state: IcState) -> float:
    """Share of the variance of u that z explains, both of zero mean; 0 before both have moved."""
    return state.zu * state.zu / (state.zz * state.uu) if state.zz > 0.0 and state.uu > 0.0 else 0.0
