"""A broker that is not there: one sentence from every command, and patience from what has to go on."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from app.stack import ROOT

NOWHERE = {**os.environ, "FLOWGATE_KAFKA__BOOTSTRAP": "127.0.0.1:1", "PYTHONUNBUFFERED": "1"}
SENTENCE = "no Kafka answers at 127.0.0.1:1; start it or set FLOWGATE_KAFKA__BOOTSTRAP"


@pytest.mark.parametrize(
    "arguments",
    [("topics", "--apply"), ("topics", "--check"), ("deadletters", "list"), ("security", "--apply"), ("doctor",)],
)
def test_a_command_without_a_broker_says_so_in_one_sentence(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", *arguments], env=NOWHERE, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode in (1, 2)
    assert SENTENCE in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_feed_tries_again_after_one_second_then_two_and_goes_on_trying() -> None:
    feed = subprocess.Popen(
        [sys.executable, "-m", "app", "feed"], env=NOWHERE, cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        assert feed.stderr is not None
        told: list[tuple[str, float]] = []
        for line in feed.stderr:
            if line.startswith("flowgate:"):
                told.append((line.strip(), time.monotonic()))
            if len(told) == 3:
                break
        waits = [line.partition("; trying")[2] for line, _ in told]
        assert waits == [" again in 1 s", " again in 2 s", " again in 4 s"]
        assert SENTENCE in told[0][0]
        assert told[1][1] - told[0][1] > 0.9
        assert told[2][1] - told[1][1] > 1.9
        assert feed.poll() is None
    finally:
        feed.kill()
        feed.wait()
