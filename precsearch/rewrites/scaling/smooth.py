"""Smoothing: a factor by channel in front of products, which their weights take back.

A product reads activations with one scale for all their channels. Where another reader needs the
channels as they are (a residual Add behind a norm, GELU), equalization cannot scale them where they
are made. One Mul in front of the products can, and it costs little beside them (Xiao et al.,
SmoothQuant, 2023). Factors are powers of two, which FP32 multiplies with exactly.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from precsearch.codec.vectors import decode_vector
from precsearch.graph.view import GraphView, NodeView
from precsearch.rewrites.rewrite import NamedRewrite, Parameters, Rewrite
from precsearch.rewrites.scaling.equalize import MOST, Floats, Steps, scale_of

__all__ = ["SMOOTH", "smoothable", "smoothed", "smoothed_tensor"]

SMOOTH = "smooth"
"""Name of the rewrite."""

_LEAST_OUTPUTS = 64
"""Columns of all products of one tensor together, from which on a Mul costs little beside them."""


def smoothed_tensor(tensor: str) -> str:
    """Name of a tensor with its channels scaled."""
    return f"{tensor}/{SMOOTH}"


def smoothable(graph: GraphView) -> Mapping[str, tuple[NodeView, ...]]:
    """Activation → the products with constant weights that read its last axis, in graph order.

    Activations of few products are left out, and those whose number of channels is not known.
    """
    found: dict[str, list[NodeView]] = {}
    for node in graph.nodes:
        if _is_product(node, graph):
            found.setdefault(node.inputs[0], []).append(node)
    return {
        tensor: tuple(nodes)
        for tensor, nodes in found.items()
        if sum(_columns(n, graph) for n in nodes) >= _LEAST_OUTPUTS
    }


def smoothed(graph: GraphView, parameters: Parameters) -> NamedRewrite | None:
    """The graph with factors in front of products.

    Args:
        graph: The prepared model.
        parameters: Exponents by tensor, as `precsearch.codec.vectors` writes them, at most `MOST`
            in size: a channel x becomes x / 2 ** k. What does not fit the graph is ignored.

    Returns:
        ``None`` if nothing is scaled.
    """
    rewrite = Rewrite()
    for tensor, nodes in smoothable(graph).items():
        steps = _steps(parameters.get(tensor), _channels(nodes[0], graph))
        made = smoothed_tensor(tensor)
        if steps is None or made in graph.names:
            continue
        factor = rewrite.constant(graph, f"{made}/factor", scale_of(-steps))
        mul = onnx.helper.make_node("Mul", [tensor, factor], [made], name=made)
        for position, node in enumerate(nodes):
            weight = f"{node.key}/{SMOOTH}/weight"
            weight = rewrite.constant(graph, weight, _scaled(node, graph, steps))
            copy = onnx.NodeProto()
            copy.CopyFrom(node.proto)
            copy.input[:2] = [made, weight]
            rewrite.instead[node.index] = [copy] if position else [mul, copy]
        rewrite.sites.append(made)
    what = "scale channels of unequal range in front of products, whose weights take it back"
    return NamedRewrite(SMOOTH, what, rewrite, parameters) if rewrite.sites else None


def _is_product(node: NodeView, graph: GraphView) -> bool:
    if not node.is_op("MatMul", "Gemm") or node.inputs[0] in graph.weights:
        return False
    weight, shape = graph.weights.get(node.inputs[1]), graph.shapes.get(node.inputs[0]) or ()
    if weight is None or len(weight.shape) != 2 or not graph.is_float(node.inputs[1]):
        return False
    if node.is_op("Gemm") and node.int_attribute("transA", 0):
        return False
    return len(shape) >= 2 and shape[-1] == _channels(node, graph)


def _inner(node: NodeView) -> int:
    """The axis of a weight that holds the channels which a product reads."""
    return int(node.is_op("Gemm") and bool(node.int_attribute("transB", 0)))


def _channels(node: NodeView, graph: GraphView) -> int:
    return graph.weights[node.inputs[1]].shape[_inner(node)]


def _columns(node: NodeView, graph: GraphView) -> int:
    return graph.weights[node.inputs[1]].shape[1 - _inner(node)]


def _steps(text: int | str | None, channels: int) -> Steps | None:
    """Exponents of a tensor; ``None`` if it has none that fit and are not all 0."""
    try:
        steps = decode_vector(str(text))
    except ValueError:
        return None
    fits = steps.shape == (channels,) and bool(steps.any())
    return np.clip(steps, -MOST, MOST) if fits else None


def _scaled(node: NodeView, graph: GraphView, steps: Steps) -> Floats:
    """A weight with the factors of its input channels taken back."""
    weight = np.asarray(graph.weights[node.inputs[1]].load(), np.float32)
    factors = scale_of(steps)
    return np.asarray(weight * (factors if _inner(node) else factors[:, None]), np.float32)
