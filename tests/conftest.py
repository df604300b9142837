"""Fixtures shared by all tests: the running desk, and where the real market data is."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.demo import desk_settings
from app.stack import Stack
from connectors.market.source import describe

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder with the real recordings; tests that need it skip, saying what is missing."""
    folder = Path(os.environ.get("FLOWGATE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real market data: {folder} is missing; set FLOWGATE_DATA to the folder that has it")
    return folder


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole desk on real parts: Kafka, gateway, one worker per group, and a synthetic market at its own speed."""
    desk = Stack(tmp_path_factory.mktemp("stack"), sys.stderr.write, desk_settings(describe("synthetic")))
    try:
        asyncio.run(desk.start())
        desk.start_feed("synthetic", seed=7, speed=1.0, warm_up_s=10.0)
        yield desk
    finally:
        desk.stop()
