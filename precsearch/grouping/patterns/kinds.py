"""The kind of a group by its operators."""

from __future__ import annotations

from precsearch.graph.view import GraphView, NodeView

__all__ = ["KINDS", "kind_of"]

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


def kind_of(node: NodeView, graph: GraphView) -> str:
    """What a node is on its own; ``node`` for everything that is nothing in particular."""
    if node.domain or not any(o and graph.is_float(o) for o in node.outputs):
        return "node"
    if node.is_op("Add"):
        return "node" if any(t in graph.weights for t in node.inputs) else "add"
    return KINDS.get(node.op_type, "node")
