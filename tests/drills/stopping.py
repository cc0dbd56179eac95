"""A command that can be asked to stop at every kind of moment: ``stopping.py MOMENT ARGS…``.

It prints "ready" once it is there. Whatever the moment, what was begun is finished or given up.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import time
from collections.abc import Generator
from pathlib import Path

from precsearch import api
from precsearch.api import OptimizeConfig, OptimizeResult
from precsearch.cli.start import main
from precsearch.core.events import Event, PlanWritten, TrialFinished, Warned
from precsearch.system.interrupts import heard, interruptible, shielded
from tests.cli.runs import plan, synthetic_run


def ready() -> None:
    sys.stderr.write("ready\n")
    sys.stderr.flush()


class Finalized:
    """Swallows whatever is raised in it, as finalizers do."""

    def __del__(self) -> None:
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            pass


def busy(moment: str) -> None:
    """Be at the moment that was asked for."""
    ready()
    if moment == "computing":
        while True:
            sum(range(1000))
    if moment == "finalizer":
        held = [Finalized()]
        held.clear()
        while True:
            sum(range(1000))
    if moment == "waiting":
        with interruptible():
            time.sleep(600)
    if moment == "deaf":
        with shielded():
            time.sleep(600)
    if moment == "native":  # keeps no interpreter lock, and is interrupted by nothing
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        ctypes.CDLL(None).sleep(600)


def events(moment: str) -> Generator[Event, None, OptimizeResult]:
    try:
        for event in synthetic_run(builds=12, proxies=8):
            yield event
            if isinstance(event, TrialFinished):
                busy(moment)
    except KeyboardInterrupt:
        heard()
    yield Warned("stopped in order")
    with shielded():
        time.sleep(0.5)
        Path("m.plan.json").write_text("whole")
    yield PlanWritten("m.plan.json", 0.55, 0.0088)
    return OptimizeResult(plan(), Path("m.plan.json"), None, True, True)


if __name__ == "__main__":

    def optimize_events(config: OptimizeConfig) -> Generator[Event, None, OptimizeResult]:
        return events(sys.argv[1])

    api.optimize_events = optimize_events
    main(sys.argv[2:])
