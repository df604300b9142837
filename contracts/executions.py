"""The names of executions on the wire."""

from __future__ import annotations


def parts(exec_id: str) -> tuple[str, int]:
    """Stem and revision of an execId: `0000e0d5.65a1b2c3.01.02` is the second revision of `0000e0d5.65a1b2c3.01`.

    One that does not end in a number has no revisions: it is its own stem.
    """
    stem, _, revision = exec_id.rpartition(".")
    return (stem, int(revision)) if stem and revision.isdecimal() else (exec_id, 0)
