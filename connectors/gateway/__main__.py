"""`python -m connectors.gateway [ctl]`: start a simulated IB Gateway, or control one that runs."""

from __future__ import annotations

import sys


def main(argv: list[str]) -> int:
    """Each branch imports what it needs alone: the control command answers without loading a market."""
    if argv[:1] == ["ctl"]:
        from connectors.gateway import ctl

        return ctl.main(argv[1:])
    from connectors.gateway import start

    return start.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
