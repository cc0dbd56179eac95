"""OpenVINO with made-up times, so that no decision of a search follows the machine.

A layer with weights takes 20 microseconds in FP32, half of that in 16 bits and a quarter in 8; any
other layer takes a tenth of that.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from precsearch.backends.openvino.artifact import EngineArtifact
from precsearch.backends.openvino.backend import OpenVinoBackend
from precsearch.backends.openvino.inspector import runtime_layers
from precsearch.backends.openvino.session import OpenVinoSession
from precsearch.core.backend import Array, Feed, KernelTime, Session
from precsearch.core.precision import Precision
from precsearch.system.disturbance import NoWatch
from tests.plugin import make_known

__all__ = ["ClockedOpenVino", "install"]

_LAYER_S = 2e-5
_WEIGHTED = ("Convolution", "FullyConnected", "MatMul")


def _seconds(kind: str, precision: Precision | None) -> float:
    whole = _LAYER_S if kind in _WEIGHTED else _LAYER_S / 10
    return whole if precision is None else whole * precision.bits / 32


class _Session:
    """See `precsearch.core.backend.Session`."""

    def __init__(self, session: OpenVinoSession, seconds: float) -> None:
        self._session = session
        self._seconds = seconds

    def run(self, feed: Feed) -> dict[str, Array]:
        return self._session.run(feed)

    def time(self, feed: Feed, repeats: int) -> list[float]:
        return [self._seconds] * repeats

    def profile(self, feed: Feed, runs: int) -> tuple[KernelTime, ...]:
        found = self._session.profile(feed, runs)
        return tuple(replace(k, seconds=_seconds(k.op_type, k.precision)) for k in found)

    def close(self) -> None:
        self._session.close()


class ClockedOpenVino(OpenVinoBackend):
    """Real engines of OpenVINO, and what they would take by the rule above."""

    name = "clocked-openvino"

    def watch(self) -> NoWatch:
        return NoWatch()

    def open(self, artifact: bytes, *, profiled: bool = False) -> Session:  # type: ignore[override]
        layers = runtime_layers(self._imported(EngineArtifact.of(artifact), False))
        seconds = sum(_seconds(x.kind, x.precision) for x in layers if x.precision is not None)
        return _Session(super().open(artifact, profiled=profiled), seconds)


def install(folder: Path, patch: pytest.MonkeyPatch) -> str:
    """Make it known to this process and its workers, and give its name."""
    place = folder / "known"
    place.mkdir()
    rows = {"clocked-openvino": "tests.backends.ov.clocked_openvino:ClockedOpenVino"}
    make_known(place, "clocked_openvino", rows)
    patch.syspath_prepend(str(place))
    return "clocked-openvino"
