"""One hostile situation: what is made, what is run, and what has to be said."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from precsearch.cli.main import run

__all__ = ["Case", "Thrown", "throw"]

Make = Callable[[Path], str]
"""Breaks something in a folder that holds a valid world; returns the command line."""


@dataclass(frozen=True)
class Case:
    """A situation and what has to come of it.

    Attributes:
        area: What is attacked: ``model``, ``data``, ``plan``, ``journal``, ``output``, ``option``.
        what: The situation, for people.
        make: Makes it.
        said: Part of the one sentence on stderr.
        code: The exit code.
    """

    area: str
    what: str
    make: Make
    said: str
    code: int = 2

    def __str__(self) -> str:
        return f"{self.area}: {self.what}"


@dataclass(frozen=True)
class Thrown:
    """What a case did.

    Attributes:
        code: The exit code.
        out, err: What was written.
        touched: Files and links that are new, gone or changed.
    """

    code: int
    out: str
    err: str
    touched: tuple[str, ...]


def throw(case: Case, folder: Path) -> Thrown:
    """Run a case in this process.

    Args:
        case: The case.
        folder: A fresh folder that holds a valid world.
    """
    line = case.make(folder).replace("FOLDER", str(folder)).split()
    before = _contents(folder)
    out, err = io.StringIO(), io.StringIO()
    here = Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = int(run(line))
    finally:
        os.chdir(here)
    after = _contents(folder)
    touched = tuple(sorted(p for p in {*before, *after} if before.get(p) != after.get(p)))
    return Thrown(code, out.getvalue(), err.getvalue(), touched)


def _contents(folder: Path) -> dict[str, str]:
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if "__pycache__" in path.parts:
            continue
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file():
            large = path.stat().st_size > 1 << 26
            found[name] = str(path.stat()) if large else sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "folder" if path.is_dir() else "special"
    return found
