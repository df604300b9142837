"""What time it is: the newest that anybody has said. A pure step has no clock, and a request may say what it likes.

Event time comes from prices and from risk, wall time from prices, the session, the account and the workers. Each of
them counts by its last word, so a clock that jumped ahead is right again as soon as it speaks. What a source says is
held against the newest of all the others: older than its limit is stale, and so is what comes from the future.
"""

from __future__ import annotations

from typing import Final, Literal

from agents.controls.state import AdmissionState

Source = Literal["marks", "session", "account", "workers", "risk"]

AHEAD_NS: Final = 30_000_000_000
AHEAD_BUCKETS: Final = 30
"""A word this much newer than all others comes from a clock that is wrong, in wall time and in event time (a recording
may be played faster). Topics are read apart by seconds at most.
"""


def event_ns(state: AdmissionState, but: Source | None = None) -> int:
    """The newest event time, without what one source said; 0 before the first word."""
    marks = max((mark.ts_event_ns for mark in state.marks.values()), default=0)
    return _newest({"marks": marks, "risk": state.risk_ns or 0}, but)


def wall_ns(state: AdmissionState, but: Source | None = None) -> int:
    """The newest wall time, without what one source said; 0 before the first word."""
    heard: dict[Source, int] = {
        "marks": max((mark.ts_ingest_ns for mark in state.marks.values()), default=0),
        "session": state.session_ns,
        "account": state.account_ns or 0,
    }
    # One worker whose clock is wrong must not make everything old: each is held against the newest of the others.
    others_ns = _newest(heard, but)
    known = (w.ts_ns for w in state.workers.values() if not others_ns or w.ts_ns <= others_ns + AHEAD_NS)
    heard["workers"] = max(known, default=0)
    return _newest(heard, but)


def _newest(heard: dict[Source, int], but: Source | None) -> int:
    return max(ns for source, ns in heard.items() if source != but)
