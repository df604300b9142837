"""Size, value and exposure: C2, C3, C5, C7, C8 of the regulators' list, and participation in the volume."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agents.controls import clock, counters
from agents.controls.case import Case, Finding, over
from agents.controls.state import AdmissionState, opened
from agents.parameters import Limits
from contracts.controls import Denial
from contracts.instruments import INSTRUMENTS
from contracts.orders import OrderIntent

SESSION_NS: Final = 23_400_000_000_000
"""6.5 hours of trading, over which an average day's volume is spread evenly."""


def order_size(case: Case) -> list[Finding]:
    """C2, C3: volume and value of the whole intent."""
    limit, found = case.limit("order_lots_max")
    lots = case.intent.quantity_lots
    found += over(Denial.QUANTITY_EXCEEDS_MAXIMUM, "order_lots", lots, "order_lots_max", limit)
    limit, missing = case.limit("order_notional_usd_max")
    found += missing
    value = case.notional(lots)
    return found + over(Denial.NOTIONAL_EXCEEDS_MAXIMUM, "order_notional_usd", value, "order_notional_usd_max", limit)


def participation(case: Case) -> list[Finding]:
    """An intent larger than what is left of its share of the bucket goes out in children; without a known volume, or
    with nothing left, it does not go out.

    An amend has no children: it may not make an order larger than the share, nor add more than what is left of it.
    """
    _, found = case.limit("pov_frac_max")
    _, missing = case.limit("pov_window_buckets")
    volumes, without = case.limit("adv_lots")
    found += missing + without
    if volumes is not None and case.intent.instrument not in volumes:
        found.append((Denial.LIMIT_NOT_SET, f"adv_lots.{case.intent.instrument}"))
    share = share_lots(case.state, case.intent, case.limits)
    if share is None:
        return found
    left = left_lots(case.state, case.intent, case.limits)
    if case.amend is None and left == 0:
        taken = counters.taken_lots(case.state, case.intent.instrument, case.bucket_ns)
        numbers = f"bucket_lots={taken} share_lots={share}: decided anew in the next bucket"
        return [*found, (Denial.PARTICIPATION_EXCEEDS_MAXIMUM, numbers)]
    added = case.added_lots
    if added <= 0:
        return found
    reason = Denial.PARTICIPATION_EXCEEDS_MAXIMUM
    too_large = over(reason, "order_lots", case.lots, "share_lots", share)
    return found + (too_large or over(reason, "added_lots", added, "share_left_lots", left))


def left_lots(state: AdmissionState, intent: OrderIntent, limits: Limits) -> int | None:
    """What is left of the share in this bucket, whoever took the rest; None when the limits say nothing."""
    share = share_lots(state, intent, limits)
    return None if share is None else max(share - counters.taken_lots(state, intent.instrument, intent.bucket_ns), 0)


def share_lots(state: AdmissionState, intent: OrderIntent, limits: Limits) -> int | None:
    """Most lots of one bucket: a share of what an average day brings in one bucket, or of what traded lately if it is
    less. One lot where that is nothing, as an order has no smaller size; None when the limits say nothing.
    """
    if limits.pov_frac_max is None or intent.instrument not in (limits.adv_lots or {}):
        return None
    mark = state.marks.get(intent.instrument)
    average_lots = (limits.adv_lots or {})[intent.instrument] * intent.bucket_ns / SESSION_NS
    return max(1, int(limits.pov_frac_max * min(average_lots, mark.volume_lots if mark is not None else 0.0)))


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
            found += over(reason, name, value, f"{name}_max", limit)
    return found


def capital(case: Case) -> list[Finding]:
    """C8: the broker's account and our own ledger, the worse of both; and that the two agree on the cash."""
    state = case.state
    limit, found = case.limit("account_age_s_max")
    if state.account_ns is None:
        return [*found, (Denial.ACCOUNT_STALE, "no word on the account")]
    age_s = (max(case.intent.ts_ingest_ns, clock.wall_ns(state, but="account")) - state.account_ns) / 1e9
    found += over(Denial.ACCOUNT_STALE, "account_age_s", age_s, "account_age_s_max", limit)
    if age_s < -clock.AHEAD_NS / 1e9:
        found.append((Denial.ACCOUNT_STALE, f"account_age_s={age_s:.10g}: it comes from the future"))
    limit, missing = case.limit("daily_loss_usd_max")
    found += missing
    if case.reduces:
        return found
    if state.cash_break:
        found.append((Denial.ACCOUNT_LOCKED, state.cash_break))
    if case.spec is not None and state.currency != case.spec.currency:
        numbers = f"account_currency={state.currency} instrument_currency={case.spec.currency}"
        found.append((Denial.ACCOUNT_CURRENCY, numbers))
    found += _buying_power(case)
    broker_loss = (state.account_nav_start_usd or 0.0) - (state.nav_usd or 0.0)
    loss = max(broker_loss, state.pnl_start_usd - (state.pnl_usd or 0.0))
    return found + over(Denial.DAILY_LOSS_EXCEEDS_MAXIMUM, "daily_loss_usd", loss, "daily_loss_usd_max", limit)


def _buying_power(case: Case) -> list[Finding]:
    """What the broker named, less what works and what filled since then.

    The whole of what is open counts, of an amend too, though the broker has set some of it aside already.
    """
    state, own = case.state, case.intent.instrument
    taken = sum(spent.usd for spent in state.spent)
    for name, working in state.working.items():
        if name != own:
            before = state.positions.get(name, 0)
            lots = opened(before, before + (working.lots if working.side == "BUY" else -working.lots))
            mark, spec = state.marks.get(name), INSTRUMENTS.get(name)
            if lots:
                taken += float(spec.notional(mark.ask_ticks, lots)) if mark and spec else float("inf")
    power = state.buying_power_usd
    value = case.notional(case.lots)
    found = over(Denial.BUYING_POWER_EXCEEDED, "order_notional_usd", value, "buying_power_usd", power - taken)
    if not taken:
        return found
    return [(reason, f"{numbers} ({power:.10g} less {taken:.10g} that works or filled)") for reason, numbers in found]


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
    """(instrument, lowest, highest) position in lots over all ways in which the open orders and this one may fill.

    While an order is amended either terms may be in force, so the larger of both counts.
    """
    state, own = case.state, case.intent.instrument
    for name in sorted(state.positions.keys() | state.working.keys() | {own}):
        low = high = state.positions.get(name, 0)
        working = state.working.get(name)
        orders = [(working.side, working.lots)] if working is not None else []
        if name == own and case.amend is not None and working is not None:
            orders = [(working.side, max(working.lots, case.lots))]
        elif name == own:
            orders.append((case.intent.side, case.lots))
        for side, lots in orders:
            low, high = (low, high + lots) if side == "BUY" else (low - lots, high)
        if low or high:
            yield name, low, high
