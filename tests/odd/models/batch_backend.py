"""A backend for tests: its INT8 engines are right at batch 1 and wrong at any other batch.

So was an engine of TensorRT (NVIDIA/TensorRT#4853). It becomes known as any plug-in does.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from precsearch.core.backend import Array, Feed, Session
from tests.e2e.plugins import clocked_backend
from tests.e2e.plugins.clocked_backend import Clocked
from tests.plugin import make_known

__all__ = ["Batched", "here"]

_INT8 = {"DequantizeLinear", "DynamicQuantizeLinear"}


class Batched(Clocked):
    """See the module."""

    name = "batched"

    def open(self, artifact: bytes, *, profiled: bool = False) -> Session:  # type: ignore[override]
        session = super().open(artifact, profiled=profiled)
        nodes = onnx.ModelProto.FromString(artifact).graph.node
        if not any(n.op_type in _INT8 for n in nodes):
            return session
        right = session.run

        def run(feed: Feed) -> dict[str, Array]:
            found = right(feed)
            if len(next(iter(feed.values()))) == 1:
                return found
            return {name: np.negative(array.astype(np.float32)) for name, array in found.items()}

        session.run = run  # type: ignore[method-assign]
        return session


def here(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make it known to this process and its workers; its files go into a folder of their own."""
    clocked_backend.here(folder, patch)
    place = folder / "batched"
    place.mkdir()
    make_known(place, "batched", {"batched": "tests.odd.models.batch_backend:Batched"})
    patch.syspath_prepend(str(place))
