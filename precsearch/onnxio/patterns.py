"""Fused patterns, recognised by structure alone: what an engine computes in one kernel.

Each matcher starts from one node and answers with the nodes of the pattern, or nothing. Names are
never looked at: exporters choose them freely.
"""

from __future__ import annotations

from collections.abc import Iterator

from precsearch.onnxio.composites import Composites, Lookup, Pattern
from precsearch.onnxio.graph import GraphView, NodeView

__all__ = ["Pattern", "find_patterns", "kind_of"]

_KINDS = {
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
    return _KINDS.get(node.op_type, "node")


def find_patterns(graph: GraphView) -> list[Pattern]:
    """Every pattern of more than one node, disjoint, those that are most particular first."""
    finder = Composites(graph)
    chains = _Chains(graph)
    taken: set[int] = set()
    found: list[Pattern] = []
    matchers = (
        (("Softmax",), finder.attention),
        (("Sqrt", "Pow"), finder.norm),
        (("Erf", "Tanh"), finder.gelu),
        (("Sigmoid", "HardSigmoid"), finder.silu),
        ((*_KINDS, "Add"), chains.chain),
    )
    for anchors, matcher in matchers:
        for node in graph.nodes:
            if node.index in taken or not node.is_op(*anchors):
                continue
            pattern = matcher(node)
            if pattern is not None and len(pattern.nodes) > 1 and taken.isdisjoint(pattern.nodes):
                taken.update(pattern.nodes)
                found.append(pattern)
    return found


class _Chains(Lookup):
    """Conv, MatMul, Gemm, residual Add …: one operator and what follows it element by element."""

    def chain(self, node: NodeView) -> Pattern | None:
        """An operator, the constant shift and scale after it, and the Relu or Clip after that."""
        kind = kind_of(node, self.graph)
        if kind in ("node", "concat", "layernorm", "rmsnorm", "gelu", "silu", "attention"):
            return None
        nodes = [node.index]
        tensor = node.outputs[0]
        for step in self._affine(node, kind):
            nodes.append(step.index)
            tensor = step.outputs[0]
        while (clip := self.next_is(tensor, "Relu", "Clip")) is not None:
            if any(t and t not in self.graph.weights for t in clip.inputs[1:]):
                break
            nodes.append(clip.index)
            tensor = clip.outputs[0]
        return Pattern(kind, tuple(sorted(nodes)))

    def _affine(self, node: NodeView, kind: str) -> Iterator[NodeView]:
        tensor = node.outputs[0]
        if kind == "matmul":
            add = self.next_is(tensor, "Add")
            if add is not None and self._along(self.constant_operand(add), 1):
                yield add
        elif kind == "conv":
            weight = self.graph.weights.get(node.inputs[1])
            rank = len(weight.shape) if weight is not None else self.graph.rank(tensor) or 0
            while (step := self.next_is(tensor, "BatchNormalization", "Add", "Mul")) is not None:
                if step.is_op("BatchNormalization"):
                    fits = step.inputs[0] == tensor
                else:
                    fits = self._along(self.constant_operand(step), rank - 1)
                if not fits:
                    return
                yield step
                tensor = step.outputs[0]

    def _along(self, tensor: str, from_end: int) -> bool:
        """Whether a constant differs along one axis at most, counted from the last as 1."""
        weight = self.graph.weights.get(tensor)
        if weight is None:
            return False
        axes = [len(weight.shape) - i for i, d in enumerate(weight.shape) if d != 1]
        return not axes or axes == [from_end]
