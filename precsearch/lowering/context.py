"""What an assignment quantises and with which numbers, for all that write it as a graph.

The lowering, the proxy of all assignments and the emulation of one must agree on this to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from precsearch.core.backend import TYPED, GraphForm, QuantScheme
from precsearch.core.errors import OptionError
from precsearch.core.precision import Encoding, Precision
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.capabilities import cast_capable
from precsearch.lowering.qdq_layout import QuantLayout, node_groups, quantise_layout
from precsearch.lowering.scales import QuantParams, ScaleSource, stored_scale
from precsearch.lowering.weight_only import fits

__all__ = ["Quantising", "check_written"]

_CASTS = (Encoding.NATIVE, Encoding.CAST)
_QUANTIZED = (Precision.INT8, Precision.INT4)
_INSIDE_FLOATS = (Encoding.QDQ, Encoding.WEIGHT_ONLY)


def check_written(group: str, precision: Precision) -> None:
    """Raise `OptionError` if no graph can be written in which ``group`` runs in ``precision``."""
    if precision.spec.encoding not in _CASTS and precision not in _QUANTIZED:
        raise OptionError(f"group {group!r}: precsearch cannot write {precision} into a graph")


@dataclass(frozen=True)
class Quantising:
    """A prepared model and the rules by which assignments of it are quantised.

    Attributes:
        graph: The prepared model.
        space: Its groups.
        scheme: The backend's quantisation.
        scales: Calibrated ranges, or a plan's scales.
        form: What kind of graph is written, and what surrounds INT8 in it.
    """

    graph: GraphView
    space: SearchSpace
    scheme: QuantScheme
    scales: ScaleSource
    form: GraphForm = TYPED

    @property
    def half(self) -> bool:
        """Whether what an INT8 node reads and writes as float is FP16."""
        return self.form.int8_float is Precision.FP16

    def float_of(self, precision: Precision) -> Precision:
        """What the float operators of a group at ``precision`` compute in."""
        inside = precision.spec.encoding in _INSIDE_FLOATS
        return self.form.int8_float if inside else precision

    def packed(self, assignment: Assignment) -> frozenset[int]:
        """Indices of the nodes whose weights alone are quantized.

        Raises:
            OptionError: A group is asked for that, and none of its nodes has such a form.
        """
        asked = [(k, p) for k, p in assignment.entries if p.spec.encoding is Encoding.WEIGHT_ONLY]
        return frozenset(
            n.index for key, p in asked for n in self.packed_of(self.space.by_key[key], p)
        )

    def packed_of(self, group: LayerGroup, precision: Precision) -> tuple[NodeView, ...]:
        """The nodes of one group whose weights alone are quantized.

        Raises:
            OptionError: There are none.
        """
        opset = self.graph.opsets.get("", 1)
        nodes = [self.graph.by_key[key] for key in group.nodes]
        found = tuple(n for n in nodes if fits(n, self.graph))
        if not found or opset < precision.spec.format.min_opset:
            raise OptionError(
                f"group {group.key!r}: none of its operators has a form in {precision} in operator "
                f"set {opset}"
            )
        return found

    def takes(self, node: NodeView, precision: Precision) -> bool:
        """Whether a node has a form in a float precision other than the model's own."""
        wanted = precision.spec.format
        cast = precision.spec.encoding is Encoding.CAST
        cast = cast and self.form.takes(node.op_type, wanted)
        return cast and cast_capable(node, self.graph, self.form.typed_as(wanted))

    @cached_property
    def owners(self) -> Mapping[str, str]:
        """Node key → key of its group."""
        return node_groups(self.space)

    def layout(self, assignment: Assignment) -> QuantLayout:
        """The quantised tensors of a canonical assignment.

        Raises:
            OptionError: The assignment is outside of the space, or asks for a precision that has
                no form in a graph.
            ModelError: A tensor to quantise was not calibrated.
            PlanError: A plan's scales do not fit.
        """
        self.space.check(assignment)
        for key, precision in assignment.entries:
            check_written(key, precision)
        return quantise_layout(self.graph, self.scheme, self.space, assignment, self.scales)

    def stored(self, params: QuantParams) -> QuantParams:
        """With the scale that a graph has: where FP16 surrounds INT8, one that FP16 holds."""
        return QuantParams(stored_scale(params.scale, half=self.half), params.zero_point)
