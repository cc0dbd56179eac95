"""The reliability drill: kills, interrupts, full disks, hostile input, long searches.

    python -m benchmarks.drill [docs/reliability.md] [--share 0.02] [--seed 1]

With a file, the part of it below the marker is replaced. ``--share`` runs a part of the drill.
``--keep`` writes every finished piece to a file, and a later run takes it from there.
Ends with 1 if anything was lost, repeated, replaced or left behind. Linux; takes about 15 minutes
on two idle cores.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.drill.fake import fake_kills
from benchmarks.drill.inputs import hostile_inputs
from benchmarks.drill.jobs import Job, done
from benchmarks.drill.runs import full_disks, interrupts, kills
from tests.odd.soaking import on_onnx_runtime, on_the_fake

MARKER = "<!-- made by benchmarks/drill -->"
MUST_BE_NONE = {
    "lost": "finished trials lost",
    "repeated": "finished trials measured again",
    "replaced": "files replaced",
    "orphans": "processes left behind",
    "tracebacks": 'tracebacks and "bug" messages',
    "outside": "files written elsewhere",
    "imports": "imports that a file asked for",
    "late": "stops that took more than 5 s",
    "failed": "trials marked as failed",
    "wrong": "other exit codes or missing plans",
}
_SESSION = 5
_BATCH = 500
_GROWTH = 1.05


def jobs(seed: int, share: float) -> Iterator[tuple[str, Job]]:
    """What is done, in pieces that a process each can do."""
    plan: Sequence[tuple[str, Callable[..., Counter[str]], int, int, bool]] = (
        ("kills, ONNX Runtime", kills, 100, _SESSION, False),
        ("kills, fake backend", fake_kills, 100, _SESSION, False),
        ("requests to stop", interrupts, 100, _SESSION, False),
        ("full disks", full_disks, 20, 2, False),
        ("hostile input, in processes of a pool", hostile_inputs, 19_900, _BATCH, False),
        ("hostile input, as a process each", hostile_inputs, 100, 10, True),
    )
    for name, act, count, size, alone in plan:
        left = max(1, math.ceil(count * share))
        while left > 0:
            seed += 1
            yield name, (act, seed, min(size, left), alone)
            left -= size


def soaks(share: float) -> Iterator[tuple[str, dict[str, int], dict[str, int]]]:
    """What a search uses after a fifth of its trials, and at their end."""
    trials = max(20, int(300 * share))
    with TemporaryDirectory() as name:
        for what, run in (("fake backend", on_the_fake), ("ONNX Runtime", on_onnx_runtime)):
            used = run(trials, Path(name))
            yield f"{what}, {trials} trials", used[trials // 5], used[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", nargs="?", type=Path)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    began = time.monotonic()
    counts: dict[str, Counter[str]] = {}
    named = list(jobs(given.seed, given.share))
    for (name, _), found in zip(named, pieces([j for _, j in named], given.keep), strict=True):
        total = counts.setdefault(name, Counter())
        slowest = max(total["slowest ms"], found["slowest ms"])
        total.update(found)
        total["slowest ms"] = slowest
    used = list(soaks(given.share))
    text = table(counts, used, 0.0 if given.keep else time.monotonic() - began)
    if given.page is not None:
        before = given.page.read_text(encoding="utf-8").split(MARKER)[0]
        given.page.write_text(f"{before}{MARKER}\n\n{text}", encoding="utf-8")
    else:
        print(text)
    flat = all(late[k] <= early[k] * _GROWTH for _, early, late in used for k in early)
    return int(not flat or any(c[k] for c in counts.values() for k in MUST_BE_NONE))


def pieces(jobs: Sequence[Job], keep: Path | None) -> Iterator[Counter[str]]:
    """What each piece counted, in order; a piece that ``keep`` has is not done again."""
    kept: dict[str, dict[str, int]] = {}
    if keep is not None and keep.exists():
        kept = dict(json.loads(line) for line in keep.read_text().splitlines())
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=get_context("spawn")) as pool:
        running = {key_of(j): pool.submit(done, j) for j in jobs if key_of(j) not in kept}
        for job in jobs:
            key = key_of(job)
            if key in running:
                kept[key] = dict(running[key].result())
                if keep is not None:
                    with keep.open("a") as file:
                        file.write(json.dumps([key, kept[key]]) + "\n")
            yield Counter(kept[key])


def key_of(job: Job) -> str:
    """What tells a piece from all others."""
    act, *rest = job
    return " ".join(map(str, [act.__name__, *rest]))


def table(
    counts: dict[str, Counter[str]],
    used: Sequence[tuple[str, dict[str, int], dict[str, int]]],
    seconds: float,
) -> str:
    rows = ["| | what was done |", "|---|---|"]
    for name, found in counts.items():
        parts = [f"{k}: {v:,}" for k, v in sorted(found.items()) if k not in MUST_BE_NONE and v]
        rows.append(f"| {name} | {'; '.join(parts)} |")
    rows += ["", "| must be none | found |", "|---|---|"]
    for key, said in MUST_BE_NONE.items():
        rows.append(f"| {said} | {sum(c[key] for c in counts.values())} |")
    rows += ["", "| long searches | after a fifth | at the end |", "|---|---|---|"]
    for name, early, late in used:
        rows.append(f"| {name} | {_state(early)} | {_state(late)} |")
    took = f"The drill took {seconds / 60:.0f} minutes." if seconds else "It was done in pieces."
    return "\n".join([*rows, "", took, ""])


def _state(used: dict[str, int]) -> str:
    return f"{used['memory'] / 2**20:.0f} MB, {used['handles']} handles"


if __name__ == "__main__":
    raise SystemExit(main())
