"""A serialized model from nodes and from constants that are serialized already.

Joining bytes spares what dominates otherwise: parsing and writing every weight again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import onnx

from precsearch.graph.view import GraphView
from precsearch.system.serialized import SerializedModel

__all__ = ["Skeleton", "constant_bytes", "join_model", "skeleton_of"]

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Skeleton:
    """A serialized model in two parts.

    Attributes:
        head: The ``ModelProto`` without its graph.
        body: The ``GraphProto`` without its constants.
    """

    head: bytes
    body: bytes

    def with_weights(self, weights: Iterable[bytes]) -> SerializedModel:
        """One ``ModelProto`` from the parts and serialized ``TensorProto`` with their names.

        Protocol Buffers lets the fields of a message stand in any order: GraphProto.initializer is
        field 5 and ModelProto.graph field 7, both length-delimited (wire type 2).
        """
        pieces = [self.body]
        for weight in weights:
            pieces += [_tag(5, len(weight)), weight]
        length = sum(map(len, pieces))
        return SerializedModel((self.head, _tag(7, length), *pieces))


def skeleton_of(
    graph: GraphView,
    nodes: Iterable[onnx.NodeProto],
    inputs: Iterable[onnx.ValueInfoProto],
    outputs: Iterable[onnx.ValueInfoProto],
    metadata: Mapping[str, str] = _NOTHING,
) -> Skeleton:
    """The model without its constants, with the operator sets and functions of ``graph``.

    Args:
        graph: The prepared model.
        nodes: In topological order.
        inputs: Of the made model.
        outputs: Of the made model.
        metadata: What its properties say, by name.
    """
    model = onnx.ModelProto(ir_version=graph.ir_version)
    for domain, version in sorted(graph.opsets.items()):
        model.opset_import.append(onnx.OperatorSetIdProto(domain=domain, version=version))
    model.functions.extend(graph.functions)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    body = onnx.GraphProto(name=graph.name, node=nodes, input=inputs, output=outputs)
    return Skeleton(
        model.SerializeToString(deterministic=True), body.SerializeToString(deterministic=True)
    )


def join_model(
    graph: GraphView,
    nodes: Iterable[onnx.NodeProto],
    inputs: Iterable[onnx.ValueInfoProto],
    weights: Iterable[bytes],
    outputs: Iterable[onnx.ValueInfoProto] | None = None,
) -> bytes:
    """One ``ModelProto`` with the operator sets and functions of ``graph``.

    Args:
        graph: The prepared model.
        nodes: In topological order.
        inputs: Of the made model.
        weights: Serialized ``TensorProto`` with their names.
        outputs: Of the made model; ``None`` is the prepared model's.
    """
    values = graph.outputs if outputs is None else outputs
    return bytes(skeleton_of(graph, nodes, inputs, values).with_weights(weights))


def constant_bytes(name: str, elem_type: int, values: npt.NDArray[np.generic]) -> bytes:
    """A serialized ``TensorProto``, made with one copy of its values.

    Protocol Buffers writes the fields of a message in the order of their numbers, and
    TensorProto.raw_data, field 9, is the last one here.

    Args:
        name: Of the constant.
        elem_type: ONNX element type.
        values: As they are stored, little-endian.
    """
    head = onnx.TensorProto(name=name, data_type=elem_type, dims=values.shape)
    data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    start = head.SerializeToString(deterministic=True)
    return b"".join((start, _tag(9, data.nbytes), data.data))


def _tag(number: int, length: int) -> bytes:
    """What stands before a field of so many bytes (wire type 2)."""
    return _varint(number << 3 | 2) + _varint(length)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
