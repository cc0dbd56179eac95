"""What we threw at precsearch, and what it did: every situation of tests/hostile as a table.

    python -m benchmarks.hostile [docs/hostile-input.md]

With a file, the part of it below the marker is replaced. Ends with 1 if one was not refused as it
should be.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tests.hostile.situations.cases import CASES
from tests.hostile.situations.throw import Case, Thrown, throw
from tests.hostile.situations.world import write_world

MARKER = "<!-- made by benchmarks/hostile.py -->"


def refused(case: Case, done: Thrown) -> bool:
    one = done.err.startswith("error: ") and done.err.count("\n") == 1
    return one and case.said in done.err and done.code == case.code and not done.touched


def row(case: Case, done: Thrown, folder: Path) -> str:
    said = done.err.removeprefix("error: ").replace(str(folder.resolve()), "…")
    said = " ".join(said.split()).replace("|", "\\|").replace("<", "&lt;")
    said = said if len(said) <= 230 else f"{said[:150]} … {said[-70:]}"
    touched = ", ".join(done.touched) or "nothing"
    return f"| {case.what} | {done.code} | {touched} | {said} |"


def main() -> int:
    rows: list[str] = []
    area = ""
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        world = Path(name) / "world"
        world.mkdir()
        write_world(world)
        for number, case in enumerate(CASES):
            folder = Path(name) / str(number)
            shutil.copytree(world, folder)
            done = throw(case, folder)
            good = refused(case, done)
            wrong += not good
            if case.area != area:
                area = case.area
                rows += ["", f"## The {area} …", "", "| | exit | changed | what it said |"]
                rows += ["|---|---|---|---|"]
            rows.append(row(case, done, folder) + ("" if good else " **wrong** |"))
            shutil.rmtree(folder)
    head = f"{len(CASES) - wrong} of {len(CASES)} situations end as they should."
    text = "\n".join([head, *rows, ""])
    if len(sys.argv) > 1:
        page = Path(sys.argv[1])
        before = page.read_text(encoding="utf-8").split(MARKER)[0]
        page.write_text(f"{before}{MARKER}\n\n{text}", encoding="utf-8")
    else:
        print(text)
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
