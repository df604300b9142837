"""What goes wrong with a market source, in one sentence that says what to do."""

from __future__ import annotations


class SourceError(ValueError):
    """A source that cannot be opened or read; the message is for the person who named it."""


class MalformedLineError(SourceError):
    """A line that is not what its format says."""

    def __init__(self, member: str, line: int, expected: str) -> None:
        super().__init__(f"malformed line {line} of {member}: expected {expected}; repair or replace the file")
