"""Rewrite of an attention whose scale is split into two Muls, around which TensorRT miscompiled."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from precsearch.graph.view import GraphView, NodeView
from precsearch.rewrites.rewrite import NamedRewrite, Rewrite, constant_of

__all__ = ["merged_scales"]


def merged_scales(graph: GraphView) -> NamedRewrite | None:
    """(q s₁)(k s₂)ᵀ as (q s₁s₂) kᵀ: one Mul before the product rather than two."""
    rewrite = Rewrite()
    for product in graph.nodes:
        if not product.is_op("MatMul"):
            continue
        sides = [_scaled(graph, tensor) for tensor in product.inputs]
        if sides[0] is None or sides[1] is None:
            continue
        (left, first, q), (right, second, k) = sides[0], sides[1]
        if left.index == right.index:
            continue  # (s x)(s x): the one Mul cannot both stay and go
        scale = np.asarray(np.float32(first) * np.float32(second))
        by = rewrite.constant(graph, f"{product.key}/cure/scale", scale)
        rewrite.instead[left.index] = [
            helper.make_node("Mul", [q, by], list(left.outputs), left.proto.name)
        ]
        if product.inputs[1] == right.outputs[0]:
            changed = onnx.NodeProto()
            changed.CopyFrom(product.proto)
            changed.input[1] = k
            rewrite.instead[product.index] = [changed]
            rewrite.instead[right.index] = []
        else:
            rewrite.instead[right.index] = [
                helper.make_node("Identity", [k], list(right.outputs), right.proto.name)
            ]
        rewrite.sites.append(product.key)
    what = "merge the two scales around a query-key product into one"
    return NamedRewrite("merge-scales", what, rewrite) if rewrite.sites else None


def _scaled(graph: GraphView, tensor: str) -> tuple[NodeView, float, str] | None:
    """The Mul by a scalar that alone a tensor comes from, maybe by way of a Transpose.

    With it come the scalar and the tensor that it multiplies.
    """
    node = graph.producer.get(tensor)
    if node is not None and node.is_op("Transpose") and graph.only_user(tensor) is not None:
        node = graph.producer.get(node.inputs[0])
    if node is None or not node.is_op("Mul") or graph.only_user(node.outputs[0]) is None:
        return None
    for slot in (0, 1):
        value = constant_of(graph, node.inputs[slot])
        if value is not None:
            return node, value, node.inputs[1 - slot]
    return None
