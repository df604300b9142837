"""`docs/reference/benchmarks.md`: each benchmark writes its own section and leaves the others alone."""

from __future__ import annotations

import os
import platform
import re
import time
from importlib import metadata
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `python -m benchmarks.ofi_job`, `python -m benchmarks.growth`, `python -m benchmarks.latency`,
`python -m benchmarks.start` and `python -m benchmarks.execution --write`; do not edit. Contestants run one after
another in the same run on one broker and one machine, so the ratios mean more than the numbers.
"""


def write(title: str, body: str, page: Path = PAGE) -> None:
    """Put the section `title` on the page, in place of the one that is there."""
    text = page.read_text() if page.exists() else ""
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    sections = {name: old.strip() for name, old in zip(parts[1::2], parts[2::2], strict=True)}
    sections[title] = body.strip()
    page.write_text(HEAD + "".join(f"\n## {name}\n\n{sections[name]}\n" for name in sorted(sections, reverse=True)))


def machine(java: str, load_before: float) -> str:
    """One line on where the numbers come from, and how busy it was; call it at the end of a run."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    hardware = f"{os.cpu_count()} cores ({cpu_model()}), {memory:.0f} GiB"
    load = f"load {load_before:.1f} before and {os.getloadavg()[0]:.1f} after the run"
    python = f"Python {platform.python_version()}, pydantic {metadata.version('pydantic')}"
    return f"{time.strftime('%Y-%m-%d')}; {hardware}, {load}; {platform.system()}, {python}; {java}."


def cpu_model() -> str:
    """The processor's name, where the system tells it."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.machine()
