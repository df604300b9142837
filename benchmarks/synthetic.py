"""Writes docs/reference/synthetic.md: what the synthetic market is like, next to published numbers and a real day.

    python -m benchmarks.synthetic [path of a LOBSTER zip] [path of a Binance gzip]

Takes about two minutes. Statistics repeat exactly; the table of speeds is of the machine it ran on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.book_statistics import (
    INTERVALS,
    R2_OFI_PUBLISHED,
    R2_TRADES_PUBLISHED,
    SIGN_LAGS,
    SLOPE_C_PUBLISHED,
    SLOPE_LAMBDA_PUBLISHED,
    BookStatistics,
    correlation,
    measure,
    slope_law,
)
from connectors.market import source, synthetic
from contracts.market import RawBook

SEEDS = (1, 2)
HALF_HOURS = 4
SPEED_RECORDS = 100_000
PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "synthetic.md"
WIDTH, HEIGHT, MARGIN = 460, 280, 48
BLUE, ORANGE, GREY = "#1f6feb", "#d9730d", "#8b949e"


class Plot:
    """A small scatter or line plot as SVG; data ranges are fixed at the start."""

    def __init__(self, title: str, x: tuple[str, float, float], y: tuple[str, float, float]) -> None:
        self._x, self._y = x, y
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            'font-family="sans-serif" font-size="11">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            f'<text x="{WIDTH / 2}" y="18" text-anchor="middle" font-size="13">{title}</text>',
            f'<path d="M{MARGIN} {MARGIN / 1.5}V{HEIGHT - MARGIN}H{WIDTH - 12}" fill="none" stroke="black"/>',
        ]
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            x_value, y_value = x[1] + share * (x[2] - x[1]), y[1] + share * (y[2] - y[1])
            px, py = self._at(x_value, y_value)
            self.text(px, HEIGHT - MARGIN + 14, _tick(x_value), "middle")
            self.text(MARGIN - 5, py + 4, _tick(y_value), "end")
        self.text(WIDTH / 2, HEIGHT - 10, x[0], "middle")
        self.text(6, 28, y[0], "start")

    def text(self, px: float, py: float, text: str, anchor: str, colour: str = "black") -> None:
        """Text at a place in pixels."""
        self._parts.append(f'<text x="{px:.0f}" y="{py:.0f}" text-anchor="{anchor}" fill="{colour}">{text}</text>')

    def dots(self, x: Sequence[float], y: Sequence[float], colour: str) -> None:
        """A mark per point inside the ranges."""
        for one_x, one_y in zip(x, y, strict=True):
            if self._x[1] <= one_x <= self._x[2] and self._y[1] <= one_y <= self._y[2]:
                px, py = self._at(one_x, one_y)
                self._parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="2.5" fill="{colour}" fill-opacity="0.6"/>')

    def line(self, x: Sequence[float], y: Sequence[float], colour: str, dash: str = "") -> None:
        """Connected points."""
        points = " ".join("{:.1f},{:.1f}".format(*self._at(a, b)) for a, b in zip(x, y, strict=True))
        self._parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5" stroke-dasharray="{dash}"/>'
        )

    def write(self, name: str) -> str:
        """Save beside the page; returns the Markdown that shows it."""
        path = PAGE.with_name(f"synthetic_{name}.svg")
        path.write_text("\n".join([*self._parts, "</svg>\n"]))
        return f"![{name}]({path.name})"

    def _at(self, x: float, y: float) -> tuple[float, float]:
        (_, x_low, x_high), (_, y_low, y_high) = self._x, self._y
        px = MARGIN + (x - x_low) / (x_high - x_low) * (WIDTH - MARGIN - 16)
        return px, HEIGHT - MARGIN - (y - y_low) / (y_high - y_low) * (HEIGHT - 2.0 * MARGIN)


def statistics_table(runs: dict[str, BookStatistics], real: BookStatistics | None) -> Iterator[str]:
    """Rows: statistic, published, synthetic mean and range over runs, the real day."""
    low, mean, high = R2_OFI_PUBLISHED
    rows: tuple[tuple[str, str, Callable[[BookStatistics], float]], ...] = (
        ("R² of 10 s changes on OFI", f"{mean:.2f} ({low:.2f} to {high:.2f} by stock)", lambda s: s.mean("r2_ofi")),
        ("R² on signed trade volume", f"{R2_TRADES_PUBLISHED:.2f}", lambda s: s.mean("r2_trades")),
        ("standard deviation of 10 s changes, ticks", "–", lambda s: s.mean("move")),
        ("depth AD, shares", "–", lambda s: s.mean("depth")),
        ("books with a spread of 1 tick", "–", lambda s: s.spread_share(1)),
        ("… of 1 or 2 ticks", "–", lambda s: s.spread_share(1, 2)),
        ("correlation of OFI with the next 10 s change", "–", lambda s: s.next_interval_correlation),
        ("autocorrelation of trade signs, lag 1", "–", lambda s: s.sign_autocorrelation[0]),
        ("… lag 10", "–", lambda s: s.sign_autocorrelation[SIGN_LAGS.index(10)]),
    )
    yield "| statistic | Cont, Kukanov & Stoikov 2014 | synthetic: mean (range over instruments) | AMZN 2012-06-21 |"
    yield "|---|---|---|---|"
    for name, paper, value in rows:
        of_real = _number(value(real)) if real else "–"
        yield f"| {name} | {paper} | {_range([value(run) for run in runs.values()])} | {of_real} |"
    ours = "c {:.2f}, λ {:.2f}".format(*slope_law([half for run in runs.values() for half in run.half_hours]))
    theirs = "c {:.2f}, λ {:.2f}".format(*slope_law(real.half_hours)) if real else "–"
    yield f"| slope b = c / AD^λ | c {SLOPE_C_PUBLISHED}, λ {SLOPE_LAMBDA_PUBLISHED} | {ours} | {theirs} |"


def plots(runs: dict[str, BookStatistics], real: BookStatistics | None) -> Iterator[str]:
    """Markdown of the plots, written beside the page."""
    name, first = next(iter(runs.items()))
    flow, change = first.flow[:INTERVALS], first.change[:INTERVALS]
    reach_x, reach_y = float(np.abs(flow).max()), float(np.abs(change).max())
    plot = Plot(
        f"{name}: one half hour of 10 s intervals", ("OFI, shares", -reach_x, reach_x), ("ticks", -reach_y, reach_y)
    )
    plot.dots(flow.tolist(), change.tolist(), BLUE)
    slope, intercept = np.polyfit(flow, change, 1)
    ends = [x for x in (-reach_x, reach_x) if abs(slope * x + intercept) <= 2 * reach_y]
    plot.line(ends, [slope * x + intercept for x in ends], ORANGE)
    yield plot.write("impact")

    halves = [half for run in runs.values() for half in run.half_hours]
    plot = Plot("R² per half hour", ("half hour", 0, len(halves)), ("R²", 0, 1))
    plot.dots(range(len(halves)), [h.r2_ofi for h in halves], BLUE)
    plot.dots(range(len(halves)), [h.r2_trades for h in halves], ORANGE)
    for level in R2_OFI_PUBLISHED:
        plot.line((0, len(halves)), (level, level), GREY, "4 3")
    plot.text(WIDTH - 16, 32, "OFI", "end", BLUE)
    plot.text(WIDTH - 44, 32, "trades", "end", ORANGE)
    plot.text(WIDTH - 86, 32, "-- published low, mean, high", "end", GREY)
    yield plot.write("r2")

    logs = np.log10([[h.depth, h.slope] for h in halves if h.slope > 0])
    c, exponent = slope_law(halves)
    low, high = logs.min(axis=0) - 0.1, logs.max(axis=0) + 0.1
    plot = Plot(
        f"slope against depth: c {c:.2f}, λ {exponent:.2f}",
        ("log10 AD, shares", low[0], high[0]),
        ("log10 b", low[1], high[1]),
    )
    plot.dots(logs[:, 0].tolist(), logs[:, 1].tolist(), BLUE)
    fit = np.array([logs[:, 0].min(), logs[:, 0].max()])
    plot.line(fit.tolist(), (np.log10(c) - exponent * fit).tolist(), ORANGE)
    yield plot.write("slope")

    plot = Plot("autocorrelation of trade signs", ("lag, trades", 0, SIGN_LAGS[-1]), ("", 0, 0.8))
    for run in runs.values():
        plot.line(SIGN_LAGS, [max(0.0, a) for a in run.sign_autocorrelation], BLUE)
    if real:
        plot.line(SIGN_LAGS, [max(0.0, a) for a in real.sign_autocorrelation], ORANGE)
        plot.text(WIDTH - 16, 32, "AMZN 2012-06-21", "end", ORANGE)
    yield plot.write("signs")

    plot = Plot("books by spread", ("spread, ticks", 1, 8), ("share", 0, 1))
    for run in runs.values():
        plot.line(range(1, 9), [run.spread_share(ticks) for ticks in range(1, 9)], BLUE)
    yield plot.write("spread")


def speeds(specs: Sequence[str]) -> Iterator[str]:
    """Rows of records/s, and of their share of what building validated records alone allows, in the same run."""
    ceiling = _ceiling()
    yield "| source | records/s | share of the ceiling |"
    yield "|---|---|---|"
    yield f"| ceiling: one validated 5-level RawBook after another | {ceiling:,.0f} | 1.00 |"
    for spec in specs:
        kind = source.describe(spec).kind
        records = source.open_source(spec, seed=SEEDS[0])
        start = time.process_time()
        n = sum(1 for _ in islice(records, SPEED_RECORDS))
        rate = n / (time.process_time() - start)
        yield f"| {kind} | {rate:,.0f} | {rate / ceiling:.2f} |"


def _ceiling() -> float:
    book = next(r for r in source.open_source("synthetic", seed=SEEDS[0]) if isinstance(r, RawBook))
    fields = {name: getattr(book, name) for name in RawBook.model_fields}
    start = time.process_time()
    for _ in range(SPEED_RECORDS):
        RawBook(**fields)
    return SPEED_RECORDS / (time.process_time() - start)


def _range(values: Sequence[float]) -> str:
    return f"{_number(float(np.mean(values)))} ({_number(min(values))} to {_number(max(values))})"


def _tick(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def page(files: Sequence[str]) -> str:
    """The whole page; `files` are recorded sources to set beside the synthetic one."""
    runs: dict[str, BookStatistics] = {}
    pairs = []
    for seed in SEEDS:
        measured = measure(
            source.open_source("synthetic", seed=seed), start_ns=synthetic.START_NS, half_hours=HALF_HOURS
        )
        runs |= {f"{name}, seed {seed}": statistics for name, statistics in measured.items()}
        changes = [statistics.change for statistics in measured.values()]
        pairs += [correlation(a, b) for i, a in enumerate(changes) for b in changes[:i]]
    real = None
    for file in files:
        if source.describe(file).kind == "lobster":
            records = source.open_source(file, seed=0)
            first = next(records)
            open_ns = first.ts_event_ns - first.ts_event_ns % (1800 * 1_000_000_000)
            real = next(iter(measure(records, start_ns=open_ns, half_hours=12).values()))
    return "\n".join(
        [
            "# The synthetic market, measured",
            "",
            f"Written by `python -m benchmarks.synthetic` from {len(SEEDS)} seeds ({', '.join(map(str, SEEDS))}), "
            f"{HALF_HOURS / 2:g} hours of event time each, instruments {', '.join(synthetic.DEFAULT_INSTRUMENTS)}.",
            "The model is described in `connectors/market/zero_intelligence.py` and `connectors/market/synthetic.py`;"
            " `tests/market/test_calibration.py` asserts the ranges.",
            "",
            *statistics_table(runs, real),
            f"| correlation of 10 s changes of two instruments | – | {_range(pairs)} | – |",
            "",
            "The constants were tuned on seeds 1 to 3; the test uses another one. The real day stands here to compare,"
            " not as a target: AMZN of 2012 traded with a spread near 13 ticks.",
            "Volatility is low for the names (8 to 16 % a year): at 50 events/s a book this tight moves no further.",
            "R² is lower in calm half hours (0.5) and higher in storms (0.85), as more of a small move is noise.",
            "",
            *(f"{plot}\n" for plot in plots(runs, real)),
            "## Speed",
            "",
            f"Records per second of CPU time, first {SPEED_RECORDS:,} records of each source, heartbeats included.",
            "",
            *speeds(["synthetic", *files]),
            "",
        ]
    )


if __name__ == "__main__":
    try:
        PAGE.write_text(page(sys.argv[1:]))
    except source.SourceError as error:
        sys.exit(str(error))
    print(f"wrote {PAGE}")
