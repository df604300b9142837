"""The only worker of a single-partition group dies for good: its standby takes over."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.topics import MARKET_RAW
from tests.chaos.desk import GROUPS, SOURCES, Desk, Market, Result, collect, read, send, until, until_written

ALL = (*GROUPS, "portfolio")
RESTORED = re.compile(r"tables restored: ([\d,]+) changelog records")


@dataclass
class Takeover:
    """What is left behind, seconds until the standby wrote its first rows, changelog records it had to read of those
    that were there, and all records of the group's sources."""

    result: Result
    back_s: float
    read: int
    written: int
    sources: Mapping[str, Sequence[Any]]


async def run_undisturbed(market: Market, rate: float) -> Result:
    desk = Desk(Path(tempfile.mkdtemp(prefix="flowgate-chaos-")))
    try:
        await desk.start_broker()
        await desk.start_workers(ALL)
        await send(desk.bootstrap, market, rate)
        return await collect(desk, ALL)
    finally:
        desk.stop()


async def run_takeover(market: Market, rate: float, session_s: float, groups: Sequence[str] = ALL) -> Takeover:
    """Kill the active worker of the last group in the middle of the market; nobody starts it again."""
    group = groups[-1]
    desk = Desk(Path(tempfile.mkdtemp(prefix="flowgate-chaos-")), session_s=session_s)
    try:
        await desk.start_broker()
        await desk.start_workers(tuple(groups))
        standby = await desk.ready(desk.start_worker(group, 1))
        sending = asyncio.create_task(send(desk.bootstrap, market, rate))
        await until_written(desk, MARKET_RAW.name, len(market) // 2)
        active = desk.workers[group]
        active.process.kill()
        active.process.wait()
        killed_ms = time.time() * 1_000
        desk.children.forget(active)
        before = len(RESTORED.findall(standby.log.read_text()))
        await until(lambda: len(RESTORED.findall(standby.log.read_text())) > before, "the standby took over")
        restored = int(RESTORED.findall(standby.log.read_text())[-1].replace(",", ""))
        await sending
        result = await collect(desk, groups)
        back_s = result.back_s(group, killed_ms)
        assert back_s is not None
        stamps = [stamp for stamps in result.written_ms[group].values() for stamp in stamps]
        sources = {topic.name: await read(desk.bootstrap, topic.name) for topic in SOURCES[group]}
        return Takeover(result, back_s, restored, sum(stamp < killed_ms for stamp in stamps), sources)
    finally:
        desk.stop()
