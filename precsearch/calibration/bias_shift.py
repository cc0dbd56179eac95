"""How far INT8 moves the mean of a layer's outputs, channel by channel, on calibration samples."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from precsearch.calibration.channels import AXES_ARE_INPUTS
from precsearch.calibration.ranges import run_feeds
from precsearch.core.backend import Feed, QuantScheme
from precsearch.core.precision import Precision
from precsearch.lowering.qdq.scales import QuantParams
from precsearch.lowering.qdq.weights import quantize_weight

__all__ = ["ShiftRequest", "ShiftedLayer", "collect_shifts"]

_LARGEST = 6e4
"""A shift that FP16 would not hold is no rounding error; such a layer is left alone."""


@dataclass(frozen=True, slots=True)
class ShiftedLayer:
    """A Conv, Gemm or MatMul that runs in INT8.

    Attributes:
        key: Of the node; its output tensor.
        params: Scale and zero point of its input.
        rank: Number of dimensions of its output.
        axis: Of its weight, the one that holds the output channels.
    """

    key: str
    params: QuantParams
    rank: int
    axis: int = 0


@dataclass(frozen=True)
class ShiftRequest:
    """What to look at.

    Attributes:
        model: The prepared model in FP32, serialized.
        model_folder: Folder of its external weights, if it has any; such layers are left alone.
        layers: What to look at.
        scheme: How the backend quantizes.
        seconds: What it may take.
    """

    model: bytes
    model_folder: str
    layers: tuple[ShiftedLayer, ...]
    scheme: QuantScheme
    seconds: float = math.inf


def collect_shifts(
    request: ShiftRequest, feeds: Sequence[Feed]
) -> dict[str, npt.NDArray[np.float16]]:
    """FP32's mean less that of INT8 by node and output channel.

    Each Conv reads FP32 activations, quantized, so that a shift does not depend on what runs in
    INT8 before it.

    Raises:
        ModelError: ONNX Runtime refuses the model or a feed, or there is no time for all feeds.
    """
    model, keys = _with_quantized(request)
    if not keys:
        return {}
    until = time.monotonic() + request.seconds
    sums = [np.zeros(1) for _ in keys]
    for values in run_feeds(model, request.model_folder, feeds, until):
        sums = [a + np.asarray(v, np.float64) for a, v in zip(sums, values, strict=True)]
    means = {key: total / len(feeds) for key, total in zip(keys, sums, strict=True)}
    # NaN and infinity fail the comparison, too.
    return {k: m.astype(np.float16) for k, m in means.items() if (np.abs(m) < _LARGEST).all()}


def _with_quantized(request: ShiftRequest) -> tuple[bytes, list[str]]:
    """The model with the mean difference of each layer as its only outputs."""
    proto = onnx.ModelProto.FromString(request.model)
    graph = proto.graph
    weights = {w.name: w for w in graph.initializer}
    makers = {n.output[0]: n for n in graph.node if n.output}
    opset = next(o.version for o in proto.opset_import if o.domain in ("", "ai.onnx"))
    keys: list[str] = []
    added: list[onnx.NodeProto] = []
    del graph.output[:]
    for layer in request.layers:
        node = makers.get(layer.key)
        weight = None if node is None else weights.get(node.input[1])
        if node is None or weight is None or weight.data_location != onnx.TensorProto.DEFAULT:
            continue
        stem = f"precsearch//shift_{len(keys)}"
        array = np.asarray(onnx.numpy_helper.to_array(weight), np.float32)
        graph.initializer.extend(_constants(stem, array, layer, node.op_type, request.scheme))
        added += _quantized(stem, node, layer, opset)
        graph.output.append(onnx.helper.make_tensor_value_info(f"{stem}_mean", 1, None))
        keys.append(layer.key)
    graph.node.extend(added)
    return bytes(proto.SerializeToString()), keys


def _constants(
    stem: str, weight: npt.NDArray[np.float32], layer: ShiftedLayer, op: str, scheme: QuantScheme
) -> list[onnx.TensorProto]:
    q, scale = quantize_weight(weight, layer.axis, stored_as=scheme.weight(op, Precision.INT8))
    shape = [1] * weight.ndim
    shape[layer.axis] = -1
    rounded, params = q.astype(np.float32) * scale.reshape(shape), layer.params
    constants = {
        "weight": rounded,
        "scale": np.asarray(params.scale, np.float32),
        "zero": np.asarray(
            params.zero_point, np.dtype(scheme.activation(Precision.INT8).format.name)
        ),
    }
    return [onnx.numpy_helper.from_array(a, f"{stem}_{part}") for part, a in constants.items()]


def _quantized(
    stem: str, layer: onnx.NodeProto, of: ShiftedLayer, opset: int
) -> list[onnx.NodeProto]:
    node = onnx.helper.make_node
    params = [f"{stem}_scale", f"{stem}_zero"]
    copy = onnx.NodeProto()
    copy.CopyFrom(layer)
    copy.name = f"{stem}_layer"
    copy.input[:2] = [f"{stem}_dq", f"{stem}_weight"]
    copy.output[:] = [f"{stem}_int8"]
    channels = 1 if layer.op_type == "Conv" else of.rank - 1
    positions = [d for d in range(of.rank) if d != channels]
    return [
        node("QuantizeLinear", [layer.input[0], *params], [f"{stem}_q"]),
        node("DequantizeLinear", [f"{stem}_q", *params], [f"{stem}_dq"]),
        copy,
        node("Sub", [layer.output[0], f"{stem}_int8"], [f"{stem}_difference"]),
        *_mean(stem, positions, opset),
    ]


def _mean(stem: str, positions: Sequence[int], opset: int) -> list[onnx.NodeProto]:
    node, source = onnx.helper.make_node, f"{stem}_difference"
    if opset < AXES_ARE_INPUTS:
        return [node("ReduceMean", [source], [f"{stem}_mean"], axes=positions, keepdims=0)]
    axes = onnx.numpy_helper.from_array(np.array(positions), f"{stem}_axes")
    return [
        node("Constant", [], [f"{stem}_axes"], value=axes),
        node("ReduceMean", [source, f"{stem}_axes"], [f"{stem}_mean"], keepdims=0),
    ]
