"""The tables of the latency benchmark and the words around them."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.latency.feed import BUCKET_NS, INSTRUMENTS, SEED
from benchmarks.latency.phases import SETTLE_S, WARM_UP_S, Phase, quantile
from contracts.topics import BROADCAST

RATES = [100, 1_000, 5_000]
WORKERS = {
    "ingest": ["market_events"],
    "signals": ["ofi_events", "signal_events"],
    "portfolio": ["covariance_events", "cross_sections", "order_intents"],
    "execution": ["order_commands"],
}
"""The topics a decision passes after `market_raw`, by the process that writes them; the bare hops are laid out so."""

Samples = dict[int, tuple[Phase, list[float]]]


class LatencyError(RuntimeError):
    """The measurement could not be made; the message says why."""


def table(bare: Samples, whole: Samples) -> str:
    """Per rate: the desk, the bare hops, and what the one is of the other."""
    lines = ["| events/s | | p50 ms | p95 ms | p99 ms | samples |", "|--:|---|--:|--:|--:|--:|"]
    for rate in RATES:
        sides = {}
        for title, samples in (("the desk", whole), ("bare hops", bare)):
            if rate not in samples:
                continue
            phase, values = samples[rate]
            if not values:
                raise LatencyError(f"nothing came through {title} at {rate} events/s; it has to be found out why")
            sides[title] = [quantile(values, share) for share in (0.5, 0.95, 0.99)]
            figures = " | ".join(f"{value:.1f}" for value in sides[title])
            lines.append(f"| {phase.achieved:,.0f} | {title} | {figures} | {len(values)} |")
        if len(sides) == 2:
            ratios = " | ".join(
                f"{own / base:.2f}" for own, base in zip(sides["the desk"], sides["bare hops"], strict=True)
            )
            lines.append(f"| | ratio | {ratios} | |")
    return "\n".join(lines)


def breakdown(written: Mapping[str, Mapping[int, list[float]]], samples: Samples) -> str:
    """Median milliseconds from the cause until a message was written, by topic, and until the door."""
    lines = [
        f"| written to | {' | '.join(f'p50 ms at {rate:,}/s' for rate in RATES)} |",
        "|---" * (1 + len(RATES)) + "|",
    ]
    door = {rate: values for rate, (_phase, values) in samples.items()}
    for topic, by_rate in {**written, "the gateway's door": door}.items():
        cells = [f"{quantile(by_rate[rate], 0.5):.0f}" if by_rate.get(rate) else "-" for rate in RATES]
        lines.append(f"| {topic} | {' | '.join(cells)} |")
    return "\n".join(lines)


def words(seconds: float) -> str:
    hops = 1 + sum(map(len, WORKERS.values()))
    path = ", ".join(topic for topics in WORKERS.values() for topic in topics)
    setting = (
        f"{hops} Kafka topics: market_raw, {path}. {len(INSTRUMENTS)} instruments, buckets of {BUCKET_NS // 10**6} ms, "
        f"{seconds:.0f} s of each rate after {WARM_UP_S:.0f} s of warm-up, seed {SEED}; the first {SETTLE_S:.0f} s of "
        "each rate do not count."
    )
    return f"""\
{setting}

- **The desk**: one worker per group, all agents, tables and changelogs, the simulated gateway. The time runs from the
  stamp on the event that closed the bucket, put on just before it is sent, to the moment the bytes with the order's
  reference reach a proxy in front of the gateway. In between lie the changelog writes of claims and decisions, the
  convex optimisation and admission.
- **Bare hops**: the same feed through as many topics, read and written by plain aiokafka loops in as many processes
  as the desk has on that path: no contract, no table, no changelog, acks=1. The first hop carries all events, those
  behind it the heartbeats (`{BROADCAST}`) alone. The time runs from the last heartbeat of a bucket to its arrival.
- Both in one run on one broker, one after the other. Where the desk cannot keep up with a rate, its latency is a queue
  that grows, and orders that had not come by a few seconds after the end are not in it: few samples say so.
"""
