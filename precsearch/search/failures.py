"""An error of a trial as an outcome."""

from __future__ import annotations

from precsearch.core.errors import (
    BuildError,
    PrecsearchError,
    RunError,
    WorkerCrashed,
    WorkerKilled,
    WorkerTimeout,
)
from precsearch.core.trial import KILLED, Failed

__all__ = ["failure"]

_STAGES = frozenset({"lower", "build", "run", "time"})
_MESSAGE = 300


def failure(error: Exception, default: str) -> Failed:
    """``error`` as an outcome; ``default`` is the stage of an error that no worker raised."""
    stage = error.stage if isinstance(error, PrecsearchError) else default
    if isinstance(error, BuildError):
        stage = "build"
    elif isinstance(error, RunError) and stage != "time":
        stage = "run"
    kind = "error"
    for kinds, name in _KINDS:
        if isinstance(error, kinds):
            kind = name
    return Failed(stage if stage in _STAGES else default, kind, _sentence(error))


_KINDS: tuple[tuple[type[Exception], str], ...] = (
    (WorkerCrashed, "crash"),
    (WorkerKilled, KILLED),
    (WorkerTimeout, "timeout"),
    (MemoryError, "memory"),
)


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no details"
    if isinstance(error, MemoryError):
        text = f"out of memory: {text}"
    elif not isinstance(error, PrecsearchError):
        text = f"{type(error).__name__}: {text}"
    return text if len(text) <= _MESSAGE else text[: _MESSAGE - 1] + "…"
