"""Do all workers run the same? A mixed fleet is what Knight Capital traded with: new code here, old code there."""

from __future__ import annotations

from typing import Final

from agents.controls import clock
from agents.controls.case import Case, Finding, Identity
from contracts.controls import Denial, WorkerState

DECIDING: Final = frozenset({"ingest", "signals", "portfolio", "risk", "gates"})
"""Groups whose output becomes an order, or stops one; execution compares all of them with itself."""

SILENT_NS: Final = 30_000_000_000
"""A worker speaks every few seconds. One that is silent for so long is gone, and its build does not count any more."""


def same_fleet(case: Case) -> list[Finding]:
    """Each deciding group has a live worker, and all live workers have our build and configuration.

    One that speaks from the future is not known to be alive, and not known to be gone either.
    """
    now_ns = max(case.intent.ts_ingest_ns, clock.wall_ns(case.state, but="workers"))
    spoken: set[str] = set()
    apart: list[Finding] = []
    for worker in case.state.workers.values():
        if now_ns - worker.ts_ns <= SILENT_NS and not DECIDING.isdisjoint(worker.groups):
            spoken.update(worker.groups if worker.ts_ns - now_ns <= clock.AHEAD_NS else ())
            if (worker.build, worker.configuration_hash) != case.identity:
                apart.append((Denial.MIXED_FLEET, _difference(case, worker)))
    silent = sorted(DECIDING - spoken)
    return apart + [(Denial.MIXED_FLEET, f"group {name}: no live worker has said what it runs") for name in silent]


def _difference(case: Case, worker: WorkerState) -> str:
    pairs = zip(Identity._fields, case.identity, (worker.build, worker.configuration_hash), strict=True)
    apart = [f"{name}={theirs[:12]}, execution has {ours[:12]}" for name, ours, theirs in pairs if ours != theirs]
    return f"group {','.join(worker.groups)}: {worker.worker} has {' and '.join(apart)}"
