"""Types and shapes of tensors by onnx's shape inference, read from its answer without a copy."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import onnx
import onnx_ir as ir

from precsearch.graph.view import Dim

__all__ = ["infer", "inferred"]

_SMALL = 1000
"""Bytes up to which a constant may be a shape; larger ones are data."""

Known = tuple[dict[str, int], dict[str, tuple[Dim, ...]]]
"""Element type and shape by tensor name."""


def infer(model: ir.Model, nodes: Iterable[onnx.NodeProto]) -> Known:
    """Types and shapes of the tensors of a model's main graph, as far as they are known.

    Args:
        model: The model; constants are its initializers.
        nodes: The nodes of its graph, serialized.
    """
    graph = model.graph
    proto = onnx.ModelProto(ir_version=model.ir_version)
    for domain, version in graph.opset_imports.items():
        proto.opset_import.add(domain=domain, version=version)
    proto.functions.extend(ir.serde.serialize_function(f) for f in model.functions.values())
    proto.graph.name = graph.name or "graph"
    proto.graph.node.extend(nodes)
    proto.graph.input.extend(ir.serde.serialize_value(v) for v in graph.inputs)
    for name, value in graph.initializers.items():
        tensor = value.const_value
        if tensor is None:
            continue
        if tensor.nbytes <= _SMALL:
            constant = proto.graph.initializer.add()
            constant.CopyFrom(ir.serde.serialize_tensor(tensor))
            constant.name = name
        shape = [int(d) for d in tensor.shape.numpy()]
        proto.graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.dtype, shape))
    proto.graph.output.extend(ir.serde.serialize_value(v) for v in graph.outputs)
    declared = (o for n in graph for o in n.outputs if o.type is not None and o.name)
    outputs = set(graph.outputs)
    proto.graph.value_info.extend(ir.serde.serialize_value(v) for v in declared if v not in outputs)
    return inferred(proto)


def inferred(proto: onnx.ModelProto) -> Known:
    """Types and shapes of the tensors of a model; what it declares where inference fails."""
    with suppress(Exception):  # whatever C++ throws: the model is judged elsewhere
        proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    types: dict[str, int] = {}
    shapes: dict[str, tuple[Dim, ...]] = {}
    for value in (*proto.graph.input, *proto.graph.value_info, *proto.graph.output):
        if not value.type.HasField("tensor_type"):
            continue
        tensor = value.type.tensor_type
        if tensor.elem_type:
            types[value.name] = tensor.elem_type
        if tensor.HasField("shape"):
            shapes[value.name] = tuple(
                d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim
            )
    return types, shapes
