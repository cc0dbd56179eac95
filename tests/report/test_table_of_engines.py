"""The page of a search on several backends: their table, and the run of the one that ships."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from precsearch.core.errors import InputError
from precsearch.core.events import Event
from precsearch.optimization.across.table_file import ENGINES, EngineTable, write_table
from precsearch.report import run_page, tell
from precsearch.search.journal import NAME, Journal
from precsearch.setup.config import EngineRow
from tests.cli.runs import synthetic_run
from tests.report.runs import Html

ROWS = (
    EngineRow("one", 0.8, "int8", 1.2, 1.25, 3e-3, 5, together=True),
    EngineRow("other", 1.0, "", None, 1.75, 4e-3, 9, together=True),
)


def several(folder: Path, events: list[Event]) -> Path:
    """A run directory with a run in it for each engine."""
    for row in ROWS:
        with Journal.open(folder / row.backend, {}) as journal:
            for event in events:
                journal.append(event)
    write_table(folder, EngineTable("other", ROWS))
    return folder


def test_the_page_has_a_line_for_each_engine_and_shows_the_run_that_ships(tmp_path: Path) -> None:
    run = several(tmp_path / "m.precsearch", list(synthetic_run()))
    story = tell([run])
    assert story.engines == EngineTable("other", ROWS)
    assert story.done == tell([run / "other"]).done != ()
    words = Html(run_page(story)).words
    assert "one0.80x1.20x int81.25x0.0035" in words  # cells of one row, side by side
    assert "other1.00x1.75x0.0049" in words
    assert "relative to the fastest FP32 engine of all, timed in the same rounds" in words


def test_the_page_of_one_engine_has_no_such_table(tmp_path: Path) -> None:
    run = several(tmp_path / "m.precsearch", list(synthetic_run()))
    assert "Engines beside each other" not in Html(run_page(tell([run / "one"]))).words


def test_a_later_run_on_one_engine_in_the_same_directory_is_shown_instead(tmp_path: Path) -> None:
    run = several(tmp_path / "m.precsearch", list(synthetic_run()))
    (run / NAME).write_bytes((run / "one" / NAME).read_bytes())
    os.utime(run / ENGINES, (0, 0))
    assert tell([run]).engines is None
    os.utime(run / NAME, (0, 0))
    os.utime(run / ENGINES, (9, 9))
    assert tell([run]).engines is not None


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"rows":[],"shipped":"x"}', "no row of what was shipped"),
        ("..", "no row of what was shipped"),
    ],
)
def test_a_damaged_table_is_one_sentence(tmp_path: Path, written: str, said: str) -> None:
    run = several(tmp_path / "m.precsearch", list(synthetic_run()))
    if written == "..":  # it must not lead out of the run directory
        row = EngineRow("../other", 1.0, "", None, 1.0, 0.0, 1, together=True)
        write_table(run, EngineTable("../other", (row,)))
    else:
        (run / ENGINES).write_text(written)
    with pytest.raises(InputError, match=said):
        tell([run])
