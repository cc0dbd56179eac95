"""INT8 products whose activations are rounded by the range of each inference.

A range that holds for all calibration samples is wide where a few of them have large values. ONNX
Runtime measures the range of an activation in passing (DynamicQuantizeLinear, operator set 11) and
multiplies integers as fast as with a range that is known (docs/adr/0056). The weights are quantized
as they are for a known range.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import onnx

from precsearch.core.formats import FLOAT32, INT8
from precsearch.core.precision import Precision
from precsearch.core.quantization import QuantScheme, Quirk
from precsearch.graph.encode import coded, stored
from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.qdq.weights import quantize_weight
from precsearch.lowering.writer import GraphWriter

__all__ = ["DynamicSource", "can_be_dynamic", "is_dynamic", "write_dynamic"]


@runtime_checkable
class DynamicSource(Protocol):
    """Scales of which some products do without: keys of these nodes."""

    dynamic: frozenset[str]


def is_dynamic(source: object, node: NodeView) -> bool:
    """Whether a source of scales has none for what a product reads."""
    return isinstance(source, DynamicSource) and node.key in source.dynamic


def can_be_dynamic(node: NodeView, graph: GraphView, scheme: QuantScheme) -> bool:
    """Whether a node is a MatMul with constant weights, on an engine that takes it."""
    if Quirk.DYNAMIC_RANGES not in scheme.quirks or not node.is_op("MatMul"):
        return False
    weight = graph.weights.get(node.inputs[1])
    return weight is not None and len(weight.shape) == 2 and graph.is_float(node.inputs[1])


def write_dynamic(
    writer: GraphWriter, node: NodeView, source: str, output: str, scheme: QuantScheme
) -> None:
    """Append the nodes of one product, of which ONNX Runtime makes a single kernel.

    Args:
        writer: Of the graph.
        node: The MatMul.
        source: FP32 tensor that it reads.
        output: FP32 tensor that it writes.
        scheme: How weights are quantized.
    """
    name, stem = node.inputs[1], f"{node.inputs[1]}//dynamic"
    _write_weight(writer, name, stem, scheme)
    own = f"{node.outputs[0]}//dynamic"
    quantized = onnx.NodeProto(op_type="DynamicQuantizeLinear", input=[source], name=own)
    quantized.output[:] = [f"{own}/q", f"{own}/scale", f"{own}/zero"]
    writer.nodes.append(quantized)
    product = [f"{own}/q", f"{stem}/q", f"{own}/zero", f"{stem}/zero"]
    writer.node("MatMulInteger", product, f"{own}/integer").name = node.key
    cast = writer.node("Cast", [f"{own}/integer"], f"{own}/float")
    cast.attribute.append(onnx.helper.make_attribute("to", onnx.TensorProto.FLOAT))
    writer.node("Mul", [f"{own}/scale", f"{stem}/scale"], f"{own}/step")
    writer.node("Mul", [f"{own}/float", f"{own}/step"], output)


def _write_weight(writer: GraphWriter, name: str, stem: str, scheme: QuantScheme) -> None:
    names = [f"{stem}/q", f"{stem}/scale", f"{stem}/zero"]
    if any(n not in writer.cache.protos for n in names):
        weight = np.asarray(writer.graph.weights[name].load(), np.float32)
        stored_as = scheme.weight("MatMul", Precision.INT8)
        q, scale = quantize_weight(weight, 1, stored_as=stored_as)
        writer.cache.keep_weight(names[0], q, INT8)
        writer.cache.keep(names[1], stored(names[1], scale, FLOAT32))
        writer.cache.keep(names[2], coded(names[2], np.zeros(len(scale), np.int8), INT8))
    for one in names:
        writer.weights[one] = writer.cache.protos[one]
