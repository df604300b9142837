"""The page's routes, over a real socket."""

from __future__ import annotations

import asyncio
import csv
import io
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from app import settings as settings_module
from app.web import exposure
from app.web.site import COMMAND_HEADER, FILES, is_local
from app.workers import listen
from contracts.controls import KillCommand, ResetCommand
from tests.web.page_harness import Page, messages

ORDER = {"operator": "Ada", "reason": "spread is wrong", "word": "KILL"}


@pytest.fixture
async def client(page: Page) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(page.address, timeout=aiohttp.ClientTimeout(10)) as session:
        yield session


def headers(page: Page, word: str = "KILL") -> dict[str, str]:
    return {"Origin": page.address, COMMAND_HEADER: word}


async def test_every_file_of_the_page_is_there_and_says_nothing_may_come_from_elsewhere(
    page: Page, client: aiohttp.ClientSession
) -> None:
    for path in FILES:
        async with client.get(path) as response:
            assert response.status == 200, path
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            text = await response.text()
        if path == "/":
            assert "<style" not in text
            assert " style=" not in text
            assert " onclick=" not in text
            assert "http" not in text.replace("http-equiv", "")


async def test_a_table_can_be_had_as_json_and_as_csv_without_scripts(page: Page, client: aiohttp.ClientSession) -> None:
    page.put("positions", "SPY", {"lots": -3, "cash_flow": "12.50", "by": {"desk": 1}, "ids": ["a", "b"]})
    page.put("positions", "AAPL", {"lots": 2})
    async with client.get("/api/tables") as response:
        assert await response.json() == [
            {"name": "positions", "rows": 2, "json": "/api/tables/positions.json", "csv": "/api/tables/positions.csv"}
        ]
    async with client.get("/api/tables/positions.json") as response:
        assert (await response.json())["SPY"]["cash_flow"] == "12.50"
    async with client.get("/api/tables/positions.csv") as response:
        rows = list(csv.DictReader(io.StringIO(await response.text())))
    assert rows[0] == {"key": "AAPL", "lots": "2", "cash_flow": "", "by.desk": "", "ids": ""}
    assert rows[1] == {"key": "SPY", "lots": "-3", "cash_flow": "12.50", "by.desk": "1", "ids": '["a", "b"]'}


async def test_an_unknown_table_is_answered_with_the_names_there_are(page: Page, client: aiohttp.ClientSession) -> None:
    page.put("switch", "desk", {"state": "ACTIVE"})
    async with client.get("/api/tables/sw.json") as response:
        assert response.status == 404
        assert await response.json() == {"error": "no table sw; there are: switch"}


async def test_the_stream_begins_with_everything_and_goes_on_with_changes(
    page: Page, client: aiohttp.ClientSession
) -> None:
    page.put("switch", "desk", {"state": "ACTIVE"})
    page.put("positions", "SPY", {"lots": 1})
    async with client.get("/api/stream") as response:
        stream = messages(response)
        first = await anext(stream)
        assert first["since"] == 0
        assert first["tables"] == {"switch": {"desk": {"state": "ACTIVE"}}, "positions": {"SPY": {"lots": 1}}}
        assert first["age_s"] < 5
        page.put("positions", "SPY", {"lots": 2})
        while not (message := await anext(stream))["tables"]:
            assert message["version"] == first["version"]
        assert message["tables"] == {"positions": {"SPY": {"lots": 2}}}


async def test_the_stream_says_since_when_nothing_was_heard(page: Page, client: aiohttp.ClientSession) -> None:
    async with client.get("/api/stream") as response:
        assert (await anext(messages(response)))["age_s"] is None
    page.view.fold("decisions", b"x", b"{}", 1_000)
    async with client.get("/api/stream") as response:
        assert (await anext(messages(response)))["age_s"] > 1e9


async def test_a_kill_reaches_the_log_with_its_operator_and_reason(page: Page, client: aiohttp.ClientSession) -> None:
    async with client.post("/api/kill", json=ORDER, headers=headers(page)) as response:
        assert response.status == 200
        assert await response.json() == {"topic": "control", "offset": 0}
    [command] = page.sent
    assert isinstance(command, KillCommand)
    assert (command.operator, command.reason) == ("Ada", "spread is wrong")


async def test_a_reset_asks_for_its_own_word(page: Page, client: aiohttp.ClientSession) -> None:
    async with client.post("/api/reset", json=ORDER, headers=headers(page, "RESET")) as response:
        assert response.status == 422
    assert page.sent == []
    order = {**ORDER, "word": "RESET"}
    async with client.post("/api/reset", json=order, headers=headers(page, "RESET")) as response:
        assert response.status == 200
    assert isinstance(page.sent[0], ResetCommand)


