"""A page on a real socket, with a view filled by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from app import settings as settings_module
from app.web import facts, url
from app.web.site import Site
from app.web.view import View
from app.workers import listen
from tests.web.page_harness import Page


@pytest.fixture
async def page(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Page]:
    monkeypatch.setenv("FLOWGATE_PROFILE", "dev")
    running = Page(View("flowgate", ["risk", "execution", "signals", "portfolio", "gates"]))
    site = Site(running.view, facts(settings_module.load()), running.send, local=True)
    running.site = site
    running.runner = runner = web.AppRunner(site.application(), access_log=None, shutdown_timeout=60.0)
    await runner.setup()
    listener = listen("127.0.0.1", 0)
    await web.SockSite(runner, listener).start()
    running.address = url(listener).rstrip("/")
    yield running
    await running.stop()
