"""Takes the pictures of a run that the documentation shows: its report, and its live view.

    python docs/site/pictures.py model.precsearch docs/pictures

Needs Chromium, and Pillow, which keeps the files small: charts have few colours. The live view is
drawn from the journal, as it was after the seventh engine.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from PIL import Image
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from precsearch.cli.progress.render import render
from precsearch.cli.progress.view import View, fold
from precsearch.core.events import TrialFinished
from precsearch.report import run_page, tell
from precsearch.search.journal import read
from tests.report.chromium import opened

_COLOURS = 256
_ENGINES = 7
_SCREENS = ((80, 24), (140, 30))


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: its file, what it shows, and how much of the page."""

    name: str
    theme: str
    width: int
    height: int


PICTURES = (
    Picture("report-desktop.png", "light", 1280, 1500),
    Picture("report-desktop-dark.png", "dark", 1280, 1500),
    Picture("report-phone.png", "light", 390, 2600),
)


def take(report: Path, folder: Path, picture: Picture) -> None:
    """Write one picture of a report into a folder."""
    target = folder / picture.name
    phone = picture.width < 600
    with tempfile.TemporaryDirectory() as home:
        size = (picture.width, picture.height)
        with opened(report, Path(home), *size, mobile=phone) as page:
            page.theme(picture.theme)
            page.picture(target)
    with Image.open(target) as shot:
        few = shot.convert("RGB").quantize(
            _COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
    few.save(target, optimize=True)


def live(run: Path, folder: Path) -> None:
    """Write the live view of a run at each size."""
    view = View()
    for event in read(run):
        view = fold(view, event)
        if isinstance(event, TrialFinished) and event.builds >= _ENGINES:
            break
    for width, height in _SCREENS:
        console = Console(record=True, width=width, file=StringIO(), force_terminal=True)
        console.print(render(view, width, height))
        console.save_svg(str(folder / f"live-{width}.svg"), title="precsearch optimize")


def main(run: Path, folder: Path) -> None:
    """Write all pictures of a run into a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.html"
        report.write_text(run_page(tell([run])), encoding="utf-8")
        for picture in PICTURES:
            take(report, folder, picture)
    live(run, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
