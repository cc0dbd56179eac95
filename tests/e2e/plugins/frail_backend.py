"""A backend for tests: ONNX Runtime with made-up times, but some engines end the process or fail.

It becomes known to precsearch as any plug-in does: through an entry point of a distribution that
`install` writes into a folder on the path.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import onnx

from precsearch.core.backend import Session
from tests.e2e.plugins import clocked_backend
from tests.e2e.plugins.clocked_backend import Clocked
from tests.plugin import make_known

__all__ = ["Frail", "install"]


def _joins_in_int8(artifact: bytes) -> bool:
    """Whether a Concat keeps its tensors quantized; of the uniform engines one does."""
    nodes = onnx.ModelProto.FromString(artifact).graph.node
    return any(n.op_type == "Concat" and n.output[0].endswith("//raw") for n in nodes)


class Frail(Clocked):
    """Fails as the environment variable ``FRAIL`` says when an engine has a Concat in INT8."""

    name = "frail"

    def open(self, artifact: bytes, *, profiled: bool = False) -> Session:  # type: ignore[override]
        """See `precsearch.core.backend.Backend.open`."""
        if _joins_in_int8(artifact):
            if os.environ["FRAIL"] == "segfault":
                ctypes.string_at(0)
            raise MemoryError("bad_alloc")
        return super().open(artifact, profiled=profiled)


def install(folder: Path, how: str) -> dict[str, str]:
    """The environment of a Python that knows the backend; ``folder`` gets what makes it known."""
    make_known(folder, "frail", {"frail": "tests.e2e.plugins.frail_backend:Frail"})
    return {**clocked_backend.install(folder), "FRAIL": how}
