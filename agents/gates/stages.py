"""What each of the eight stages asks for: the evidence it needs, and the limit on each number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True)
class Criterion:
    """Evidence `name` must be there, and its value from `value_min` to `value_max`."""

    name: str
    value_max: float
    value_min: float = 0.0


@dataclass(frozen=True)
class Stage:
    """A stage: its title, its criteria, and for how long (event time) a verdict holds after its evidence."""

    number: int
    title: str
    criteria: tuple[Criterion, ...]
    holds_ns: int


STAGES: Final = (
    Stage(1, "market data", (Criterion("data.refused_frac", 0.02),), 60 * SECOND_NS),
    Stage(2, "signals", (Criterion("signals.ofi_r2", 1.0, 0.10),), 600 * SECOND_NS),
    Stage(3, "covariance", (Criterion("covariance.drift", 0.10),), 60 * SECOND_NS),
    Stage(4, "portfolio", (Criterion("portfolio.max_violation", 1e-6),), 60 * SECOND_NS),
    Stage(
        5,
        "execution",
        (
            Criterion("execution.position_breaks", 0.0),
            Criterion("execution.cash_breaks", 0.0),
            Criterion("execution.drop_copy_away", 0.0),
        ),
        86_400 * SECOND_NS,
    ),
    Stage(6, "paper account probe", (Criterion("paper.probe_failures", 0.0),), 86_400 * SECOND_NS),
    Stage(7, "paper session", (Criterion("paper.session_hours_missing", 0.0),), 86_400 * SECOND_NS),
    Stage(8, "sign-off", (Criterion("signoff.signatures_missing", 0.0),), 86_400 * SECOND_NS),
)
