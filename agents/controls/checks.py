"""The pre-trade controls, C1 to C10 of the regulators' list: pure functions from a case to what is wrong with it.

Each finding has a reason code and its numbers. A limit that is not set is a finding of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agents.controls import clock, counters
from agents.controls.case import Case, Finding, far_ticks, over
from agents.controls.exposure import capital, exposure, order_size, participation
from agents.controls.fleet import same_fleet
from agents.controls.state import Parent, Working
from contracts.controls import Denial, TradingState, Verdict, covers
from contracts.orders import OrderState, SessionState

ORDER_ID_MAX: Final = 2**31 - 1
DAY_NS: Final = 86_400_000_000_000
MINUTE_NS: Final = 60_000_000_000
EPOCH_WEEKDAY: Final = 3
"""1970-01-01 was a Thursday; Monday is 0."""

AMENDABLE: Final = frozenset({OrderState.ACKNOWLEDGED, OrderState.PARTIALLY_FILLED})

Check = Callable[[Case], list[Finding]]


def findings(case: Case) -> list[Finding]:
    """Everything that is wrong with a case; of an instrument that we do not trade there is no more to say."""
    if case.intent.instrument not in case.universe or case.spec is None:
        return permitted(case)
    return [finding for check in CHECKS for finding in check(case)]


def session_ready(case: Case) -> list[Finding]:
    state = case.state
    found = [] if state.session is SessionState.READY else [(Denial.SESSION_NOT_READY, f"session={state.session}")]
    return found + order_id_left(case)


def order_id_left(case: Case) -> list[Finding]:
    """An order has an id that none had before; an amend has that of its order."""
    if case.amend is not None or case.state.next_order_id <= ORDER_ID_MAX:
        return []
    numbers = f"next_order_id={case.state.next_order_id} order_id_max={ORDER_ID_MAX}"
    return [(Denial.SESSION_NOT_READY, f"{numbers}: no order id is left")]


def not_killed(case: Case) -> list[Finding]:
    """C11, C12: kills of any scope, and the switch of the risk group."""
    state, intent = case.state, case.intent
    found = [
        (Denial.HALTED_BY_SWITCH, f"kill={scope} by {why}")
        for scope, why in state.kills.items()
        if any(covers(scope, intent.strategy, intent.instrument, intent_id) for intent_id in case.order_intent_ids)
    ]
    if state.switch is None:
        found.append((Denial.SWITCH_UNKNOWN, "no word from the kill switch"))
    elif state.switch is TradingState.HALTED and not found:
        found.append((Denial.HALTED_BY_SWITCH, "switch=HALTED"))
    elif state.switch is TradingState.REDUCING and not case.reduces:
        found.append((Denial.REDUCE_ONLY, f"switch=REDUCING position_lots={case.position}"))
    return found


def risk_alive(case: Case) -> list[Finding]:
    limit, missing = case.limit("risk_age_buckets_max")
    if missing:
        return missing
    if case.state.risk_ns is None:
        return [(Denial.RISK_HEARTBEAT_STALE, "no word from risk")]
    others_ns = max(case.intent.ts_event_ns, clock.event_ns(case.state, but="risk"))
    age = (others_ns - case.state.risk_ns) / case.bucket_ns
    if age < -clock.AHEAD_BUCKETS:
        return [(Denial.RISK_HEARTBEAT_STALE, f"risk_age_buckets={age:.10g}: it comes from the future")]
    age = case.age_buckets(case.state.risk_ns)
    return over(Denial.RISK_HEARTBEAT_STALE, "risk_age_buckets", age, "risk_age_buckets_max", limit)


def gates_passed(case: Case) -> list[Finding]:
    required, missing = case.limit("gates_required")
    if missing:
        return missing
    found: list[Finding] = []
    for stage in required:
        verdict = case.state.verdicts.get(stage)
        if verdict is None:
            found.append((Denial.GATE_NOT_PASSED, f"gate={stage}:HOLD(no verdict)"))
        elif verdict.expires_ts_event_ns < case.now_ns:
            found.append((Denial.GATE_NOT_PASSED, f"gate={stage}:HOLD(expired)"))
        elif case.age_buckets(verdict.ts_event_ns) < -clock.AHEAD_BUCKETS:
            found.append((Denial.GATE_NOT_PASSED, f"gate={stage}:HOLD(from the future)"))
        elif verdict.verdict is not Verdict.PASS:
            found.append((Denial.GATE_NOT_PASSED, f"gate={stage}:{verdict.verdict}({'; '.join(verdict.reasons)})"))
    return found


def permitted(case: Case) -> list[Finding]:
    """C10: instruments, strategies, the restricted list, short sales."""
    name, strategy = case.intent.instrument, case.intent.strategy
    if name not in case.universe or case.spec is None:
        return [(Denial.INSTRUMENT_NOT_ALLOWED, f"instrument={name}")]
    restricted, found = case.limit("restricted")
    if restricted and name in restricted:
        found.append((Denial.INSTRUMENT_RESTRICTED, f"instrument={name} restricted={','.join(restricted)}"))
    strategies, missing = case.limit("strategies")
    found += missing
    if strategies is not None and strategy not in strategies:
        found.append((Denial.STRATEGY_NOT_ALLOWED, f"strategy={strategy} strategies={','.join(strategies)}"))
    short, missing = case.limit("short_allowed")
    found += missing
    after = case.position + case.sign * case.lots
    if short is False and after < 0 and not case.reduces:
        found.append((Denial.SHORT_NOT_ALLOWED, f"position_lots_after={after} short_allowed=false"))
    return found


def trading_hours(case: Case) -> list[Finding]:
    """C10: the calendar, on event time in UTC."""
    weekdays, found = case.limit("trading_weekdays")
    minutes, missing = case.limit("trading_minutes_utc")
    found += missing
    if found:
        return found
    ts_ns = case.intent.ts_event_ns
    weekday = (ts_ns // DAY_NS + EPOCH_WEEKDAY) % 7
    minute = ts_ns % DAY_NS // MINUTE_NS
    if weekday not in weekdays:
        return [(Denial.OUTSIDE_TRADING_HOURS, f"weekday={weekday} trading_weekdays={weekdays}")]
    if not minutes[0] <= minute < minutes[1]:
        return [(Denial.OUTSIDE_TRADING_HOURS, f"minute_utc={minute} trading_minutes_utc={minutes[0]}..{minutes[1]}")]
    return []


def not_duplicate(case: Case) -> list[Finding]:
    """C9: the same intent, or another with the same content, within a window; and intents that are too old."""
    state, intent = case.state, case.intent
    found: list[Finding] = []
    if intent.intent_id in state.recent:
        found.append((Denial.DUPLICATE_INTENT, "the same intent was decided before"))
    window, missing = case.limit("duplicate_window_buckets")
    found += missing
    # A child is one of several of a kind by intention, and its parent went through here.
    before = state.contents.get(case.content) if not case.parent_id else None
    if window is not None and before is not None and not missing and case.age_buckets(before) < window:
        numbers = f"age_buckets={case.age_buckets(before):.1f} duplicate_window_buckets={window}"
        found.append((Denial.DUPLICATE_CONTENT, f"{case.content} {numbers}"))
    limit, missing = case.limit("intent_age_buckets_max")
    found += missing
    if intent.bucket_ns != case.bucket_ns:
        found.append((Denial.INTENT_STALE, f"bucket_ns={intent.bucket_ns} desk_bucket_ns={case.bucket_ns}"))
    age = case.age_buckets(intent.ts_event_ns)
    return found + over(Denial.INTENT_STALE, "intent_age_buckets", age, "intent_age_buckets_max", limit)


def instrument_free(case: Case) -> list[Finding]:
    name, state = case.intent.instrument, case.state
    found = [(Denial.INSTRUMENT_LOCKED, f"{source}: {reason}") for source, reason in state.locks.get(name, {}).items()]
    if why := state.flattened(name):
        found.append((Denial.INSTRUMENT_LOCKED, f"flattening: {why}"))
    if case.amend is not None:
        return found + order_works(case)
    busy = [f"working_intent={state.working[name].intent_id}"] if name in state.working else []
    parent = state.parents.get(name)
    if parent is not None and parent.left_lots > 0 and parent.intent.strategy != case.intent.strategy:
        numbers = f"parent_intent={parent.intent.intent_id} strategy={parent.intent.strategy}"
        busy.append(f"{numbers} left_lots={parent.left_lots}")
    if busy:
        found.append((Denial.INSTRUMENT_BUSY, " ".join(busy)))
    if case.position != case.intent.position_lots:
        numbers = f"position_lots={case.position} position_lots_assumed={case.intent.position_lots}"
        found.append((Denial.POSITION_STALE, numbers))
    return found


def order_works(case: Case) -> list[Finding]:
    """An amend is of a whole order of its strategy that works, is not being amended, and has lots left."""
    amend, working = case.amend, case.working
    parent = case.state.parents.get(case.intent.instrument)
    if _in_children(case.order_intent_id, working, parent):
        why = f"intent {case.order_intent_id} goes out in children; cancel it and ask anew"
    elif amend is None or working is None or working.intent_id != amend.amends:
        why = f"no order of intent {case.order_intent_id} works"
    elif working.strategy != amend.strategy:
        why = f"the order is of strategy {working.strategy or 'unknown'}, the amend of {amend.strategy}"
    elif working.amend_id:
        why = f"amend {working.amend_id} of it is not settled"
    elif working.state not in AMENDABLE:
        why = f"state={working.state}"
    elif case.lots <= 0:
        why = f"order_lots={amend.quantity_lots} filled_lots={working.filled_lots}"
    else:
        return []
    return [(Denial.ORDER_NOT_WORKING, why)]


def _in_children(intent_id: str, working: Working | None, parent: Parent | None) -> bool:
    """Whether new terms of it would be those of one child, and the others would go out with the old ones."""
    if working is not None and working.parent_id and intent_id in (working.intent_id, working.parent_id):
        return True
    return parent is not None and parent.names(intent_id)


def price_fresh(case: Case) -> list[Finding]:
    """C1: no fresh reference price, no order."""
    mark = case.mark
    if mark is None:
        return [(Denial.PRICE_STALE, "no price")]
    limit, found = case.limit("price_age_buckets_max")
    age = case.age_buckets(mark.ts_event_ns)
    found += over(Denial.PRICE_STALE, "price_age_buckets", age, "price_age_buckets_max", limit)
    if mark.halted:
        found.append((Denial.INSTRUMENT_HALTED, "trading is halted"))
    return found


def price_collar(case: Case) -> list[Finding]:
    """C1: the price against the one the decision saw and against the beginning of the period; a limit against it."""
    mark = case.mark
    if mark is None:
        return []
    intent, far = case.intent, far_ticks(mark, case.intent.side)
    arrival = intent.arrival_ask_ticks if case.sign > 0 else intent.arrival_bid_ticks
    limit, found = case.limit("collar_frac")
    found += over(Denial.PRICE_OUTSIDE_COLLAR, "price_away_frac", abs(far - arrival) / arrival, "collar_frac", limit)
    if intent.limit_price is not None and case.spec is not None:
        away = abs(case.spec.ticks(intent.limit_price) - far) / far
        found += over(Denial.PRICE_OUTSIDE_COLLAR, "limit_price_away_frac", away, "collar_frac", limit)
    limit, missing = case.limit("price_move_frac_max")
    _, period_missing = case.limit("price_move_period_buckets")
    found += missing + period_missing
    reference = case.state.references.get(case.intent.instrument)
    if reference is not None:
        moved = abs(mark.bid_ticks + mark.ask_ticks - reference.mid_half_ticks) / reference.mid_half_ticks
        found += over(Denial.PRICE_MOVED_TOO_FAR, "price_moved_frac", moved, "price_move_frac_max", limit)
    return found


def rates(case: Case) -> list[Finding]:
    """C4, C6: messages a minute of the whole desk; repetition by one strategy in one instrument, latched."""
    state = case.state
    limit, found = case.limit("orders_per_minute_max")
    count = counters.messages(state) + 1
    found += over(Denial.ORDER_RATE_EXCEEDS_MAXIMUM, "orders_per_minute", count, "orders_per_minute_max", limit)
    limit, missing = case.limit("repeat_orders_max")
    window, window_missing = case.limit("repeat_window_buckets")
    found += missing + window_missing
    throttled = state.throttled.get(case.strategy_instrument)
    if throttled is not None:
        found.append((Denial.REPEATED_EXECUTION, f"{throttled}; a named operator resets it"))
    elif limit is not None and window is not None:
        repeats = state.repeats.get(case.strategy_instrument)
        inside = repeats is not None and case.age_buckets(repeats.start_ns) < window
        repeated = repeats.count + 1 if repeats is not None and inside else 1
        found += over(Denial.REPEATED_EXECUTION, "repeat_orders", repeated, "repeat_orders_max", limit)
    return found


CHECKS: Final[tuple[Check, ...]] = (
    session_ready,
    not_killed,
    risk_alive,
    same_fleet,
    gates_passed,
    permitted,
    trading_hours,
    not_duplicate,
    instrument_free,
    price_fresh,
    price_collar,
    order_size,
    participation,
    exposure,
    capital,
    rates,
)
