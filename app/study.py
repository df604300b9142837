"""`python -m app study`: how order flow explains price in a market source, as one HTML page with plots.

The page is a pure function of the source: it holds no date and loads nothing.
"""

from __future__ import annotations

import argparse
import html
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from connectors.market.source import SourceError, describe, open_source
from contracts.instruments import INSTRUMENTS
from contracts.market import Heartbeat, RawBook, RawHalt, RawTrade
from quant import fits, ofi

Array = NDArray[np.float64]
Side = tuple[tuple[int, int], ...]
Book = tuple[Side, Side]

LEVELS = 5
BUCKET_NS = 10_000_000_000
PER_INTERVAL = 180
"""Buckets in half an hour, the interval of the published fits."""

WIDTH, HEIGHT, PAD = 460, 300, 44
FLOW, DEEP, INK = "#1f6feb", "#d9730d", "#57606a"


@dataclass
class Tape:
    """What one instrument's records add up to, per 10 s bucket (event time over 10 s, rounded up); prices in ticks."""

    levels: int = 0
    books: int = 0
    one_level: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    flows: dict[int, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0] * LEVELS))
    trades: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    best_depth: dict[int, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    book_depth: dict[int, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    mid_twice: dict[int, int] = field(default_factory=dict)
    last: Book | None = None


def main(argv: list[str] | None = None) -> int:
    """Write the page; 0, or 2 with one sentence when the source cannot be read."""
    options = parser().parse_args(argv)
    try:
        hours = options.hours if describe(options.source).path is None else math.inf
        tapes = read(open_source(options.source, seed=options.seed), hours)
        page = render(Path(options.source).name, tapes)
        options.out.write_text(page, encoding="utf-8")
    except (SourceError, OSError) as error:
        sys.stderr.write(f"flowgate: {error}\n")
        return 2
    sys.stdout.write(f"wrote {options.out}\n")
    return 0


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    options = argparse.ArgumentParser(prog="python -m app study", description="Order-flow fits of a market source.")
    options.add_argument("--source", default="synthetic", help="synthetic, a LOBSTER zip or a Binance recording")
    options.add_argument("--seed", type=int, default=7, help="seed of the synthetic market (default: 7)")
    options.add_argument(
        "--hours", type=float, default=2.0, help="event time to read of an endless source (default: 2)"
    )
    options.add_argument("--out", type=Path, default=Path("study.html"), help="page to write (default: study.html)")
    return options


def read(records: Iterable[RawBook | RawTrade | RawHalt | Heartbeat], hours: float) -> dict[str, Tape]:
    """Fold a source into tapes by instrument, up to `hours` of event time after its first record."""
    tapes: dict[str, Tape] = {}
    end_ns = 0.0
    for record in records:
        end_ns = end_ns or record.ts_event_ns + hours * 3600e9
        if record.ts_event_ns > end_ns:
            break
        bucket = -(-record.ts_event_ns // BUCKET_NS)
        if isinstance(record, RawTrade):
            signed = lots(record.instrument, record.size) * (1 if record.side == "BUY" else -1)
            tapes.setdefault(record.instrument, Tape()).trades[bucket] += signed
        elif isinstance(record, RawBook):
            add_book(tapes.setdefault(record.instrument, Tape()), bucket, record)
    return tapes


def add_book(tape: Tape, bucket: int, record: RawBook) -> None:
    """One book: its M-level flows, and level 1 as a feed of the best quotes alone would have it."""
    bids, asks = (
        tuple((ticks(record.instrument, price), lots(record.instrument, size)) for price, size in side[:LEVELS])
        for side in (record.bids, record.asks)
    )
    tape.books += 1
    tape.levels = max(tape.levels, len(bids), len(asks))
    if tape.last is not None:
        old_bids, old_asks = tape.last
        sums = tape.flows[bucket]
        for m, flow in enumerate(ofi.multilevel(old_bids, old_asks, bids, asks, LEVELS)):
            sums[m] += flow
        if (old_bids[:1], old_asks[:1]) != (bids[:1], asks[:1]):
            old, new = best(old_bids, old_asks), best(bids, asks)
            tape.one_level[bucket] += ofi.level1(*old, *new)
            tape.best_depth[bucket][0] += new[1] + new[3]
            tape.best_depth[bucket][1] += 2
    depth = tape.book_depth[bucket]
    depth[0] += sum(size for _, size in bids) + sum(size for _, size in asks)
    depth[1] += 2 * LEVELS
    tape.last = (bids, asks)
    if bids and asks:
        tape.mid_twice[bucket] = bids[0][0] + asks[0][0]


def best(bids: Side, asks: Side) -> tuple[int, int, int, int]:
    """Bid, its size, ask, its size, as `ofi.level1` takes them."""
    return (*(bids[0] if bids else (ofi.NO_BID, 0)), *(asks[0] if asks else (ofi.NO_ASK, 0)))


@lru_cache(maxsize=65_536)
def ticks(instrument: str, price: str) -> int:
    """Whole ticks of a price as the venue wrote it."""
    try:
        return INSTRUMENTS[instrument].ticks(Decimal(price))
    except ValueError as error:
        raise SourceError(str(error)) from None


@lru_cache(maxsize=65_536)
def lots(instrument: str, size: str) -> int:
    """Whole lots of a size as the venue wrote it."""
    try:
        return INSTRUMENTS[instrument].lots(Decimal(size))
    except ValueError as error:
        raise SourceError(str(error)) from None


@dataclass(frozen=True)
class Study:
    """Columns (T,) of the buckets of one instrument, and fits (K,) of its half hours; None where too short."""

    change: Array
    level1: Array
    trades: Array
    integrated: Array
    interval: NDArray[np.int64]
    depth: Array
    weights: Array
    identical: bool
    fits_level1: list[fits.Line | None]
    fits_integrated: list[fits.Line | None]
    fits_trades: list[fits.Line | None]


def study(tape: Tape) -> Study | None:
    """Columns and fits of one tape; None when it spans fewer buckets than a fit needs."""
    seen = sorted(tape.mid_twice)
    if len(seen) < 2 or seen[-1] - seen[0] < fits.OBSERVATIONS_MIN:
        return None
    # The first bucket is left out: its change would begin in the middle of it.
    buckets = range(seen[0] + 1, seen[-1] + 1)
    mids, mid = [], tape.mid_twice[seen[0]]
    for bucket in buckets:
        previous, mid = mid, tape.mid_twice.get(bucket, mid)
        mids.append((mid - previous) / 2)
    flows = np.array([tape.flows[b] if b in tape.flows else [0] * LEVELS for b in buckets], dtype=np.float64)
    flows = flows[:, : max(tape.levels, 1)]
    one_level = np.array([tape.one_level.get(b, 0) for b in buckets], dtype=np.float64)
    # Half hours of the clock: bucket b is ((b - 1) 10 s, b 10 s].
    interval = np.array([(b - 1) // PER_INTERVAL - (buckets[0] - 1) // PER_INTERVAL for b in buckets], dtype=np.int64)
    depth = mean_depth(tape.book_depth, buckets, interval, LEVELS / max(tape.levels, 1))
    integrated, weights = fits.integrate(flows, np.maximum(depth, 1e-9), interval)
    columns = [one_level, integrated, np.array([float(tape.trades.get(b, 0)) for b in buckets])]
    change = np.array(mids)
    fitted = [[fits.line(c[interval == k], change[interval == k]) for k in range(len(depth))] for c in columns]
    best_depth = mean_depth(tape.best_depth, buckets, interval, 1.0)
    return Study(
        change, one_level, columns[2], integrated, interval, best_depth, weights,
        bool((one_level == flows[:, 0]).all()), *fitted,
    )  # fmt: skip


def mean_depth(sums: dict[int, list[int]], buckets: range, interval: NDArray[np.int64], factor: float) -> Array:
    """Mean queue (K,) in lots of each half hour from (sum, count) by bucket; 0 where there was no book."""
    totals, counts = np.zeros(int(interval[-1]) + 1), np.zeros(int(interval[-1]) + 1)
    for bucket, k in zip(buckets, interval, strict=True):
        if bucket in sums:
            totals[k] += sums[bucket][0]
            counts[k] += sums[bucket][1]
    return factor * totals / np.maximum(counts, 1.0)


def render(source: str, tapes: dict[str, Tape]) -> str:
    """The whole page."""
    sections = [section(instrument, tapes[instrument]) for instrument in sorted(tapes)]
    return PAGE.format(source=html.escape(source), sections="\n".join(sections))


def section(instrument: str, tape: Tape) -> str:
    """One instrument: what was read, the plots, the table of half hours."""
    result = study(tape)
    title = f"<h2>{html.escape(instrument)}</h2>"
    if result is None:
        return f"{title}<p>{tape.books:,} books, too short a record for a fit ({fits.OBSERVATIONS_MIN} buckets).</p>"
    same = "identical in every bucket" if result.identical else "NOT identical"
    law = slope_law(result)
    after = np.corrcoef(result.level1[:-1], result.change[1:])[0, 1] if result.level1.any() else 0.0
    text = (
        f"<p>{tape.books:,} books of {tape.levels} levels in {len(result.change):,} buckets. Level-1 OFI from the best "
        f"quotes alone and from the {tape.levels}-level view: <b>{same}</b>. Correlation of OFI with the change of the "
        f"<i>next</i> bucket: {after:.3f}.{law}</p>"
    )
    plots = [
        scatter("level-1 OFI, lots", result.level1, result.change, FLOW),
        scatter("integrated OFI", result.integrated, result.change, DEEP),
        bars("R² by half hour: level 1, integrated", r2(result.fits_level1), r2(result.fits_integrated)),
        bars("weight of each level, mean over half hours", result.weights.mean(axis=0).tolist(), []),
    ]
    return title + text + '<div class="plots">' + "".join(plots) + "</div>" + table(result)


def slope_law(result: Study) -> str:
    """The sentence on b = c / AD^lambda, where there are enough half hours for one."""
    pairs = [(d, f.slope) for d, f in zip(result.depth, result.fits_level1, strict=True) if f]
    law = fits.power_law(np.array([d for d, _ in pairs]), np.array([b for _, b in pairs])) if pairs else None
    if law is None:
        return ""
    power = f"{law.c:.2f} / AD<sup>{law.exponent:.2f} ± {law.error:.2f}</sup>"
    return f" Slope against depth: b = {power} over {len(pairs)} half hours (published: 0.45, 0.98)."


def r2(lines: list[fits.Line | None]) -> list[float]:
    return [line.r2 if line else 0.0 for line in lines]


def table(result: Study) -> str:
    """R^2 of each half hour and their means."""
    kinds = (result.fits_level1, result.fits_integrated, result.fits_trades)
    rows = []
    for k, row in enumerate(zip(*kinds, strict=True)):
        cells = "".join(f"<td>{line.r2:.3f}</td>" if line else "<td>–</td>" for line in row)
        slope = f"{row[0].slope:.5f} ± {row[0].slope_error:.5f}" if row[0] else "–"
        rows.append(f"<tr><td>{k + 1}</td>{cells}<td>{slope}</td><td>{result.depth[k]:.0f}</td></tr>")
    means = "".join(f"<td>{mean_r2(lines)}</td>" for lines in kinds)
    head = "<tr><th>half hour</th><th>R² level 1</th><th>R² integrated</th><th>R² trades</th>"
    head += "<th>slope, ticks per lot</th><th>depth AD, lots</th></tr>"
    return f"<table>{head}{''.join(rows)}<tr><th>mean</th>{means}<td></td><td></td></tr></table>"


def mean_r2(lines: list[fits.Line | None]) -> str:
    values = [line.r2 for line in lines if line]
    return f"{np.mean(values):.3f}" if values else "–"


def scatter(label: str, x: Array, y: Array, colour: str) -> str:
    """Points of the price change in ticks against `x`, with the line through all of them."""
    left, right, low, high = *span(x), *span(y)

    def at(px: float, py: float) -> tuple[float, float]:
        across = PAD + (px - left) / (right - left) * (WIDTH - PAD - 10)
        return across, HEIGHT - PAD - (py - low) / (high - low) * (HEIGHT - PAD - 24)

    dots = "".join(
        f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="1.6"/>' for cx, cy in (at(*p) for p in zip(x, y, strict=True))
    )
    fit, drawn = fits.line(x, y), ""
    if fit:
        # From edge to edge of the plot, not beyond its top and bottom.
        inside = sorted((v - fit.intercept) / fit.slope for v in (low, high)) if fit.slope else [left, right]
        ends = [at(v, fit.intercept + fit.slope * v) for v in (max(left, inside[0]), min(right, inside[1]))]
        drawn = f'<line x1="{ends[0][0]:.1f}" y1="{ends[0][1]:.1f}" x2="{ends[1][0]:.1f}" y2="{ends[1][1]:.1f}"/>'
    note = f", R² {fit.r2:.2f} over all buckets" if fit else ""
    axes = f'<text x="{PAD}" y="{HEIGHT - 28}">{number(left)}</text>'
    axes += f'<text x="{WIDTH - 60}" y="{HEIGHT - 28}">{number(right)}</text>'
    axes += f'<text x="2" y="{HEIGHT - PAD}">{number(low)}</text><text x="2" y="28">{number(high)}</text>'
    shape = f'<g fill="{colour}" fill-opacity="0.35">{dots}</g><g stroke="{INK}" stroke-width="1.5">{drawn}</g>'
    return frame(f"change of mid in ticks against {label}{note}", axes + shape)


def bars(label: str, first: Sequence[float], second: Sequence[float]) -> str:
    """Bars from 0 to 1, in pairs where there is a second series."""
    slot = (WIDTH - PAD - 10) / max(len(first), 1)
    width = 0.8 * slot / (2 if second else 1)
    shapes = [f'<text x="2" y="28">1</text><text x="2" y="{HEIGHT - PAD}">0</text>']
    for series, colour, offset in ((first, FLOW, 0.0), (second, DEEP, width)):
        for k, value in enumerate(series):
            tall = max(0.0, min(1.0, value)) * (HEIGHT - PAD - 24)
            x, y = PAD + k * slot + offset, HEIGHT - PAD - tall
            shapes.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{tall:.1f}" fill="{colour}"/>')
    numbers = (f'<text x="{PAD + k * slot:.1f}" y="{HEIGHT - 28}">{k + 1}</text>' for k in range(len(first)))
    return frame(label, "".join(shapes) + "".join(numbers))


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def span(values: Array) -> tuple[float, float]:
    """Ends of an axis, apart even when all values are the same."""
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 1.0, high + 1.0)


def frame(label: str, shapes: str) -> str:
    floor = f'<line x1="{PAD}" y1="{HEIGHT - PAD}" x2="{WIDTH - 10}" y2="{HEIGHT - PAD}" stroke="{INK}"/>'
    name = html.escape(label)
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">{floor}{shapes}</svg>'
        f"<figcaption>{name}</figcaption></figure>"
    )


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Order flow and price</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em; color: #1f2328 }}
.plots {{ display: grid; grid-template-columns: 1fr 1fr; gap: 1em }} figure {{ margin: 0 }}
svg {{ width: 100%; background: #f6f8fa }} svg text {{ font-size: 11px; fill: #57606a }}
figcaption {{ font-size: 13px; color: #57606a }} table {{ border-collapse: collapse; margin: 1em 0 }}
td, th {{ border: 1px solid #d0d7de; padding: 2px 10px; text-align: right }} code {{ background: #f6f8fa }}
</style></head><body>
<h1>Order flow and price</h1>
<p>Source: <code>{source}</code>. Order flow imbalance (OFI) of a 10 s bucket is the sum, over the changes of the
best quotes, of what arrived at the bid minus what arrived at the ask:
<code>e = 1[Pb≥Pb'] qb − 1[Pb≤Pb'] qb' − 1[Pa≤Pa'] qa + 1[Pa≥Pa'] qa'</code> (Cont, Kukanov &amp; Stoikov 2014). The
price change of the <i>same</i> bucket is fitted on it, half hour by half hour; they publish a mean R² of 0.65, from
0.35 to 0.79 by stock, and 0.32 for trades alone. Integrated OFI takes the same flow on every level, divides it by depth
and weights the levels with the first principal component (Cont, Cucuringu &amp; Zhang 2023) of the half hour
<i>before</i>, so that nothing is fitted to what it then explains (the first half hour has only itself). None of this is
a forecast: the correlation with the next bucket is given for each instrument.</p>
{sections}
</body></html>
"""


if __name__ == "__main__":
    sys.exit(main())
