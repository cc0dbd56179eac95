"""In which precision each product of a model runs in a built engine, by the engine's layers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

import onnx

from precsearch.backends.tensorrt.inspector import EngineLayer
from precsearch.core.precision import Precision
from precsearch.graph.operators import BINARY_ARITHMETIC, PASSING, QDQ

__all__ = ["attention_fused", "products_ran"]

_GENERATED = "kgen"
_INSIDE = frozenset(
    {
        *(*BINARY_ARITHMETIC, *QDQ, *PASSING, "Cast", "LeakyRelu", "Where", "IsNaN"),
        *("Reshape", "Transpose", "Squeeze", "Unsqueeze"),
    }
)
"""Operators of a lowered model between the products of an attention core and its Softmax."""
_MOST_STEPS = 16
_FLOATS = frozenset({"float", "half", "bfloat16"})
_QUANTIZED = frozenset({"int8", "fp8"})


def products_ran(
    products: Collection[str], layers: Iterable[EngineLayer]
) -> Mapping[str, Precision | None]:
    """Name of each product of a model → what the engine computes it in.

    Where kernels of several kinds carry a product's name, generated pointwise code before and after
    the product does not count. Of several products of one node (a weight that the builder has
    sliced, say) the most precise counts. ``None``: the layer does not tell, or no member of
    `Precision` stands for it. A product that no layer names is left out: the builder has folded it
    into others, or does not say where it went.

    Args:
        products: Names of the products of the lowered model that the engine was built from.
        layers: Of the engine.
    """
    names = frozenset(products)
    ran: dict[str, list[EngineLayer]] = {}
    for layer in layers:
        for node in layer.nodes:
            if node in names:
                ran.setdefault(node, []).append(layer)
    return {name: _ran(ran[name], names) for name in sorted(ran)}


def attention_fused(model: onnx.ModelProto, layers: Iterable[EngineLayer]) -> tuple[int, int]:
    """How many attention cores of a lowered model one layer computes, and how many there are.

    Args:
        model: That the engine was built from.
        layers: Of the engine.
    """
    named = [frozenset(layer.nodes) for layer in layers]
    cores = list(_cores(model))
    return sum(any({*core} <= nodes for nodes in named) for core in cores), len(cores)


def _cores(model: onnx.ModelProto) -> Iterator[tuple[str, str]]:
    """The names of both products around each Softmax."""
    constants = {t.name for t in model.graph.initializer}
    maker = {t: n for n in model.graph.node for t in n.output if t}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for tensor in node.input:
            readers.setdefault(tensor, []).append(node)

    def before(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        return [maker[t] for t in node.input if t in maker]

    def after(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        return [n for t in node.output for n in readers.get(t, ())]

    for node in model.graph.node:
        if node.op_type == "Softmax":
            ends = [_product(node, steps, constants) for steps in (before, after)]
            if ends[0] and ends[1]:
                yield ends[0], ends[1]


def _product(
    start: onnx.NodeProto,
    steps: Callable[[onnx.NodeProto], list[onnx.NodeProto]],
    constants: AbstractSet[str],
) -> str:
    """The nearest product of two activations in a direction, "" without one."""
    nodes = steps(start)
    for _ in range(_MOST_STEPS):
        products = [n for n in nodes if n.op_type == "MatMul" and not constants & {*n.input}]
        if products:
            return str(products[0].name)
        nodes = [next_ for n in nodes if n.op_type in _INSIDE for next_ in steps(n)]
    return ""


def _ran(layers: list[EngineLayer], names: Collection[str]) -> Precision | None:
    products = [x for x in layers if x.kind != _GENERATED]
    precisions = [x.precision for x in products] or [_generated(x, names) for x in layers]
    known = [p for p in precisions if p is not None]
    return min(known, key=lambda p: p.rank) if len(known) == len(precisions) else None


def _generated(layer: EngineLayer, names: Collection[str]) -> Precision | None:
    """What generated code computes a product in, if it has no other product in another type."""
    alone = sum(node in names for node in layer.nodes) == 1
    mixed = len({*layer.inputs, *layer.constants} & _FLOATS) > 1
    # A fused attention core reads quantized tensors, and its largest constant may be a mask.
    mixed = mixed or bool(_QUANTIZED & {*layer.inputs})
    return layer.precision if alone or not mixed else None
