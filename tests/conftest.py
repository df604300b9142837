"""The fixture shared by all tests against Kafka: the running desk."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import pytest

from app.demo import desk_settings
from app.stack import Stack
from connectors.market.source import describe


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
