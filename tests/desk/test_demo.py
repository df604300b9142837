"""The demo as a person runs it: a process, its output, its exit status, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.recordings import recording

ROOT = Path(__file__).resolve().parents[2]
DEMO_S = 240.0
COMMAND = (sys.executable, "-m", "app", "demo")
MAKE = ("make", "--old-file=.venv/run.stamp", "demo")
"""The target itself, without a look at whether the packages are those of the lock file."""


class Demo:
    """A running demo and the text it has written so far."""

    def __init__(self, output: Path, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **env},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self._output.read_text(errors="replace")

    def until(self, condition: Callable[[str], object]) -> None:
        deadline = time.monotonic() + DEMO_S
        while not condition(self.text):
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.text}"
            assert time.monotonic() < deadline, f"still waiting:\n{self.text}"
            try:
                self.process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue

    def end(self) -> int:
        return self.process.wait(DEMO_S)

    def folder(self) -> str:
        match = re.search(r"logs in (\S+)/logs", self.text)
        assert match, self.text
        return match[1]


Start = Callable[..., Demo]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts demos; whatever a failed test leaves running is ended."""
    demos: list[Demo] = []

    def starter(*options: str, command: Sequence[str] = COMMAND, **env: str) -> Demo:
        demos.append(Demo(tmp_path / f"output-{len(demos)}", [*command, *options], env))
        return demos[-1]

    yield starter
    for demo in demos:
        demo.process.terminate()
        demo.end()


def processes_naming(text: str) -> list[str]:
    """Command lines of running processes that name `text`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended while we looked
        if text in line:
            found.append(line)
    return found


def filled(text: str) -> int:
    match = re.search(r"orders at the gateway +\d+, (\d+) filled", text)
    assert match, text
    return int(match[1])


@pytest.mark.stack
def test_the_synthetic_market_is_traded_and_two_demos_run_side_by_side_one_with_users_and_rights(start: Start) -> None:
    first = start("--duration", "30")
    second = start("SECURE=1", "DURATION=15", "SEED=8", command=MAKE)
    for demo in (first, second):
        assert demo.end() == 0, demo.text
        assert "equal to the cent" in demo.text
        assert processes_naming(demo.folder()) == []
        assert not Path(demo.folder()).exists()
    assert filled(first.text) >= 10
    assert filled(second.text) > 0
    assert re.search(r"security +\d+\.\d s  \d+ users, \d+ rights granted", second.text)
    assert "seed 8, source synthetic" in second.text


@pytest.mark.stack
@pytest.mark.parametrize(
    ("name", "speed"), [("AMZN_2012-06-21_5.zip", "50"), ("binance_spot_btcusdt_20240809.gz", "2")]
)
def test_a_real_recording_is_traded_and_the_books_are_equal(start: Start, name: str, speed: str) -> None:
    demo = start("--source", str(recording(name)), "--speed", speed, "--duration", "45")
    assert demo.end() == 0, demo.text
    assert "equal to the cent" in demo.text
    assert filled(demo.text) >= 10


@pytest.mark.stack
def test_ctrl_c_ends_a_trading_demo_in_order_with_a_summary(start: Start) -> None:
    demo = start()
    demo.until(lambda text: re.search(r"fills [1-9]", text))
    demo.process.send_signal(signal.SIGINT)
    assert demo.end() == 0, demo.text
    assert "equal to the cent" in demo.text
    assert "nothing is left running" in demo.text
    assert processes_naming(demo.folder()) == []


@pytest.mark.stack
def test_a_dead_child_ends_everything_with_its_last_lines(start: Start) -> None:
    demo = start()
    demo.until(lambda text: "trading; page" in text)
    gateway = next(
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if demo.folder() in (line := path.read_text(errors="replace")) and "connectors.gateway" in line
    )
    os.kill(gateway, signal.SIGKILL)
    assert demo.end() == 2, demo.text
    assert "gateway ended with status -9; its last lines:" in demo.text
    assert "Traceback" not in demo.text
    assert processes_naming(demo.folder()) == []


@pytest.mark.stack
def test_a_malformed_line_in_a_source_is_one_sentence(start: Start, tmp_path: Path) -> None:
    source = tmp_path / "AMZN_2012-06-21_34200000_57600000_orderbook_1.zip"
    name = "AMZN_2012-06-21_34200000_57600000_{}_1.csv"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr(name.format("message"), "34200.1,1,1,100,2239500,1\n34200.2,one,1,100,2239500,1\n")
        archive.writestr(name.format("orderbook"), "2239600,100,2239500,100\n" * 2)
    demo = start("--source", str(source))
    assert demo.end() == 2, demo.text
    assert "malformed line 2" in demo.text
    assert "Traceback" not in demo.text
    assert processes_naming(demo.folder()) == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--source", "/no/such/file.zip"), "no file '/no/such/file.zip'; give the path of"),
        (("--source", "LICENSE"), "LICENSE"),
        (("--speed", "0"), "SPEED=0 makes no sense"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_status_2(start: Start, options: tuple[str, ...], sentence: str) -> None:
    demo = start(*options)
    assert demo.end() == 2, demo.text
    assert sentence in demo.text
    assert "Traceback" not in demo.text
    assert len(demo.text.splitlines()) == 1


def test_no_network_on_the_first_run_says_to_connect(start: Start, tmp_path: Path) -> None:
    dead = "http://127.0.0.1:9"
    demo = start(FLOWGATE_CACHE=str(tmp_path / "cache"), HTTPS_PROXY=dead, HTTP_PROXY=dead)
    assert demo.end() == 2, demo.text
    assert "connect to the network and run the command again" in demo.text
    assert "Traceback" not in demo.text


def test_a_full_disk_says_to_free_space(start: Start, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("a small disk cannot be mounted: that needs root")
    try:
        demo = start(TMPDIR=str(small))
        assert demo.end() == 2, demo.text
        assert f"the disk is full ({small}); free 500 MB" in demo.text
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.stack
def test_a_reader_that_goes_away_leaves_nothing_running() -> None:
    """As behind `| head -3`."""
    with subprocess.Popen(
        [sys.executable, "-m", "app", "demo"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        first = [process.stdout.readline() for _ in range(3)]
        folder = re.search(r"logs in (\S+)/logs", "".join(first))
        process.stdout.close()
        assert process.wait(DEMO_S) != 0
    assert folder is not None
    assert processes_naming(folder[1]) == []
