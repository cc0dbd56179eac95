"""Pages judged by axe-core in a real browser, light and dark. Asked for by name: ``-m browser``.

axe-core is a package of npm and is not in this repository: ``PRECSEARCH_AXE`` names its
``axe.min.js``, which `.ci/run` fetches. Without it these tests are skipped.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from precsearch.report import Member, compare, difference_page, run_page, runs_page, tell
from tests.report.chromium import Page, opened
from tests.report.runs import Run

AXE = os.environ.get("PRECSEARCH_AXE", "")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not AXE, reason="PRECSEARCH_AXE names no axe.min.js"),
]
WIDTHS = [390, 1280]


def violations(shown: Page) -> list[str]:
    """Rules of WCAG 2.2 A and AA and of good practice that a page breaks, with where."""
    shown.value(Path(AXE).read_text(encoding="utf-8") + "; 0")
    shown.value(
        "window.judged = null; document.querySelectorAll('details').forEach(d => d.open = true);"
        "axe.run().then(found => { window.judged = found.violations.map("
        "v => v.id + ': ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 120)).join(' | ')); });"
    )
    found: Any = None
    while found is None:
        found = shown.value("window.judged")
    return list(found)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_page_breaks_no_rule_of_axe(
    finished: Run, tmp_path: Path, width: int, theme: str
) -> None:
    file = tmp_path / "report.html"
    file.write_text(run_page(tell([finished.run_dir])), encoding="utf-8")
    with opened(file, tmp_path / "home", width, 900, mobile=width == WIDTHS[0]) as shown:
        shown.theme(theme)
        assert violations(shown) == []


def test_a_comparison_breaks_no_rule_of_axe(finished: Run, tmp_path: Path) -> None:
    file = tmp_path / "difference.html"
    file.write_text(difference_page(compare(finished.plan, finished.plan)), encoding="utf-8")
    with opened(file, tmp_path / "home", WIDTHS[1], 900) as shown:
        assert violations(shown) == []


def test_several_runs_break_no_rule_of_axe(finished: Run, tmp_path: Path) -> None:
    file = tmp_path / "runs.html"
    story = tell([finished.run_dir])
    file.write_text(runs_page([Member("a", story), Member("b", story)]), encoding="utf-8")
    with opened(file, tmp_path / "home", WIDTHS[0], 900, mobile=True) as shown:
        assert violations(shown) == []
