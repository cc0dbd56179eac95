"""Bias correction: what the bias of an INT8 Conv or product is shifted by, channel by channel.

Rounding weights and activations moves the mean of a channel's output; the bias takes that back
(Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019, section
4.2). Shifts are FP16 numbers, so that a plan has two bytes for each channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from precsearch.graph.view import GraphView, NodeView

__all__ = [
    "NO_SHIFTS",
    "Floats",
    "ShiftSource",
    "Shifts",
    "bias_holder",
    "bias_slot",
    "channels_of",
    "shift_of",
    "shifted_bias",
    "weight_axis",
]

Floats = npt.NDArray[np.float32]

Shifts = Mapping[str, Floats]
"""Key of the node that has a bias → what is added to it where the product runs in INT8, shape
``(channels,)``. That node is a Conv, a Gemm, or the Add behind a MatMul."""


NO_SHIFTS: Shifts = MappingProxyType({})


@runtime_checkable
class ShiftSource(Protocol):
    """Scales that come with shifts."""

    shifts: Shifts


def shift_of(source: object, node: NodeView) -> Floats | None:
    """The shift that a source of scales has for the bias that a node holds."""
    return source.shifts.get(node.key) if isinstance(source, ShiftSource) else None


def bias_holder(node: NodeView, graph: GraphView) -> NodeView | None:
    """The node whose constant bias a product adds, itself or an Add; ``None`` if there is none.

    A Conv without a bias can be given one.
    """
    if not node.is_op("Conv", "Gemm", "MatMul") or node.inputs[1] not in graph.weights:
        return None
    if node.is_op("MatMul"):
        add = graph.only_user(node.outputs[0])
        if add is None or not add.is_op("Add") or len(_shape(node, graph)) != 2:
            return None
        return add if _fits(add, graph, channels_of(node, graph)) else None
    without = len(node.inputs) < 3 or not node.inputs[2]
    if node.is_op("Conv"):
        return node if without or node.inputs[2] in graph.weights else None
    plain = not without and node.float_attribute("beta", 1.0) == 1.0
    return node if plain and _fits(node, graph, channels_of(node, graph)) else None


def bias_slot(node: NodeView, graph: GraphView) -> int:
    """The input of a `bias_holder` that is the bias."""
    if node.is_op("Add"):
        return next(s for s, t in enumerate(node.inputs) if t in graph.weights)
    return 2


def weight_axis(node: NodeView) -> int:
    """The axis of the weight of a Conv or product that holds its output channels."""
    rows = node.is_op("Conv") or (node.is_op("Gemm") and node.int_attribute("transB", 0))
    return 0 if rows else 1


def channels_of(node: NodeView, graph: GraphView) -> int:
    """Output channels of a Conv or product."""
    return _shape(node, graph)[weight_axis(node)]


def _shape(node: NodeView, graph: GraphView) -> tuple[int, ...]:
    return graph.weights[node.inputs[1]].shape


def _fits(holder: NodeView, graph: GraphView, channels: int) -> bool:
    """Whether a bias has a number for each channel, along the last axis."""
    held = [t for t in holder.inputs[holder.is_op("Gemm") and 2 :] if t in graph.weights]
    return len(held) == 1 and graph.weights[held[0]].size == channels == _last(graph, held[0])


def _last(graph: GraphView, tensor: str) -> int:
    return (graph.weights[tensor].shape or (1,))[-1]


def shifted_bias(graph: GraphView, node: NodeView, shift: Floats) -> Floats:
    """The bias of a `bias_holder` with its shift; of a Conv that has none, the shift."""
    slot = bias_slot(node, graph)
    if slot >= len(node.inputs) or not node.inputs[slot]:
        return shift
    return np.asarray(graph.weights[node.inputs[slot]].load(), np.float32) + shift
