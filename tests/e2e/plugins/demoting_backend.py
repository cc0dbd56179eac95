"""A backend for tests: one with made-up times that says it runs FP32 products in FP16.

It becomes known as `tests.e2e.plugins.clocked_backend` does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import onnx
import pytest

from precsearch.core.precision import Precision
from tests.e2e.plugins.clocked_backend import Clocked
from tests.e2e.plugins.clocked_backend import here as clocked_here
from tests.plugin import make_known

__all__ = ["Demoting", "here"]


class Demoting(Clocked):
    """Tells that a product without Q/DQ ran in FP16, as a builder may do between Casts."""

    name = "demoting"

    def precisions_of(
        self, artifact: bytes, products: Collection[str]
    ) -> Mapping[str, Precision | None]:
        """See `precsearch.core.backend.TellsPrecisions.precisions_of`."""
        nodes = onnx.ModelProto.FromString(artifact).graph.node
        dequantized = {t for n in nodes if n.op_type == "DequantizeLinear" for t in n.output}
        return {
            n.name: Precision.INT8 if dequantized & {*n.input} else Precision.FP16
            for n in nodes
            if n.name in products
        }

    def fused_attention(self, artifact: bytes) -> tuple[int, int]:
        """No attention."""
        return 0, 0


def here(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make it known to this process and its workers."""
    clocked_here(folder, patch)
    place = folder / "demoting"
    place.mkdir()
    make_known(place, "demoting", {"demoting": "tests.e2e.plugins.demoting_backend:Demoting"})
    patch.syspath_prepend(str(place))
