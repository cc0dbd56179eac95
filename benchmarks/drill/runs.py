"""Runs that are killed, interrupted or out of room: what each of them did, as counts."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.drills.test_crash_drill import wait_for_end
from tests.e2e.command import environment
from tests.hostile.situations.world import write_world

__all__ = ["LIMIT_S", "START", "full_disks", "interrupts", "kills"]

_CODE = "import sys; sys.path.pop(0); from precsearch.cli.start import main; main()"
START = [sys.executable, "-c", _CODE]
"""As the installed script starts: without the working folder among the modules."""

SEARCH = ("optimize", "model.onnx", "--data", "data.npz", "--tol", "0.9", "--threads", "1")
OUTPUTS = ("--max-builds", "6", "-o", "out/p.json", "--artifact", "out/a.onnx")
MINE = "a file that is not precsearch's"
LIMIT_S = 5.0
_SLACK_S = 1.0  # to start a process that looks, and to be looked at, on a busy machine
_PATIENCE_S = 300.0
_MOMENTS_S = 3.0
Counts = Counter[str]


class Place:
    """A folder with a small model, where one search after the other is disturbed."""

    def __init__(self, root: Path, rng: random.Random) -> None:
        self.root, self.rng = root, rng
        self.work = root / "work"
        for folder in (self.work / "out", root / "tmp", root / "home"):
            folder.mkdir(parents=True)
        write_world(self.work)
        self.journal = self.work / "out/p.precsearch/journal.jsonl"
        self.found: Counts = Counter()
        self.kept: list[bytes] = []
        self.seen: set[int] = set()

    def start(
        self, *more: str, before: Callable[[], None] = lambda: None
    ) -> subprocess.Popen[bytes]:
        """Start the search, or go on with it."""
        resume = ["--resume"] if self.lines() else []
        home = environment(TMPDIR=str(self.root / "tmp"), HOME=str(self.root / "home"))
        with (self.root / "said").open("wb") as said:
            return subprocess.Popen(
                [*START, *SEARCH, *OUTPUTS, *resume, *more],
                cwd=self.work,
                env=home,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=before,  # noqa: PLW1509 - it only sets limits
            )

    def fresh(self) -> None:
        """Forget the search: the next one begins anew."""
        shutil.rmtree(self.work / "out")
        (self.work / "out").mkdir()
        self.kept = []

    def lines(self) -> list[bytes]:
        """Whole lines of the journal."""
        data = self.journal.read_bytes() if self.journal.exists() else b""
        return data[: data.rfind(b"\n") + 1].splitlines()

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        """Until a random moment: after a time, or after so many further lines of the journal."""
        deadline = time.monotonic() + self.rng.uniform(0.0, _MOMENTS_S)
        wanted = len(self.kept) + self.rng.randrange(1, 15) if self.rng.random() < 0.5 else 0
        while process.poll() is None:
            self.seen |= set(self.workers(process.pid))
            if len(self.lines()) >= wanted if wanted else time.monotonic() >= deadline:
                break
            time.sleep(0.005)
        if wanted:
            time.sleep(self.rng.uniform(0.0, 0.3))
            self.seen |= set(self.workers(process.pid))

    def workers(self, parent: int) -> list[int]:
        """Living children of the search."""
        with suppress(OSError):
            text = ""
            for task in Path(f"/proc/{parent}/task").iterdir():
                text += (task / "children").read_text() + " "
            return [int(pid) for pid in text.split()]
        return []

    def said(self) -> str:
        return (self.root / "said").read_text(errors="replace")

    def ended(self, process: subprocess.Popen[bytes], codes: set[int]) -> None:
        """Look at what a search that has ended leaves behind."""
        code = process.wait(_PATIENCE_S)
        said = self.said()
        if code not in codes:
            self.wrong(f"exit {code}: {said[-300:]}")
        self.found["tracebacks"] += "Traceback" in said or "bug in precsearch" in said
        self.found["orphans"] += sum(not wait_for_end(pid, 10) for pid in self.seen)
        self.seen.clear()
        after = self.lines()
        self.found["lost"] += sum(a != b for a, b in zip(after, self.kept, strict=False))
        self.found["lost"] += max(0, len(self.kept) - len(after))
        self.kept = after
        names = {p.name for p in self.work.iterdir()} | {p.name for p in (self.root).iterdir()}
        known = {"out", "model.onnx", "data.npz", "plan.json", "work", "tmp", "home", "said"}
        self.found["outside"] += len(names - known) + len(list((self.root / "home").iterdir()))

    def finish(self) -> None:
        """Resume to the end: a plan, and no trial measured twice."""
        self.ended(self.start(), {0})
        trials = [json.loads(row)["trial"] for row in self.lines() if b'"TrialFinished"}' in row]
        asked = [
            json.dumps([t["proposal"]["fidelity"], t["proposal"]["assignment"]], sort_keys=True)
            for t in trials
            if t["outcome"].get("kind") != "killed"
        ]
        self.found["repeated"] += len(asked) - len(set(asked))
        self.found["failed"] += sum(t["outcome"]["type"] == "Failed" for t in trials)
        if not (self.work / "out/p.json").exists():
            self.wrong("no plan at the end")
        left = list((self.work / "out").rglob(".*"))
        if left:
            self.wrong(f"left behind: {left}")
        plan = (self.work / "out/p.json").read_bytes()
        self.ended(self.start(), {0})
        self.found["replaced"] += (self.work / "out/p.json").read_bytes() != plan

    def foreign(self) -> None:
        """A search must keep its hands off what appears where its artifact goes."""
        path = self.work / "out/a.onnx"
        path.write_text(MINE)
        process = self.start()
        self.ended(process, {2})
        self.found["replaced"] += path.read_text() != MINE
        path.unlink()

    def wrong(self, what: str) -> None:
        self.found["wrong"] += 1
        sys.stderr.write(f"wrong: {what}\n")


@contextmanager
def place(seed: int) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="drill-") as name:
        yield Place(Path(name), random.Random(seed))


def kills(seed: int, count: int) -> Counts:
    """So many kills of the search, of a worker or of both, then the search's end."""
    with place(seed) as here:
        for number in range(count):
            target = ("parent", "worker", "group")[(seed + number) % 3]
            process = here.start(*(["--workers", "2"] if here.rng.random() < 0.25 else []))
            here.wait(process)
            _kill(here, process, target)
            # A kill of the worker alone ends nothing: the search goes on.
            here.ended(process, {0, -signal.SIGKILL} if target != "worker" else {0})
            here.found[f"kills of {target}"] += 1
            if process.returncode == 0:
                here.finish()
                here.fresh()
        here.finish()
        here.foreign()
        return here.found


