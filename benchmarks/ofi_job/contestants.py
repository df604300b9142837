"""Who takes part, and how each is started."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from benchmarks import competitors
from benchmarks.ofi_job import java
from benchmarks.ofi_job.job import BUCKET_NS, Place
from connectors.kafka.jars import Progress

Command = Callable[[Place], Sequence[str]]
NAMES = (
    *("shell", "shell_core", "shell_2", "faust", "quix", "bytewax"),
    *("streams", "streams_core", "streams_tuned", "streams_2", "bare"),
)
ON_ONE_CORE = (
    "import os, sys; os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}); os.execvp(sys.argv[1], sys.argv[1:])"
)


@dataclass(frozen=True)
class Contestant:
    """`part`: it runs on the first part of the events. `changelog`: it needs its changelog topic made for it.

    `processes`: so many workers share the partitions.
    """

    name: str
    title: str
    validation: str
    state: str
    command: Command
    part: bool = False
    changelog: bool = False
    processes: int = 1

    def environment(self, place: Place, number: int) -> dict[str, str]:
        """Settings of this project's worker; the others do not look at them."""
        return {
            "PYTHONUNBUFFERED": "1",
            "FLOWGATE_PROFILE": "dev",
            "FLOWGATE_PREFIX": place.group,
            "FLOWGATE_KAFKA__BOOTSTRAP": place.bootstrap,
            "FLOWGATE_DATA": place.folder,
            "FLOWGATE_INSTANCE": str(number),
            "FLOWGATE_DESK__MARKET__BUCKET_MS": str(BUCKET_NS // 1_000_000),
        }


def python(module: str, *arguments: str, interpreter: str = sys.executable) -> Command:
    """The command of a contestant in Python."""
    return lambda _place: [interpreter, "-m", f"benchmarks.ofi_job.{module}", *arguments]


def field(wanted: Sequence[str], folder: Path, progress: Progress) -> list[Contestant]:
    """The wanted contestants, in the order of `NAMES`; what they need is installed or compiled first."""
    makers: dict[str, Callable[[], Contestant]] = {
        "shell": shell,
        "shell_core": lambda: on_one_core(shell(), "**the shell, on one core**"),
        "shell_2": shell_twice,
        "faust": stock_faust,
        "quix": lambda: quix(competitors.interpreter(progress)),
        "bytewax": lambda: bytewax(competitors.interpreter(progress)),
        "streams": lambda: kafka_streams(java.compile_job(folder / "classes", progress)),
        "streams_core": lambda: on_one_core(
            kafka_streams(java.compile_job(folder / "classes", progress)),
            f"Kafka Streams {java.KAFKA_VERSION}, on one core",
        ),
        "streams_tuned": lambda: kafka_streams_tuned(java.compile_job(folder / "classes", progress)),
        "streams_2": lambda: kafka_streams_twice(java.compile_job(folder / "classes", progress)),
        "bare": bare,
    }
    return [makers[name]() for name in NAMES if name in wanted]


def shell() -> Contestant:
    return Contestant(
        "shell",
        "**this project's shell**",
        "msgspec, from the pydantic contract",
        "memory; a row per key and batch",
        python("shell", "worker", "--without-web", "--loglevel", "warn"),
    )


def shell_twice() -> Contestant:
    return dataclasses.replace(shell(), name="shell_2", title="**the shell, two workers**", processes=2)


def on_one_core(one: Contestant, title: str) -> Contestant:
    """The same with all its threads on one core; the broker may use both."""

    def line(place: Place) -> list[str]:
        return [sys.executable, "-c", ON_ONE_CORE, *one.command(place)]

    return dataclasses.replace(one, name=f"{one.name}_core", title=title, command=line)


def stock_faust() -> Contestant:
    return Contestant(
        "faust",
        f"Faust {metadata.version('faust-streaming')}, stock",
        "msgspec, from the pydantic contract",
        "memory; a record per event",
        python("stock_faust", "worker", "--without-web", "--loglevel", "warn"),
        part=True,
    )


def quix(interpreter: str) -> Contestant:
    return Contestant(
        "quix",
        f"Quix Streams {competitors.version('quixstreams')}",
        "msgspec, from the pydantic contract",
        "RocksDB; a record per key and commit",
        python("quix", interpreter=interpreter),
    )


def bytewax(interpreter: str) -> Contestant:
    return Contestant(
        "bytewax",
        f"Bytewax {competitors.version('bytewax')}",
        "msgspec, from the pydantic contract",
        "memory; no changelog: a snapshot a second in SQLite",
        python("bytewax_flow", interpreter=interpreter),
    )


def kafka_streams(command: Sequence[str]) -> Contestant:
    return Contestant(
        "streams",
        f"Kafka Streams {java.KAFKA_VERSION} (Java)",
        "Jackson, bound to a class, then checked",
        "RocksDB, as is the default; cache, a record per key and commit",
        streams(command, "usual", 1),
    )


def kafka_streams_tuned(command: Sequence[str]) -> Contestant:
    return Contestant(
        "streams_tuned",
        "the same, tuned by hand",
        "Jackson's tokens, checked as they pass",
        "memory; cache, a record per key and commit",
        streams(command, "tuned", 1),
    )


def kafka_streams_twice(command: Sequence[str]) -> Contestant:
    one = kafka_streams(command)
    title = f"Kafka Streams {java.KAFKA_VERSION}, two threads"
    return dataclasses.replace(one, name="streams_2", title=title, command=streams(command, "usual", 2))


def streams(command: Sequence[str], style: str, threads: int) -> Command:
    def line(place: Place) -> list[str]:
        return [*command, place.bootstrap, place.source, place.target, place.group, place.folder, style, str(threads)]

    return line


def bare() -> Contestant:
    return Contestant(
        "bare",
        f"bare aiokafka {metadata.version('aiokafka')} loop",
        "msgspec, from the pydantic contract",
        "dictionary; a row per key and batch",
        python("bare"),
        changelog=True,
    )
