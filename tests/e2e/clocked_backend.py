"""A backend for tests: ONNX Runtime with made-up times, which writes down when it did what.

The times depend on the engine alone, so that a search takes the same decisions every time. It
becomes known as `tests.e2e.frail_backend` does.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx

from precsearch.backend import Array, Feed, KernelTime, Session
from precsearch.backends.onnxruntime import OnnxRuntimeBackend

__all__ = ["Clocked", "Did", "diary", "install"]

_DIARY = "CLOCKED_DIARY"
_CRASH = "CLOCKED_CRASH"


@dataclass(frozen=True)
class Did:
    """What a process did, and from when to when on the system's clock."""

    pid: int
    what: str
    start: float
    end: float

    def meets(self, other: Did) -> bool:
        return self.start < other.end and other.start < self.end


@contextmanager
def _noted(what: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    with (Path(os.environ[_DIARY]) / str(os.getpid())).open("a") as file:
        file.write(f"{what} {start!r} {time.monotonic()!r}\n")


class _Session:
    """See `precsearch.backend.Session`."""

    def __init__(self, session: Session, seconds: float, crash: bool) -> None:
        self._session = session
        self._seconds = seconds
        self._crash = crash

    def run(self, feed: Feed) -> dict[str, Array]:
        with _noted("run"):
            return self._session.run(feed)

    def time(self, feed: Feed, repeats: int) -> list[float]:
        with _noted("time"):
            if self._crash:
                os.kill(os.getpid(), signal.SIGSEGV)
            time.sleep(2e-4)
        return [self._seconds] * repeats

    def profile(self, feed: Feed, runs: int) -> tuple[KernelTime, ...]:
        return ()

    def close(self) -> None:
        self._session.close()


class Clocked(OnnxRuntimeBackend):
    """The more is quantised, the faster; all INT8 crashes while it is timed if ``CRASH`` is set."""

    name = "clocked"

    def build(self, model: bytes) -> bytes:
        with _noted("build"):
            return super().build(model)

    def open(self, artifact: bytes, *, profiled: bool = False) -> Session:  # type: ignore[override]
        with _noted("open"):
            session = super().open(artifact, profiled=False)
        nodes = onnx.ModelProto.FromString(artifact).graph.node
        quantised = sum(n.op_type == "DequantizeLinear" for n in nodes)
        crash = quantised > 0 and os.environ.get(_CRASH) == "1"
        return _Session(session, 1e-3 / (1 + 0.03 * quantised), crash)


def diary(folder: Path) -> list[Did]:
    """Everything that was written down."""
    return [
        Did(int(path.name), what, float(start), float(end))
        for path in folder.iterdir()
        for what, start, end in map(str.split, path.read_text().splitlines())
    ]


def install(folder: Path, *, crash: bool = False) -> dict[str, str]:
    """Make the backend known to a Python that has ``folder`` on its path; its environment."""
    info = folder / "clocked-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: clocked\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[precsearch.backends]\nclocked = tests.e2e.clocked_backend:Clocked\n"
    )
    (folder / "diary").mkdir()
    return {_DIARY: str(folder / "diary"), _CRASH: "1" if crash else "0"}
