"""Why a child process ended, as an error."""

from __future__ import annotations

import signal
from typing import TypeVar

from precsearch.core.errors import (
    PrecsearchError,
    WorkerCrashed,
    WorkerError,
    WorkerKilled,
    WorkerTimeout,
)
from precsearch.executors.process.child import Child
from precsearch.executors.process.wire import DEVICE_LOST

__all__ = ["at_stage", "death_of"]

PrecsearchErrorT = TypeVar("PrecsearchErrorT", bound=PrecsearchError)

_FROM_OUTSIDE = {
    -int(getattr(signal, name))
    for name in ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT")
    if hasattr(signal, name)
}
"""Return codes of a child that did not end by its own doing, unless we killed it."""

_SHELL = 128
_BROKEN = 255
"""Of ssh."""

_KILLED = -int(getattr(signal, "SIGKILL", 0))


def death_of(child: Child, limit_s: float) -> WorkerError:
    """What ended a child that was waited for.

    Args:
        child: It was discarded.
        limit_s: Seconds that its call was given.
    """
    where = f"at stage {child.stage!r}"
    if child.killed_for == "expired":
        text = f"the worker passed its limit of {limit_s:g} s {where} and was killed"
        return at_stage(child.stage, WorkerTimeout(text))
    if child.killed_for == "stopped":
        return at_stage(child.stage, WorkerError(f"the worker was stopped {where}"))
    code = _code(child)
    if child.far and code == _BROKEN:
        text = f"the connection to the worker broke, or something ended it, {where}"
        return at_stage(child.stage, WorkerKilled(text))
    if child.killed_for == "discarded" and code == _KILLED:  # by us, since it did not end
        text = f"the worker hung up without ending {where}"
        return at_stage(child.stage, WorkerCrashed(text))
    if code in _FROM_OUTSIDE:
        name = signal.Signals(-code).name
        killed = WorkerKilled(
            f"something outside killed the worker ({name}) {where}: if memory ran out, give "
            "the process more, or use fewer samples or a smaller model"
        )
        return at_stage(child.stage, killed)
    return at_stage(child.stage, WorkerCrashed(f"the worker {_ending(code)} {where}"))


def _code(child: Child) -> int | None:
    """How the worker ended; of one on another host, a shell there gives 128 + its signal."""
    code = child.process.returncode
    if child.far and code is not None and _SHELL < code < _SHELL + int(signal.NSIG):
        return _SHELL - code
    return code


def at_stage(stage: str, error: PrecsearchErrorT) -> PrecsearchErrorT:
    """``error`` with the stage that a worker announced last."""
    error.stage = stage
    return error


def _ending(code: int | None) -> str:
    if code is None:
        return "does not answer and cannot be killed"
    if code == DEVICE_LOST:
        return "ended, because a kernel failed and left the device unusable to it,"
    if code >= 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"died of {name}"
