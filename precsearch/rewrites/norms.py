"""Rewrites of a LayerNorm whose variance leaves FP16's range: fuse it, or scale before squaring."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import helper

from precsearch.graph.view import GraphView, NodeView
from precsearch.rewrites.rewrite import LAYERNORM_OPSET, NamedRewrite, Rewrite, constant_of

__all__ = ["fused_norms", "norm_exponents", "scaled_norms"]

_SAFE = 128.0
"""Squared and averaged, it is a quarter of what FP16 holds."""


@dataclass(frozen=True)
class _Norm:
    """The nodes of a decomposed LayerNorm over the last axis: (x - mean) / sqrt(var + eps)."""

    source: str
    sub: NodeView
    square: NodeView
    add: NodeView
    div: NodeView
    epsilon: float


def _norms(graph: GraphView) -> Iterator[_Norm]:
    for div in graph.nodes:
        if not div.is_op("Div"):
            continue
        sub, sqrt = _maker(graph, div.inputs[0], "Sub"), _maker(graph, div.inputs[1], "Sqrt")
        add = _maker(graph, sqrt.inputs[0], "Add") if sqrt is not None else None
        if sub is None or add is None:
            continue
        values = [constant_of(graph, t) for t in add.inputs]
        if (values[0] is None) == (values[1] is None):
            continue
        slot = 0 if values[0] is None else 1
        mean_square = _maker(graph, add.inputs[slot], "ReduceMean")
        square = None if mean_square is None else graph.producer.get(mean_square.inputs[0])
        mean = _maker(graph, sub.inputs[1], "ReduceMean")
        if square is None or mean_square is None or mean is None:
            continue
        whole = _is_square(graph, square, sub.outputs[0]) and mean.inputs[0] == sub.inputs[0]
        if whole and all(_over_last(graph, n) for n in (mean, mean_square)):
            epsilon = values[1 - slot]
            assert epsilon is not None
            yield _Norm(sub.inputs[0], sub, square, add, div, epsilon)


def _maker(graph: GraphView, tensor: str, op_type: str) -> NodeView | None:
    node = graph.producer.get(tensor)
    return node if node is not None and node.is_op(op_type) else None


def _is_square(graph: GraphView, node: NodeView, tensor: str) -> bool:
    if node.is_op("Mul"):
        return node.inputs == (tensor, tensor)
    return (
        node.is_op("Pow") and node.inputs[0] == tensor and constant_of(graph, node.inputs[1]) == 2.0
    )


def _over_last(graph: GraphView, node: NodeView) -> bool:
    axes = node.attributes.get("axes")
    if axes is None and len(node.inputs) > 1 and node.inputs[1] in graph.weights:
        axes = np.asarray(graph.weights[node.inputs[1]].array).reshape(-1).tolist()
    if (
        not isinstance(axes, (list, tuple))
        or len(axes) != 1
        or not node.int_attribute("keepdims", 1)
    ):
        return False
    rank = graph.rank(node.inputs[0])
    return int(axes[0]) == -1 or (rank is not None and int(axes[0]) == rank - 1)


def fused_norms(graph: GraphView) -> NamedRewrite | None:
    """Decomposed LayerNorms as ``LayerNormalization``, which engines compute in FP32 inside.

    Needs operator set 17. Exact in real numbers; FP32 sums in another order.
    """
    if graph.opsets.get("", 1) < LAYERNORM_OPSET:
        return None
    rewrite = Rewrite()
    for norm in _norms(graph):
        scale, bias, last = _affine(graph, norm.div)
        width = graph.weights[scale].size if scale else _width(graph, norm.source)
        if width is None:
            continue
        if not scale:
            scale = f"{norm.div.key}/cure/ones"
            scale = rewrite.constant(graph, scale, np.ones(width, np.float32))
        inputs = [norm.source, scale, *([bias] if bias else [])]
        rewrite.instead[last.index] = [
            helper.make_node(
                "LayerNormalization",
                inputs,
                [last.outputs[0]],
                f"{last.key}/LayerNormalization",
                axis=-1,
                epsilon=norm.epsilon,
            )
        ]
        rewrite.sites.append(norm.div.key)
    what = "write the decomposed LayerNorms as LayerNormalization, computed in FP32 inside"
    return NamedRewrite("fuse-layernorm", what, rewrite) if rewrite.sites else None


def _affine(graph: GraphView, div: NodeView) -> tuple[str, str, NodeView]:
    """Scale and bias of one dimension that follow, and the last node of the norm."""
    scale = bias = ""
    last = div
    user = graph.only_user(div.outputs[0])
    if user is not None and user.is_op("Mul") and (factor := _vector(graph, user, last)):
        scale, last = factor, user
        user = graph.only_user(last.outputs[0])
        if user is not None and user.is_op("Add") and (factor := _vector(graph, user, last)):
            bias, last = factor, user
    return scale, bias, last


def _vector(graph: GraphView, node: NodeView, before: NodeView) -> str:
    others = [t for t in node.inputs if t != before.outputs[0]]
    weight = graph.weights.get(others[0]) if len(others) == 1 else None
    return others[0] if weight is not None and len(weight.shape) == 1 else ""


def _width(graph: GraphView, tensor: str) -> int | None:
    shape = graph.shapes.get(tensor)
    return shape[-1] if shape else None


def norm_exponents(graph: GraphView, absmax: Mapping[str, float]) -> dict[str, int]:
    """Key of a LayerNorm's Div → the power of two that x - mean is to be divided by.

    Args:
        graph: The prepared model.
        absmax: Largest value by tensor, in FP32.
    """
    exponents = {}
    for norm in _norms(graph):
        peak = absmax.get(norm.sub.outputs[0], 0.0)
        readers = {n.index for n in graph.users(norm.sub.outputs[0])}
        if _SAFE < peak < math.inf and readers <= {norm.square.index, norm.div.index}:
            exponents[norm.div.key] = math.ceil(math.log2(peak / _SAFE))
    return exponents


def scaled_norms(graph: GraphView, exponents: Mapping[str, int]) -> NamedRewrite | None:
    """Decomposed LayerNorms that scale x - mean by a power of two before they square it.

    The scale cancels in the division and is exact in FP32; the epsilon is scaled by its square.

    Args:
        graph: The prepared model.
        exponents: See `norm_exponents`.
    """
    rewrite = Rewrite()
    for norm in _norms(graph):
        if norm.div.key not in exponents:
            continue
        tensor = norm.sub.outputs[0]
        scale = np.float32(2.0 ** -exponents[norm.div.key])
        raw = graph.free_name(f"{tensor}/cure/raw")
        by = rewrite.constant(graph, f"{tensor}/cure/scale", np.asarray(scale))
        small = np.asarray(np.float32(norm.epsilon) * scale * scale)
        epsilon = rewrite.constant(graph, f"{tensor}/cure/epsilon", small)
        rewrite.instead[norm.sub.index] = [
            helper.make_node("Sub", list(norm.sub.inputs), [raw], f"{raw}/Sub"),
            helper.make_node("Mul", [raw, by], [tensor], f"{tensor}/cure/Mul"),
        ]
        inputs = [epsilon if constant_of(graph, t) is not None else t for t in norm.add.inputs]
        rewrite.instead[norm.add.index] = [
            helper.make_node("Add", inputs, list(norm.add.outputs), norm.add.proto.name)
        ]
        rewrite.sites.append(norm.div.key)
    what = "scale by a power of two before the variance is squared, which the division takes back"
    params = {key: exponents[key] for key in rewrite.sites}
    return NamedRewrite("scale-variance", what, rewrite, params) if rewrite.sites else None
