"""What starts: settings, groups, the Faust shell, the demo stack, the web page and the command line.

`faust -A app worker` finds the Faust application here as `app.app`; it is made when first asked for.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module 'app' has no attribute {name!r}")
    root = str(Path(__file__).resolve().parent.parent)
    if root not in sys.path:
        # The faust command has the current folder on the path only while it imports this package, not its neighbours.
        sys.path.append(root)
    from app.worker import main_app

    return main_app()
