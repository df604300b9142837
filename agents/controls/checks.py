"""The pre-trade controls, C1 to C10 of the regulators' list: pure functions from a case to what is wrong with it.

Each finding has a reason code and its numbers. A limit that is not set is a finding of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from agents.controls.state import AdmissionState, Mark
from agents.parameters import Limits
from contracts.controls import Denial, TradingState, Verdict, covers
from contracts.instruments import INSTRUMENTS, InstrumentSpec
from contracts.orders import OrderIntent, SessionState

Finding = tuple[Denial, str]

DAY_NS: Final = 86_400_000_000_000
MINUTE_NS: Final = 60_000_000_000
SESSION_NS: Final = 23_400_000_000_000
"""6.5 hours of trading, over which an average day's volume is spread evenly."""

EPOCH_WEEKDAY: Final = 3
"""1970-01-01 was a Thursday; Monday is 0."""


@dataclass(slots=True)
class Case:
    """One intent in front of the desk; `lots` is the part of it that would go out now."""

    state: AdmissionState
    intent: OrderIntent
    limits: Limits
    universe: frozenset[str]
    lots: int

    @property
    def spec(self) -> InstrumentSpec | None:
        return INSTRUMENTS.get(self.intent.instrument)

    @property
    def mark(self) -> Mark | None:
        return self.state.marks.get(self.intent.instrument)

    @property
    def sign(self) -> int:
        return 1 if self.intent.side == "BUY" else -1

    @property
    def position(self) -> int:
        return self.state.positions.get(self.intent.instrument, 0)

    @property
    def reduces(self) -> bool:
        """Whether the order only makes the position smaller."""
        return self.position * self.sign < 0 and self.lots <= abs(self.position)

    @property
    def strategy_instrument(self) -> str:
        return f"{self.intent.strategy}|{self.intent.instrument}"

    def limit(self, name: str) -> tuple[Any, list[Finding]]:
        """A limit, or the finding that it is not set."""
        value = getattr(self.limits, name)
        return value, [(Denial.LIMIT_NOT_SET, name)] if value is None else []

    def age_buckets(self, then_ns: int) -> float:
        return (self.intent.ts_event_ns - then_ns) / self.intent.bucket_ns


Check = Callable[[Case], list[Finding]]


def findings(case: Case) -> list[Finding]:
    """Everything that is wrong with a case; of an instrument that we do not trade there is no more to say."""
    if case.intent.instrument not in case.universe or case.spec is None:
        return permitted(case)
    return [finding for check in CHECKS for finding in check(case)]


def session_ready(case: Case) -> list[Finding]:
    if case.state.session is SessionState.READY:
        return []
    return [(Denial.SESSION_NOT_READY, f"session={case.state.session}")]


