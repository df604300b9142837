"""C20: another value of a limit for a time, who may set it, and the limits in force."""

from __future__ import annotations

import unicodedata
from typing import Final

from agents.controls import clock
from agents.controls.checks import DAY_NS
from agents.controls.state import AdmissionState, Override
from agents.parameters import Limits
from agents.spec import Out
from contracts.controls import Alert, LimitOverride
from contracts.topics import ALERTS

TIGHTER_WHEN_LARGER: Final = frozenset({"duplicate_window_buckets", "repeat_window_buckets"})
LOOSER_EITHER_WAY: Final = frozenset({"price_move_period_buckets", "pov_window_buckets"})
"""What is held against the longer past or against the shorter one: which of them lets more pass, the market says."""

FRACTIONS: Final = ("_frac", "_frac_max")


def in_force(state: AdmissionState, limits: Limits) -> Limits:
    """The limits with the overrides; those that have expired are gone (`expire`)."""
    values = {name: o.value for name, o in state.overrides.items()}
    return limits.model_copy(update=values) if values else limits


def expire(state: AdmissionState) -> None:
    """What has expired is gone: event time may step back, and an override does not come back with it."""
    now_ns = clock.event_ns(state)
    state.overrides = {name: o for name, o in state.overrides.items() if o.expires_ts_event_ns > now_ns}


def override(state: AdmissionState, order: LimitOverride, limits: Limits) -> list[Out]:
    """Tightening needs one person; raising needs two, over what is in force and over what would be in force later."""
    current = getattr(limits, order.limit, None)
    by = order.operator
    if isinstance(current, bool) or not isinstance(current, int | float):
        return [_refused(order, "no such number is set")]
    if why := _no_value(order) or _too_long(order, clock.event_ns(state)):
        return [_refused(order, why)]
    value, ends_ns = type(current)(order.value), order.expires_ts_event_ns
    before = state.overrides.get(order.limit) or Override(current, ends_ns, "")
    if (
        _looser(order.limit, value, before.value)
        or (ends_ns < before.expires_ts_event_ns and _looser(order.limit, current, before.value))
        or (ends_ns > before.expires_ts_event_ns and _looser(order.limit, value, current))
    ):
        if _person(order.approver) in ("", _person(order.operator)):
            return [_refused(order, f"raising it from {before.value:g}, now or later, needs a second person")]
        by = f"{order.operator} and {order.approver}"
    state.overrides[order.limit] = Override(value, ends_ns, by)
    expire(state)
    return []


def _no_value(order: LimitOverride) -> str:
    if order.value < 0:
        return "a limit is not below 0"
    return "a fraction is from 0 to less than 1" if order.limit.endswith(FRACTIONS) and order.value >= 1 else ""


def _too_long(order: LimitOverride, now_ns: int) -> str:
    """Before the first word on event time nothing is known to end within a day."""
    ends_h = (order.expires_ts_event_ns - now_ns) / DAY_NS * 24
    return f"it ends {ends_h:.6g} h from now, in event time, and may live 24 h at most" if ends_h > 24 else ""


def _looser(limit: str, value: float, than: float) -> bool:
    if limit in LOOSER_EITHER_WAY:
        return value != than
    return value < than if limit in TIGHTER_WHEN_LARGER else value > than


def _person(name: str) -> str:
    """A name as it is compared, by its letters and digits: one person types it in more than one way."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(letter for letter in plain if letter.isalnum())


def _refused(order: LimitOverride, why: str) -> Out:
    text = f"{order.limit}={order.value:g} asked for by {order.operator} is not in force: {why}"
    alert = Alert(
        severity="WARNING",
        code="OVERRIDE_REFUSED",
        subject=f"limit {order.limit}",
        text=text,
        owner="risk desk",
        ts_ns=order.ts_ns,
    )
    return Out(ALERTS, alert.code, alert)
