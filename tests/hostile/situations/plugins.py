"""Plug-ins that fail: backends and strategies that a distribution's entry points name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.core.backend import TYPED, Feed, KernelTime, Session
from precsearch.core.errors import BuildError
from tests.plugin import make_known

__all__ = ["Broken", "Idle", "Old", "Silent", "install"]


class Broken(OnnxRuntimeBackend):
    """No engine can be built."""

    name = "broken"

    def build(self, model: bytes) -> bytes:
        """See `precsearch.core.backend.Backend.build`."""
        raise BuildError("planted")


class _Untimed:
    """A session that gives no times by layer."""

    def __init__(self, session: Session) -> None:
        self.run, self.time, self.close = session.run, session.time, session.close

    def profile(self, feed: Feed, runs: int) -> tuple[KernelTime, ...]:
        return ()


class Silent(OnnxRuntimeBackend):
    """Its engines have no profile."""

    name = "silent"

    def open(self, artifact: bytes, *, profiled: bool = False) -> Session:  # type: ignore[override]
        """See `precsearch.core.backend.Backend.open`."""
        return _Untimed(super().open(artifact, profiled=profiled))


class Old(OnnxRuntimeBackend):
    """Reads no model of today."""

    name = "old"
    form = replace(TYPED, max_opset=1)


class Idle:
    """Would be a strategy if it proposed anything."""


def install(folder: Path) -> None:
    """Make them known to a Python that has ``folder`` on its path."""
    backends = {
        "silent": "tests.hostile.situations.plugins:Silent",
        "old": "tests.hostile.situations.plugins:Old",
        "broken": "tests.hostile.situations.plugins:Broken",
    }
    strategies = {"idle": "tests.hostile.situations.plugins:Idle", "gone": "nowhere:Gone"}
    make_known(folder, "failing", backends, strategies)
