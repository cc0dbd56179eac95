"""Blocks of the documentation that are marked as ``sh`` or ``python`` do what they say.

A block without a mark shows output, or a command on files that the reader has.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from precsearch.cli.commands import app
from tests.e2e.command import HOLDOUT, MODEL, command, environment, few_samples

ROOT = Path(__file__).parents[2]
PAGES = ("docs/quick-start.md",)
_ANY_BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of each block that a reader can run."""
    return [(m[1], m[2]) for m in _BLOCK.finditer((ROOT / page).read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run_in_their_order(page: str, tmp_path: Path) -> None:
    digits = tmp_path / "examples/digits"
    digits.mkdir(parents=True)
    (digits / "model.onnx").symlink_to(MODEL)
    few_samples(digits / "data.npz")  # the page's commands, on fewer samples
    few_samples(digits / "holdout.npz", source=HOLDOUT)
    ran = 0
    for language, text in blocks(page):
        commands = [[sys.executable, "-c", text]] if language == "python" else []
        for line in text.splitlines() if language == "sh" else ():
            words = shlex.split(line)
            if words[:1] == ["precsearch"]:  # the others make the environment, as .ci/run does
                commands.append(command(*words[1:]))
        for line_of_page in commands:
            done = subprocess.run(
                line_of_page,
                cwd=tmp_path,
                env=environment(),
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{line_of_page}: {done.stderr}"
            ran += 1
    assert ran >= 5
    assert (tmp_path / "fast.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes()


def lines_of(page: Path) -> list[str]:
    """Commands of precsearch in the blocks of a page, also on files that the reader has."""
    text = "\n".join(_ANY_BLOCK.findall(page.read_text(encoding="utf-8")))
    lines = (line.strip() for line in re.sub(r"\\\n\s*", " ", text).splitlines())
    commands = (re.split(r" # | && | \| | > ", line)[0] for line in lines)
    return [c for c in commands if c.startswith("precsearch ") and "…" not in c]


def test_every_command_of_every_page_has_options_that_exist() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    known, read = group.commands, 0
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for line in lines_of(page):
            name, *words = shlex.split(line)[1:]
            if name.startswith("--"):  # of precsearch itself
                continue
            try:
                known[name].make_context(name, words).close()
            except Exception as error:
                raise AssertionError(f"{page.relative_to(ROOT)}: {line}: {error}") from error
            read += 1
    assert read > 60


def test_the_navigation_of_the_site_names_every_page() -> None:
    named = re.findall(r"[\w./-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    made = {"changelog.md", "reference/commands.md"}
    missing = [name for name in named if name not in made and not (ROOT / "docs" / name).exists()]
    assert not missing
    of_their_own = ("adr/", "benchmarks/")  # docs/site/hooks.py adds them
    pages = {str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md")}
    lost = {p for p in pages - set(named) if not p.startswith(of_their_own)}
    assert not lost, "a reader finds each page in the navigation of mkdocs.yml"


def test_files_that_pages_name_are_there() -> None:
    named = re.compile(r"`((?:tests|precsearch|strategies|benchmarks|examples|docs)/[\w./-]+)`")
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    gone = [
        f"{page.relative_to(ROOT)}: {path}"
        for page in pages
        if page.parent.name != "adr"  # decisions name what was there when they were taken
        for path in named.findall(page.read_text(encoding="utf-8"))
        if not (ROOT / path).exists()
    ]
    assert not gone
