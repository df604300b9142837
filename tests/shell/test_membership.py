"""What a worker knows of its place without a broker; tests/chaos has the rest."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from app import membership
from app.membership import Membership, claim


@dataclass
class Answer:
    error_code: int


class HeartbeatRequest:
    """Only its name is looked at."""


class Coordinator:
    """Answers heartbeats with what it is told."""

    def __init__(self) -> None:
        self.error = 0

    async def _send_req(self, _request: object) -> Answer:
        return Answer(self.error)


async def test_a_write_waits_until_the_group_has_answered_again() -> None:
    place, coordinator = Membership(session_s=0.3), Coordinator()
    place.follow(coordinator)
    await asyncio.wait_for(place.held(), 1.0)  # before the first join there is nothing to lose
    await coordinator._send_req(HeartbeatRequest())
    await asyncio.wait_for(place.held(), 1.0)
    waited = asyncio.Event()
    asyncio.get_running_loop().call_later(0.25, waited.set)  # longer than two thirds of the session
    await waited.wait()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(place.held(), 0.1)
    await coordinator._send_req(HeartbeatRequest())
    await asyncio.wait_for(place.held(), 1.0)


@pytest.mark.parametrize("error", [22, 25, 82], ids=["illegal generation", "unknown member", "fenced instance"])
async def test_an_answer_that_the_place_is_gone_ends_the_worker(error: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class EndedError(Exception):
        pass

    def end(why: str) -> None:
        raise EndedError(why)

    monkeypatch.setattr(membership, "end", end)
    place, coordinator = Membership(session_s=10.0), Coordinator()
    place.follow(coordinator)
    coordinator.error = error
    with pytest.raises(EndedError):
        await coordinator._send_req(HeartbeatRequest())


def test_a_folder_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    first = claim(tmp_path / "dev-0")
    assert first is not None
    assert claim(tmp_path / "dev-0") is None
    assert claim(tmp_path / "dev-1") is not None
    first.close()
    assert claim(tmp_path / "dev-0") is not None
