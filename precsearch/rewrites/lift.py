"""The author's Q/DQ pairs taken out of a model: what they quantize becomes a choice again.

A pair of QuantizeLinear and DequantizeLinear on an activation is passed by, a dequantized constant
becomes a float constant. The graph that is left is the float model whose weights lie on the
author's grid; `author_ranges` keeps the scales, so that INT8, wherever it is chosen, quantizes an
activation as the author did.

Quantizers take a Relu or Clip out where QuantizeLinear clips as it did: the range of what the layer
before it writes then begins at 0. Such a pair becomes a Clip.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx

from precsearch.graph.operators import PRODUCTS
from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.tensor_names import LIFTED
from precsearch.rewrites.rewrite import NamedRewrite, Parameters, Rewrite

__all__ = ["LIFT", "author_ranges", "lifted"]

LIFT = "lift-quantization"
"""The name of the rewrite, in plans."""

_Pair = tuple[NodeView, NodeView]

_LIMITS: Mapping[str, tuple[float, float]] = {
    **{"INT8": (-128, 127), "INT16": (-(1 << 15), (1 << 15) - 1), "INT4": (-8, 7), "INT2": (-2, 1)},
    **{"UINT8": (0, 255), "UINT16": (0, (1 << 16) - 1), "UINT4": (0, 15), "UINT2": (0, 3)},
    **{"FLOAT8E4M3FN": (-448.0, 448.0), "FLOAT8E4M3FNUZ": (-240.0, 240.0)},
    **{"FLOAT8E5M2": (-57344.0, 57344.0), "FLOAT8E5M2FNUZ": (-57344.0, 57344.0)},
    "FLOAT4E2M1": (-6.0, 6.0),
}
"""ONNX's name of each type that QuantizeLinear writes → its lowest and largest finite value."""


_SIGNED = (
    *(*PRODUCTS, "Add", "Sub", "Mul"),
    *("BatchNormalization", "LayerNormalization", "InstanceNormalization"),
)
"""Operators that write negative numbers, behind which quantizers take activations out."""


def lifted(graph: GraphView, parameters: Parameters) -> NamedRewrite | None:
    """The model without its author's Q/DQ; ``None`` if it has none.

    What is no plain pair (other scales on both sides, an integer tensor that something else reads)
    stays as it is.

    Args:
        graph: The prepared model.
        parameters: None are needed.
    """
    del parameters
    instead, constants = _activations(graph), _weights(graph)
    if not instead and not constants:
        return None
    rewrite = Rewrite(constants={_named(t): values for t, values in constants.items()})
    clips = _clips(graph)
    ranges = author_ranges(graph)
    for tensor, clip in clips.items():
        for part, limit in zip(("low", "high"), ranges[tensor], strict=True):
            rewrite.constants[f"{clip}/{part}"] = np.asarray(limit, np.float32)
    instead = {t: clips.get(source, source) for t, source in instead.items()}
    for node in graph.nodes:
        inputs = [_read(t, instead, constants) for t in node.inputs]
        outputs = [t for t in node.outputs if t in instead and t in graph.output_names]
        if outputs:
            kept = onnx.NodeProto(op_type="Identity", name=node.proto.name, output=outputs)
            kept.input.append(_read(outputs[0], instead, constants))
            rewrite.instead[node.index] = [kept]
        elif inputs != list(node.inputs):
            changed = onnx.NodeProto()
            changed.CopyFrom(node.proto)
            changed.input[:] = inputs
            rewrite.instead[node.index] = [changed]
    for tensor, clip in clips.items():
        index = graph.producer[tensor].index
        ahead = rewrite.instead.get(index, [graph.nodes[index].proto])
        rewrite.instead[index] = [*ahead, _clip(tensor, clip)]
    rewrite.sites += sorted({*instead, *constants})
    what = "take the author's Q/DQ out, with the scales kept for INT8"
    return NamedRewrite(LIFT, what, rewrite)


def _clips(graph: GraphView) -> dict[str, str]:
    """Tensor whose pair stands in for an activation → the tensor that a Clip makes of it."""
    makers = ((t, graph.producer.get(t)) for t, (low, _) in _ranges(graph).items() if low == 0.0)
    return {
        t: graph.free_name(f"{t}/clipped") for t, n in makers if n is not None and n.is_op(*_SIGNED)
    }


