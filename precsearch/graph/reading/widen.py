"""A model exported in FP16 or BF16, in FP32: the same weights, exactly, and room to decide.

Inputs and outputs of FP16 keep their type; those of BF16 become FP32, since neither NumPy nor ONNX
Runtime's Python API has arrays of BF16 to feed. What the file rounds to 16 bits on the way is not
rounded any more: the widened model is what the file approximates, and each group may go down again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import onnx
from onnx import external_data_helper, helper, numpy_helper

from precsearch.core.errors import ModelError
from precsearch.core.precision import PRECISIONS, Encoding, Precision
from precsearch.graph.reading.messages import tensors

__all__ = ["exported_in", "widened"]

_FLOAT = onnx.TensorProto.FLOAT
_MOST_BYTES = (1 << 31) - 1
_TYPE_ATTRIBUTES = frozenset({"to", "dtype", "output_dtype", "stash_type"})
_NARROW = {
    row.format.elem_type: precision
    for precision, row in PRECISIONS.items()
    if row.encoding is Encoding.CAST and row.format.elem_type
}
_FLOATS = frozenset({_FLOAT, *_NARROW})
_KEPT_ENDS = frozenset(k for k, p in _NARROW.items() if p.spec.format.in_numpy)


def exported_in(proto: onnx.ModelProto) -> Precision:
    """The float type that most weights of a model have; without weights, most of its inputs.

    Args:
        proto: The model; FP64 does not count.
    """
    counts: Counter[int] = Counter()
    for tensor in tensors(proto):
        if tensor.data_type in _FLOATS:
            counts[tensor.data_type] += int(np.prod(tensor.dims, dtype=np.int64))
    if not counts:
        counts.update(
            v.type.tensor_type.elem_type
            for v in proto.graph.input
            if v.type.tensor_type.elem_type in _FLOATS
        )
    best = max(counts, key=lambda kind: (counts[kind], kind == _FLOAT), default=_FLOAT)
    return _NARROW.get(best, Precision.FP32)


def widened(proto: onnx.ModelProto, folder: str) -> onnx.ModelProto:
    """The model with every tensor of 16 bits in FP32, but for inputs and outputs of FP16.

    Args:
        proto: The model; it is not changed.
        folder: Where its external weights are.

    Raises:
        ModelError: A weight is malformed, or the weights take over 2 GB in FP32.
    """
    kinds = _types(proto)
    wide = onnx.ModelProto()
    wide.CopyFrom(proto)
    narrow = [t for t in tensors(wide) if t.data_type in _NARROW]
    size = sum(4 * int(np.prod(t.dims, dtype=np.int64)) for t in narrow)
    if size > _MOST_BYTES:
        raise ModelError(
            f"the weights of 16 bits take {size >> 20} MB in FP32, over the 2 GB of one message; "
            "export the model in FP32 with external data"
        )
    for tensor in narrow:
        _widen(tensor, folder)
    for node in _nodes(wide):
        _retype(node, kinds)
    for values in _values(wide.graph):
        for value in values:
            if value.type.tensor_type.elem_type in _NARROW:
                value.type.tensor_type.elem_type = _FLOAT
    _keep_ends(wide.graph, proto.graph)
    return wide


def _types(proto: onnx.ModelProto) -> Mapping[str, int]:
    """Element type of every tensor whose type is known."""
    try:
        graph = onnx.shape_inference.infer_shapes(proto).graph
    except (RuntimeError, ValueError, onnx.shape_inference.InferenceError):
        graph = proto.graph
    types = {v.name: v.type.tensor_type.elem_type for g in _values(graph) for v in g}
    return types | {t.name: t.data_type for t in proto.graph.initializer}


def _widen(tensor: onnx.TensorProto, folder: str) -> None:
    try:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            external_data_helper.load_external_data_for_tensor(tensor, folder)
        values = np.asarray(numpy_helper.to_array(tensor)).astype(np.float32)
    except (ValueError, TypeError, OSError) as error:
        raise ModelError(
            f"the weight {tensor.name!r} is malformed ({error}); export the model again"
        ) from error
    name = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(values, name))


def _retype(node: onnx.NodeProto, kinds: Mapping[str, int]) -> None:
    """Let a node make FP32 where it made 16 bits; a Cast between floats is one no more."""
    cast = node.op_type == "Cast" and node.domain in ("", "ai.onnx")
    for attribute in node.attribute:
        if attribute.name in _TYPE_ATTRIBUTES and attribute.i in _FLOATS:
            attribute.i = _FLOAT
            if cast and node.input and kinds.get(node.input[0]) in _FLOATS:
                node.op_type = "Identity"
    if cast and node.op_type == "Identity":
        del node.attribute[:]


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    pending = [*model.graph.node, *(n for f in model.functions for n in f.node)]
    while pending:
        node = pending.pop()
        yield node
        pending += [n for graph in _inside(node) for n in graph.node]


def _inside(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _values(graph: onnx.GraphProto) -> Iterator[Iterable[onnx.ValueInfoProto]]:
    yield graph.input
    yield graph.output
    yield graph.value_info
    for node in graph.node:
        for inner in _inside(node):
            yield from _values(inner)


def _keep_ends(graph: onnx.GraphProto, given: onnx.GraphProto) -> None:
    """Give inputs and outputs of FP16 their own type back, with a Cast beside each."""
    weights = {t.name for t in given.initializer}
    names: dict[str, str] = {}
    first: list[onnx.NodeProto] = []
    last: list[onnx.NodeProto] = []
    taken = weights | {t for n in given.node for t in (*n.input, *n.output)}
    inputs = {v.name for v in given.input}

    def other(name: str) -> str:
        wide = f"{name}_fp32"
        while wide in taken:
            wide += "_"
        taken.add(wide)
        return wide

    for value, own in zip(graph.input, given.input, strict=True):
        kind = own.type.tensor_type.elem_type
        if kind in _KEPT_ENDS and value.name not in weights:
            value.type.tensor_type.elem_type = kind
            names[value.name] = other(value.name)
            first.append(helper.make_node("Cast", [value.name], [names[value.name]], to=_FLOAT))
    for value, own in zip(graph.output, given.output, strict=True):
        kind = own.type.tensor_type.elem_type
        if kind in _KEPT_ENDS:
            value.type.tensor_type.elem_type = kind
            if value.name not in inputs:
                names[value.name] = other(value.name)
                last.append(helper.make_node("Cast", [names[value.name]], [value.name], to=kind))
    for tensor in graph.initializer:  # a weight that is an output, too
        tensor.name = names.get(tensor.name, tensor.name)
    for node in graph.node:
        _rename(node, names)
    middle = list(graph.node)
    del graph.node[:]
    graph.node.extend([*first, *middle, *last])


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    node.input[:] = [names.get(t, t) for t in node.input]
    node.output[:] = [names.get(t, t) for t in node.output]
    for graph in _inside(node):
        own = {v.name for v in graph.input} | {t for n in graph.node for t in n.output}
        seen = {old: new for old, new in names.items() if old not in own}
        for inner in graph.node:
            _rename(inner, seen)
        for value in graph.output:
            value.name = seen.get(value.name, value.name)
