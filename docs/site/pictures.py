"""Takes the pictures of a report that the documentation shows.

    python docs/site/pictures.py report.html docs/pictures

Needs Chromium, and Pillow, which keeps the files small: charts have few colours.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.report.chromium import opened

_COLOURS = 256


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
        few = shot.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    few.save(target, optimize=True)


if __name__ == "__main__":
    for one in PICTURES:
        take(Path(sys.argv[1]), Path(sys.argv[2]), one)
