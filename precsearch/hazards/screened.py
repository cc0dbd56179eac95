"""A graph together with what a screening run saw in its tensors."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import onnx

from precsearch.core.formats import FLOAT16, NumberFormat
from precsearch.core.precision import Precision
from precsearch.core.space import SearchSpace
from precsearch.graph.operators import REARRANGING, SOFTMAXES
from precsearch.graph.view import GraphView, NodeView
from precsearch.hazards.statistics import ScreenStatistics, Tally, TensorStatistics
from precsearch.lowering.qdq.reach import node_groups

__all__ = ["Screened", "screened_tensors", "softmax_axes"]

"""Operators whose output holds the values of their first input, each once."""


_TOO_COARSE = 5e-3
"""In FP16, in which a tensor of normal values has a relative error of 2e-4."""


def _source(graph: GraphView, tensor: str) -> str:
    """The tensor that holds the same values and that no `REARRANGING` node writes."""
    while True:
        node = graph.producer.get(tensor)
        if node is None or not node.is_op(*REARRANGING) or not graph.is_float(node.inputs[0]):
            return tensor
        tensor = node.inputs[0]


def screened_tensors(graph: GraphView) -> tuple[str, ...]:
    """The FP32 activations that a screening run must read: each set of values once."""
    return tuple(t for t in graph.float_tensors() if _source(graph, t) == t)


def softmax_axes(graph: GraphView) -> dict[str, int]:
    """Tensor that a Softmax reads → the axis that it is taken over, where that is one axis."""
    axes: dict[str, int] = {}
    for node in graph.nodes:
        if node.is_op(*SOFTMAXES) and graph.opsets.get("", 1) >= 13:
            tensor, axis = node.inputs[0], node.int_attribute("axis", -1)
            if _source(graph, tensor) == tensor and axes.setdefault(tensor, axis) != axis:
                del axes[tensor]
    return axes


class Screened:
    """Questions about tensors that every rule asks.

    Args:
        graph: The prepared model.
        space: Its groups.
        statistics: Of a screening run; ``None`` if there was none: then only constants are known.
        precision: The float precision that is judged.
        typed_as: The format whose ONNX types say which operators can compute in it.

    Attributes:
        stored_as: The precision's format.
        label: What messages call it.
        limit: What messages call its largest number.
        too_coarse: Relative error of one tensor that is reported, some ten units in the last place:
            an error that the format makes everywhere says nothing about one tensor.
    """

    def __init__(
        self,
        graph: GraphView,
        space: SearchSpace,
        statistics: ScreenStatistics | None,
        precision: Precision = Precision.FP16,
        typed_as: NumberFormat = FLOAT16,
    ) -> None:
        self.graph = graph
        self.space = space
        self.stored_as = precision.spec.format
        self.typed_as = typed_as
        self.label = precision.value.upper()
        self.limit = f"{self.stored_as.largest:.5g}"
        self.too_coarse = _TOO_COARSE * 2.0 ** (
            FLOAT16.significand_bits - self.stored_as.significand_bits
        )
        self.measured = statistics is not None
        self._seen = statistics or ScreenStatistics()
        self._groups = node_groups(space)
        self._constants: dict[str, TensorStatistics | None] = {}

    def group(self, node: NodeView) -> str:
        """Key of the group of a node."""
        return self._groups.get(node.key, "")

    def source(self, tensor: str) -> str:
        """The tensor whose values these are."""
        return _source(self.graph, tensor)

    def statistics(self, tensor: str) -> TensorStatistics | None:
        """What is known of a tensor, constant or not; ``None`` if nothing is."""
        source = self.source(tensor)
        if source in self.graph.weights:
            return self._constant(source)
        return self._seen.rounded_to(self.stored_as).get(source)

    def _constant(self, name: str) -> TensorStatistics | None:
        weight = self.graph.weights[name]
        if weight.elem_type != onnx.TensorProto.FLOAT:
            return None
        if name not in self._constants:
            tally = Tally(self.stored_as)
            tally.add(np.asarray(weight.load(), np.float32))
            self._constants[name] = tally.result()
        return self._constants[name]

    def absmax(self, tensor: str) -> float:
        """Greatest magnitude of a tensor, 0 if it is unknown."""
        stats = self.statistics(tensor)
        return 0.0 if stats is None else stats.absmax

    def fits(self, tensor: str) -> bool | None:
        """Whether all of a tensor is within the format's range; ``None`` if it is unknown."""
        stats = self.statistics(tensor)
        return None if stats is None else stats.absmax < self.stored_as.overflow

    def peak(self, tensor: str) -> float | None:
        """The least of the greatest values of a Softmax's rows, ``None`` if it is unknown."""
        return self._seen.peaks.get(self.source(tensor))

    def number(self, tensor: str) -> float | None:
        """The value of a constant of one element."""
        weight = self.graph.weights.get(tensor)
        if weight is None or weight.size != 1:
            return None
        return float(np.asarray(weight.array, np.float64).reshape(-1)[0])

    def operands(self, node: NodeView) -> tuple[str, ...]:
        """The FP32 tensors that a node reads, constants too."""
        return tuple(t for t in node.inputs if t and self.graph.is_float(t))

    @cached_property
    def activations(self) -> tuple[str, ...]:
        """FP32 tensors that are no constants, in graph order."""
        return tuple(self.graph.float_tensors())
