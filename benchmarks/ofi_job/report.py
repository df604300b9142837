"""The table of one benchmark, and the words around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.ofi_job.contestants import Contestant
from benchmarks.ofi_job.race import WARM_UP_FRAC, Result
from benchmarks.ofi_job.workload import DEFECTS, EVENTS_PER_BUCKET

HEADER = (
    "| | events/s | x Faust | x Streams | slowest to fastest run | CPU, us per event | peak RSS, MiB "
    "| state records per 1,000 events | validation | state |\n|---|--:|--:|--:|--:|--:|--:|--:|---|---|"
)


def table(results: Mapping[Contestant, Sequence[Result]]) -> str:
    """One line per contestant, fastest first; a ratio whose other side did not run is a dash."""
    rates = {who: median(run.events_per_s for run in runs) for who, runs in results.items()}
    base = {who.name: rates[who] for who in results}
    lines = [HEADER]
    for who in sorted(results, key=lambda who: -rates[who]):
        runs = results[who]
        slowest, fastest = min(run.events_per_s for run in runs), max(run.events_per_s for run in runs)
        cells = [
            who.title,
            f"{rates[who]:,.0f}",
            ratio(rates[who], base.get("faust")),
            ratio(rates[who], base.get("streams")),
            f"{slowest:,.0f} to {fastest:,.0f}",
            f"{median(run.cpu_us for run in runs):,.1f}",
            f"{max(run.rss_mib for run in runs):,.0f}",
            f"{median(1_000 * run.changelog / run.events for run in runs):,.1f}",
            who.validation,
            who.state,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *alike(base)])


PAIRS = (
    ("one core each", "shell_core", "streams_core"),
    ("the whole machine: two workers, two stream threads", "shell_2", "streams_2"),
    ("one worker, which has one core, and one stream thread, beside which the JVM uses both", "shell", "streams"),
)


def alike(rates: Mapping[str, float]) -> list[str]:
    """The shell over Kafka Streams, each pair on the same footing."""
    lines = [
        f"| {footing} | {rates[ours]:,.0f} | {rates[theirs]:,.0f} | {ratio(rates[ours], rates[theirs])} |"
        for footing, ours, theirs in PAIRS
        if ours in rates and theirs in rates
    ]
    return ["| | the shell, events/s | Kafka Streams, events/s | ratio |", "|---|--:|--:|--:|", *lines] if lines else []


def ratio(own: float, other: float | None) -> str:
    return "-" if other is None else f"{own / other:.2f}" if own < 10 * other else f"{own / other:.0f}"


def words(events: int, part_events: int, instruments: int, outputs: int, runs: int, seed: int) -> str:
    """What was run and what the numbers mean."""
    return f"""\
The job: read quotes as JSON from 4 partitions, validate them against the contract, keep the last quote and the open
10 s bucket of each instrument in keyed state, publish one `OfiEvent` per instrument and bucket. {events:,} events of
{instruments} instruments (seed {seed}), {EVENTS_PER_BUCKET} per instrument and bucket, {outputs:,} outputs.
{len(DEFECTS) + 1} records among the first break the contract, each in another way, and must be refused. The input is
written once; each run has an empty output topic, a group and a changelog of its own, and fresh processes: one worker of
one thread, or two that share the partitions. One contestant runs after another.

- **A number counts only if all outputs are right.** After each run every field of every output is compared with what
  the pure step gives without a broker; an output that is missing, wrong or repeated ends the benchmark.
- **events/s** is measured by the broker: it stamps each output with its clock when it appends it. The time runs
  from the output that ends the first {WARM_UP_FRAC:.0%} to the last one, which closes the last bucket; so start-up, the
  first fetches and most of the JVM's compiling are not in it, and no contestant times itself. Median of {runs} runs.
- **CPU** is the processor time of all threads of the contestant over the same stretch. It says who would be ahead on a
  machine that others keep busy, where events/s vary.
- Stock Faust runs on the first {part_events:,} of the same events, as it would take minutes for all.
- All commit once a second. The Python contestants share the reader of the contract (`contracts.structs`), the step and
  the bytes of the state. Quix Streams and Bytewax have an environment of their own (`benchmarks/requirements.lock`).
- **Kafka Streams** has the same step in Java and a state of fixed width, twice: the usual way, with Jackson's data
  binding and the default store, and tuned by hand, with a parser for this one message and the state in memory. *x
  Streams* is against the usual way with one stream thread. Its JVM works on both cores all the same, compiling,
  collecting and reading beside that thread; a Python worker has one core and no more. So two pairs have the same
  hardware on both sides: all threads of a contestant held to one core, and two workers beside two stream threads.
- **State records** are what a contestant wrote to its changelog. Bytewax has none: it snapshots to SQLite.
"""
