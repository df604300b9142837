"""The rates a feed goes through, and the latencies of what it caused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WARM_UP_RATE = 200
WARM_UP_S = 10.0
"""Covariance and signals need a few buckets, every process its first connections."""

SETTLE_S = 1.0
"""The beginning of each phase does not count: the rate before it is still on its way."""


@dataclass(frozen=True)
class Phase:
    """A stretch of one rate, in wall nanoseconds; `sent` is how many events it really had."""

    rate: int
    begin_ns: int
    end_ns: int
    sent: int

    @property
    def achieved(self) -> float:
        return self.sent / ((self.end_ns - self.begin_ns) / 1e9)


def latencies_ms(phase: Phase, caused: Mapping[str, int], arrived: Mapping[str, int]) -> list[float]:
    """Milliseconds from each cause in the phase to its arrival, by id; what never arrived is not in it."""
    begin_ns = phase.begin_ns + int(SETTLE_S * 1e9)
    return sorted(
        (arrived[name] - cause_ns) / 1e6
        for name, cause_ns in caused.items()
        if begin_ns <= cause_ns < phase.end_ns and name in arrived
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the sorted values that at least `share` of them do not exceed."""
    return values[min(len(values) - 1, int(share * len(values)))]
