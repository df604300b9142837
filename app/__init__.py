"""What starts: settings, groups, the Faust shell, the demo stack, the web page and the command line.

`faust -A app worker` finds the Faust application here as `app.app`; it is made when first asked for.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

# Before anything imports numpy. The desk's matrices are small, and several workers share the cores: with two threads
# each, one 50 x 50 eigendecomposition took 12 ms under load instead of 0.2.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module 'app' has no attribute {name!r}")
    root = str(Path(__file__).resolve().parent.parent)
    if root not in sys.path:
        # The faust command has the current folder on the path only while it imports this package, not its neighbours.
        sys.path.append(root)
    from app.worker import main_app

    return main_app()
