"""`make demo`: the whole desk on this machine, for a person to watch."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from app.health import examine
from app.processes import Child, ChildDiedError
from app.security import OPERATOR, user
from app.stack import PREFIX, Stack
from app.summary import reconcile, render
from app.watcher import Watcher, until
from connectors.gateway import ledger
from connectors.kafka.jars import JarsUnavailableError
from connectors.market.source import SourceError, SourceInfo, describe
from contracts import topics

REST_S = 30.0
"""Longest wait for the desk to have read all of a market that has stopped; workers commit once a second."""

QUIET_S = 15.0
"""Longest wait for the last fills and commissions after that."""

MARKET_PATH = frozenset(
    topic.name
    for topic in (
        topics.MARKET_RAW,
        topics.MARKET_EVENTS,
        topics.OFI_EVENTS,
        topics.SIGNAL_EVENTS,
        topics.CROSS_SECTIONS,
        topics.COVARIANCE_EVENTS,
        topics.PORTFOLIO_TARGETS,
        topics.ORDER_INTENTS,
        topics.ORDER_COMMANDS,
    )
)
"""From a quote to an order. Other topics carry what comes by the clock, and never rest."""

WARM_UP_BUCKETS = 10
"""Buckets of history that the feed sends at once, so that signals are warm when the market goes on at its speed."""

DISK_BYTES_MIN = 500_000_000
"""Kafka keeps an hour of the synthetic market in about 300 MB."""

BUCKET_MS = {"synthetic": 1_000, "lobster": 10_000, "binance": 1_000}
"""OFI is usually measured over 10 s; the short and the synthetic sources use 1 s so that there is something to see."""

TRADING_SECONDS_A_YEAR = 252 * 23_400


def main(source: str, speed: float, seed: int, duration: float, *, secure: bool = False) -> int:
    """Run the demo; its exit status is 0 only if orders were filled and the books are equal."""
    try:
        info = describe(source)
        if not 0 < speed <= 10_000:
            raise SourceError(f"SPEED={speed:g} makes no sense; take a number from 0.1 to 10000")
        _need_disk(Path(tempfile.gettempdir()))
        return asyncio.run(_demo(source, info, speed, seed, duration, secure))
    except (SourceError, JarsUnavailableError, ChildDiedError) as error:
        return _fail(str(error))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            folder = error.filename or tempfile.gettempdir()
            return _fail(f"the disk is full ({folder}); free 500 MB, or set TMPDIR to another disk")
        return _fail(f"{error.strerror or error}: {error.filename or ''}; check the folder and run it again")


def _fail(sentence: str) -> int:
    sys.stderr.write(f"flowgate: {sentence}\n")
    return 2


def _need_disk(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < DISK_BYTES_MIN:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _demo(source: str, info: SourceInfo, speed: float, seed: int, duration: float, secure: bool) -> int:
    folder = Path(tempfile.mkdtemp(prefix="flowgate-demo-"))
    stack = Stack(folder, tell, desk_settings(info), secure=secure)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    tell(f"seed {seed}, source {source}, {', '.join(info.instruments)}, speed {speed:g}; logs in {folder}/logs")
    kept = True
    try:
        start = asyncio.create_task(stack.start())
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not start.done():
            start.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await start
            return 130
        start.result()
        status = await _trade(stack, source, speed, seed, duration, stopping)
        kept = status != 0
        return status
    finally:
        # Whoever watched may be gone, as behind `| head`; the children are ended all the same.
        with contextlib.suppress(BrokenPipeError):
            tell("stopping")
        stack.stop()
        if kept:
            tell(f"logs and ledger are kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        tell("stopped, nothing is left running")


def desk_settings(info: SourceInfo) -> dict[str, str]:
    """Settings of the desk for one source, as environment variables."""
    bucket_ms = BUCKET_MS[info.kind]
    names = ",".join(f'"{name}"' for name in sorted(info.instruments))
    return {
        "FLOWGATE_DESK__MARKET__UNIVERSE": f"[{names}]",
        "FLOWGATE_DESK__MARKET__BUCKET_MS": str(bucket_ms),
        "FLOWGATE_DESK__MARKET__BARS_PER_YEAR": str(TRADING_SECONDS_A_YEAR * 1_000 / bucket_ms),
    }


async def _trade(stack: Stack, source: str, speed: float, seed: int, duration: float, stopping: asyncio.Event) -> int:
    watcher = Watcher(stack.access(user(PREFIX, OPERATOR)))
    await watcher.start()
    follow = asyncio.create_task(watcher.follow())
    try:
        if not await until(lambda: follow.done() or watcher.seen.session == "READY", 30.0):
            raise ChildDiedError(f"the session to the gateway is {watcher.seen.session}; see worker-execution.log")
        warm_up_s = WARM_UP_BUCKETS * int(stack.desk["FLOWGATE_DESK__MARKET__BUCKET_MS"]) / 1_000
        feed = stack.start_feed(source, seed, speed, warm_up_s)
        tell(f"trading; page {stack.page}" if stack.page else "trading")
        began = time.monotonic()
        await _watch(stack, watcher, follow, feed, began, duration, stopping)
        seconds = time.monotonic() - began
        return await _finish(stack, watcher, follow, feed, seconds)
    finally:
        follow.cancel()
        await watcher.stop()


async def _watch(
    stack: Stack,
    watcher: Watcher,
    follow: asyncio.Task[None],
    feed: Child,
    began: float,
    duration: float,
    stopping: asyncio.Event,
) -> None:
    """One status line a second until the time is over, the source ends, or Ctrl-C."""
    before = lines = 0
    while not stopping.is_set() and not (duration and time.monotonic() - began >= duration):
        if feed.process.poll() == 0:
            tell("the source has ended")
            return
        if feed.process.poll() == 2:
            raise SourceError(feed.last_lines(1).removeprefix("flowgate: "))
        stack.children.check()
        if follow.done():
            follow.result()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), max(0.0, began + lines + 1 - time.monotonic()))
        lines += 1
        events = await watcher.market_events()
        seen = watcher.seen
        pnl = f"{seen.risk.pnl_usd:+,.2f}" if seen.risk else "-"
        tell(
            f"{time.monotonic() - began:5.0f} s  {events:>9,} events ({events - before:,}/s)  intents {seen.intents}"
            f"  denied {seen.denied.total()}  orders {seen.sent}  fills {seen.fills}  PnL {pnl} USD"
            f"  session {seen.session}  switch {seen.switch}"
        )
        before = events


async def _finish(stack: Stack, watcher: Watcher, follow: asyncio.Task[None], feed: Child, seconds: float) -> int:
    """Stop the market, let the desk come to rest, then compare the books."""
    stack.children.stop(feed)
    stack.children.forget(feed)
    seen = watcher.seen
    if not await _rest(stack, follow):
        tell(f"the desk was still at work {REST_S:.0f} s after the market stopped")
    await until(lambda: not seen.open_orders and not reconcile(seen, ledger.read(stack.ledger)), QUIET_S)
    events = await watcher.market_events()
    view = ledger.read(stack.ledger)
    differences = reconcile(seen, view)
    tell("")
    tell(render(seen, view, differences, events, seconds))
    if differences:
        return 1
    if not seen.filled_orders:
        tell("no order was filled")
        return 1
    return 0


async def _rest(stack: Stack, follow: asyncio.Task[None]) -> bool:
    """Wait until all that the market set in motion is done: an event on its way now may be an order in a moment."""
    deadline = time.monotonic() + REST_S
    while time.monotonic() < deadline:
        stack.children.check()
        if follow.done():
            follow.result()
        health = await examine(stack.administrator, 1, PREFIX)
        if not health.problem and not any(health.lag[key] for key in health.lag if key[1] in MARKET_PATH):
            return True
    return False
