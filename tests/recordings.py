"""Real recordings for the tests: files in $FLOWGATE_RECORDINGS, or in `../shared/data` beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def recording(name: str) -> Path:
    """Path of a recording; the test skips, naming it, where it is absent."""
    path = Path(os.environ.get("FLOWGATE_RECORDINGS", ROOT.parent / "shared" / "data")) / name
    if not path.exists():
        pytest.skip(f"no {name}: set FLOWGATE_RECORDINGS to the folder that holds it")
    return path
