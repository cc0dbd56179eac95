"""How much a node computes: multiply-accumulates, and whether all sizes that count are known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx

from precsearch.graph.inference import inferred
from precsearch.graph.operators import PRODUCTS
from precsearch.graph.serialize import join_model
from precsearch.graph.view import Dim, GraphView, NodeView

__all__ = ["LAYERS", "Work", "is_layer", "one_sample", "sized", "total_work", "work_of"]

_WEIGHT_SLOT: Mapping[str, int] = {
    **dict.fromkeys((*PRODUCTS, "ConvInteger", "MatMulInteger"), 1),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul"), 3),
}
_RECURRENT = ("LSTM", "GRU", "RNN")

LAYERS = frozenset({*_WEIGHT_SLOT, *_RECURRENT, "Einsum"})
"""Operators whose work is counted in multiply-accumulates."""

_SMALL = 1024
"""Elements up to which a constant may be a shape, a scale or an index."""


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates.

    Attributes:
        macs: Their number, where open dimensions count as 1.
        exact: Whether no dimension that it needs is open; if not, there are at least ``macs``.
    """

    macs: int = 0
    exact: bool = True

    def __add__(self, other: Work) -> Work:
        return Work(self.macs + other.macs, self.exact and other.exact)

    def per(self, samples: int) -> Work:
        """The share of one of so many samples."""
        return Work(self.macs // max(samples, 1), self.exact)


def is_layer(node: NodeView) -> bool:
    """Whether the work of a node is counted."""
    return node.is_op(*LAYERS)


def total_work(nodes: Iterable[NodeView], graph: GraphView) -> Work:
    """The work of some nodes in one inference with the shapes of ``graph``."""
    return sum((work_of(n, graph) for n in nodes if is_layer(n)), Work())


def work_of(node: NodeView, graph: GraphView) -> Work:
    """The work of one node in one inference with the shapes of ``graph``."""
    if node.is_op("Einsum"):
        return _einsum(node, graph)
    if node.is_op(*_RECURRENT):
        return _recurrent(node, graph)
    if not node.is_op(*_WEIGHT_SLOT):
        return Work()
    weight = _shape(node.inputs[_WEIGHT_SLOT[node.op_type]], graph)
    if "Conv" in node.op_type:
        # Each output of a Conv, each input of a ConvTranspose meets one slice of the weight.
        met = node.inputs[0] if node.is_op("ConvTranspose") else node.outputs[0]
        return _product((*(_shape(met, graph) or (None,)), *(weight or (None,))[1:]))
    out = _shape(node.outputs[0], graph)
    if not weight:
        return _product((*(out or ()), None))
    transposed = node.is_op("Gemm") and node.int_attribute("transB", 0)
    inner = weight[-1] if transposed or len(weight) == 1 else weight[-2]
    if out is None:
        return Work(_product(weight).macs, False)
    return _product((*out, inner))


def _shape(tensor: str, graph: GraphView) -> tuple[Dim, ...] | None:
    weight = graph.weights.get(tensor)
    return graph.shapes.get(tensor) if weight is None else weight.shape


def _product(dims: Iterable[Dim]) -> Work:
    # Some exporters write an open dimension as -1.
    known = [d if d is not None and d >= 0 else None for d in dims]
    return Work(math.prod(1 if d is None else d for d in known), None not in known)


def _einsum(node: NodeView, graph: GraphView) -> Work:
    terms = str(node.attributes.get("equation", "")).replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, Dim] = {}
    for term, tensor in zip(terms, node.inputs, strict=False):
        shape = _shape(tensor, graph)
        for place, letter in enumerate(term):
            dim = shape[place] if shape is not None and len(shape) == len(term) else None
            sizes[letter] = sizes.get(letter) if dim is None else dim
    return _product(sizes.values())


def _recurrent(node: NodeView, graph: GraphView) -> Work:
    steps = (_shape(node.inputs[0], graph) or (None, None, None))[:2]
    weights = [_shape(t, graph) for t in node.inputs[1:3]]
    each = [_product(w if w is not None else (None,)) for w in weights]
    both = sum(each, Work())
    once = _product(steps)
    return Work(once.macs * both.macs, once.exact and both.exact)


def one_sample(graph: GraphView) -> tuple[dict[str, tuple[Dim, ...]], str]:
    """The shapes of the inputs for one sample, where the leading dimension is an open batch.

    It is one where the first output has the same open leading dimension as the first input, or
    declares no shape.

    Returns:
        Shape by input, ``None`` where a dimension stays open, and the name of the batch; nothing
        and "" where there is no open batch.
    """
    name = _leading(graph.inputs[0]) if graph.inputs else None
    if not name or _leading(graph.outputs[0]) not in (name, None):
        return {}, ""
    shapes: dict[str, tuple[Dim, ...]] = {}
    for value in graph.inputs:
        dims = value.type.tensor_type.shape.dim
        shapes[value.name] = tuple(
            1 if d.dim_param == name else d.dim_value if d.HasField("dim_value") else None
            for d in dims
        )
    return shapes, name


def _leading(value: onnx.ValueInfoProto) -> str | None:
    """The name of the leading dimension, "" if it has none, ``None`` without a shape."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return str(tensor.shape.dim[0].dim_param) if tensor.shape.dim else ""


def sized(graph: GraphView, shapes: Mapping[str, Sequence[Dim]]) -> GraphView:
    """The graph with the shapes that its tensors have for inputs of these shapes.

    What lowers and groups a model must not depend on data: this is for counting alone.

    Args:
        graph: The prepared model.
        shapes: Shape by name of a graph input; what is missing or ``None`` stays as declared.

    Returns:
        A copy whose ``shapes`` are those; they stay as they are where shape inference fails.
    """
    model = onnx.ModelProto.FromString(
        join_model(
            graph,
            (n.proto for n in graph.nodes),
            (),
            (w.proto_bytes for w in graph.weights.values() if w.size <= _SMALL),
            (),
        )
    )
    for value in graph.inputs:
        declared = model.graph.input.add()
        declared.CopyFrom(value)
        _fix(declared, shapes.get(value.name))
    for name, weight in graph.weights.items():
        if weight.size > _SMALL:
            model.graph.input.append(
                onnx.helper.make_tensor_value_info(name, weight.elem_type, weight.shape)
            )
    # Without types of the outputs: what their author declared may be open where data is not.
    model.graph.output.extend(onnx.ValueInfoProto(name=o.name) for o in graph.outputs)
    known = dict(graph.shapes)
    for name, dims in inferred(model)[1].items():
        known[name] = _merged(dims, graph.shapes.get(name))
    return replace(graph, shapes=known)


def _merged(new: tuple[Dim, ...], old: tuple[Dim, ...] | None) -> tuple[Dim, ...]:
    if old is None or len(old) != len(new):
        return new
    return tuple(a if a is not None else b for a, b in zip(new, old, strict=True))


def _fix(declared: onnx.ValueInfoProto, shape: Sequence[Dim] | None) -> None:
    tensor = declared.type.tensor_type
    if shape is None or not declared.type.HasField("tensor_type"):
        return
    if not tensor.HasField("shape"):
        for _ in shape:
            tensor.shape.dim.add()
    for dim, size in zip(tensor.shape.dim, shape, strict=False):
        if size is not None:
            dim.dim_value = int(size)
