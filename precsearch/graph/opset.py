"""Raising a model's operator set, and what else is put right on the protobuf message itself."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import external_data_helper, numpy_helper, version_converter

from precsearch.core.errors import ModelError

__all__ = ["raise_opset", "with_dense_weights", "without_names"]

_BULK = 1024
"""Elements from which a constant is data and no conversion rule needs to look into it."""

_MAX_DENSE = 1 << 30
"""Bytes that a sparse weight may take when written out."""

_RULE_ERRORS = (
    RuntimeError,
    ValueError,
    version_converter.ConvertError,
    onnx.shape_inference.InferenceError,
)


def raise_opset(proto: onnx.ModelProto, target: int, folder: str) -> onnx.ModelProto:
    """Convert to a newer operator set without handing the bulk of the weights through.

    Args:
        proto: The model; it is not changed.
        target: Version of the default operator set.
        folder: Where its external weights are.

    Raises:
        ModelError: A node has no form in the newer operator set.
    """
    slim = onnx.ModelProto()
    slim.CopyFrom(proto)
    held: dict[str, onnx.TensorProto] = {}
    listed = {i.name for i in slim.graph.input}
    for tensor in proto.graph.initializer:
        if int(np.prod(tensor.dims, dtype=np.int64)) > _BULK and tensor.name not in listed:
            held[tensor.name] = tensor
            slim.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    kept = [t for t in slim.graph.initializer if t.name not in held]
    for tensor in kept:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            external_data_helper.load_external_data_for_tensor(tensor, folder)
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
    del slim.graph.initializer[:]
    slim.graph.initializer.extend(kept)
    try:
        raised = version_converter.convert_version(slim, target)
    except _RULE_ERRORS as error:
        why = _unknown_op(proto) or " ".join(str(error).split())
        raise ModelError(
            f"the model's operator set cannot be raised to {target} ({why}); export the model "
            f"with opset {target} or newer"
        ) from error
    inputs = [i for i in raised.graph.input if i.name not in held]
    del raised.graph.input[:]
    raised.graph.input.extend(inputs)
    raised.graph.initializer.extend(held.values())
    # The converter drops functions; they say themselves which operator set they are written in.
    del raised.functions[:]
    raised.functions.extend(proto.functions)
    return raised


def _unknown_op(proto: onnx.ModelProto) -> str:
    """A sentence on the first operator that ONNX does not define, "" if it defines all."""
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 1)
    for node in proto.graph.node:
        if node.domain in ("", "ai.onnx") and not onnx.defs.has(node.op_type, opset):
            return f"operator set {opset} has no operator {node.op_type!r}"
    return ""


def with_dense_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its sparse weights written out; itself if it has none.

    Raises:
        ModelError: A sparse weight is malformed or too large to be written out.
    """
    if not proto.graph.sparse_initializer:
        return proto
    dense = onnx.ModelProto()
    dense.CopyFrom(proto)
    del dense.graph.sparse_initializer[:]
    for sparse in proto.graph.sparse_initializer:
        dense.graph.initializer.append(_dense(sparse))
    return dense


def _dense(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    name = sparse.values.name
    size = int(np.prod(sparse.dims, dtype=np.float64))
    if min(sparse.dims, default=1) < 0 or size * 8 > _MAX_DENSE:
        raise ModelError(
            f"the sparse weight {name!r} has shape {tuple(sparse.dims)}, too large to be written "
            "out; store it as an ordinary initializer"
        )
    try:
        values = numpy_helper.to_array(sparse.values).reshape(-1)
        places = numpy_helper.to_array(sparse.indices)
        array = np.zeros(tuple(sparse.dims), values.dtype)
        if places.ndim == 2:
            array[tuple(places.T)] = values
        else:
            array.reshape(-1)[places] = values
    except (ValueError, IndexError, TypeError) as error:
        raise ModelError(
            f"the sparse weight {name!r} is malformed ({error}); export the model again"
        ) from error
    return numpy_helper.from_array(array, name)


def without_names(proto: onnx.ModelProto) -> onnx.ModelProto | None:
    """The model with anonymous nodes if two nodes of a graph have one name, else ``None``.

    ONNX allows that, ONNX Runtime from 1.24 on does not.
    """
    names = [n.name for n in proto.graph.node if n.name]
    if len(set(names)) == len(names):
        return None
    anonymous = onnx.ModelProto()
    anonymous.CopyFrom(proto)
    for node in anonymous.graph.node:
        node.name = ""
    return anonymous
