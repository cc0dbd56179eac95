"""The kind of a group by its operators."""

from __future__ import annotations

from collections.abc import Mapping

from precsearch.core.space import GroupTrait
from precsearch.graph.view import GraphView, NodeView

__all__ = ["ADD_INPUT", "HEADS", "KINDS", "kind_of", "traits_of"]

ADD_INPUT = "add-branch"
"""The kind of a group that stands for a second decision on an Add."""

KINDS = {
    "Conv": "conv",
    "ConvTranspose": "conv",
    "MatMul": "matmul",
    "Gemm": "gemm",
    "Concat": "concat",
    "AveragePool": "pool",
    "GlobalAveragePool": "pool",
    "GlobalMaxPool": "pool",
    "LpPool": "pool",
    "BatchNormalization": "batchnorm",
    "InstanceNormalization": "instancenorm",
    "GroupNormalization": "groupnorm",
    "LayerNormalization": "layernorm",
    "RMSNormalization": "rmsnorm",
    "Gelu": "gelu",
    "Swish": "silu",
    "Attention": "attention",
}
"""Operator → the kind of a group around it."""

HEADS = frozenset(
    {"add", "batchnorm", "conv", "gemm", "groupnorm", "instancenorm", "matmul", "pool"}
)
"""Kinds whose operator an engine fuses with the elementwise ones that follow it."""

_TRAITS: Mapping[str, frozenset[GroupTrait]] = {
    ADD_INPUT: frozenset({GroupTrait.ADDS_INPUT}),
    "attention": frozenset({GroupTrait.ACTIVATION_PRODUCTS}),
}


def traits_of(kind: str) -> frozenset[GroupTrait]:
    """What strategies may rely on in groups of a kind."""
    return _TRAITS.get(kind, frozenset())


def kind_of(node: NodeView, graph: GraphView) -> str:
    """What a node is on its own; ``node`` for everything that is nothing in particular."""
    if node.domain or not any(o and graph.is_float(o) for o in node.outputs):
        return "node"
    if node.is_op("Add"):
        return "node" if any(t in graph.weights for t in node.inputs) else "add"
    return KINDS.get(node.op_type, "node")