@pytest.mark.parametrize(
    "order",
    [
        {**ORDER, "operator": "  "},
        {**ORDER, "operator": "-"},
        {**ORDER, "reason": ""},
        {**ORDER, "word": "kill"},
        {**ORDER, "word": "RESET"},
        {**ORDER, "more": 1},
        {"word": "KILL"},
        [],
    ],
    ids=str,
)
async def test_a_kill_without_name_reason_or_word_does_nothing(
    page: Page, client: aiohttp.ClientSession, order: Any
) -> None:
    async with client.post("/api/kill", json=order, headers=headers(page)) as response:
        assert response.status == 422
        assert (await response.json())["error"]
    assert page.sent == []


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "http://evil.example", COMMAND_HEADER: "KILL"},
        {COMMAND_HEADER: "KILL"},
        {"Origin": "own"},
        {"Origin": "own", COMMAND_HEADER: "RESET"},
    ],
    ids=str,
)
async def test_another_site_cannot_press_the_button(
    page: Page, client: aiohttp.ClientSession, sent: dict[str, str]
) -> None:
    own = {name: page.address if value == "own" else value for name, value in sent.items()}
    async with client.post("/api/kill", json=ORDER, headers=own) as response:
        assert response.status == 403
    assert page.sent == []


async def test_behind_a_proxy_that_ends_tls_the_kill_comes_from_the_named_origin_alone(
    page: Page, client: aiohttp.ClientSession
) -> None:
    """The browser says https, the proxy speaks http to the page: without the setting no kill came through."""
    assert page.site is not None
    public, there = "https://desk.example", {"Host": "desk.example", "X-Forwarded-Proto": "https"}
    page.site.local, page.site.commands = False, True
    sent = {**there, "Origin": public, COMMAND_HEADER: "KILL"}
    async with client.post("/api/kill", json=ORDER, headers=sent) as response:
        assert response.status == 403
        assert "FLOWGATE_WEB__ORIGIN" in (await response.json())["error"]
    page.site.origin = public
    for origin in ("https://evil.example", "http://desk.example", page.address, "null", f"{public}.evil.example"):
        async with client.post("/api/kill", json=ORDER, headers={**sent, "Origin": origin}) as response:
            assert response.status == 403, origin
    async with client.post("/api/kill", json=ORDER, headers={**there, COMMAND_HEADER: "KILL"}) as response:
        assert response.status == 403
    assert page.sent == []
    async with client.post("/api/kill", json=ORDER, headers=sent) as response:
        assert response.status == 200
    assert len(page.sent) == 1


async def test_the_page_says_that_its_reset_leaves_the_kill_file(client: aiohttp.ClientSession) -> None:
    async with client.get("/page.js") as response:
        assert "kill file, which this page cannot change: python -m app reset lifts it" in await response.text()


async def test_a_site_that_points_its_name_at_this_machine_reads_nothing(
    page: Page, client: aiohttp.ClientSession
) -> None:
    async with client.get("/api/tables", headers={"Host": "evil.example"}) as response:
        assert response.status == 403
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_page_that_others_can_reach_takes_no_command_until_that_is_allowed(
    page: Page, client: aiohttp.ClientSession
) -> None:
    assert page.site is not None
    page.site.local = False
    async with client.get("/api/desk") as response:
        assert (await response.json())["commands"] is False
    for word in ("KILL", "RESET"):
        order = {**ORDER, "word": word}
        async with client.post(f"/api/{word.lower()}", json=order, headers=headers(page, word)) as response:
            assert response.status == 403
            assert "this page only shows" in (await response.json())["error"]
    assert page.sent == []
    page.site.commands = True
    async with client.post("/api/kill", json=ORDER, headers=headers(page)) as response:
        assert response.status == 200


@pytest.mark.parametrize("profile", ["dev", "paper", "prod"])
def test_no_profile_lets_a_page_command_that_others_can_reach(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWGATE_PROFILE", profile)
    settings = settings_module.load()
    assert is_local(settings.web.host) is (profile == "dev")
    assert settings.web.commands is False
    if profile != "dev":
        assert exposure(settings) == (
            "the page listens on 0.0.0.0 and has no login, so it only shows; "
            "set FLOWGATE_WEB__COMMANDS=true behind a proxy that signs people in"
        )


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.7", False)]
)
def test_only_names_of_this_machine_are_local(host: str, local: bool) -> None:
    assert is_local(host) is local


async def test_a_kill_that_kafka_does_not_take_is_never_shown_as_done(
    page: Page, client: aiohttp.ClientSession
) -> None:
    page.log_is_down = True
    async with client.post("/api/kill", json=ORDER, headers=headers(page)) as response:
        assert response.status == 504
        assert "try again" in (await response.json())["error"]


async def test_a_wrong_path_is_one_sentence(client: aiohttp.ClientSession) -> None:
    async with client.get("/nothing") as response:
        assert response.status == 404
        assert await response.json() == {"error": "GET /nothing: Not Found"}


async def test_the_health_of_the_page_counts_what_it_has_read(page: Page, client: aiohttp.ClientSession) -> None:
    page.put("switch", "desk", {"state": "ACTIVE"})
    async with client.get("/health") as response:
        health = await response.json()
    assert (health["status"], health["records"], health["tables"]) == ("ok", 1, 1)


def test_a_busy_port_is_replaced_by_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, listen("127.0.0.1", taken.getsockname()[1]) as other:
        assert other.getsockname()[1] not in (0, taken.getsockname()[1])


async def test_an_open_page_does_not_hold_up_the_end_of_the_worker(page: Page, client: aiohttp.ClientSession) -> None:
    async with client.get("/api/stream") as response:
        await anext(messages(response))
        async with asyncio.timeout(3):
            await page.stop()
