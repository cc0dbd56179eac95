"""Plug-ins that fail: backends and strategies that a distribution's entry points name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from precsearch.backend import TYPED
from precsearch.backends.onnxruntime import OnnxRuntimeBackend
from precsearch.errors import BuildError

__all__ = ["Broken", "Idle", "Old", "install"]


class Broken(OnnxRuntimeBackend):
    """No engine can be built."""

    name = "broken"

    def build(self, model: bytes) -> bytes:
        """See `precsearch.backend.Backend.build`."""
        raise BuildError("planted")


class Old(OnnxRuntimeBackend):
    """Reads no model of today."""

    name = "old"
    form = replace(TYPED, max_opset=1)


class Idle:
    """Would be a strategy if it proposed anything."""


def install(folder: Path) -> None:
    """Make them known to a Python that has ``folder`` on its path."""
    info = folder / "failing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: failing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[precsearch.backends]\nold = tests.hostile.plugins:Old\n"
        "broken = tests.hostile.plugins:Broken\n"
        "[precsearch.strategies]\nidle = tests.hostile.plugins:Idle\ngone = nowhere:Gone\n"
    )
