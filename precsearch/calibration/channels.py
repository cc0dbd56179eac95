"""Statistics of single channels over calibration samples: what equalization goes by."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from precsearch.calibration.ranges import run_feeds
from precsearch.core.backend import Feed
from precsearch.reference.taps import put_behind

__all__ = ["AXES_ARE_INPUTS", "ChannelRequest", "ChannelStatistics", "collect_channels"]

Doubles = npt.NDArray[np.float64]

AXES_ARE_INPUTS = 18
"""Operator set from which ReduceMax and ReduceMean take their axes as an input."""


@dataclass(frozen=True)
class ChannelRequest:
    """Which channels to look at.

    Attributes:
        model: The prepared model in FP32, serialized.
        model_folder: Folder of its external weights, if it has any.
        axes: Tensors with the axis that holds their channels.
        ranks: Number of dimensions of each tensor.
        seconds: What it may take.
    """

    model: bytes
    model_folder: str
    axes: tuple[tuple[str, int], ...]
    ranks: Mapping[str, int]
    seconds: float = math.inf


@dataclass(frozen=True, eq=False)
class ChannelStatistics:
    """The channels along one axis over the calibration samples.

    Attributes:
        peak: Largest absolute value of each channel, shape ``(channels,)``.
        mean_square: Mean square of each channel, shape ``(channels,)``.
        signed: Whether a value is negative.
    """

    peak: Doubles
    mean_square: Doubles
    signed: bool


def collect_channels(
    request: ChannelRequest, feeds: Sequence[Feed]
) -> dict[tuple[str, int], ChannelStatistics]:
    """Statistics by tensor and axis; what was ever not finite is left out.

    Raises:
        ModelError: ONNX Runtime refuses the model or a feed, or there is no time for all feeds.
    """
    if not request.axes:
        return {}
    until = time.monotonic() + request.seconds
    model = _with_reductions(request)
    peaks: list[Doubles] = []
    squares: list[Doubles] = []
    lows = np.full(len(request.axes), np.inf)
    for values in run_feeds(model, request.model_folder, feeds, until):
        rows = [np.asarray(v, np.float64) for v in values]
        lows = np.minimum(lows, [float(row) for row in rows[2::3]])
        peaks = [np.maximum(a, b) for a, b in zip(peaks or rows[0::3], rows[0::3], strict=True)]
        more = rows[1::3]
        squares = [a + b for a, b in zip(squares, more, strict=True)] if squares else more
    statistics = {
        axis: ChannelStatistics(peak, square / len(feeds), bool(low < 0))
        for axis, peak, square, low in zip(request.axes, peaks, squares, lows, strict=True)
    }
    return {
        axis: one
        for axis, one in statistics.items()
        if np.isfinite(one.peak).all() and np.isfinite(one.mean_square).all()
    }


def _with_reductions(request: ChannelRequest) -> bytes:
    """The model with peak, mean square and minimum of each axis as its only outputs."""
    proto = onnx.ModelProto.FromString(request.model)
    graph = proto.graph
    opset = next(o.version for o in proto.opset_import if o.domain in ("", "ai.onnx"))
    behind: dict[str, list[onnx.NodeProto]] = {}
    del graph.output[:]
    for index, (tensor, axis) in enumerate(request.axes):
        stem = f"precsearch//channels_{index}"
        others = [d for d in range(request.ranks[tensor]) if d != axis]
        inputs: list[str] = []
        if opset >= AXES_ARE_INPUTS:
            inputs = [f"{stem}_axes"]
            graph.initializer.append(onnx.numpy_helper.from_array(np.array(others), inputs[0]))
        node = onnx.helper.make_node
        reductions = [
            node("ReduceMax", [f"{stem}_abs", *inputs], [f"{stem}_peak"], keepdims=0),
            node("ReduceMean", [f"{stem}_squares", *inputs], [f"{stem}_mean"], keepdims=0),
        ]
        for reduction in reductions if not inputs else ():
            reduction.attribute.append(onnx.helper.make_attribute("axes", others))
        behind.setdefault(tensor, []).extend(
            [
                node("Abs", [tensor], [f"{stem}_abs"]),
                node("Mul", [tensor, tensor], [f"{stem}_squares"]),
                *reductions,
                node("ReduceMin", [tensor], [f"{stem}_low"], keepdims=0),
            ]
        )
        for part in ("peak", "mean", "low"):
            output = onnx.helper.make_tensor_value_info(f"{stem}_{part}", 1, None)
            graph.output.append(output)
    put_behind(graph, behind)
    return bytes(proto.SerializeToString())
