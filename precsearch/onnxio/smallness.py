"""Layers that TensorRT's INT8 kernels are too wide for, told by their shapes."""

from __future__ import annotations

from math import prod

from precsearch.onnxio.graph import GraphView, NodeView
from precsearch.space import Precision, SearchSpace

__all__ = ["int8_hints"]

_CONVOLUTIONS = ("Conv", "ConvTranspose")
_LEAST_CHANNELS = 16
_LEAST_ELEMENTS = 8


def int8_hints(graph: GraphView, space: SearchSpace) -> dict[str, str]:
    """Group key → why TensorRT's INT8 kernels are unlikely to speed it up, as half a sentence.

    The rules are those by which NVIDIA's Model Optimizer leaves a layer out. They are about shapes
    alone and may be wrong for a given device: a measurement overrules them. A group is named if
    they hold for every operator in it that would compute in INT8.
    """
    found: dict[str, str] = {}
    for group in space.groups:
        if Precision.INT8 not in group.choices:
            continue
        nodes = [graph.by_key[key] for key in group.nodes]
        reasons = [_small(n, graph) for n in nodes if n.is_op(*_CONVOLUTIONS, "MatMul", "Gemm")]
        if not reasons:
            reasons = [_tiny(n, graph) for n in nodes if n.is_op("Add", "Concat")]
        if reasons and all(reasons):
            found[group.key] = reasons[0]
    return found


def _small(node: NodeView, graph: GraphView) -> str:
    tiny = _tiny(node, graph)
    if tiny:
        return tiny
    return _thin_conv(node, graph) if node.is_op(*_CONVOLUTIONS) else _thin_product(node, graph)


def _tiny(node: NodeView, graph: GraphView) -> str:
    for tensor in node.inputs[:2]:
        shape = graph.shapes.get(tensor)
        if shape is None or tensor in graph.weights or None in shape:
            continue
        size = prod(d or 0 for d in shape)
        if size < _LEAST_ELEMENTS:
            return f"tensor {tensor!r} has {size} elements"
    return ""


def _thin_conv(node: NodeView, graph: GraphView) -> str:
    weight = graph.weights.get(node.inputs[1])
    if weight is None or len(weight.shape) < 3:
        return ""
    groups = node.int_attribute("group", 1)
    if node.is_op("ConvTranspose"):
        inputs, outputs = weight.shape[0], weight.shape[1] * groups
    else:
        inputs, outputs = weight.shape[1] * groups, weight.shape[0]
    if groups > 1:
        fits = outputs % 8 == 0 and min(weight.shape[2:]) >= 3
        return (
            "" if fits else f"{outputs} channels in {groups} groups have no INT8 kernel that pays"
        )
    image = inputs <= 4 and outputs % 8 == 0  # the first layer has kernels of its own
    thin = min(inputs, outputs) < _LEAST_CHANNELS and not image
    return (
        f"{inputs} channels in and {outputs} out are fewer than {_LEAST_CHANNELS}" if thin else ""
    )


def _thin_product(node: NodeView, graph: GraphView) -> str:
    first, second = (graph.shapes.get(t) or _weight_shape(t, graph) for t in node.inputs[:2])
    if not second or len(second) < 2:
        return "" if second is None else "it is a product with a vector"
    turned = bool(node.is_op("Gemm") and node.int_attribute("transB", 0))
    inner, columns = (second[-1], second[-2]) if turned else (second[-2], second[-1])
    rows: int | None = None
    if first:
        # A constant of two dimensions is one product with all rows of all samples.
        shared = len(second) == 2 and node.inputs[1] in graph.weights
        known = first[:-1] if shared else first[-2:-1]
        rows = None if None in known else prod(d or 0 for d in known)
    if 1 in (rows, columns):
        return "it is a product of a matrix and a vector"
    thin = [d for d in (inner, columns) if d is not None and d < _LEAST_CHANNELS]
    return f"a dimension of {thin[0]} is less than {_LEAST_CHANNELS}" if thin else ""


def _weight_shape(tensor: str, graph: GraphView) -> tuple[int | None, ...] | None:
    weight = graph.weights.get(tensor)
    return None if weight is None else weight.shape
