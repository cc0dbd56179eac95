"""What TensorRT's ONNX parser and builder want of a graph, beyond what ONNX itself does.

From NVIDIA's documentation of explicit quantization and of strongly typed networks. ONNX Runtime
and onnx.checker accept graphs that break each of these.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.shape_inference import infer_shapes

from precsearch.core.backend import GraphForm

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)
LEAST_NORMAL = float(np.finfo(np.float16).tiny)
OPSETS = range(9, 21)
"""Those that the parser of TensorRT 10.0 reads; that of 8.6 reads up to 17."""
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


class Rules:
    """A lowered model, and what is wrong with it."""

    def __init__(self, model: bytes, form: GraphForm) -> None:
        proto = onnx.load_model_from_string(model)
        self.proto, self.form = proto, form
        self.graph = infer_shapes(proto, check_type=True, strict_mode=True).graph
        values = (*self.graph.value_info, *self.graph.input, *self.graph.output)
        self.constants = {t.name: t for t in self.graph.initializer}
        self.types = {v.name: v.type.tensor_type.elem_type for v in values}
        self.types |= {t.name: t.data_type for t in self.graph.initializer}
        self.maker = {o: n for n in self.graph.node for o in n.output}

    def broken(self) -> list[str]:
        """A sentence for everything that TensorRT would refuse, ignore or be slow with."""
        found = list(self._of_graph())
        for node in self.graph.node:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                found += self._of_scale(node)
            elif node.op_type in WEIGHTED:
                found += self._of_weighted(node)
            elif node.op_type == "Cast":
                found += self._of_cast(node)
            elif node.op_type == "Concat":
                found += self._of_concat(node)
        return found

    def _of_graph(self) -> Iterator[str]:
        (opset,) = (o.version for o in self.proto.opset_import if o.domain in ("", "ai.onnx"))
        most = self.form.max_opset or OPSETS[-1]
        if not self.form.min_opset <= opset <= most or opset not in OPSETS:
            yield f"operator set {opset}"
        names = [n.name for n in self.graph.node]
        if len({*names}) != len(names) or "" in names:
            yield "nodes without a name of their own"
        for value in (*self.graph.input, *self.graph.output):
            if self.types[value.name] == TensorProto.FLOAT16:
                yield f"{value.name} is FP16 outside of the graph"
        for name, kind in self.types.items():
            if kind == TensorProto.UINT8:
                yield f"{name} is UINT8"
            if kind == TensorProto.FLOAT16 and self.form.annotated:
                yield f"{name} is FP16 where types are not obeyed"

    def _of_scale(self, node: onnx.NodeProto) -> Iterator[str]:
        if len(node.input) != 3:
            yield f"{node.name} has no zero point"
            return
        data, scale_name, zero_name = node.input
        if not {scale_name, zero_name} <= set(self.constants):
            yield f"{node.name}: scale or zero point is no initializer"
            return
        scale = numpy_helper.to_array(self.constants[scale_name])
        zero = numpy_helper.to_array(self.constants[zero_name])
        stored_as = self.constants[zero_name].data_type
        known = stored_as in (TensorProto.INT8, TensorProto.FLOAT8E4M3FN)
        if not known or zero.astype(np.float32).any() or zero.shape != scale.shape:
            yield f"{node.name}: zero point is not a symmetric INT8 one"
        outer = data if node.op_type == "QuantizeLinear" else node.output[0]
        if self.types[outer] != self.types[scale_name]:
            yield f"{node.name}: scale and tensor have different types"
        least = LEAST_NORMAL if scale.dtype == np.float16 else 0.0
        if not np.isfinite(scale).all() or scale.min() < least or scale.min() <= 0:
            yield f"{node.name}: scale {scale.min()} is too small"
        if scale.size > 1 and not self._rooted(data):
            yield f"{node.name}: a scale per channel on an activation"

    def _of_weighted(self, node: onnx.NodeProto) -> Iterator[str]:
        makers = [self.maker.get(t) for t in node.input]
        quantized = [m is not None and m.op_type == "DequantizeLinear" for m in makers]
        if node.op_type != "MatMul" and quantized[:2] not in ([True, True], [False, False]):
            yield f"{node.name}: one of two inputs is quantized"
        if any(quantized[2:]):
            yield f"{node.name}: the bias is quantized"
        if quantized[0] and any(m is not None for m in makers[2:]):
            yield f"{node.name}: something stands before the bias"
        weight = makers[1]
        if weight is None or not quantized[1] or not self._rooted(weight.input[0]):
            return
        size = len(numpy_helper.to_array(self.constants[weight.input[1]]).reshape(-1))
        axis = next((a.i for a in weight.attribute if a.name == "axis"), 1)
        if size > 1 and axis != self._channels(node):
            yield f"{node.name}: weights are quantized along axis {axis}"

    def _rooted(self, tensor: str) -> bool:
        """Whether it is a constant, or one that is quantized on the way."""
        node = self.maker.get(tensor)
        if node is not None and node.op_type == "QuantizeLinear":
            tensor = node.input[0]
        return tensor in self.constants

    def _channels(self, node: onnx.NodeProto) -> int:
        turned = any(a.name == "transB" and a.i for a in node.attribute)
        if node.op_type == "Conv" or (node.op_type == "Gemm" and turned):
            return 0
        return 1

    def _of_cast(self, node: onnx.NodeProto) -> Iterator[str]:
        before = self.maker.get(node.input[0])
        if before is not None and before.op_type == "DequantizeLinear":
            yield f"{node.name}: a Cast after DequantizeLinear"
        if before is not None and before.op_type == "Cast" and self._between_floats(before):
            yield f"{node.name}: a Cast after a Cast"
        if self.form.annotated and self._between_floats(node):
            yield f"{node.name}: a Cast between float types, which are not obeyed"

    def _between_floats(self, cast: onnx.NodeProto) -> bool:
        return {self.types[cast.input[0]], self.types[cast.output[0]]} == {*FLOATS}

    def _of_concat(self, node: onnx.NodeProto) -> Iterator[str]:
        makers = [self.maker.get(t) for t in node.input]
        if all(m is not None and m.op_type == "DequantizeLinear" for m in makers):
            names = {m.input[1] for m in makers if m is not None}
            scales = {float(numpy_helper.to_array(self.constants[n])) for n in names}
            if len(scales) > 1:
                yield f"{node.name}: inputs of several scales"
