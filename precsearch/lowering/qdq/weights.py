"""Quantized weights: their scales, and their values in units of these.

The operations are those that `precsearch.lowering.qdq.scales` keeps to.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from precsearch.core.errors import ModelError
from precsearch.core.formats import INT8
from precsearch.core.quantization import PerAxis, TensorFormat
from precsearch.graph.encode import rounded
from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.qdq.scales import MIN_SCALE, round_up_to_half
from precsearch.lowering.tensor_names import LIFTED

__all__ = ["grid_scales", "quantize_weight", "scale_floor", "weight_axis"]

INT8_WEIGHT = TensorFormat(INT8, granularity=PerAxis())

_BLOCK_BYTES = 8 << 20

_OFF_GRID = 1e-3
"""Of a step: FP32 rounds the product of step and multiple by less."""

_MAX_BIAS_STEPS = np.float32(2.0**30)
"""ONNX Runtime stores the bias of an INT8 Conv as int32 in steps of the product of both scales."""


def quantize_weight(
    weight: npt.NDArray[np.float32],
    axis: int | None,
    *,
    stored_as: TensorFormat = INT8_WEIGHT,
    half: bool = False,
    floor: npt.NDArray[np.float32] | None = None,
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.float32]]:
    """Symmetrically quantized weights.

    Args:
        weight: FP32 weight.
        axis: The output-channel axis for one scale per channel, ``None`` for a single scale.
        stored_as: What they are quantized to.
        half: Round scales to values that FP16 holds.
        floor: Least scale per channel, shape ``(channels,)``.

    Returns:
        The values in units of the scale, shaped as ``weight``, of an integer format as int8, of a
        float format as FP32; and the FP32 scales: shape ``()`` or ``(channels,)``.

    Raises:
        ModelError: The weight has values that are not finite.
    """
    limit = np.float32(stored_as.largest)
    others = None if axis is None else tuple(i for i in range(weight.ndim) if i != axis)
    blocks = _blocks(weight)
    peaks = [
        np.max(np.abs(weight[b]), axis=others, initial=np.float32(0), keepdims=True) for b in blocks
    ]
    peak = np.concatenate(peaks) if axis == 0 else np.maximum.reduce(peaks)
    if not np.all(np.isfinite(peak)):
        raise ModelError("a weight holds values that are not finite; export the model again")
    scale = np.maximum(peak / limit, MIN_SCALE).astype(np.float32)
    # A channel of zeros must not get a scale of its own order: any will do, 1 is harmless.
    scale = np.where(peak == 0, np.float32(1), scale)
    if floor is not None and axis is not None:
        shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
        scale = np.maximum(scale, floor.reshape(shape))
    if half:
        scale = round_up_to_half(scale)
    whole = stored_as.format.is_integer
    q = np.empty(weight.shape, np.int8 if whole else np.float32)
    for b in blocks:
        steps = weight[b] / (scale[b] if axis == 0 else scale)
        if whole:  # a scale is at least the peak over the limit: nothing lies beyond it
            q[b] = np.rint(steps, out=steps)
        else:
            q[b] = np.clip(rounded(steps, stored_as.format), -limit, limit)
    return q, scale.reshape(()) if axis is None else scale.reshape(-1)


def grid_scales(weight: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32] | None:
    """The scales of a weight whose channels are whole multiples of one, from 1 to 127 of them.

    Args:
        weight: FP32 weight, quantized once and dequantized.
        axis: The output-channel axis.

    Returns:
        Shape ``(channels,)``; ``None`` if a channel lies on no such grid. Of several, the finest.
    """
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    peak = np.max(np.abs(rows), axis=1, initial=np.float32(0))
    scales: npt.NDArray[np.float32] = np.zeros(len(rows), np.float32)
    pending = peak > 0
    scales[~pending] = np.float32(1)
    for steps in range(127, 0, -1):
        if not pending.any():
            return scales
        scale = peak[pending] / np.float32(steps)
        multiples = rows[pending] / scale[:, None]
        fits = np.all(np.abs(multiples - np.rint(multiples)) < _OFF_GRID, axis=1)
        where = np.flatnonzero(pending)[fits]
        scales[where], pending[where] = scale[fits], False
    return None if pending.any() else scales


def _blocks(weight: npt.NDArray[np.float32]) -> list[slice]:
    """Slices of the first axis that keep the intermediate results of a large weight small."""
    rows = len(weight)
    step = max(1, _BLOCK_BYTES * rows // max(weight.nbytes, 1))
    return [slice(i, i + step) for i in range(0, max(rows, 1), step)]


def weight_axis(node: NodeView, graph: GraphView) -> int | None:
    """The output-channel axis of an active node's weight; ``None``: one scale for all of it."""
    if node.is_op("Conv"):
        return 0
    if node.is_op("ConvTranspose"):
        return 1 if node.int_attribute("group", 1) == 1 else None
    if node.is_op("Gemm"):
        return 0 if node.int_attribute("transB", 0) else 1
    return 1 if len(graph.weights[node.inputs[1]].shape) == 2 else None


def scale_floor(
    graph: GraphView, node: NodeView, step: float, stored_as: TensorFormat
) -> np.ndarray | None:
    """Least weight scales: the author's, or such that the int32 bias of a Conv does not overflow.

    A weight that its author had quantized keeps the author's scales, on which its values lie.

    A channel whose weights are next to nothing beside its bias (a pruned or folded one) would
    otherwise lose the bias; raising its scale costs nothing that the bias does not drown.

    Args:
        graph: The prepared model.
        node: The Conv.
        step: Scale of its input.
        stored_as: What the weight is quantized to; only integers have an int32 bias.
    """
    grid = _author_scales(graph, node) if stored_as.largest == INT8.largest else None
    has_bias = node.is_op("Conv") and len(node.inputs) > 2 and stored_as.format.is_integer
    bias = graph.weights.get(node.inputs[2]) if has_bias else None
    if bias is None:
        return grid
    values = np.abs(np.asarray(bias.array, dtype=np.float32)).reshape(-1)
    floor = values / np.float32(step) / _MAX_BIAS_STEPS
    weight = np.asarray(graph.weights[node.inputs[1]].load(), dtype=np.float32)
    peak = np.max(np.abs(weight.reshape(weight.shape[0], -1)), axis=1, initial=np.float32(0))
    limit = np.float32(stored_as.largest)
    if not np.any(peak / limit < floor):
        return grid
    return floor if grid is None else np.asarray(np.maximum(floor, grid), np.float32)


def _author_scales(graph: GraphView, node: NodeView) -> np.ndarray | None:
    name, axis = node.inputs[1], weight_axis(node, graph)
    if not name.endswith(LIFTED) or axis is None:
        return None
    return grid_scales(np.asarray(graph.weights[name].load(), np.float32), axis)
