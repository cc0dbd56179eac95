"""A backend for tests that miscompiles one pattern: an attention whose scale is split in two."""

from __future__ import annotations

import onnx

from precsearch.backends.onnxruntime import OnnxRuntimeBackend

__all__ = ["Wrong"]


class Wrong(OnnxRuntimeBackend):
    """Where both sides of a MatMul are scaled by a constant, it forgets one of the scales."""

    name = "wrong"
    built = 0

    def build(self, model: bytes) -> bytes:
        """See `precsearch.backend.Backend.build`."""
        type(self).built += 1
        proto = onnx.ModelProto.FromString(model)
        maker = {t: n for n in proto.graph.node for t in n.output}
        scalars = {w.name for w in proto.graph.initializer if not w.dims or list(w.dims) == [1]}

        def scaled(tensor: str) -> onnx.NodeProto | None:
            node = maker.get(tensor)
            if node is not None and node.op_type == "Transpose":
                node = maker.get(node.input[0])
            if node is None or node.op_type != "Mul":
                return None
            return node if set(node.input) & scalars else None

        for node in proto.graph.node:
            if node.op_type == "MatMul":
                sides = [scaled(t) for t in node.input]
                if sides[0] is not None and sides[1] is not None:
                    side = sides[1]
                    (data,) = set(side.input) - scalars
                    side.op_type = "Identity"
                    side.input[:] = [data]
        return bytes(proto.SerializeToString())
