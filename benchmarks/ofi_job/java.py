"""The Kafka Streams contestant: its jars by Maven coordinates, compiled on the broker's own Java runtime."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from connectors.kafka.broker import java
from connectors.kafka.jars import KAFKA_COORDINATES, Progress, class_path

KAFKA_VERSION = KAFKA_COORDINATES.split("+")[0].rsplit(":", 1)[1]
COORDINATES = f"org.apache.kafka:kafka-streams:{KAFKA_VERSION}+org.slf4j:slf4j-nop:2.0.17+org.eclipse.jdt:ecj:3.42.0"
SOURCE = Path(__file__).parent / "kafka_streams" / "OfiJob.java"


class CompileError(RuntimeError):
    """The Java source does not compile; the message has the compiler's words."""


def compile_job(target: Path, progress: Progress) -> list[str]:
    """Compile the job into `target`; returns the command that runs it, without its arguments."""
    folders = class_path(progress, COORDINATES).split(os.pathsep)
    jars = os.pathsep.join(str(jar) for folder in folders for jar in sorted(Path(folder).parent.glob("*.jar")))
    compiler = [java(), "-cp", jars, "org.eclipse.jdt.internal.compiler.batch.Main"]
    done = subprocess.run(
        [*compiler, "-21", "-nowarn", "-cp", jars, "-d", str(target), str(SOURCE)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CompileError(f"{SOURCE.name} does not compile: {done.stderr.strip()[-500:]}")
    return [java(), "-Xms256m", "-Xmx1g", "-cp", f"{target}{os.pathsep}{jars}", "OfiJob"]


def version() -> str:
    """The Java runtime in one line."""
    done = subprocess.run([java(), "-version"], capture_output=True, text=True, check=False)
    return " ".join(done.stderr.splitlines()[1:2]) or "unknown"
