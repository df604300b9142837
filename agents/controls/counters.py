"""What the controls count: messages a minute, repetition, what was decided before, and lots by bucket."""

from __future__ import annotations

from typing import Final

from agents.controls import clock
from agents.controls.case import Case, Finding
from agents.controls.state import AdmissionState, Window, Working
from contracts.controls import Denial
from contracts.orders import CANCEL_AGAIN_NS

SECOND_NS: Final = 1_000_000_000
MINUTE_S: Final = 60


def remember(case: Case, found: list[Finding], oldest_ns: int) -> None:
    """Counters and windows after a decision on an order or an amend; intents older than `oldest_ns` are forgotten.

    They go by what the market and risk say the time is: by an intent from the future much would be forgotten.
    """
    state, limits = case.state, case.limits
    now_ns = clock.event_ns(state)
    for reason, _ in found:
        state.denied[reason] = state.denied.get(reason, 0) + 1
    if any(reason is Denial.REPEATED_EXECUTION for reason, _ in found):
        numbers = next(numbers for reason, numbers in found if reason is Denial.REPEATED_EXECUTION)
        state.throttled.setdefault(case.strategy_instrument, numbers)
    remember_intent(state, case.intent.intent_id, oldest_ns)
    if found:
        return
    window_ns = now_ns - case.bucket_ns * (limits.duplicate_window_buckets or 0)
    state.contents = {text: ts for text, ts in state.contents.items() if ts > window_ns}
    state.contents[case.content] = now_ns
    count_message(state)
    repeats = state.repeats.get(case.strategy_instrument)
    if repeats is None or case.age_buckets(repeats.start_ns) >= (limits.repeat_window_buckets or 0):
        state.repeats[case.strategy_instrument] = Window(now_ns, 1)
    else:
        repeats.count += 1


def remember_intent(state: AdmissionState, intent_id: str, oldest_ns: int) -> None:
    """That it was decided on; those of before `oldest_ns` are forgotten."""
    state.recent = {name: ts for name, ts in state.recent.items() if ts >= oldest_ns}
    state.recent[intent_id] = clock.event_ns(state)


def messages(state: AdmissionState) -> int:
    """C4: messages of the last minute, which slides: by calendar minutes twice as many fit into two seconds.

    Those of seconds to come too: when event time steps back, they went out all the same.
    """
    second = clock.event_ns(state) // SECOND_NS
    return sum(count for then, count in state.rate.items() if abs(second - then) < MINUTE_S)


def count_message(state: AdmissionState) -> None:
    """C4: submits, amends and cancels are messages all alike."""
    second = clock.event_ns(state) // SECOND_NS
    state.rate[second] = state.rate.get(second, 0) + 1
    if len(state.rate) > 2 * MINUTE_S:
        state.rate = {then: count for then, count in state.rate.items() if abs(second - then) < MINUTE_S}


def taken_lots(state: AdmissionState, instrument: str, bucket_ns: int) -> int:
    """Lots that went out to an instrument in this bucket, or, when event time stepped back, in one a little ahead."""
    taken = state.taken.get(instrument)
    if taken is None:
        return 0
    ahead = taken.start_ns // bucket_ns - clock.event_ns(state) // bucket_ns
    return taken.count if 0 <= ahead <= clock.AHEAD_BUCKETS else 0


def take_lots(state: AdmissionState, instrument: str, lots: int, bucket_ns: int) -> None:
    """So many more went out."""
    if before := taken_lots(state, instrument, bucket_ns):
        state.taken[instrument].count = before + lots
    else:
        state.taken[instrument] = Window(clock.event_ns(state), lots)


def cancel_age_ns(state: AdmissionState, working: Working) -> int | None:
    """How long ago its cancel was asked for, if that was so lately that it is not asked for again."""
    age_ns = None if working.cancel_ns is None else clock.event_ns(state) - working.cancel_ns
    return age_ns if age_ns is not None and 0 <= age_ns < CANCEL_AGAIN_NS else None
