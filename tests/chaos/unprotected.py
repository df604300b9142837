"""A worker with one protection taken out: `FLOWGATE_WITHOUT=positions` or `membership`. The controls start it.

python -m tests.chaos.unprotected worker --without-web
"""

from __future__ import annotations

import logging
import os
from typing import Any

from app import membership, worker
from tables.rows import Row, RowCodec

log = logging.getLogger(__name__)


def without_positions() -> None:
    """Rows that come back from the changelog do not know what they have seen: what a table without positions is."""
    decode = RowCodec.decode

    def forgetful(self: RowCodec[Any], data: bytes) -> Row[Any]:
        row = decode(self, data)
        row.seen.clear()
        return row

    RowCodec.decode = forgetful  # type: ignore[method-assign]


def without_membership() -> None:
    """Writes leave whether the worker has its place or not, and losing it ends nothing: what stock Faust does."""

    async def held(_self: membership.Membership) -> None:
        return None

    membership.Membership.held = held  # type: ignore[method-assign, assignment]
    vars(membership)["end"] = log.warning


PROTECTIONS = {"positions": without_positions, "membership": without_membership}

if __name__ == "__main__":
    PROTECTIONS[os.environ["FLOWGATE_WITHOUT"]]()
    worker.main_app().main()
