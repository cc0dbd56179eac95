"""Backends for tests: ONNX Runtime that claims to run FP16, which it computes in FP32.

It becomes known through an entry point in a folder on the path, as any plug-in does.
"""

from __future__ import annotations

from pathlib import Path

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.core.backend import WEAK, Fingerprint
from precsearch.core.backend.facts import COMPILED, BackendFacts
from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from tests.plugin import make_known

__all__ = ["ByName", "Compiled", "Elsewhere", "Half", "install"]


class Half(OnnxRuntimeBackend):
    """Takes FP16 graphs."""

    name = "half"
    precisions = frozenset({Precision.FP32, Precision.FP16})
    facts = BackendFacts(exporter="onnxruntime")  # a search offers all that it runs


class Compiled(Half):
    """Says that building an engine takes long."""

    name = "compiled"
    facts = COMPILED


class Elsewhere(Compiled):
    """Has no device here."""

    name = "elsewhere"

    def fingerprint(self) -> Fingerprint:
        raise OptionError("no device is here")


class ByName(OnnxRuntimeBackend):
    """Is asked for FP16 by the names of nodes, beside INT8: and computes them in FP32, too."""

    name = "by-name"
    precisions = frozenset({Precision.FP32, Precision.FP16, Precision.INT8})
    facts = Half.facts
    form = WEAK


def install(folder: Path) -> None:
    """Make the backends known to a Python that has ``folder`` on its path."""
    classes = (Half, Compiled, Elsewhere, ByName)
    known = {c.name: f"tests.hazards.half_backend:{c.__name__}" for c in classes}
    make_known(folder, "half", known)
