"""Pages in a real browser, wide and as wide as a phone. Asked for by name: ``-m browser``."""

from __future__ import annotations

from pathlib import Path

import pytest

from precsearch.report import compare, difference_page, run_page, tell
from tests.report.chromium import opened
from tests.report.runs import CHARTS, Run

pytestmark = pytest.mark.browser

WIDE = (
    "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') && "
    "e.getBoundingClientRect().right > innerWidth + 1).length"
)
DRAWN = (
    "[...document.querySelectorAll('[data-chart][data-drawn=yes]:has(svg)')]"
    ".map(e => e.dataset.chart)"
)


@pytest.fixture(scope="module")
def page(finished: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(run_page(tell([finished.run_dir])), encoding="utf-8")
    return file


@pytest.mark.parametrize(("width", "mobile"), [(1200, False), (390, True)])
def test_a_page_is_drawn_without_a_console_message(
    page: Path, tmp_path: Path, width: int, mobile: bool
) -> None:
    with opened(page, tmp_path, width, 900, mobile=mobile) as shown:
        assert shown.said == []
        assert shown.asked == [page.resolve().as_uri()]
        assert set(shown.value(DRAWN)) == CHARTS
        assert shown.value("document.documentElement.scrollWidth") <= width
        assert shown.value(WIDE) == 0
        picture = tmp_path / "page.png"
        shown.picture(picture)
        assert picture.stat().st_size > 10_000


def test_pointing_at_an_engine_shows_its_assignment(page: Path, tmp_path: Path) -> None:
    with opened(page, tmp_path, 1200, 900) as shown:
        # The second engine is all INT8: the first has nothing to tell.
        place = shown.value(
            "(() => { const marks = [...document.querySelectorAll("
            "'[data-chart=plane] .mark-symbol path')]; marks[1].scrollIntoView({block: 'center'});"
            " const box = marks[1].getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        shown.move_to(place[0] - 1, place[1])
        shown.move_to(*place)
        told = shown.value("document.getElementById('vg-tooltip-element').textContent")
        assert "assignment" in told
        assert "int8: " in told
        assert shown.said == []


def test_a_field_filters_the_groups(page: Path, tmp_path: Path) -> None:
    with opened(page, tmp_path) as shown:
        left = shown.value(
            "(() => { const field = document.querySelector('input[data-filters=groups]');"
            " field.value = 'stage3'; field.dispatchEvent(new Event('input'));"
            " return [...document.querySelectorAll('#groups tbody tr')].filter(r => !r.hidden)"
            ".map(r => r.textContent); })()"
        )
        assert left
        assert all("stage3" in row for row in left)


def test_two_plans_side_by_side(finished: Run, tmp_path: Path) -> None:
    file = tmp_path / "difference.html"
    file.write_text(difference_page(compare(finished.plan, finished.plan)), encoding="utf-8")
    with opened(file, tmp_path / "home", 390, 900, mobile=True) as shown:
        assert shown.said == []
        assert sorted(shown.value(DRAWN)) == ["plane", "strip"]
        assert shown.value("document.documentElement.scrollWidth") <= 390
