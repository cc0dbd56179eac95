"""Which precisions a group may be asked for: a question for each encoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from precsearch.core.formats import FLOAT16, FLOAT32
from precsearch.core.precision import Encoding, Precision
from precsearch.core.quantization import GraphForm, QuantScheme, Trait
from precsearch.graph.operators import FUSED_ACTIVATIONS
from precsearch.graph.view import GraphView, NodeView
from precsearch.grouping.gather import is_integer, is_layout
from precsearch.grouping.patterns.lookup import Pattern
from precsearch.lowering.capabilities import cast_capable, quantized_trait
from precsearch.lowering.weight_only import fits

__all__ = ["Choices", "is_narrow"]


def is_narrow(precision: Precision) -> bool:
    """Whether values that FP32 holds overflow in a float precision."""
    spec = precision.spec
    return spec.encoding is Encoding.CAST and spec.format.largest < FLOAT32.largest / 2


class Choices:
    """What the groups of a model may be asked for.

    Args:
        graph: The prepared model.
        scheme: What the backend can run with Q/DQ.
        precisions: What the backend can run at all; FP32 is always offered.
        form: What kind of graph the backend builds from.
    """

    def __init__(
        self,
        graph: GraphView,
        scheme: QuantScheme,
        precisions: frozenset[Precision],
        form: GraphForm,
    ) -> None:
        self.graph = graph
        self._form = form
        self._scheme = scheme
        self._offered = Precision.ordered(precisions)
        self._traits: Mapping[Precision, Sequence[Trait]] = {
            p: [quantized_trait(n, graph, scheme, p) for n in graph.nodes]
            for p in scheme.precisions
        }
        self._has_form: Mapping[Encoding, Callable[[Pattern, Precision], bool]] = {
            Encoding.CAST: self._typed,
            Encoding.QDQ: self._quantized,
            Encoding.WEIGHT_ONLY: self._packed,
        }

    def of(self, part: Pattern) -> tuple[Precision, ...]:
        """The precisions of a group, FP32 first, then the most precise first."""
        opset = self.graph.opsets.get("", 1)

        def has_form(precision: Precision) -> bool:
            spec = precision.spec
            # An operator set that lacks a float format has no operators in it.
            old = spec.encoding is not Encoding.CAST and opset < spec.format.min_opset
            ask = self._has_form.get(spec.encoding)
            return not old and ask is not None and ask(part, precision)

        return (Precision.FP32, *filter(has_form, self._offered))

    def passive(self, part: Pattern) -> bool:
        """Whether some precision means no more to a group than to keep its tensors quantized."""
        return any(self._follows(part, traits) for traits in self._traits.values())

    def quantized(self, choices: Sequence[Precision]) -> bool:
        """Whether Q/DQ writes one of these precisions for this backend."""
        return any(p in self._traits for p in choices)

    def carries(self, node: NodeView) -> bool:
        """Whether a quantized tensor passes through a node with its scale."""
        agnostic = Trait.QUANTIZATION_AGNOSTIC
        return any(traits[node.index] is agnostic for traits in self._traits.values())

    def _nodes(self, part: Pattern) -> list[NodeView]:
        return [self.graph.nodes[i] for i in part.nodes]

    def _typed(self, part: Pattern, precision: Precision) -> bool:
        # An activation in BF16 gains nothing behind a Conv that has no form in BF16.
        number_format = precision.spec.format
        typed = self._form.typed_as(number_format)
        floats = [n for n in self._nodes(part) if cast_capable(n, self.graph, FLOAT16)]
        taken = all(self._form.takes(n.op_type, number_format) for n in floats)
        return bool(floats) and taken and all(cast_capable(n, self.graph, typed) for n in floats)

    def _packed(self, part: Pattern, precision: Precision) -> bool:
        return any(fits(n, self.graph, self._scheme, precision) for n in self._nodes(part))

    def _quantized(self, part: Pattern, precision: Precision) -> bool:
        traits = self._traits.get(precision)
        if traits is None:
            return False
        computes = any(traits[i] is Trait.INPUTS_QUANTIZABLE for i in part.nodes)
        return computes or self._follows(part, traits)

    def _follows(self, part: Pattern, traits: Sequence[Trait]) -> bool:
        if not any(traits[i] is Trait.FOLLOWS for i in part.nodes):
            return False
        return all(
            traits[node.index] is Trait.FOLLOWS
            or node.is_op(*FUSED_ACTIVATIONS)
            or is_layout(node, self.graph)
            or is_integer(node, self.graph)
            for node in self._nodes(part)
        )
