"""Operators that take the scale of a channel up into their constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from precsearch.graph.view import GraphView, NodeView
from precsearch.rewrites.scaling.channels import Axis

__all__ = ["Absorber", "absorber"]


@dataclass(frozen=True)
class Absorber:
    """A node that takes scales up into its constants.

    Attributes:
        takes: The axis of its input whose scale its constants take up, if it has one.
        gives: The axis of its output whose scale its constants take up, if it has one.
    """

    takes: Axis | None
    gives: Axis | None


def absorber(node: NodeView, graph: GraphView) -> Absorber | None:
    """Where a node takes up scales, ``None`` if it does not."""
    if not node.inputs or node.domain or node.captures or not graph.is_float(node.outputs[0]):
        return None
    rank = graph.rank(node.inputs[0])
    find = _ABSORBERS.get(node.op_type)
    return None if find is None or rank is None else find(node, graph, rank)


def _constant(node: NodeView, graph: GraphView, slot: int) -> bool:
    """Whether an input is an FP32 constant or absent."""
    if slot >= len(node.inputs) or not node.inputs[slot]:
        return True
    return node.inputs[slot] in graph.weights and graph.is_float(node.inputs[slot])


def _convolution(node: NodeView, graph: GraphView, rank: int) -> Absorber | None:
    if not all(_constant(node, graph, s) for s in range(1, len(node.inputs))):
        return None
    return Absorber((node.inputs[0], 1), (node.outputs[0], 1))


def _gemm(node: NodeView, graph: GraphView, rank: int) -> Absorber | None:
    if node.int_attribute("transA", 0) or not all(_constant(node, graph, s) for s in (1, 2)):
        return None
    return Absorber((node.inputs[0], 1), (node.outputs[0], 1))


def _matmul(node: NodeView, graph: GraphView, rank: int) -> Absorber | None:
    weight = graph.weights.get(node.inputs[1])
    if weight is None or len(weight.shape) != 2 or not _constant(node, graph, 1) or rank < 2:
        return None
    return Absorber((node.inputs[0], rank - 1), (node.outputs[0], rank - 1))


def _batch_norm(node: NodeView, graph: GraphView, rank: int) -> Absorber | None:
    whole = all(_constant(node, graph, s) for s in range(1, 5)) and len(node.outputs) == 1
    training = node.int_attribute("training_mode", 0)
    return Absorber((node.inputs[0], 1), (node.outputs[0], 1)) if whole and not training else None


def _layer_norm(node: NodeView, graph: GraphView, rank: int) -> Absorber | None:
    last = node.int_attribute("axis", -1) in (-1, rank - 1)
    whole = last and all(_constant(node, graph, s) for s in (1, 2))
    return Absorber(None, (node.outputs[0], rank - 1)) if whole else None


def _instance_norm(node: NodeView, graph: GraphView, rank: int) -> Absorber | None:
    whole = all(_constant(node, graph, s) for s in (1, 2))
    return Absorber(None, (node.outputs[0], 1)) if whole else None


def _multiplication(node: NodeView, graph: GraphView, rank: int) -> Absorber | None:
    """A Mul or Div by a vector along one axis: of a LayerNorm that is written out, say."""
    slot = 0 if node.inputs[0] in graph.weights and node.is_op("Mul") else 1
    tensor, weight = node.inputs[1 - slot], graph.weights.get(node.inputs[slot])
    shape, rank = graph.shapes.get(tensor), graph.rank(tensor) or 0
    if weight is None or shape is None or not graph.is_float(node.inputs[slot]):
        return None
    wide = [d for d, size in enumerate(weight.shape) if size != 1]
    if len(wide) != 1 or len(weight.shape) > rank:
        return None
    axis = wide[0] + rank - len(weight.shape)
    fits = weight.size == shape[axis]
    return Absorber((tensor, axis), (node.outputs[0], axis)) if fits else None


_Find = Callable[[NodeView, GraphView, int], Absorber | None]
_ABSORBERS: Mapping[str, _Find] = {
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "InstanceNormalization": _instance_norm,
    "Mul": _multiplication,
    "Div": _multiplication,
}
