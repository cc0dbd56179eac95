"""A search as a process of its own, of which the events are kept."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Timer
from typing import Any

from benchmarks.scaling.stories import Story

_KILL_AFTER = 4


def command(
    story: Story, label: str, devices: Sequence[str], args: argparse.Namespace
) -> list[str]:
    """What a user would type."""
    out = args.output / label
    found = [sys.executable, "-m", "precsearch", "optimize", str(story.model), "--json", "--force"]
    found += ["--data", str(story.data), "--tol", str(story.tol), "--backend", args.backend]
    found += ["--max-builds", str(args.max_builds), "--devices", ",".join(devices)]
    found += ["-o", f"{out}.plan.json", "--artifact", f"{out}{args.suffix}"]
    found += args.more + (["--ray", "local"] if args.ray else [])
    for flag, options in (
        ("--build-option", args.build_option),
        ("--strategy-option", args.option),
    ):
        found += [word for o in options for word in (flag, o)]
    return found


def run(story: Story, label: str, devices: Sequence[str], args: argparse.Namespace) -> None:
    """Search, and keep the events; one actor is killed on the way, if that is asked for."""
    events, errors = args.output / f"{label}.jsonl", args.output / f"{label}.err"
    begun, trials, killed = time.monotonic(), 0, 0
    with errors.open("w") as err, events.open("w") as out:
        child = subprocess.Popen(
            command(story, label, devices, args), stdout=subprocess.PIPE, stderr=err, text=True
        )
        assert child.stdout is not None
        # A search that hangs writes no line, so that the limit needs a clock of its own.
        limit = Timer(args.limit, child.send_signal, [signal.SIGINT])
        limit.start()
        for line in child.stdout:
            at = time.monotonic() - begun
            try:
                event: dict[str, Any] = json.loads(line)
            except ValueError:
                continue
            out.write(json.dumps({"at": at, **event}) + "\n")
            out.flush()
            if event.get("type") == "TrialFinished":
                trials += 1
                print(f"  {label} {at:.0f} s: {trials} trials", file=sys.stderr)
            if args.kill and not killed and trials >= _KILL_AFTER:
                killed = _one_actor()
        code = child.wait()
        limit.cancel()
        last = {"at": time.monotonic() - begun, "type": "Ended", "code": code, "killed": killed}
        out.write(json.dumps(last) + "\n")


def _one_actor() -> int:
    """Kill a process that Ray calls an actor of ours; its number, 0 if there is none."""
    for entry in sorted(Path("/proc").glob("[0-9]*"), key=lambda p: int(p.name), reverse=True):
        try:
            words = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if words.startswith("ray::Node"):
            os.kill(int(entry.name), signal.SIGKILL)
            return int(entry.name)
    return 0
