"""Limits of size that keep the code readable; exceptions stand in a table here with their reason.

A file has at most 300 lines, a function at most 40 without its docstring, a folder at most 15
modules. The tables hold the exceptions; a line that is no longer needed fails, too.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = (ROOT / "precsearch", ROOT / "strategies")
MOST_LINES, MOST_OF_FUNCTION, MOST_FILES = 300, 40, 15

_OPTIONS = "one keyword and one line for each option"
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {
    "precsearch/api/optimizing.py:optimize": _OPTIONS,
    "precsearch/cli/commands.py:optimize": _OPTIONS,
    "precsearch/cli/look_commands.py:diagnose": _OPTIONS,
    "precsearch/replay/verify.py:verify": _OPTIONS,
}
FULL_FOLDERS: dict[str, str] = {}

OTHER_SPELLING = re.compile(
    r"(?i)\b\w*(?:quanti|optimi|seriali|finali|normali|minimi|lineari|generali|recogni|initiali|materiali)"
    r"s(?:e|ed|es|er|ers|ing|ation|ations)(?![a-z]|_sha256)"
    r"|\bneighbors?\b|\bbehaviors?\b"
)
SPELLED_OTHERWISE = {
    ("optimise", f"tests/{name}.py"): "a command that does not exist"
    for name in ("cli/test_main", "cli/test_start", "test_house")
}


def modules() -> Iterator[Path]:
    for source in SOURCES:
        yield from sorted(source.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and lines of each function, its docstring not counted."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines = (node.end_lineno or 0) - node.lineno + 1
        first = node.body[0]
        if ast.get_docstring(node, clean=False) is not None:
            lines -= (first.end_lineno or 0) - first.lineno + 1
        yield f"{name_of(path)}:{node.name}", lines


def over(sizes: dict[str, int], limit: int, excused: dict[str, str]) -> list[str]:
    """What breaks a limit without an excuse, or has one in vain."""
    wrong = [f"{n}: {s}" for n, s in sizes.items() if s > limit and n not in excused]
    return wrong + [f"{n}: no exception is needed" for n in excused if sizes.get(n, 0) <= limit]


def test_files_are_short() -> None:
    sizes = {name_of(p): len(p.read_text(encoding="utf-8").splitlines()) for p in modules()}
    assert over(sizes, MOST_LINES, LONG_FILES) == []


def test_functions_are_short() -> None:
    sizes: dict[str, int] = {}
    for path in modules():
        for name, lines in functions(path):
            sizes[name] = max(lines, sizes.get(name, 0))
    assert over(sizes, MOST_OF_FUNCTION, LONG_FUNCTIONS) == []


def test_folders_are_small() -> None:
    folders = {p.parent for p in modules()}
    sizes = {name_of(f): len([*f.glob("*.py")]) for f in folders}
    assert over(sizes, MOST_FILES, FULL_FOLDERS) == []


def test_every_folder_says_what_it_is_for() -> None:
    for folder in {p.parent for p in modules()} - {ROOT / "strategies"}:
        module = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
        assert ast.get_docstring(module), name_of(folder)


def test_the_readme_has_a_line_for_every_folder() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    for folder in (ROOT / "precsearch").iterdir():
        if (folder / "__init__.py").is_file():
            assert f"| `{folder.name}/` | " in page, folder.name


def test_no_two_files_of_tests_have_one_name() -> None:
    """pytest imports a file of tests by its name alone."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_words_are_spelt_one_way() -> None:
    """Oxford's: -ize as in ONNX, and neighbour, colour, behaviour."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.md", "*.yml", "*.toml", "*.sh"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("needs a clone: a source archive has no list of the files that are ours")
    other = [
        f"{name}: {match[0]}"
        for name in listed.stdout.split()
        if (ROOT / name).is_file()
        for match in OTHER_SPELLING.finditer((ROOT / name).read_text(encoding="utf-8"))
        if (match[0].lower(), name) not in SPELLED_OTHERWISE
    ]
    assert not other
