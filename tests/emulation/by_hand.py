"""A model that is run node by node, every stored tensor rounded by NumPy; its calibrated scales."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import helper

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.calibration.ranges import Calibration, collect_ranges
from precsearch.core.backend import BackendOptions, QuantScheme
from precsearch.core.formats import BFLOAT16, FLOAT16, FLOAT32, NumberFormat
from precsearch.core.space import Assignment, SearchSpace
from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.capabilities import cast_capable, cast_outputs, cast_slots
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales

Arrays = dict[str, npt.NDArray[Any]]
SCHEME = OnnxRuntimeBackend(BackendOptions(threads=1)).scheme


def rounded(array: npt.NDArray[Any], stored_as: NumberFormat = FLOAT16) -> npt.NDArray[Any]:
    kind = {FLOAT16: np.float16, BFLOAT16: ml_dtypes.bfloat16, FLOAT32: np.float32}[stored_as]
    with np.errstate(over="ignore"):
        return array.astype(kind).astype(np.float32)


def plain_session(model: bytes, threads: int = 1) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_node(
    graph: GraphView, node: NodeView, values: Mapping[str, npt.NDArray[Any]], own: NumberFormat
) -> list[npt.NDArray[Any]]:
    """What one node gives in ONNX Runtime, in a model of its own."""
    slots = frozenset(cast_slots(node, graph, own)) if own is not FLOAT32 else frozenset()
    names = [f"i{s}" if t else "" for s, t in enumerate(node.inputs)]
    proto = onnx.NodeProto()
    proto.CopyFrom(node.proto)
    proto.input[:] = names
    feed: Arrays = {}
    weights: list[onnx.TensorProto] = []
    for slot, tensor in enumerate(node.inputs):
        if tensor in graph.weights:
            array = np.asarray(graph.weights[tensor].array)
            array = rounded(array, own) if slot in slots else array
            weights.append(onnx.numpy_helper.from_array(array, names[slot]))
        elif tensor:
            feed[names[slot]] = rounded(values[tensor], own) if slot in slots else values[tensor]
    for tensor in node.captures:
        if tensor in graph.weights:
            array = np.asarray(graph.weights[tensor].array)
            weights.append(onnx.numpy_helper.from_array(array, tensor))
        else:
            feed[tensor] = values[tensor]
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in feed.items()
    ]
    outputs = [onnx.ValueInfoProto(name=t) for t in node.outputs if t]
    body = helper.make_graph([proto], "one", inputs, outputs, weights)
    opsets = [helper.make_opsetid(d, v) for d, v in graph.opsets.items()]
    model = helper.make_model(body, opset_imports=opsets, functions=list(graph.functions))
    model.ir_version = graph.ir_version
    found: list[npt.NDArray[Any]] = plain_session(model.SerializeToString()).run(None, feed)
    return found


def run_by_hand(
    graph: GraphView, feed: Arrays, nodes: Collection[str] | Mapping[str, NumberFormat]
) -> Arrays:
    """The graph's outputs, the nodes with these keys storing FP16, or a format, where they can."""
    floats = nodes if isinstance(nodes, Mapping) else dict.fromkeys(nodes, FLOAT16)
    values: Arrays = dict(feed)
    for node in graph.nodes:
        asked = floats.get(node.key, FLOAT32)
        own = asked if cast_capable(node, graph, asked) else FLOAT32
        found = run_node(graph, node, values, own)
        stored = frozenset(cast_outputs(node, graph, own)) if own is not FLOAT32 else frozenset()
        named = [(p, t) for p, t in enumerate(node.outputs) if t]
        for (position, tensor), array in zip(named, found, strict=True):
            values[tensor] = rounded(array, own) if position in stored else array
    weights = {n: np.asarray(w.array) for n, w in graph.weights.items()}
    return {o.name: values[o.name] if o.name in values else weights[o.name] for o in graph.outputs}


def scales_of(
    graph: GraphView, space: SearchSpace, feeds: list[Arrays], scheme: QuantScheme = SCHEME
) -> RangeScales:
    plain = Lowering(graph, space, scheme, RangeScales({}, scheme)).lower(Assignment()).model
    tensors = frozenset().union(*quantizable(graph, scheme, space).values())
    calibration = Calibration(plain, "", tuple(sorted(tensors)))
    return RangeScales(collect_ranges(calibration, feeds), scheme)
