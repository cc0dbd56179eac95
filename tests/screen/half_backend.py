"""Backends for tests: ONNX Runtime that says it runs FP16, which it computes in FP32.

It becomes known through an entry point in a folder on the path, as any plug-in does.
"""

from __future__ import annotations

from pathlib import Path

from precsearch.backend import WEAK
from precsearch.backends.onnxruntime import OnnxRuntimeBackend
from precsearch.space import Precision

__all__ = ["ByName", "Compiled", "Half", "install"]


class Half(OnnxRuntimeBackend):
    """Takes FP16 graphs."""

    name = "half"
    precisions = frozenset({Precision.FP32, Precision.FP16})


class Compiled(Half):
    """Says that building an engine takes long."""

    name = "compiled"
    compiles = True


class ByName(OnnxRuntimeBackend):
    """Is asked for FP16 by the names of nodes, beside INT8: and computes them in FP32, too."""

    name = "by-name"
    precisions = frozenset(Precision)
    form = WEAK


def install(folder: Path) -> None:
    """Make the backends known to a Python that has ``folder`` on its path."""
    info = folder / "half-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: half\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[precsearch.backends]\nhalf = tests.screen.half_backend:Half\n"
        "compiled = tests.screen.half_backend:Compiled\n"
        "by-name = tests.screen.half_backend:ByName\n"
    )
