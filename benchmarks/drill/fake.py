"""Kills of a search on the fake backend, which gives the same trials every time."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from precsearch.core.events import TrialFinished
from precsearch.core.trial import Failed
from precsearch.search.journal import read
from precsearch.search.loop import search
from tests.drills.test_crash_drill import SPACE, start, wait_for_end
from tests.search.loop_toys import Climb, finish, in_process, timeless, toy_landscape, toy_problem

__all__ = ["fake_kills"]


def fake_kills(seed: int, count: int) -> Counter[str]:
    """So many kills of a search, of a worker or of both, then the search's end."""
    rng, found = random.Random(seed), Counter[str]()
    landscape = toy_landscape(SPACE, seed)
    _, expected = finish(search(toy_problem(SPACE), Climb(), in_process(SPACE, landscape)))
    reported: set[int] = set()
    with tempfile.TemporaryDirectory(prefix="drill-") as name:
        folder = Path(name)
        for number in range(count + 1):
            process = start(folder, seed, 1 + seed % 2)
            assert process.stdout is not None
            pids = [int(p) for p in process.stdout.readline().split()[1:]]
            if number < count:
                target = ("parent", "worker", "group")[(seed + number) % 3]
                time.sleep(rng.uniform(0, 0.6))
                for pid in pids if target != "parent" else []:
                    with suppress(ProcessLookupError):
                        os.killpg(pid, signal.SIGKILL)
                if target != "worker":
                    process.kill()
                found[f"kills of {target}"] += 1
            rest = process.stdout.read().split()
            process.stdout.close()
            process.wait()
            reported |= {int(n) for n in rest if n.isdigit()}
            found["orphans"] += sum(not wait_for_end(pid, 10) for pid in pids)
            trials = [e.trial for e in read(folder) if isinstance(e, TrialFinished)]
            found["lost"] += len(reported - {t.number for t in trials})
        real = [t for t in trials if not (isinstance(t.outcome, Failed))]
        found["repeated"] += len(real) - len({t.proposal for t in real})
        last = sorted({t.number: t for t in trials}.values(), key=lambda t: t.number)
        found["wrong"] += "done" not in rest or timeless(last) != timeless(expected)
    return found
