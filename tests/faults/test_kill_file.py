"""The kill file: a kill in it is neither lost nor misread."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from app import killfile
from app.broker import obey
from app.killfile import Kill
from contracts.controls import covers

GOOD = {"scope": "instrument:SPY", "operator": "Ada", "reason": "a rehearsal"}


@pytest.mark.parametrize(
    "line",
    [
        json.dumps(GOOD | {"scope": None}).encode(),
        json.dumps(GOOD | {"scope": "Account"}).encode(),
        json.dumps(GOOD | {"operator": 7}).encode(),
        json.dumps(GOOD | {"flatten": "no"}).encode(),
        json.dumps(GOOD | {"disconnect": "no"}).encode(),
        json.dumps(GOOD | {"until": "noon"}).encode(),
        b'{"sco',
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_no_kill_kills_the_account_and_leaves_the_others_alone(tmp_path: Path, line: bytes) -> None:
    (tmp_path / killfile.NAME).write_bytes(json.dumps(GOOD).encode() + b"\n" + line)
    first, second = killfile.read(tmp_path)
    assert first == Kill("instrument:SPY", "Ada", "a rehearsal")
    assert (second.scope, second.flatten, second.disconnect) == ("account", False, False)
    assert "line 2" in second.reason
    assert covers(second.scope, "ofi", "QQQ", "a" * 24)
    assert killfile.remove(tmp_path, "account") == 1
    assert killfile.read(tmp_path) == [first], "a reset of the account lifts no other scope"


def test_a_kill_behind_a_torn_line_is_a_line_of_its_own(tmp_path: Path) -> None:
    """A full disk tears a line; the next kill must not be glued to it."""
    (tmp_path / killfile.NAME).write_bytes(b'{"scope": "instr')
    killfile.add(tmp_path, Kill("strategy:ofi", "Ada", "a rehearsal"))
    assert [one.scope for one in killfile.read(tmp_path)] == ["account", "strategy:ofi"]


def test_a_kill_that_comes_while_a_reset_changes_the_file_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killfile.add(tmp_path, Kill("instrument:SPY", "Ada", "a rehearsal"))
    read, killing = killfile.read, Thread(target=killfile.add, args=(tmp_path, Kill("account", "Bo", "STOP")))

    def interrupted(folder: Path) -> list[Kill]:
        found = read(folder)
        killing.start()
        killing.join(0.2)  # without a lock it is done long before
        return found

    monkeypatch.setattr(killfile, "read", interrupted)
    assert killfile.remove(tmp_path, "instrument:SPY") == 1
    killing.join()
    assert read(tmp_path) == [Kill("account", "Bo", "STOP")]


def test_a_command_that_is_stopped_with_the_kill_file_in_its_hand_stops_no_kill_but_a_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(killfile, "LOCK_S", 0.1)
    with killfile._alone(tmp_path) as alone:
        assert alone
        killfile.add(tmp_path, Kill("account", "Bo", "STOP"))
        with pytest.raises(OSError, match="another command holds"):
            killfile.remove(tmp_path, "account")
    assert killfile.remove(tmp_path, "account") == 1


def test_the_log_says_which_line_of_the_kill_file_is_no_kill(tmp_path: Path, caplog: Any) -> None:
    (tmp_path / killfile.NAME).write_text("{ not json\n")

    async def look() -> None:
        held = asyncio.Event()

        async def hold(_scopes: Any) -> None:
            held.set()

        session: Any = SimpleNamespace(sender=SimpleNamespace(hold=hold), stay_away=lambda away: None)
        watch = asyncio.create_task(obey(session, tmp_path))
        await held.wait()
        watch.cancel()

    asyncio.run(look())
    assert "line 1" in caplog.text
    assert "account" in caplog.text
