"""Fixtures shared by all tests: the running desk, and where folders go."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator

import pytest

from app.demo import desk_settings
from app.stack import Stack
from connectors.market.source import describe


@pytest.fixture(scope="session", autouse=True)
def _scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Folders that tests make for their brokers are pytest's, which removes them unless something failed."""
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.mktemp("scratch"))
    yield
    tempfile.tempdir = before


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole desk on real parts: Kafka, gateway, one worker per group, and a synthetic market at its own speed."""
    desk = Stack(tmp_path_factory.mktemp("stack"), _tell, desk_settings(describe("synthetic")))
    try:
        asyncio.run(desk.start())
        desk.start_feed("synthetic", seed=7, speed=1.0, warm_up_s=10.0)
        yield desk
    finally:
        desk.stop()
