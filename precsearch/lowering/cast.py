"""Float precisions written as types: which nodes compute in one, and the Casts around them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import onnx

from precsearch.core.errors import OptionError
from precsearch.core.formats import FLOAT32, NumberFormat
from precsearch.core.precision import Encoding, Precision
from precsearch.core.space import Assignment
from precsearch.graph.encode import stored
from precsearch.graph.view import NodeView
from precsearch.lowering.context import LoweringContext
from precsearch.lowering.qdq.layout import QuantLayout
from precsearch.lowering.qdq.reach import reads_fine_scale
from precsearch.lowering.tensor_names import SEPARATOR, float_name, short
from precsearch.lowering.writer import GraphWriter

__all__ = ["FloatTensors", "float_nodes"]


def float_nodes(
    context: LoweringContext, assignment: Assignment, layout: QuantLayout
) -> dict[int, Precision]:
    """Index of each node that computes in another float precision than the model's → it.

    Args:
        context: The model, and how assignments of it are written.
        assignment: Canonical.
        layout: Its quantized tensors.

    Raises:
        OptionError: A group is asked for a float precision that none of its operators has.
    """
    graph, groups = context.graph, context.owners
    active, formats = frozenset(layout.active), {}
    for node in graph.nodes:
        precision = context.form.float_of(assignment[groups.get(node.key, "")])
        takes = node.index in active and precision.spec.encoding is Encoding.CAST
        if takes or context.takes(node, precision):
            formats[node.index] = precision
    for index in _fine_nodes(context, layout):
        formats.pop(index, None)
    wide = _wide_nodes(context, assignment, layout.spared, formats)
    floats = {i: p for i, p in formats.items() if i not in wide}
    _check(context, assignment, floats)
    return floats


def _check(
    context: LoweringContext, assignment: Assignment, floats: Mapping[int, Precision]
) -> None:
    nodes, groups = context.graph.nodes, context.owners
    written = {(groups.get(nodes[i].key, ""), p) for i, p in floats.items()}
    for key, precision in assignment.entries:
        if precision.spec.encoding is Encoding.CAST and (key, precision) not in written:
            raise OptionError(
                f"group {key!r}: none of its operators has a form in {precision} in operator "
                f"set {context.graph.opsets.get('', 1)}"
            )


def _fine_nodes(context: LoweringContext, layout: QuantLayout) -> frozenset[int]:
    """Products on quantized tensors that read one whose scale FP16 does not hold.

    All of their operands are dequantized with FP32 scales, without a Cast, and they compute in
    FP32 what is not quantized: with scales of unlike types TensorRT cannot build a MatMul.
    """
    nodes = context.graph.nodes
    return frozenset(
        i
        for i in layout.active
        if reads_fine_scale(nodes[i], context.graph, layout.params, layout.nodes[i])
    )


def _wide_nodes(
    context: LoweringContext,
    assignment: Assignment,
    spared: Iterable[str],
    floats: Collection[int],
) -> frozenset[int]:
    """Nodes of INT8 groups that hand dequantized values to readers in FP32.

    Those may be beyond FP16's largest number, as what DequantizeLinear itself gives to FP32.
    """
    graph, groups = context.graph, context.owners
    makers = (
        graph.producer[t]
        for t in spared
        if t in graph.output_names or any(n.index not in floats for n in graph.users(t))
    )
    return frozenset(
        n.index for n in makers if assignment[groups.get(n.key, "")].spec.encoding is Encoding.QDQ
    )


class FloatTensors:
    """Tensors in FP32 and other float formats: as produced, or by one shared Cast.

    Args:
        writer: Where they are written.
        formats: Index of each node that computes in another float format than FP32 → the format.
        replaced: Tensors of which only a quantized form exists under their own name.
    """

    def __init__(
        self, writer: GraphWriter, formats: Mapping[int, NumberFormat], replaced: Collection[str]
    ) -> None:
        self.writer = writer
        self.graph = writer.graph
        self._formats = formats
        self._replaced = replaced
        self._native: dict[str, NumberFormat] = {}

    def of(self, node: NodeView) -> NumberFormat:
        """The float format that a node computes in."""
        return self._formats.get(node.index, FLOAT32)

    def operand(self, node: NodeView, slot: int, number_format: NumberFormat, /) -> str | None:
        """See `precsearch.lowering.writer.EncodedTensors.operand`."""
        tensor = node.inputs[slot]
        if tensor in self.graph.weights and not self.graph.is_float(tensor):
            return self.weight(tensor, FLOAT32)
        return self.read(tensor, number_format) if tensor and self.graph.is_float(tensor) else None

    def weight(self, name: str, number_format: NumberFormat) -> str:
        """A weight of the model, as it is or rounded to another float format."""
        source = self.graph.weights[name]
        if number_format == FLOAT32:
            self.writer.weights[name] = source.proto_bytes
            return name
        output = float_name(name, number_format)
        return self.writer.constant(output, lambda: stored(output, source.load(), number_format))

    def define(self, tensor: str, own: NumberFormat) -> str:
        """The name under which the producer writes ``tensor`` in its own format."""
        self._native[tensor] = own
        if tensor in self._replaced:
            return f"{tensor}{SEPARATOR}raw"
        return float_name(tensor, own)

    def native(self, tensor: str) -> NumberFormat:
        """The format that the producer of a tensor writes."""
        return self._native.get(tensor, FLOAT32)

    def read(self, tensor: str, number_format: NumberFormat) -> str:
        """The unquantized form of a tensor or weight in ``number_format``."""
        if tensor in self.graph.weights:
            return self.weight(tensor, number_format)
        native = self.native(tensor)
        if tensor in self._replaced:
            produced = f"{tensor}{SEPARATOR}raw"
            output = f"{produced}{short(number_format) or 'f'}"
        else:
            produced, output = float_name(tensor, native), float_name(tensor, number_format)
        if number_format != native and self.writer.begins(output):
            self.cast(produced, output, number_format)
        return produced if number_format == native else output

    def cast(self, source: str, output: str, number_format: NumberFormat) -> str:
        """Append a Cast from ``source`` to ``output``."""
        node = self.writer.node("Cast", [source], output)
        node.attribute.append(onnx.helper.make_attribute("to", number_format.elem_type))
        return output