def _kill(here: Place, process: subprocess.Popen[bytes], target: str) -> None:
    workers = here.workers(process.pid)
    here.seen |= set(workers)
    if target != "parent":
        for pid in workers if target == "group" else workers[:1]:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
    if target != "worker":
        process.kill()


def interrupts(seed: int, count: int) -> Counts:
    """So many requests to stop, from the first moment at which we handle signals."""
    with place(seed) as here:
        for number in range(count):
            if here.rng.random() < 0.7:
                here.fresh()
            wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[(seed + number) % 3]
            process = here.start(before=_heed)
            while process.poll() is None and not _handles(process.pid, signal.SIGTERM):
                time.sleep(0.002)
            here.wait(process)
            searched = any(b'"SearchStarted"}' in row for row in here.lines()[len(here.kept) :])
            began = time.monotonic()
            process.send_signal(wanted)
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            took = time.monotonic() - began
            here.ended(process, {128 + wanted, 0})
            here.found["late"] += took > LIMIT_S + _SLACK_S
            here.found["slowest ms"] = max(here.found["slowest ms"], int(took * 1000))
            if searched and not (here.work / "out/p.json").exists():
                here.wrong("no plan after an interrupt within the search")
            here.found[f"interrupts by {wanted.name}"] += 1
        here.finish()
        return here.found


def _heed() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _handles(pid: int, number: int) -> bool:
    with suppress(OSError):
        text = Path(f"/proc/{pid}/status").read_text()
        row = next(r for r in text.splitlines() if r.startswith("SigCgt"))
        return bool(int(row.split()[1], 16) >> (number - 1) & 1)
    return False


def full_disks(seed: int, count: int) -> Counts:
    """So many times no room, at a random size; then enough of it, and the search's end."""
    found: Counts = Counter()
    for number in range(count):
        with place(seed + number) as here:
            _full(here, number)
            here.finish()
            found += here.found
    return found


def _full(here: Place, number: int) -> None:
    room = here.rng.randrange(1 << 10, 1 << 17)
    disks = [here.work / "out", here.root / "tmp"]
    disk = disks[number % 2]
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={room // 4096 * 4096 + 4096}", "none", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode == 0:
        try:
            here.ended(here.start(), {0, 2})
            here.found["full disks (tmpfs)"] += 1
            kept = here.lines()
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)
        if disk == disks[0] and kept:  # what was on the small disk is moved to a larger one
            here.journal.parent.mkdir(parents=True)
            here.journal.write_bytes(b"\n".join(kept) + b"\n")
        return
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))  # noqa: E731
    here.ended(here.start(before=limit), {0, 2})
    here.found["full disks (limit on file size)"] += 1
