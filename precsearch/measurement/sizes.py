"""What a model takes: bytes of constants by group, and of weights that lie in files beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx
import onnx_ir as ir

from precsearch.system.serialized import SerializedModel

__all__ = ["group_bytes", "shipped_bytes"]

_MARK = b"location"
"""In every model with weights in other files: the key that names the file."""


def group_bytes(model: bytes | SerializedModel, owners: Mapping[str, str]) -> dict[str, int]:
    """Bytes of constants by group key; a constant that several groups read counts once.

    Args:
        model: A lowered model, serialized.
        owners: Node name → group key.
    """
    graph = onnx.ModelProto.FromString(bytes(model)).graph
    readers: dict[str, str] = {}
    for node in graph.node:
        key = owners.get(node.name)
        for name in node.input if key is not None else ():
            readers.setdefault(name, key or "")
    sizes: dict[str, int] = {}
    for tensor in graph.initializer:
        key = readers.get(tensor.name)
        if key is not None:
            sizes[key] = sizes.get(key, 0) + _bytes(tensor)
    return sizes


def shipped_bytes(
    artifact: bytes, model: bytes | SerializedModel, *, artifact_is_model: bool
) -> int:
    """Bytes of what is shipped: the artifact, and the weights in files beside it.

    Args:
        artifact: What a backend built.
        model: The lowered model that it was built from, serialized.
        artifact_is_model: Whether weights that the model keeps in files are not in the artifact.
    """
    pieces = (model,) if isinstance(model, bytes) else model.pieces
    if not artifact_is_model or not any(_MARK in piece for piece in pieces):
        return len(artifact)  # a large model is not taken apart for nothing
    external = onnx.TensorProto.EXTERNAL
    tensors = onnx.ModelProto.FromString(bytes(model)).graph.initializer
    return len(artifact) + sum(_bytes(t) for t in tensors if t.data_location == external)


def _bytes(tensor: onnx.TensorProto) -> int:
    if tensor.data_type == onnx.TensorProto.STRING:
        return sum(map(len, tensor.string_data))
    bits: int = ir.DataType(tensor.data_type).bitwidth
    count: int = math.prod(tensor.dims)
    return (count * bits + 7) // 8
