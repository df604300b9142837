"""The log of decisions as evidence: is its chain whole, and a copy of it that outlives the topic.

Each record ends with the SHA-256 of itself with that hash left empty, and holds the hash of the record before. It is
taken of the bytes as they were written, so a release that adds a field still checks the records of the one before.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from app.decoding import UnreadableError, read
from app.history import history
from connectors.kafka.access import Access
from contracts.topics import DECISIONS

REMEMBERED: Final = 100_000
"""Records among which one that came twice is found: a crash repeats some seconds."""


class Chain:
    """Checks decisions one after another and keeps none. A record that came twice, after a crash, is one link."""

    def __init__(self) -> None:
        self.count, self.faults = 0, 0
        self.first_hash = self.last_hash = self.first_fault = ""
        self._last_intent = ""
        self._seen: dict[str, None] = {}

    def take(self, value: bytes, place: str) -> bool:
        """Whether this record is a new one of the log; a fault is counted, and the first one is told."""
        try:
            record: Any = read(DECISIONS, value)
        except UnreadableError as error:
            self._fault(f"{place} is no decision record: {error.detail}")
            return False
        name = f"{place}, the decision on {record.intent_id}"
        if content_hash(value, record.record_hash) != record.record_hash:
            self._fault(f"{name}: its hash is not that of its content")
        elif record.record_hash in self._seen:
            return False
        if self.count and record.previous_hash != self.last_hash:
            self._fault(f"{name}: it does not follow the decision on {self._last_intent}")
        self.count += 1
        self.first_hash = self.first_hash or record.record_hash
        self.last_hash, self._last_intent = record.record_hash, record.intent_id
        self._seen[record.record_hash] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True

    def _fault(self, sentence: str) -> None:
        self.faults += 1
        self.first_fault = self.first_fault or sentence

    @property
    def verdict(self) -> str:
        """What a person is told; of a whole chain the hashes to note, as the log cannot be changed under a noted one
        unseen."""
        if self.faults:
            more = f" ({self.faults} faults in {self.count:,} decisions)" if self.faults > 1 else ""
            return f"the chain is broken at {self.first_fault}{more}"
        if not self.count:
            return "0 decisions"
        return f"{self.count:,} decisions, the chain is whole\nfirst {self.first_hash}\nlast  {self.last_hash}"


def content_hash(value: bytes, own_hash: str) -> str:
    """SHA-256 of a record's bytes without its own hash, which comes last; empty if it is no line that ends so."""
    end = f'"record_hash":"{own_hash}"}}'.encode()
    if not value.endswith(end) or b"\n" in value:
        return ""
    return hashlib.sha256(value.removesuffix(end) + b'"record_hash":""}').hexdigest()


async def check(access: Access, keep: Callable[[bytes], object] | None = None) -> Chain:
    """Check the whole topic; `keep` gets each record of the log as a line."""
    chain = Chain()
    async with history(access) as log:
        async for batch in log.batches(DECISIONS):
            for record in batch:
                if chain.take(record.value or b"", f"{DECISIONS.name}/0/{record.offset}") and keep is not None:
                    keep(record.value + b"\n")
    return chain


def export(access: Access, path: Path) -> Chain:
    """The log as JSON lines, oldest first, in a new file, checked on the way; a broken chain is written too.

    The file gets its name when it is complete. FileExistsError: nothing is overwritten.
    """
    if path.exists():
        raise FileExistsError(errno.EEXIST, "it exists, and no log is overwritten", str(path))
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("xb") as file:
        try:
            chain = asyncio.run(check(access, file.write))
        except BaseException:
            partial.unlink()
            raise
    partial.rename(path)
    return chain
