"""One lowered graph as it is written: tensors of the model in every form, and who reads which.

A tensor ``t`` of the original model can exist in several forms. Its FP32 form is always named
``t``, so that graph outputs and subgraphs keep finding it; the others are ``t//half`` (FP16;
``t//bfloat16`` in BF16), ``t//raw`` (before a quantization that replaces it), ``t//q`` (quantized)
and ``t//dq``, ``t//dqh`` (dequantized, where the unquantized one exists as well). One form of a
tensor is written once, where it is first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from precsearch.core.formats import FLOAT32, NumberFormat
from precsearch.core.precision import Precision
from precsearch.core.quantization import QuantScheme, TensorFormat
from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.cast import FloatTensors
from precsearch.lowering.engines.ort_workarounds import EngineForms
from precsearch.lowering.qdq.layout import QuantLayout
from precsearch.lowering.qdq.tensors import QuantizedTensors
from precsearch.lowering.weight_only import PackedTensors
from precsearch.lowering.writer import EncodedTensors, GraphWriter, WeightCache

__all__ = ["Emitter", "Wanted"]


@dataclass(frozen=True)
class Wanted:
    """What one assignment asks of a graph.

    Attributes:
        layout: The quantized tensors.
        floats: Index of each node that is typed in another float format than FP32 → the format.
        packed: Index of each node whose weight alone is quantized → what to.
        forms: Nodes that are written in another form.
        float_weights: Whether a quantized weight stays a float constant with a Q of its own.
    """

    layout: QuantLayout
    floats: Mapping[int, NumberFormat]
    packed: Mapping[int, TensorFormat]
    forms: EngineForms
    float_weights: bool = False


class Emitter:
    """Builds the nodes and constants of one lowered graph.

    Args:
        graph: The prepared model.
        wanted: What is asked of it.
        scheme: The backend's quantization.
        around: Precision written with Q/DQ → the float format around it.
        cache: Constants made before.
    """

    def __init__(
        self,
        graph: GraphView,
        demand: Wanted,
        scheme: QuantScheme,
        around: Callable[[Precision], NumberFormat],
        cache: WeightCache,
    ) -> None:
        self.graph = graph
        self.scheme = scheme
        self.layout = demand.layout
        self.forms = demand.forms
        self.writer = GraphWriter(graph, cache)
        self.floats = FloatTensors(self.writer, demand.floats, demand.layout.replaced)
        self.quantized = QuantizedTensors(
            self.floats,
            demand.layout,
            scheme,
            around,
            float_weights=demand.float_weights,
            split=demand.forms.split,
        )
        # The first that has a part in an input writes it.
        packed = PackedTensors(self.writer, demand.packed)
        self._encodings: tuple[EncodedTensors, ...] = (packed, self.quantized, self.floats)

    def operand(self, node: NodeView, slot: int, number_format: NumberFormat) -> str:
        """The name of an input of a node; what is missing of it is written first."""
        for encoding in self._encodings:
            name = encoding.operand(node, slot, number_format)
            if name is not None:
                return name
        return node.inputs[slot]

    def read(self, tensor: str) -> str:
        """The name of an FP32 tensor of the model, written first where it is missing."""
        if tensor in self.graph.weights:
            return self.floats.weight(tensor, FLOAT32)
        return self.quantized.read(tensor, FLOAT32) or self.floats.read(tensor, FLOAT32)
