"""The programs of docs/python.md are those of examples/python, and they run."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from tests.hostile.situations.world import write_world

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples/python").glob("*.py"))


def test_the_page_shows_the_programs_as_they_are() -> None:
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    assert shown == {path.read_text(encoding="utf-8") for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_a_program_runs(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out
