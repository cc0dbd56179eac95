"""What an assignment quantizes and with which numbers, for all that write it as a graph.

The lowering, the proxy of all assignments and the emulation of one must agree on this to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from precsearch.core.errors import OptionError
from precsearch.core.formats import FLOAT16, NumberFormat
from precsearch.core.precision import Encoding, Precision
from precsearch.core.quantization import TYPED, GraphForm, QuantScheme, TensorFormat
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.capabilities import cast_capable
from precsearch.lowering.qdq.layout import QuantLayout, quantize_layout
from precsearch.lowering.qdq.reach import node_groups
from precsearch.lowering.qdq.scales import QuantParams, RangeScales, ScaleSource, stored_scale
from precsearch.lowering.weight_only import fits

__all__ = ["LoweringContext"]


@dataclass(frozen=True)
class LoweringContext:
    """A prepared model and the rules by which assignments of it are written.

    Attributes:
        graph: The prepared model.
        space: Its groups.
        scheme: The backend's quantization.
        scales: Calibrated ranges, or a plan's scales.
        form: What kind of graph is written, and what surrounds Q/DQ in it.
    """

    graph: GraphView
    space: SearchSpace
    scheme: QuantScheme
    scales: ScaleSource
    form: GraphForm = TYPED

    def check(self, group: str, precision: Precision) -> None:
        """Raise `OptionError` if no graph can be written in which ``group`` runs in this."""
        spec, opset = precision.spec, self.graph.opsets.get("", 1)
        if spec.encoding in (Encoding.NATIVE, Encoding.CAST):
            return
        if spec.encoding is Encoding.WEIGHT_ONLY and self.scheme.packs(precision):
            return
        if spec.encoding is not Encoding.QDQ or precision not in self.scheme.precisions:
            raise OptionError(f"group {group!r}: precsearch cannot write {precision} into a graph")
        if opset < spec.format.min_opset:
            raise OptionError(
                f"group {group!r}: Q/DQ in {precision} needs operator set {spec.format.min_opset}, "
                f"and the graph has {opset}"
            )

    def around(self, precision: Precision) -> NumberFormat:
        """The float format that an operator on quantized tensors reads and writes."""
        return self.form.float_of(precision).spec.format

    def uncalibrated(self) -> LoweringContext:
        """The same without scales: nothing can be quantized."""
        return replace(self, scales=RangeScales({}, self.scheme))

    def packed(self, assignment: Assignment) -> dict[int, TensorFormat]:
        """Index of each node whose weight alone is quantized → what to.

        Raises:
            OptionError: A group is asked for that, and none of its nodes has such a form.
        """
        asked = [(k, p) for k, p in assignment.entries if p.spec.encoding is Encoding.WEIGHT_ONLY]
        packed: dict[int, TensorFormat] = {}
        for key, precision in asked:
            packed |= self.packed_of(self.space.by_key[key], precision)
        return packed

    def packed_of(self, group: LayerGroup, precision: Precision) -> dict[int, TensorFormat]:
        """Index of each node of one group whose weight alone is quantized → what to.

        Raises:
            OptionError: There are none.
        """
        opset = self.graph.opsets.get("", 1)
        nodes = [self.graph.by_key[key] for key in group.nodes]
        packed = {
            n.index: kept
            for n in nodes
            if fits(n, self.graph, self.scheme, precision)
            and (kept := self.scheme.packed(n.op_type, precision)) is not None
        }
        if not packed or opset < precision.spec.format.min_opset:
            raise OptionError(
                f"group {group.key!r}: none of its operators has a form in {precision} in operator "
                f"set {opset}"
            )
        return packed

    def takes(self, node: NodeView, precision: Precision) -> bool:
        """Whether a node has a form in a float precision other than the model's own."""
        number_format = precision.spec.format
        cast = precision.spec.encoding is Encoding.CAST
        cast = cast and self.form.takes(node.op_type, number_format)
        return cast and cast_capable(node, self.graph, self.form.typed_as(number_format))

    @cached_property
    def owners(self) -> Mapping[str, str]:
        """Node key → key of its group."""
        return node_groups(self.space)

    def layout(self, assignment: Assignment) -> QuantLayout:
        """The quantized tensors of a canonical assignment.

        Raises:
            OptionError: The assignment is outside of the space, or asks for a precision that has
                no form in a graph.
            ModelError: A tensor to quantize was not calibrated.
            PlanError: A plan's scales do not fit.
        """
        self.space.check(assignment)
        for key, precision in assignment.entries:
            self.check(key, precision)
        return quantize_layout(self.graph, self.scheme, self.space, assignment, self.scales)

    def stored(self, params: QuantParams, precision: Precision) -> QuantParams:
        """With the scale that a graph has: where FP16 surrounds Q/DQ, one that FP16 holds."""
        half = self.around(precision) == FLOAT16
        return QuantParams(stored_scale(params.scale, half=half), params.zero_point)
