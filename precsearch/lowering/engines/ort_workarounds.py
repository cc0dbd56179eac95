"""Where ONNX Runtime's own fusions would undo an assignment, and the equal form that they leave be.

Each was found by experiment on ONNX Runtime 1.23.2 and 1.31.1 (docs/onnxruntime.md). All forms are
exact in FP32: x - (-b) is x + b; LeakyRelu with a slope of 0 is Relu, with a slope of 1 nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from precsearch.core.quantization import QuantScheme, Quirk
from precsearch.graph.operators import FUSED_ACTIVATIONS, PRODUCTS
from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.capabilities import weight_slot
from precsearch.lowering.qdq.layout import QuantLayout

__all__ = ["EngineForms", "engine_forms"]


@dataclass(frozen=True)
class EngineForms:
    """Indices of nodes that are written in another form.

    Attributes:
        negated: Add with a constant, written as Sub of its negative.
        split: INT8 Gemm, written as MatMul and Sub.
        leaky: Relu, written as LeakyRelu with slope 0.
        guarded: Nodes that a LeakyRelu with slope 1 follows.
        fed: Nodes whose first input goes through such a LeakyRelu.
        widened: Nodes whose first input is cast to FP32 for that, and back.
        wide: Concats in FP16, written in FP32 with a Cast behind.
    """

    negated: frozenset[int] = frozenset()
    split: frozenset[int] = frozenset()
    leaky: frozenset[int] = frozenset()
    guarded: frozenset[int] = frozenset()
    fed: frozenset[int] = frozenset()
    widened: frozenset[int] = frozenset()
    wide: frozenset[int] = frozenset()


def engine_forms(graph: GraphView, layout: QuantLayout, scheme: QuantScheme) -> EngineForms:
    """The forms that this layout needs with this scheme."""
    negated: set[int] = set()
    split: set[int] = set()
    leaky: set[int] = set()
    guarded: set[int] = set()
    active = frozenset(layout.active)
    for node in graph.nodes:
        if node.index in active:
            if Quirk.SPLIT_BIAS in scheme.quirks:
                split |= {node.index} if node.is_op("Gemm") else set()
                negated |= _bias_add(node, graph)
                guarded |= {node.index} if _half_quantized(node, graph, layout) else set()
        elif Quirk.GUARD_FLOAT in scheme.quirks and _would_be_quantized(node, graph, layout):
            follower = graph.only_user(node.outputs[0])
            if node.is_op("MatMul"):
                negated |= _bias_add(node, graph)
            elif follower is not None and follower.is_op("Relu"):
                leaky.add(follower.index)
            else:
                guarded.add(node.index)
    return EngineForms(frozenset(negated), frozenset(split), frozenset(leaky), frozenset(guarded))


def _bias_add(node: NodeView, graph: GraphView) -> set[int]:
    """The Add of a constant that alone reads a MatMul."""
    if not node.is_op("MatMul"):
        return set()
    add = graph.only_user(node.outputs[0])
    if add is None or not add.is_op("Add"):
        return set()
    return {add.index} if any(t in graph.weights for t in add.inputs) else set()


def _half_quantized(node: NodeView, graph: GraphView, layout: QuantLayout) -> bool:
    """Whether QuantizeLinear and something else read an INT8 MatMul without a bias.

    ONNX Runtime then finds neither the pattern with a quantized output nor the one without.
    """
    tensor = node.outputs[0]
    if not node.is_op("MatMul", "Gemm") or tensor not in layout.quantized:
        return False
    uses = graph.consumers.get(tensor, ())
    quantized = all((user.index, slot) in layout.reads for user, slot in uses)
    return not quantized or tensor in graph.output_names


def _would_be_quantized(node: NodeView, graph: GraphView, layout: QuantLayout) -> bool:
    """Whether ONNX Runtime sees DequantizeLinear → this FP32 node → QuantizeLinear."""
    if not node.is_op(*PRODUCTS):
        return False
    if weight_slot(node, graph) is None or node.inputs[0] not in layout.replaced:
        return False
    tensor: str | None = node.outputs[0]
    while tensor is not None:
        if tensor in layout.quantized:
            return True
        user = graph.only_user(tensor)
        follows = user is not None and user.is_op(*FUSED_ACTIVATIONS, "Add")
        tensor = user.outputs[0] if user is not None and follows else None
    return False