def not_killed(case: Case) -> list[Finding]:
    """C11, C12: kills of any scope, and the switch of the risk group."""
    state, intent = case.state, case.intent
    found = [
        (Denial.HALTED_BY_SWITCH, f"kill={scope} by {why}")
        for scope, why in state.kills.items()
        if covers(scope, intent.strategy, intent.instrument, intent.intent_id)
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
    age = case.age_buckets(case.state.risk_ns)
    return _over(Denial.RISK_HEARTBEAT_STALE, "risk_age_buckets", age, "risk_age_buckets_max", limit)


def gates_passed(case: Case) -> list[Finding]:
    required, missing = case.limit("gates_required")
    if missing:
        return missing
    found: list[Finding] = []
    for stage in required:
        verdict = case.state.verdicts.get(stage)
        if verdict is None:
            found.append((Denial.GATE_NOT_PASSED, f"gate={stage}:HOLD(no verdict)"))
        elif verdict.expires_ts_event_ns < case.intent.ts_event_ns:
            found.append((Denial.GATE_NOT_PASSED, f"gate={stage}:HOLD(expired)"))
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
    before = state.contents.get(content(intent))
    if window is not None and before is not None and not missing and case.age_buckets(before) < window:
        numbers = f"age_buckets={case.age_buckets(before):.1f} duplicate_window_buckets={window}"
        found.append((Denial.DUPLICATE_CONTENT, f"{content(intent)} {numbers}"))
    limit, missing = case.limit("intent_age_buckets_max")
    found += missing
    newest = max((mark.ts_event_ns for mark in state.marks.values()), default=intent.ts_event_ns)
    age = -case.age_buckets(newest)
    return found + _over(Denial.INTENT_STALE, "intent_age_buckets", age, "intent_age_buckets_max", limit)


def instrument_free(case: Case) -> list[Finding]:
    name, state = case.intent.instrument, case.state
    found = [(Denial.INSTRUMENT_LOCKED, f"{source}: {reason}") for source, reason in state.locks.get(name, {}).items()]
    if name in state.flattening:
        found.append((Denial.INSTRUMENT_LOCKED, f"flattening: {state.flattening[name]}"))
    if name in state.working:
        found.append((Denial.INSTRUMENT_BUSY, f"working_intent={state.working[name].intent_id}"))
    if case.position != case.intent.position_lots:
        numbers = f"position_lots={case.position} position_lots_assumed={case.intent.position_lots}"
        found.append((Denial.POSITION_STALE, numbers))
    return found


def price_fresh(case: Case) -> list[Finding]:
    """C1: no fresh reference price, no order."""
    mark = case.mark
    if mark is None:
        return [(Denial.PRICE_STALE, "no price")]
    limit, found = case.limit("price_age_buckets_max")
    age = case.age_buckets(mark.ts_event_ns)
    found += _over(Denial.PRICE_STALE, "price_age_buckets", age, "price_age_buckets_max", limit)
    if mark.halted:
        found.append((Denial.INSTRUMENT_HALTED, "trading is halted"))
    return found


def price_collar(case: Case) -> list[Finding]:
    """C1: the price against the one the decision saw, and against the beginning of the period."""
    mark = case.mark
    if mark is None:
        return []
    price, arrival = (
        (mark.ask_ticks, case.intent.arrival_ask_ticks)
        if case.sign > 0
        else (mark.bid_ticks, case.intent.arrival_bid_ticks)
    )
    limit, found = case.limit("collar_frac")
    found += _over(Denial.PRICE_OUTSIDE_COLLAR, "price_away_frac", abs(price - arrival) / arrival, "collar_frac", limit)
    limit, missing = case.limit("price_move_frac_max")
    _, period_missing = case.limit("price_move_period_buckets")
    found += missing + period_missing
    reference = case.state.references.get(case.intent.instrument)
    if reference is not None:
        moved = abs(mark.bid_ticks + mark.ask_ticks - reference.mid_half_ticks) / reference.mid_half_ticks
        found += _over(Denial.PRICE_MOVED_TOO_FAR, "price_moved_frac", moved, "price_move_frac_max", limit)
    return found


def order_size(case: Case) -> list[Finding]:
    """C2, C3: volume and value of the whole intent."""
    limit, found = case.limit("order_lots_max")
    lots = case.intent.quantity_lots
    found += _over(Denial.QUANTITY_EXCEEDS_MAXIMUM, "order_lots", lots, "order_lots_max", limit)
    limit, missing = case.limit("order_notional_usd_max")
    found += missing
    notional = _notional(case, lots)
    return found + _over(
        Denial.NOTIONAL_EXCEEDS_MAXIMUM, "order_notional_usd", notional, "order_notional_usd_max", limit
    )


def participation(case: Case) -> list[Finding]:
    """An intent larger than its share goes out in children; without a known volume it does not go out."""
    _, found = case.limit("pov_frac_max")
    volumes, missing = case.limit("adv_lots")
    found += missing
    if volumes is not None and case.intent.instrument not in volumes:
        found.append((Denial.LIMIT_NOT_SET, f"adv_lots.{case.intent.instrument}"))
    return found


def share_lots(intent: OrderIntent, limits: Limits) -> int | None:
    """Largest child of an intent, at least one lot; None without a limit, which denies elsewhere."""
    if limits.pov_frac_max is None or intent.instrument not in (limits.adv_lots or {}):
        return None
    volume = (limits.adv_lots or {})[intent.instrument] * intent.bucket_ns / SESSION_NS
    return max(1, int(limits.pov_frac_max * volume))


def exposure(case: Case) -> list[Finding]:
    """C5, C7, C8: position, gross and net if this order and all that work fill in the worst way.

    An order that makes the position smaller passes, so that no limit traps a position.
    """
    gross, net, position = _exposure(case)
    found: list[Finding] = []
    for reason, name, value in (
        (Denial.POSITION_EXCEEDS_MAXIMUM, "position_notional_usd", position),
        (Denial.GROSS_EXCEEDS_MAXIMUM, "gross_notional_usd", gross),
        (Denial.NET_EXCEEDS_MAXIMUM, "net_notional_usd", net),
    ):
        limit, missing = case.limit(f"{name}_max")
        found += missing
        if not case.reduces:
            found += _over(reason, name, value, f"{name}_max", limit)
    return found


def capital(case: Case) -> list[Finding]:
    """C8: the broker's account and our own ledger, the worse of both."""
    state = case.state
    limit, found = case.limit("account_age_s_max")
    if state.account_ns is None:
        return [*found, (Denial.ACCOUNT_STALE, "no word on the account")]
    age_s = (case.intent.ts_ingest_ns - state.account_ns) / 1e9
    found += _over(Denial.ACCOUNT_STALE, "account_age_s", age_s, "account_age_s_max", limit)
    notional = _notional(case, case.lots)
    if not case.reduces:
        power = state.buying_power_usd
        found += _over(Denial.BUYING_POWER_EXCEEDED, "order_notional_usd", notional, "buying_power_usd", power)
    limit, missing = case.limit("daily_loss_usd_max")
    broker_loss = (state.account_nav_start_usd or 0.0) - (state.nav_usd or 0.0)
    loss = max(broker_loss, -(state.pnl_usd or 0.0))
    found += missing
    if not case.reduces:
        found += _over(Denial.DAILY_LOSS_EXCEEDS_MAXIMUM, "daily_loss_usd", loss, "daily_loss_usd_max", limit)
    return found


def rates(case: Case) -> list[Finding]:
    """C4, C6: orders a minute of the whole desk; repetition by one strategy in one instrument, latched."""
    state, intent = case.state, case.intent
    limit, found = case.limit("orders_per_minute_max")
    minute = intent.ts_event_ns // MINUTE_NS * MINUTE_NS
    count = state.rate.count + 1 if state.rate.start_ns == minute else 1
    found += _over(Denial.ORDER_RATE_EXCEEDS_MAXIMUM, "orders_per_minute", count, "orders_per_minute_max", limit)
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
        found += _over(Denial.REPEATED_EXECUTION, "repeat_orders", repeated, "repeat_orders_max", limit)
    return found


CHECKS: Final[tuple[Check, ...]] = (
    session_ready,
    not_killed,
    risk_alive,
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


def content(intent: OrderIntent) -> str:
    """What makes two orders the same to a market."""
    return f"{intent.strategy}|{intent.instrument}|{intent.side}|{intent.quantity_lots}"


def _over(reason: Denial, name: str, value: float, limit_name: str, limit: float | None) -> list[Finding]:
    if limit is None or value <= limit:
        return []
    return [(reason, f"{name}={value:.10g} {limit_name}={limit:.10g}")]


def _notional(case: Case, lots: int) -> float:
    """Value in currency of so many lots at the price they would pay; infinite without a price."""
    if case.spec is None or case.mark is None:
        return float("inf")
    return float(case.spec.notional(case.mark.ask_ticks if case.sign > 0 else case.mark.bid_ticks, lots))


def _exposure(case: Case) -> tuple[float, float, float]:
    """(gross, largest net, position of this instrument) in currency. A position without a price is infinite."""
    state, gross, long, short, own = case.state, 0.0, 0.0, 0.0, 0.0
    for name, low, high in _ranges(case):
        mark, spec = state.marks.get(name), INSTRUMENTS.get(name)
        if mark is None or spec is None:
            return float("inf"), float("inf"), float("inf")
        low_usd, high_usd = float(spec.notional(mark.ask_ticks, low)), float(spec.notional(mark.ask_ticks, high))
        gross += max(abs(low_usd), abs(high_usd))
        long, short = long + high_usd, short + low_usd
        if name == case.intent.instrument:
            own = max(abs(low_usd), abs(high_usd))
    return gross, max(abs(long), abs(short)), own


def _ranges(case: Case) -> Iterator[tuple[str, int, int]]:
    """(instrument, lowest, highest) position in lots over all ways in which the open orders and this one may fill."""
    state, own = case.state, case.intent.instrument
    for name in sorted(state.positions.keys() | state.working.keys() | {own}):
        low = high = state.positions.get(name, 0)
        orders = [(working.side, working.lots) for key, working in state.working.items() if key == name]
        if name == own:
            orders.append((case.intent.side, case.lots))
        for side, lots in orders:
            low, high = (low, high + lots) if side == "BUY" else (low - lots, high)
        if low or high:
            yield name, low, high
