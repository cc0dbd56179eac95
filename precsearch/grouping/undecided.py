"""Why a layer has no choice of precision, and which layers nothing looks into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import onnx

from precsearch.core.precision import Encoding, Precision
from precsearch.core.quantization import QuantScheme, Trait
from precsearch.core.space import SearchSpace
from precsearch.graph.folding.constants import FOLDED
from precsearch.graph.folding.einsum import as_matmul
from precsearch.graph.reading.validate import subgraphs
from precsearch.graph.view import GraphView, NodeView
from precsearch.graph.work import LAYERS, Work, is_layer, work_of
from precsearch.lowering.capabilities import already_quantized, cast_capable, weight_slot

__all__ = ["Hidden", "Undecided", "hidden_layers", "undecided"]

_FLOAT = onnx.TensorProto.FLOAT
_INTEGER_LAYERS = frozenset({"ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"})
_MOST_STEPS = 1000


@dataclass(frozen=True)
class Undecided:
    """A layer that runs in FP32 (or as its author wrote it) whatever a search decides.

    Attributes:
        node: Key of the node.
        op_type: Its operator.
        work: Of one inference.
        reason: The end of a sentence.
    """

    node: str
    op_type: str
    work: Work
    reason: str


@dataclass(frozen=True)
class Hidden:
    """Layers that stand in no group of their own.

    Attributes:
        node: Key of the node of the main graph that they are inside of.
        op_type: Its operator: If, Loop, Scan, or a local function that could not be inlined.
        layers: Operator → how many, in all of its branches.
    """

    node: str
    op_type: str
    layers: tuple[tuple[str, int], ...]

    @property
    def count(self) -> int:
        """How many layers there are."""
        return sum(n for _, n in self.layers)


def undecided(
    graph: GraphView, space: SearchSpace, scheme: QuantScheme, offered: Iterable[Precision]
) -> tuple[Undecided, ...]:
    """The layers of groups with one choice, in graph order, each with the reason.

    Args:
        graph: The prepared model, with the shapes that work is counted with.
        space: Its groups.
        scheme: What the backend can run in INT8.
        offered: The precisions that groups were offered.
    """
    offered = frozenset(offered)
    fixed = {k for g in space.groups if len(g.choices) == 1 for k in g.nodes}
    return tuple(
        Undecided(
            n.key, n.op_type, work_of(n, graph), _why(_Reader(graph, scheme), n, offered, space)
        )
        for n in graph.nodes
        if n.key in fixed and is_layer(n)
    )


def _why(reader: _Reader, node: NodeView, offered: frozenset[Precision], space: SearchSpace) -> str:
    graph = reader.graph
    if node.op_type in _INTEGER_LAYERS:
        return "it computes in integers already"
    kind = graph.elem_types.get(node.outputs[0]) if node.outputs[0] else None
    if not kind:
        return "the type of its result is unknown"
    if kind != _FLOAT:
        name = onnx.TensorProto.DataType.Name(kind).lower()
        return f"it computes in {name}, and precsearch starts from FP32"
    if already_quantized(node, graph):
        return "its author has quantized it, and that stays as it is"
    if Precision.INT8 not in offered:
        casts = [p for p in Precision.ordered(offered) if p.spec.encoding is Encoding.CAST]
        if casts and not any(cast_capable(node, graph, p.spec.format) for p in casts):
            return f"it has no {' or '.join(p.value.upper() for p in casts)} form"
        return "no lower precision is offered"
    return reader.no_int8(node)


class _Reader:
    """Reasons against INT8.

    Args:
        graph: The prepared model.
        scheme: What the backend can run in INT8.
    """

    def __init__(self, graph: GraphView, scheme: QuantScheme) -> None:
        self.graph = graph
        self._scheme = scheme

    def no_int8(self, node: NodeView) -> str:
        """Why a node that computes in FP32 has no INT8 form here, as the end of a sentence."""
        if node.is_op("Einsum"):
            weight = [t in self.graph.weights for t in node.inputs]
            equation = as_matmul(str(node.attributes.get("equation", "")), len(node.inputs), weight)
            return (
                f"it is no MatMul: {equation}" if isinstance(equation, str) else "its ranks are odd"
            )
        trait = self._scheme.of(node.op_type, Precision.INT8).trait
        if trait is not Trait.INPUTS_QUANTIZABLE:
            return f"this backend has no INT8 form of {node.op_type}"
        if not self.graph.is_float(node.inputs[0]):
            return "the type of what it reads is unknown"
        if node.inputs[0] in self.graph.weights:
            return "its first operand is a constant"
        if node.is_op("MatMul"):
            return self._no_product(node)
        if weight_slot(node, self.graph) is None:
            return self._no_weight(node.inputs[1])
        return self._no_gemm(node) if node.is_op("Gemm") else "its group has no INT8 form"

    def _no_product(self, node: NodeView) -> str:
        weight = self.graph.weights.get(node.inputs[1])
        if weight is not None and len(weight.shape) < 2:
            return "its weight is a vector"
        if not self.graph.is_float(node.inputs[1]):
            return "the type of its second operand is unknown"
        return "its group has no INT8 form"

    def _no_gemm(self, node: NodeView) -> str:
        if node.int_attribute("transA", 0):
            return "it transposes its first operand"
        for factor in ("alpha", "beta"):
            if node.float_attribute(factor, 1.0) != 1.0:
                return f"its factor {factor} is not 1"
        return f"its bias {node.inputs[2]!r} is no constant"

    def _no_weight(self, tensor: str) -> str:
        """Why a tensor is no constant of FP32."""
        graph = self.graph
        weight = graph.weights.get(tensor)
        if weight is not None:
            return f"its weight is not FP32 but {onnx.TensorProto.DataType.Name(weight.elem_type)}"
        inputs = {v.name for v in graph.inputs}
        if tensor in inputs:
            return f"its weight {tensor!r} is an input of the model"
        pending, seen, last = [tensor], set[str](), None
        while pending and len(seen) < _MOST_STEPS:
            current = pending.pop()
            node = graph.producer.get(current)
            if current in seen or not current:
                continue
            seen.add(current)
            if current in inputs:
                return f"its weight {tensor!r} depends on the input {current!r}"
            if node is not None:
                pending += [*node.inputs, *sorted(node.captures)]
                last = node
        return _unfolded(tensor, last)


def _unfolded(tensor: str, node: NodeView | None) -> str:
    if node is None:
        return f"its weight {tensor!r} is no constant"
    reason = f"its weight {tensor!r} is computed from constants by {node.op_type} {node.key!r}, "
    if node.domain or node.op_type not in FOLDED:
        return f"{reason}which precsearch does not evaluate"
    return f"{reason}which is too large or not exact enough to be evaluated in advance"


def hidden_layers(graph: GraphView) -> tuple[Hidden, ...]:
    """The nodes of the main graph that have layers inside of them, in graph order."""
    functions = {(f.domain, f.name): f for f in graph.functions}
    layers: list[Hidden] = []
    for node in graph.nodes:
        function = functions.get((node.domain, node.op_type))
        inside = Counter(_inside(node.proto))
        if function is not None:
            inside.update(_layers(function.node))
        if inside:
            layers.append(Hidden(node.key, node.op_type, tuple(sorted(inside.items()))))
    return tuple(layers)


def _inside(node: onnx.NodeProto) -> Iterator[str]:
    for graph in subgraphs(node):
        yield from _layers(graph.node)


def _layers(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    for node in nodes:
        if node.domain in ("", "ai.onnx") and node.op_type in LAYERS:
            yield node.op_type
        yield from _inside(node)
