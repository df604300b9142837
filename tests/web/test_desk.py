"""The page of the running desk: real workers, real changelogs, the real switch."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer

from agents.catalogue import GROUPS, catalogue
from app import settings as settings_module
from app.health import ANSWER_S
from app.stack import Stack
from app.web.site import COMMAND_HEADER
from tests.web.page_harness import at, messages, scraped

pytestmark = pytest.mark.stack

DEADLINE_S = 60.0

Tables = dict[str, dict[str, Any]]


async def until(client: aiohttp.ClientSession, holds: Callable[[Tables], bool]) -> None:
    """Follow the stream until its tables satisfy a condition."""
    tables: Tables = defaultdict(dict)
    async with asyncio.timeout(DEADLINE_S), client.get("/api/stream") as response:
        async for message in messages(response):
            for table, rows in message["tables"].items():
                tables[table].update(rows)
            if holds(tables):
                return


def page_of(stack: Stack) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(stack.page, timeout=aiohttp.ClientTimeout(total=None))


async def command(client: aiohttp.ClientSession, address: str, word: str) -> None:
    order = {"operator": "Ada", "reason": "a test of the switch", "word": word}
    headers = {"Origin": address.rstrip("/"), COMMAND_HEADER: word}
    async with client.post(f"/api/{word.lower()}", json=order, headers=headers) as response:
        assert response.status == 200, await response.text()


def switch(tables: Tables) -> tuple[str, str]:
    row = tables["switch"].get("desk", {})
    return row.get("state", ""), row.get("by", "")


async def test_every_table_of_the_desk_reaches_the_page(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWGATE_PROFILE", "dev")
    declared = {spec.table.name for spec in catalogue("all", settings_module.load().desk, "") if spec.table}
    async with page_of(stack) as client:
        await until(client, lambda tables: declared <= tables.keys())


async def test_prometheus_sees_every_worker_its_queue_its_lag_and_a_new_dead_letter(stack: Stack) -> None:
    refused = at("flowgate_dead_letters_total", topic="market_raw", reason="MALFORMED_JSON")
    before = (await scraped(stack.page)).get(refused, 0.0)
    producer = AIOKafkaProducer(**stack.administrator.options())
    await producer.start()
    await producer.send_and_wait("market_raw", b"no json", b"SPY", 0)
    await producer.stop()
    async with asyncio.timeout(DEADLINE_S):
        while (found := await scraped(stack.page)).get(refused) != before + 1:
            await asyncio.sleep(0.5)
    assert found[at("flowgate_broker_up")] == 1
    assert found[at("flowgate_topic_differences")] == 0
    assert 0 < found[at("flowgate_broker_answer_ms")] < ANSWER_S * 1e3
    for group in GROUPS.keys() - {"web"}:
        instance = f"flowgate-{group}-dev-0"
        assert found[at("flowgate_worker_up", group=group, instance=instance)] == 1
        assert found[at("flowgate_producer_queue_batches", group=group, instance=instance)] >= 0
        assert [name for name, labels in found if name == "flowgate_lag_records" and ("group", group) in labels]


async def test_a_kill_from_the_page_stops_orders_until_an_operator_resets_it(stack: Stack) -> None:
    async with page_of(stack) as client:
        await until(client, lambda tables: tables["admission"].get("desk", {}).get("admitted", 0) > 0)
        try:
            await command(client, stack.page, "KILL")
            await until(client, lambda tables: switch(tables) == ("HALTED", "Ada"))
            await until(client, lambda tables: "HALTED_BY_SWITCH" in tables["admission"]["desk"]["denied"])
        finally:
            await command(client, stack.page, "RESET")
        await until(client, lambda tables: switch(tables) == ("ACTIVE", "Ada"))
