"""The latency benchmark: what counts as a sample, and a door that lets everything through."""

from __future__ import annotations

import asyncio
import time

import pytest

from benchmarks.latency.door import Door
from benchmarks.latency.phases import Phase, latencies_ms, quantile
from benchmarks.latency.report import LatencyError, table

SECOND = 1_000_000_000
PHASE = Phase(rate=100, begin_ns=100 * SECOND, end_ns=110 * SECOND, sent=950)
INTENT = "0123456789abcdef01234567"


def test_only_what_a_phase_caused_after_it_settled_is_a_sample_of_it() -> None:
    caused = {
        "early": 99 * SECOND,
        "settling": 100 * SECOND,
        "in": 105 * SECOND,
        "lost": 106 * SECOND,
        "after": 110 * SECOND,
    }
    arrived = {name: cause + 2_000_000 for name, cause in caused.items() if name != "lost"}
    assert latencies_ms(PHASE, caused, arrived) == [2.0]


def test_the_rate_of_a_phase_is_what_was_really_sent() -> None:
    assert PHASE.achieved == pytest.approx(95.0)


def test_quantiles_are_samples_and_the_last_is_the_largest() -> None:
    values = [float(number) for number in range(1, 101)]
    assert quantile(values, 0.5) == 51.0
    assert quantile(values, 0.99) == 100.0
    assert quantile([7.0], 0.99) == 7.0


def test_a_rate_without_orders_is_an_error_and_not_a_number() -> None:
    with pytest.raises(LatencyError, match="nothing came through the desk at 100 events/s"):
        table({100: (PHASE, [1.0])}, {100: (PHASE, [])})


def test_ratios_are_the_desk_over_the_bare_hops() -> None:
    text = table({100: (PHASE, [1.0, 2.0])}, {100: (PHASE, [3.0, 3.0])})
    assert "| | ratio | 1.50 | 1.50 | 1.50 | |" in text


async def test_the_door_notes_an_order_and_passes_on_every_byte_both_ways() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(40))
        await writer.drain()

    gateway = await asyncio.start_server(echo, "127.0.0.1", 0)
    door = Door()
    await door.open(gateway.sockets[0].getsockname()[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    sent = b"\x00\x00\x003\x00" + INTENT.encode() + b"\x00" + b"0" * 10
    before = time.time_ns()
    writer.write(sent)
    assert await asyncio.wait_for(reader.readexactly(40), 5.0) == sent
    assert list(door.arrived) == [INTENT]
    assert before <= door.arrived[INTENT] <= time.time_ns()
    writer.close()
    await door.close()
    gateway.close()
