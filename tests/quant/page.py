"""docs/reference/quant.md: its tables are written by the tests that compute them, when FLOWGATE_WRITE is set."""

from __future__ import annotations

import os

from tests.recordings import ROOT

PAGE = ROOT / "docs" / "reference" / "quant.md"


def shown(section: str, lines: list[str]) -> list[str]:
    """Table rows, header aside, that the page shows in `section`; FLOWGATE_WRITE=1 first puts `lines` there."""
    start, end = f"<!-- {section} -->", f"<!-- end of {section} -->"
    page = PAGE.read_text(encoding="utf-8")
    if os.environ.get("FLOWGATE_WRITE"):
        page = page[: page.index(start)] + "\n".join([start, *lines, end]) + page[page.index(end) + len(end) :]
        PAGE.write_text(page, encoding="utf-8")
    return [line for line in page[page.index(start) : page.index(end)].splitlines() if line.startswith("| ")][1:]
