"""What each denial means: the control it serves, in words, and what a person does about it."""

from __future__ import annotations

from typing import Final, NamedTuple

from contracts.controls import Denial

D = Denial


class Meaning(NamedTuple):
    """`control` is the number in the regulators' list, `limits` the settings whose numbers the message shows."""

    control: str
    text: str
    limits: str
    remedy: str


DENIALS: Final[dict[Denial, Meaning]] = {
    D.SESSION_NOT_READY: Meaning(
        "–", "the session to the gateway is not READY, or has no order id left", "", "see its reasons; it reconnects"
    ),
    D.SWITCH_UNKNOWN: Meaning("C12", "the kill switch has not spoken", "", "start the risk worker"),
    D.HALTED_BY_SWITCH: Meaning("C11, C12", "a kill covers the order", "", "`python -m app reset`, by name"),
    D.REDUCE_ONLY: Meaning("C12", "only orders that make a position smaller", "", "reset, by name"),
    D.RISK_HEARTBEAT_STALE: Meaning(
        "C8", "risk is silent, or speaks from the future", "risk_age_buckets_max", "start the risk worker"
    ),
    D.GATE_NOT_PASSED: Meaning("C17", "a stage gate has no PASS that still holds", "gates_required", "see the gate"),
    D.PRICE_STALE: Meaning("C1", "no price, or an old one", "price_age_buckets_max", "see the market feed"),
    D.INSTRUMENT_HALTED: Meaning("C1", "trading in it is halted", "", "wait for the exchange"),
    D.INSTRUMENT_NOT_ALLOWED: Meaning("C10", "not in the universe of the desk", "market.universe", "add it, reviewed"),
    D.INSTRUMENT_RESTRICTED: Meaning("C10", "on the restricted list", "restricted", "ask compliance"),
    D.STRATEGY_NOT_ALLOWED: Meaning("C10", "the strategy has no permission", "strategies", "add it, reviewed"),
    D.SHORT_NOT_ALLOWED: Meaning("C10", "it would go short", "short_allowed", "–"),
    D.OUTSIDE_TRADING_HOURS: Meaning(
        "C10", "outside the calendar, on event time", "trading_weekdays, trading_minutes_utc", "–"
    ),
    D.INSTRUMENT_BUSY: Meaning(
        "C5",
        "an order of it works already, or another strategy's goes out in children",
        "",
        "it is decided anew in the next bucket",
    ),
    D.INSTRUMENT_LOCKED: Meaning(
        "C14",
        "an order is UNKNOWN or filled too much, positions differ, or it is being flattened",
        "",
        "`python -m app resolve`, by name; `reset` ends a flatten",
    ),
    D.POSITION_STALE: Meaning("C7", "the intent assumed another position", "", "it is decided anew in the next bucket"),
    D.LIMIT_NOT_SET: Meaning("C3", "a limit is not set, which denies", "the one named", "set it"),
    D.QUANTITY_EXCEEDS_MAXIMUM: Meaning("C3", "too many lots in one order", "order_lots_max", "–"),
    D.NOTIONAL_EXCEEDS_MAXIMUM: Meaning("C2", "too much value in one order", "order_notional_usd_max", "–"),
    D.POSITION_EXCEEDS_MAXIMUM: Meaning(
        "C5, C7", "the position if all that works fills", "position_notional_usd_max", "–"
    ),
    D.GROSS_EXCEEDS_MAXIMUM: Meaning("C8", "gross exposure if all that works fills", "gross_notional_usd_max", "–"),
    D.NET_EXCEEDS_MAXIMUM: Meaning("C8", "net exposure in the worst case", "net_notional_usd_max", "–"),
    D.BUYING_POWER_EXCEEDED: Meaning(
        "C5, C8", "more than the broker lets us buy, less what works or just filled", "the broker's buying power", "–"
    ),
    D.DAILY_LOSS_EXCEEDS_MAXIMUM: Meaning(
        "C8", "today's loss, ours or the broker's, the worse", "daily_loss_usd_max", "see risk"
    ),
    D.ACCOUNT_STALE: Meaning(
        "C8", "no word on the account, an old one, or one from the future", "account_age_s_max", "see the session"
    ),
    D.ACCOUNT_LOCKED: Meaning(
        "C14", "the broker's cash is not ours; reducing orders pass", "", "`python -m app resolve --cash`, by name"
    ),
    D.ACCOUNT_CURRENCY: Meaning(
        "C8", "the account is in another currency than the instrument; reducing orders pass", "", "see the account"
    ),
    D.PRICE_OUTSIDE_COLLAR: Meaning(
        "C1", "the price left the one the decision saw, or a limit is far from the quote", "collar_frac", "–"
    ),
    D.PRICE_MOVED_TOO_FAR: Meaning(
        "C1", "the price moved too far in the period", "price_move_frac_max, price_move_period_buckets", "look at it"
    ),
    D.DUPLICATE_INTENT: Meaning(
        "C9", "this intent was decided before, or the cancel of its order was just asked for", "", "–"
    ),
    D.DUPLICATE_CONTENT: Meaning("C9", "the same order again within the window", "duplicate_window_buckets", "–"),
    D.INTENT_STALE: Meaning(
        "C9",
        "the intent is older than the market, or counts in other buckets than the desk",
        "intent_age_buckets_max, market.bucket_ms",
        "see the lag",
    ),
    D.ORDER_RATE_EXCEEDS_MAXIMUM: Meaning("C4", "too many messages in a minute", "orders_per_minute_max", "–"),
    D.REPEATED_EXECUTION: Meaning(
        "C6",
        "one strategy, one instrument, too often; latched",
        "repeat_orders_max, repeat_window_buckets",
        "reset of the strategy or of the account",
    ),
    D.ORDER_NOT_WORKING: Meaning(
        "C5", "the order to amend or cancel is over or goes out in children, or an amend of it is not settled", "", "–"
    ),
    D.PARTICIPATION_EXCEEDS_MAXIMUM: Meaning(
        "C3",
        "nothing is left of the share of this bucket, or an amend to more than it",
        "pov_frac_max, pov_window_buckets, adv_lots",
        "–",
    ),
    D.MIXED_FLEET: Meaning(
        "–", "a worker runs another build or configuration, or none has said what it runs", "", "end the upgrade"
    ),
}


def table() -> str:
    """The table as Markdown."""
    lines = ["| denial | control | meaning | limits | what to do |", "| --- | --- | --- | --- | --- |"]
    for reason, meaning in sorted(DENIALS.items()):
        limits = f"`{meaning.limits}`" if "_" in meaning.limits else meaning.limits or "–"
        lines.append(f"| `{reason}` | {meaning.control} | {meaning.text} | {limits} | {meaning.remedy} |")
    return "\n".join(lines)
