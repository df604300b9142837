"""The study page: real numbers, the same every time, and one sentence when the source is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app import study
from tests.quant.page import shown
from tests.recordings import recording

pytestmark = pytest.mark.slow


def mean_row(page: str) -> list[float]:
    """R^2 of level 1, integrated and trades, from the last line of the first table."""
    found = re.search(r"<tr><th>mean</th>(.*?)<td></td>", page)
    assert found is not None
    return [float(v) for v in re.findall(r"<td>([\d.]+)</td>", found[1])]


def test_amzn_fits_are_within_the_published_range_and_both_views_agree(tmp_path: Path) -> None:
    out = tmp_path / "amzn.html"
    assert study.main(["--source", str(recording("AMZN_2012-06-21_5.zip")), "--out", str(out)]) == 0
    page = out.read_text()
    level1, integrated, trades = mean_row(page)
    assert "<b>identical in every bucket</b>" in page
    assert 0.35 <= level1 <= 0.79
    assert integrated > level1 + 0.15
    assert trades < level1
    assert page.count("<svg") == 4
    assert "nan" not in page
    table = [f"| {level1:.3f} | {integrated:.3f} | {trades:.3f} |"]
    header = ["| level-1 OFI | integrated OFI, weights of the half hour before | trades alone |", "|---|---|---|"]
    assert shown("fits", [*header, *table]) == table


def test_a_synthetic_study_is_the_same_page_each_time(tmp_path: Path) -> None:
    pages = []
    for name in ("one.html", "two.html"):
        out = tmp_path / name
        assert study.main(["--source", "synthetic:SPY", "--seed", "3", "--hours", "0.2", "--out", str(out)]) == 0
        pages.append(out.read_text())
    assert pages[0] == pages[1]
    assert "identical in every bucket" in pages[0]
    assert mean_row(pages[0])[0] > 0.3


def test_a_source_too_short_for_a_fit_says_so(tmp_path: Path) -> None:
    out = tmp_path / "short.html"
    assert study.main(["--source", "synthetic:SPY", "--hours", "0.01", "--out", str(out)]) == 0
    assert "too short a record for a fit" in out.read_text()


@pytest.mark.parametrize("source", ["no/such.zip", "synthetic:NOPE"])
def test_a_source_that_is_none_gets_one_sentence(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.main(["--source", source, "--out", str(tmp_path / "x.html")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "x.html").exists()
