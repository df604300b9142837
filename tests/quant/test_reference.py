"""Each function against its oracle, and docs/reference/quant.md against what this run found.

`FLOWGATE_WRITE=1 pytest tests/quant` writes the page.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import time
import timeit

import pytest

import quant
from tests.quant.definition_rows import definition_rows
from tests.quant.oracles import Row, rows
from tests.quant.page import shown

HEADER = "| function | equation | source | oracle | largest difference | cost per call |"
ROWS = [*rows(), *definition_rows()]


@pytest.fixture(scope="module")
def found() -> dict[str, float]:
    """Largest difference of each row, computed once for the comparison and for the page."""
    return {}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.function)
def test_a_function_agrees_with_its_oracle(row: Row, found: dict[str, float]) -> None:
    found[row.function] = row.compare()
    assert found[row.function] <= row.allowed


def public_functions() -> set[str]:
    """module.function of all that `quant` offers; of classes, what computes: `Problem.solve`."""
    found = {"portfolio.solve"}
    for info in pkgutil.iter_modules(quant.__path__):
        module = importlib.import_module(f"quant.{info.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                found.add(f"{info.name}.{name}")
    return found


def test_every_public_function_has_a_row_with_an_oracle() -> None:
    named = {f"{row.function.partition('.')[0]}.{word}" for row in ROWS for word in re.findall(r"\w+", row.function)}
    assert public_functions() - named == set()


def test_the_reference_page_shows_what_this_run_found(found: dict[str, float]) -> None:
    if len(found) < len(ROWS):
        pytest.skip("needs the whole file: the page shows every row")
    write = bool(os.environ.get("FLOWGATE_WRITE"))
    table = [cells(row, found[row.function], cost_of(row) if write else "") for row in ROWS]
    page = [line.split(" | ") for line in shown("oracles", [HEADER, "|---|---|---|---|---|---|", *table])]
    assert [line[:4] for line in page] == [line.split(" | ")[:4] for line in table]
    for row, line in zip(ROWS, page, strict=True):
        stale = f"{row.function}: found {found[row.function]:.1e}, the page says {line[4]}: write the page anew"
        # Another processor rounds differently: the same up to a factor of 100, or both mere rounding.
        assert found[row.function] <= max(100.0 * float(line[4]), 1e-12), stale
        assert float(line[4]) <= row.allowed, stale


def cells(row: Row, difference: float, cost: str) -> str:
    return f"| `{row.function}` | `{row.equation}` | {row.source} | {row.oracle} | {difference:.1e} | {cost} |"


def cost_of(row: Row) -> str:
    row.call()
    timer = timeit.Timer(row.call, timer=time.process_time)
    number = max(1, int(0.02 / max(timer.timeit(1), 1e-7)))
    seconds = min(timer.repeat(5, number)) / number
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} us"
