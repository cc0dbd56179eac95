"""A backend for tests: ONNX Runtime with made-up times, so that no decision follows the machine.

The times depend on the engine alone: a search takes the same decisions every time, however busy
the machine is. It can also write down when it did what, crash, and stop where a test wants to meet
it. It becomes known as `tests.e2e.plugins.frail_backend` does.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import pytest

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.core.backend import Array, Feed, KernelTime, Session
from precsearch.system.disturbance import NoWatch
from precsearch_strategies import ledger as known
from tests.e2e.command import environment
from tests.plugin import make_known

__all__ = ["Clocked", "Did", "diary", "here", "install"]

_DIARY = "CLOCKED_DIARY"
_CRASH = "CLOCKED_CRASH"
_SLOWER = "CLOCKED_SLOWER"
_HOLD = "CLOCKED_HOLD"
_HELD_S = 600.0
_SEARCHING = 2
"""Different models that are built before a search by proxies: FP32 and INT8 everywhere."""

_UNHURRIED_S = 1e9
"""How many proxies `auto` asks for follows what they took, which is the machine's matter: here it
has time for all of them."""

if _DIARY in os.environ:  # a process that `install` made; the process of the tests stays as it is
    known._FREE_S = _UNHURRIED_S


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


def _held(where: str, reached: bool) -> None:
    """Do not go on, if the test wants this process to be met here."""
    if reached and os.environ.get(_HOLD) == where:
        time.sleep(_HELD_S)


class _Session:
    """See `precsearch.core.backend.Session`."""

    ran = False
    """Whether this process has run an engine other than to time it; the last ones only time."""

    def __init__(self, session: Session, seconds: float, quantized: bool) -> None:
        self._session = session
        self._seconds = seconds
        self._quantized = quantized
        self._crash = quantized and os.environ.get(_CRASH) == "1"

    def run(self, feed: Feed) -> dict[str, Array]:
        _Session.ran = True
        with _noted("run"):
            return self._session.run(feed)

    def time(self, feed: Feed, repeats: int) -> list[float]:
        _held("baseline", True)
        _held("confirm", self._quantized and not _Session.ran)
        with _noted("time"):
            if self._crash:
                os.kill(os.getpid(), signal.SIGSEGV)
            time.sleep(2e-4)
        return [self._seconds] * repeats

    def profile(self, feed: Feed, runs: int) -> tuple[KernelTime, ...]:
        """The kernels that there are, each as long as another, those in INT8 half as long."""
        kernels = self._session.profile(feed, runs)
        return tuple(replace(k, seconds=_kernel_seconds(k)) for k in kernels)

    def close(self) -> None:
        self._session.close()


def _kernel_seconds(kernel: KernelTime) -> float:
    return 1e-5 if kernel.op_type.startswith("QLinear") else 2e-5


class Clocked(OnnxRuntimeBackend):
    """The more is quantized, the faster, or the slower if ``SLOWER`` is set.

    What is quantized crashes while it is timed if ``CRASH`` is set. ``HOLD`` names where it stops:
    at the ``gate``, in the ``search`` once the uniform engines are measured, or in ``confirm``,
    where the finalists are timed in a process of their own.
    """

    name = "clocked"

    def watch(self) -> NoWatch:  # type: ignore[override]
        """Its times follow nothing, so nothing disturbs them."""
        return NoWatch()

    def build(self, model: bytes) -> bytes:
        built = self.__dict__.setdefault("built", set())
        built.add(hash(model))
        _held("search", len(built) > _SEARCHING)
        with _noted("build"):
            return super().build(model)

    def open(self, artifact: bytes, *, profiled: bool = False) -> Session:  # type: ignore[override]
        with _noted("open"):
            session = super().open(artifact, profiled=profiled)
        nodes = onnx.ModelProto.FromString(artifact).graph.node
        quantized = sum(n.op_type in ("DequantizeLinear", "MatMulInteger") for n in nodes)
        factor = 1 + 0.03 * quantized
        faster = os.environ.get(_SLOWER) != "1"
        return _Session(session, 1e-3 / factor if faster else 1e-3 * factor, quantized > 0)


def diary(folder: Path) -> list[Did]:
    """Everything that was written down."""
    return [
        Did(int(path.name), what, float(start), float(end))
        for path in folder.iterdir()
        for what, start, end in map(str.split, path.read_text().splitlines())
    ]


def install(
    folder: Path, *, crash: bool = False, slower: bool = False, hold: str = ""
) -> dict[str, str]:
    """The environment of a Python that knows the backend; ``folder`` gets what makes it known."""
    make_known(folder, "clocked", {"clocked": "tests.e2e.plugins.clocked_backend:Clocked"})
    (folder / "diary").mkdir(exist_ok=True)
    made = environment(
        **{
            _DIARY: str(folder / "diary"),
            _CRASH: "1" if crash else "0",
            _SLOWER: "1" if slower else "0",
            _HOLD: hold,
        }
    )
    made["PYTHONPATH"] += os.pathsep + str(folder)
    return made


def here(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make it known to this process and its workers; its files go into a folder of their own."""
    place = folder / "clocked"
    place.mkdir()
    patch.setenv(_DIARY, install(place)[_DIARY])
    patch.setattr(known, "_FREE_S", _UNHURRIED_S)
    patch.syspath_prepend(str(place))
