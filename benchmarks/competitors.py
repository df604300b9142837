"""A virtual environment of their own for the frameworks that the project itself does not use."""

from __future__ import annotations

import fcntl
import hashlib
import re
import subprocess
import sys
from pathlib import Path

from connectors.kafka.jars import Progress, cache_home

LOCK = Path(__file__).parent / "requirements.lock"


class CompetitorsUnavailableError(RuntimeError):
    """The environment is neither there nor to be had; the message says what to do."""


def interpreter(progress: Progress) -> str:
    """Python of the environment that has exactly the packages of the lock file; made on first use.

    Raises CompetitorsUnavailableError with one sentence when it cannot be had.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    name = f"competitors-{version}-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    home = cache_home() / "benchmarks"
    home.mkdir(parents=True, exist_ok=True)
    folder = home / name
    python = folder / "bin" / "python"
    with (home / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            progress("installing Quix Streams and Bytewax (first run only: about 60 MB to download)")
            _install(folder, python)
            (folder / "complete").touch()
    return str(python)


def version(package: str) -> str:
    """The version of a package in the lock file."""
    found = re.search(rf"^{package}==(\S+)", LOCK.read_text(), re.MULTILINE)
    if found is None:
        raise CompetitorsUnavailableError(f"{LOCK.name} has no {package}; compile requirements.in again")
    return found[1]


def _install(folder: Path, python: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    commands = (
        [str(uv), "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
        [str(uv), "pip", "sync", "--quiet", "--require-hashes", "--python", str(python), str(LOCK)],
    )
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise CompetitorsUnavailableError(f"{uv} is missing; run make test once, which installs it") from None
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1].strip()
            raise CompetitorsUnavailableError(
                f"Quix Streams and Bytewax cannot be installed ({reason}); connect to the network and use Python 3.11 "
                "or 3.12, or leave them out with --only"
            )
