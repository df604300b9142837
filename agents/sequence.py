"""The order of an instrument's raw records: which number is next, which was taken, which is missing.

Sources count the records of an instrument without gaps, so a number that was passed over is a record that was refused
or lost. A replay, and only a replay, may fill such a gap later; a number that was taken is a duplicate for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from contracts.controls import DeadLetterReason
from contracts.market import Heartbeat, Raw
from tables.rows import TableSpec

STALE_NS = 5_000_000_000
"""A quote this far behind its partition's heartbeat says nothing about the market now, and no source is so slow."""

SEQ_JUMP_MAX = 1_000_000
TIME_JUMP_MAX_NS = 30 * 86_400 * 1_000_000_000
"""A number or a time further ahead than any outage explains is an error: taken, it would shut out all that follows."""

GAPS_MAX = 64
"""Gaps kept of one instrument; older ones can no longer be filled."""


@dataclass(slots=True)
class SequenceState:
    """The last record taken of one instrument, the numbers passed over, and how many were taken and refused.

    `recent` and `recent_refused` are counts that fade. `evidence_ns` is the event time of the heartbeat that the last
    evidence came with; `gaps` are (first, last), rising.
    """

    seq: int = -1
    ts_event_ns: int = 0
    accepted: int = 0
    refused: int = 0
    recent: float = 0.0
    recent_refused: float = 0.0
    evidence_ns: int = 0
    instrument: str = ""
    gaps: list[tuple[int, int]] = field(default_factory=list)


SEQUENCES = TableSpec("sequences", SequenceState, "last sequence number and counts of each instrument", partitions=4)


class RefusedError(Exception):
    """A record is refused for `reason`; `field` is the one to look at."""

    def __init__(self, reason: DeadLetterReason, field: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.field, self.detail = reason, field, detail


def check_order(state: SequenceState, message: Raw, *, replayed: bool) -> None:
    """RefusedError unless the record is the next, or a replay that fills a gap, and no stale quote."""
    in_gap = any(first <= message.seq <= last for first, last in state.gaps)
    if message.seq <= state.seq and not in_gap:
        raise RefusedError(DeadLetterReason.DUPLICATE, "seq", f"seq {message.seq} was taken, the last is {state.seq}")
    if state.accepted > 0 and message.seq > state.seq + SEQ_JUMP_MAX:
        raise RefusedError(DeadLetterReason.OUT_OF_RANGE, "seq", f"seq {message.seq} after {state.seq}")
    if state.accepted > 0:
        _check_leap(message.ts_event_ns, max(state.ts_event_ns, state.evidence_ns))
    if replayed:
        return
    if message.seq <= state.seq:
        raise RefusedError(DeadLetterReason.OUT_OF_ORDER, "seq", f"seq {message.seq} after {state.seq}")
    if message.ts_event_ns < state.ts_event_ns:
        detail = f"{message.ts_event_ns} after {state.ts_event_ns}"
        raise RefusedError(DeadLetterReason.OUT_OF_ORDER, "ts_event_ns", detail)
    behind_ns = state.evidence_ns - message.ts_event_ns
    if behind_ns > STALE_NS and message.type in ("raw_book", "raw_tick"):
        detail = f"{behind_ns / 1e9:.1f} s of event time behind the heartbeat"
        raise RefusedError(DeadLetterReason.STALE_QUOTE, "ts_event_ns", detail)


def check_heartbeat(states: Sequence[SequenceState], message: Heartbeat) -> None:
    """RefusedError for a heartbeat too far ahead of its partition: of its last heartbeat, or of the oldest record.

    The oldest, as a record has nothing to be compared with when it is the first of its instrument.
    """
    beats = [state.evidence_ns for state in states if state.evidence_ns > 0]
    records = [state.ts_event_ns for state in states if state.accepted > 0]
    if beats or records:
        _check_leap(message.ts_event_ns, max(beats) if beats else min(records))


def _check_leap(ts_event_ns: int, last_ns: int) -> None:
    if ts_event_ns > last_ns + TIME_JUMP_MAX_NS:
        raise RefusedError(DeadLetterReason.OUT_OF_RANGE, "ts_event_ns", f"{ts_event_ns} after {last_ns}")


def take(state: SequenceState, message: Raw) -> None:
    """Note the number as taken: at the end, with a gap if some were passed over, or inside a gap."""
    seq = message.seq
    if seq == state.seq + 1:
        state.seq = seq
    elif seq > state.seq:
        state.gaps = [*state.gaps, (state.seq + 1, seq - 1)][-GAPS_MAX:]
        state.seq = seq
    else:
        first, last = next(gap for gap in state.gaps if gap[0] <= seq <= gap[1])
        halves = [half for half in ((first, seq - 1), (seq + 1, last)) if half[0] <= half[1]]
        state.gaps = sorted([*(gap for gap in state.gaps if gap != (first, last)), *halves])[-GAPS_MAX:]
    state.ts_event_ns = max(state.ts_event_ns, message.ts_event_ns)