def _clip(tensor: str, clip: str) -> onnx.NodeProto:
    return onnx.helper.make_node("Clip", [tensor, f"{clip}/low", f"{clip}/high"], [clip], name=clip)


def author_ranges(graph: GraphView) -> dict[str, tuple[float, float]]:
    """Tensor → lowest and highest value that the author's quantization of it holds.

    A tensor that `lifted` puts in the place of another has the other's range.

    Args:
        graph: The prepared model with its Q/DQ.
    """
    ranges = _ranges(graph)
    return {**ranges, **{clip: ranges[tensor] for tensor, clip in _clips(graph).items()}}


def _ranges(graph: GraphView) -> dict[str, tuple[float, float]]:
    ranges: dict[str, tuple[float, float]] = {}
    for quantize, _ in _pairs(graph):
        scale, zero = (graph.weights[t].array for t in quantize.inputs[1:3])
        if scale.size != 1:
            continue
        least, most = _LIMITS[_type_name(graph, quantize.inputs[2])]
        step, shift = float(scale.reshape(-1)[0]), float(zero.reshape(-1)[0])
        low, high = (least - shift) * step, (most - shift) * step
        if least < 0 and shift == 0:
            low = -high  # symmetric: -128 has no partner
        ranges[quantize.inputs[0]] = (low, high)
    return ranges


def _type_name(graph: GraphView, constant: str) -> str:
    return str(onnx.TensorProto.DataType.Name(graph.weights[constant].elem_type))


def _pairs(graph: GraphView) -> list[_Pair]:
    """QuantizeLinear and DequantizeLinear of one activation, with equal scales."""
    pairs = []
    for node in graph.nodes:
        maker = graph.producer.get(node.inputs[0]) if node.is_op("DequantizeLinear") else None
        if maker is None or not maker.is_op("QuantizeLinear"):
            continue
        same = all(_equal(graph, maker, node, slot) for slot in (1, 2))
        same = same and _type_name(graph, maker.inputs[2]) in _LIMITS
        if same and maker.inputs[0] not in graph.weights:
            pairs.append((maker, node))
    return pairs


def _equal(graph: GraphView, one: NodeView, other: NodeView, slot: int) -> bool:
    values = [graph.weights.get(n.inputs[slot]) for n in (one, other) if len(n.inputs) > slot]
    if len(values) != 2 or values[0] is None or values[1] is None:
        return False
    return bool(np.array_equal(values[0].array, values[1].array))


def _activations(graph: GraphView) -> Mapping[str, str]:
    """Dequantized tensor → the tensor that was quantized."""
    return {node.outputs[0]: quantize.inputs[0] for quantize, node in _pairs(graph)}


def _weights(graph: GraphView) -> Mapping[str, npt.NDArray[np.float32]]:
    """Dequantized constant → its values."""
    weights = {}
    for node in graph.nodes:
        if not node.is_op("DequantizeLinear") or node.outputs[0] in graph.output_names:
            continue
        parts = [graph.weights.get(t) for t in node.inputs]
        if any(part is None for part in parts) or not 2 <= len(parts) <= 3:
            continue
        values, scale, *rest = (np.asarray(p.array) for p in parts if p is not None)
        if node.int_attribute("block_size", 0) or scale.dtype != np.float32:
            continue
        axis = node.int_attribute("axis", 1)
        shape = [-1 if i == axis % values.ndim else 1 for i in range(values.ndim)]
        shape = shape if scale.size > 1 else [1] * values.ndim
        # FP64 holds INT32 exactly, and what is stored in FP8 is no whole number.
        zero = rest[0].astype(np.float64).reshape(shape) if rest else np.float64(0)
        steps = (values.astype(np.float64) - zero).astype(np.float32)
        weights[node.outputs[0]] = np.asarray(steps * scale.reshape(shape), np.float32)
    return weights


def _named(tensor: str) -> str:
    return f"{tensor}{LIFTED}"


def _read(tensor: str, instead: Mapping[str, str], constants: Mapping[str, object]) -> str:
    while tensor in instead:
        tensor = instead[tensor]
    return _named(tensor) if tensor in constants else tensor
