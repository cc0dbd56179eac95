"""A backend that miscompiles one pattern: an attention whose scale is split in two.

It is ONNX Runtime but for that, and shows what a plug-in is: a class with the methods of
`precsearch.core.backend.Backend`, named in an entry point.
"""

from __future__ import annotations

import onnx

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend

__all__ = ["Miscompiling"]


class Miscompiling(OnnxRuntimeBackend):
    """Where both sides of a MatMul are scaled by a constant, it forgets one of the scales."""

    name = "miscompiling"

    def build(self, model: bytes) -> bytes:
        """See `precsearch.core.backend.Backend.build`."""
        proto = onnx.load_model_from_string(model)
        maker = {t: n for n in proto.graph.node for t in n.output}
        scalars = {w.name for w in proto.graph.initializer if not w.dims or list(w.dims) == [1]}

        def scale_of(tensor: str) -> onnx.NodeProto | None:
            node = maker.get(tensor)
            if node is not None and node.op_type == "Transpose":
                node = maker.get(node.input[0])
            if node is None or node.op_type != "Mul":
                return None
            return node if set(node.input) & scalars else None

        for node in proto.graph.node:
            if node.op_type != "MatMul":
                continue
            left, right = (scale_of(t) for t in node.input)
            if left is not None and right is not None:
                (data,) = set(right.input) - scalars
                right.op_type = "Identity"
                right.input[:] = [data]
        return bytes(proto.SerializeToString())
