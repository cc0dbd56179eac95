"""What we threw at precsearch and what it did, as a Markdown table.

    python -m benchmarks.odd_models [FOLDER] -o docs/odd-models.md

Every odd model of `tests/odd`, one of more than 2 GB, and, if a folder is given, each of its models
``FOLDER/NAME/{model.onnx,data.npz}`` goes through ``precsearch optimize`` in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import onnx

import precsearch
from precsearch.core.events import RunStarted
from precsearch.search.journal import NAME, Journal
from tests.odd.models.large import save_large
from tests.odd.models.odd_models import MODELS, REFUSED
from tests.odd.soaking import on_onnx_runtime, on_the_fake
from tests.search.loop_toys import IDENTITY

_SEARCH = ["--tol", "5e-2", "--threads", "1", "--max-builds", "3"]
_LIMIT_S = 600
_MARK = "<!-- made by benchmarks/odd_models.py -->"
_RUN = "import sys; from precsearch.cli.main import main; sys.exit(main())"


@dataclass(frozen=True)
class Case:
    """A model to search, with data or without."""

    name: str
    model: Path
    data: Path | None = None


def fixtures(folder: Path) -> Iterator[Case]:
    for path in sorted(folder.glob("*/model.onnx")):
        yield Case(path.parent.name, path, path.with_name("data.npz"))


def odd(folder: Path) -> Iterator[Case]:
    for number, (name, make) in enumerate({**MODELS, **REFUSED}.items()):
        path = folder / f"odd{number}" / "model.onnx"
        path.parent.mkdir()
        onnx.save(make(), path)
        yield Case(name, path)
    yield Case("over 2 GB, external data", save_large(folder / "large"))


def facts(model: Path) -> tuple[str, ...]:
    """Opset, nodes, groups and free groups; nothing for a model that is not read."""
    try:
        found = precsearch.inspect(model)
    except precsearch.PrecsearchError:
        return ("",) * 4
    free = len(found.space.free)
    return tuple(map(str, (found.opset, found.nodes, len(found.space.groups), free)))


def engines(plan: Path) -> str:
    """INT8 engines that ran, and failed ones if there were any."""
    if not plan.exists():
        return ""
    trials = precsearch.read_plan(plan).evidence.trials
    asked = [t for t in trials if t.fidelity == "engine" and t.counts]
    failed = sum(bool(t.failed) for t in asked)
    return f"{len(asked) - failed}" + (f", {failed} failed" if failed else "")


def search(case: Case, out: Path) -> tuple[int, str, float]:
    """Exit code, what was said, and seconds."""
    command = [sys.executable, "-c", _RUN, "optimize", str(case.model), *_SEARCH]
    command += ["-o", str(out / "plan.json"), "--run-dir", str(out / "run"), "--force"]
    command += ["--data", str(case.data)] if case.data is not None else []
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    seconds = time.monotonic() - start
    if "Traceback" in done.stderr:
        return done.returncode, "TRACEBACK", seconds
    if done.returncode in (0, 3):
        said = done.stdout.strip().partition("\n\n")[0]
    else:
        progress = re.compile(r"\[ *[\d.]+s\]")
        said = " ".join(s for s in done.stderr.splitlines() if not progress.match(s))
    said = " ".join(said.split())
    for noise in (str(case.model.parent), f"{case.model.name}: ", "error: "):
        said = said.replace(noise, "")
    return done.returncode, said.replace("|", "\\|"), seconds


def table(cases: Iterator[Case], out: Path) -> Iterator[str]:
    yield "| model | opset | nodes | groups | free | INT8 engines | exit | what it said | s |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for case in cases:
        (out / "plan.json").unlink(missing_ok=True)
        code, said, seconds = search(case, out)
        cells = (case.name, *facts(case.model), engines(out / "plan.json"), str(code), said)
        row = f"| {' | '.join(cells)} | {seconds:.1f} |"
        print(row, file=sys.stderr, flush=True)
        yield row


def long_runs(folder: Path) -> str:
    """What long searches use, and how fast a long journal opens."""
    rows = ["| search | after | memory MB | handles | processes |", "|---|---|---|---|---|"]
    for name, used in (
        ("500 trials, fake backend", on_the_fake(500, folder)),
        ("100 trials, ONNX Runtime", on_onnx_runtime(100, folder)),
    ):
        for number in (len(used) // 5, len(used) - 1):
            memory, handles, processes = (
                used[number][k] for k in ("memory", "handles", "processes")
            )
            rows.append(f"| {name} | {number + 1} | {memory / 1e6:.1f} | {handles} | {processes} |")
    seconds = open_journal(folder / "fake" / NAME, folder / "long", 10_000)
    rows += ["", f"A journal of 10,000 trials opens in {seconds:.2f} s."]
    return "\n".join(rows)


def open_journal(trials: Path, folder: Path, count: int) -> float:
    """Seconds to resume a journal with ``count`` trials, repeated from another one."""
    with Journal.open(folder, IDENTITY) as journal:
        journal.append(RunStarted(IDENTITY, "toy.onnx", "0"))
    lines = [s for s in trials.read_bytes().splitlines(True) if b'"TrialFinished"' in s]
    with (folder / NAME).open("ab") as file:
        file.writelines(lines * (count // len(lines)))
    start = time.monotonic()
    with Journal.open(folder, IDENTITY, resume=True):
        return time.monotonic() - start


def page(folder: Path | None) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        parts = [
            f"Made by `python -m benchmarks.odd_models FOLDER` on {date.today()}, "
            f"{platform.machine()}, {os.cpu_count()} cores, searched with `{' '.join(_SEARCH)}`. "
            "The odd ones have random data. *free* is the number of groups with a choice.",
            "\n".join(["## Odd models", "", *table(odd(root), root)]),
        ]
        if folder is not None:
            parts.append("\n".join(["## Real models", "", *table(fixtures(folder), root)]))
        parts.append("## Long runs\n\n" + long_runs(root))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Write the table under what people wrote in the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    text = page(args.folder)
    if args.output is None:
        print(text)
        return
    before = args.output.read_text() if args.output.exists() else "# Odd models\n\n"
    args.output.write_text(before.partition(_MARK)[0] + f"{_MARK}\n\n{text}")


if __name__ == "__main__":
    main()
