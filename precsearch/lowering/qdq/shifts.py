"""Bias correction: what the bias of an INT8 Conv is shifted by, channel by channel.

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
    "can_be_shifted",
    "shift_of",
    "shifted_bias",
]

Floats = npt.NDArray[np.float32]

Shifts = Mapping[str, Floats]
"""Node key → what is added to its bias where it runs in INT8, shape ``(channels,)``."""


NO_SHIFTS: Shifts = MappingProxyType({})


@runtime_checkable
class ShiftSource(Protocol):
    """Scales that come with shifts."""

    shifts: Shifts


def shift_of(source: object, node: NodeView) -> Floats | None:
    """The shift that a source of scales has for an INT8 node."""
    return source.shifts.get(node.key) if isinstance(source, ShiftSource) else None


def can_be_shifted(node: NodeView, graph: GraphView) -> bool:
    """Whether a node is a Conv with a constant weight, and a constant bias or none."""
    if not node.is_op("Conv") or node.inputs[1] not in graph.weights:
        return False
    return len(node.inputs) < 3 or not node.inputs[2] or node.inputs[2] in graph.weights


def shifted_bias(graph: GraphView, node: NodeView, shift: Floats) -> Floats:
    """The bias of a node with its shift; of one that has none, the shift."""
    if len(node.inputs) < 3 or not node.inputs[2]:
        return shift
    return np.asarray(graph.weights[node.inputs[2]].load(), np.float32) + shift
