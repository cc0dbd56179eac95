"""A serialised model from nodes and from constants that are serialised already.

Joining bytes spares what dominates otherwise: parsing and writing every weight again.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from precsearch.onnxio.graph import GraphView

__all__ = ["join_model"]


def join_model(
    graph: GraphView,
    nodes: Iterable[onnx.NodeProto],
    inputs: Iterable[onnx.ValueInfoProto],
    weights: Iterable[bytes],
    outputs: Iterable[onnx.ValueInfoProto] | None = None,
) -> bytes:
    """One ``ModelProto`` with the operator sets and functions of ``graph``.

    Protocol Buffers lets the fields of a message stand in any order: GraphProto.initializer is
    field 5 and ModelProto.graph field 7, both length-delimited (wire type 2).

    Args:
        graph: The prepared model.
        nodes: In topological order.
        inputs: Of the made model.
        weights: Serialised ``TensorProto`` with their names.
        outputs: Of the made model; ``None`` is the prepared model's.
    """
    model = onnx.ModelProto(ir_version=graph.ir_version)
    for domain, version in sorted(graph.opsets.items()):
        model.opset_import.append(onnx.OperatorSetIdProto(domain=domain, version=version))
    model.functions.extend(graph.functions)
    wanted = graph.outputs if outputs is None else outputs
    body = onnx.GraphProto(name=graph.name, node=nodes, input=inputs, output=wanted)
    pieces = [body.SerializeToString(deterministic=True)]
    for weight in weights:
        pieces += [bytes([5 << 3 | 2]), _varint(len(weight)), weight]
    head = [model.SerializeToString(deterministic=True), bytes([7 << 3 | 2])]
    return b"".join([*head, _varint(sum(map(len, pieces))), *pieces])


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
