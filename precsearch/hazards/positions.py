"""Positions that a float format cannot tell apart: sampling coordinates, whole numbers, angles.

A position is right or wrong by its absolute error, not by its relative one: at pixel 700 FP16 steps
by half a pixel, beyond 2048 it misses whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from precsearch.graph.operators import REARRANGING
from precsearch.graph.view import NodeView
from precsearch.hazards.finding import Finding, Gravity, readers
from precsearch.hazards.rounding import upstream
from precsearch.hazards.screened import Screened

__all__ = ["angles", "coordinates", "whole_numbers"]

_PIXELS = 0.02
"""RMS error of a sampling position in pixels that is reported: 1 % of a slope of half a pixel."""

_RADIANS = 5e-3
"""RMS error of an angle that is reported: that of a sine or cosine is as large."""

_INTEGERS = frozenset(
    {onnx.TensorProto.INT32, onnx.TensorProto.INT64, onnx.TensorProto.INT16}
    | {onnx.TensorProto.UINT16, onnx.TensorProto.UINT32, onnx.TensorProto.UINT64}
)


def coordinates(screened: Screened) -> Iterator[Finding]:
    """GridSample whose coordinates are rounded by a visible part of a pixel; a large Resize."""
    for node in screened.graph.nodes:
        if node.is_op("GridSample"):
            yield from _sampled(screened, node)
        elif node.is_op("Resize", "Upsample"):
            size = max(_sizes(screened, node.inputs[0]) + _sizes(screened, node.outputs[0]))
            if size > _whole(screened):
                reason = (
                    f"positions inside of {node.op_type} {node.key!r} reach {size}, and "
                    f"{screened.label} has whole numbers up to {_whole(screened)} alone"
                )
                yield Finding(Gravity.INNER, node, reason)


def _whole(screened: Screened) -> int:
    """The format has every whole number up to here."""
    return 1 << screened.stored_as.significand_bits


def _sizes(screened: Screened, tensor: str) -> list[int]:
    """Known sizes of the spatial axes, 0 first."""
    return [0, *(d for d in (screened.graph.shapes.get(tensor) or ())[2:] if d is not None)]


def _sampled(screened: Screened, node: NodeView) -> Iterator[Finding]:
    size, grid = max(_sizes(screened, node.inputs[0])), node.inputs[1]
    stats = screened.statistics(grid)
    if size < 2 or stats is None:
        return
    per_pixel = 2.0 / size  # coordinates go from -1 to 1
    allowed = _PIXELS * per_pixel
    makers = list(upstream(screened, [(grid, allowed)]))
    # The coordinates themselves may be exact where what they are computed from is not.
    if stats.error <= allowed and not makers:
        return
    reason = (
        f"rounding moves where GridSample {node.key!r} reads its {size} pixels by over "
        f"{_PIXELS:g} of a pixel"
    )
    for other in (node, *makers):
        yield Finding(Gravity.PRECISION, other, reason)


def whole_numbers(screened: Screened) -> Iterator[Finding]:
    """Whole numbers, such as positions in a sequence, that are rounded to others."""
    whole = _whole(screened)
    tensors = [
        t
        for n in screened.graph.nodes
        if _counts(screened, n)
        for t in n.outputs
        if t and screened.graph.is_float(t)
    ]
    for tensor in (*tensors, *filter(lambda t: _is_whole(screened, t), screened.graph.weights)):
        stats = screened.statistics(tensor)
        if (
            stats is None
            or stats.error == 0
            or not whole < stats.absmax < screened.stored_as.overflow
        ):
            continue
        for reader in _readers(screened, tensor):
            reason = (
                f"it reads whole numbers {tensor!r} up to {stats.absmax:.0f}, and "
                f"{screened.label} has all of them up to {whole} alone"
            )
            yield Finding(Gravity.PRECISION, reader, reason)


def _readers(screened: Screened, tensor: str) -> Iterator[NodeView]:
    pending = [tensor]
    while pending:
        for node, _ in readers(screened, pending.pop()):
            yield node
            if node.is_op(*REARRANGING):
                pending += [t for t in node.outputs if t]


def _counts(screened: Screened, node: NodeView) -> bool:
    """Whether a node makes floating-point numbers of whole ones."""
    if node.is_op("Range"):
        return True
    types = screened.graph.elem_types
    return node.is_op("Cast") and types.get(node.inputs[0]) in _INTEGERS


def _is_whole(screened: Screened, name: str) -> bool:
    """Whether a constant holds several whole numbers, some of which may be rounded to others."""
    weight = screened.graph.weights[name]
    if (
        weight.elem_type != onnx.TensorProto.FLOAT
        or weight.size == 1
        or screened.absmax(name) <= _whole(screened)
    ):
        return False
    values = np.asarray(weight.load(), np.float32)
    return bool(np.array_equal(values, np.floor(values)))


def angles(screened: Screened) -> Iterator[Finding]:
    """Sin and Cos of angles so large that the format rounds them by a visible part of a turn."""
    for node in screened.graph.nodes:
        if not node.is_op("Sin", "Cos"):
            continue
        stats = screened.statistics(node.inputs[0])
        if stats is None or stats.absmax >= screened.stored_as.overflow or stats.error <= _RADIANS:
            continue
        reason = (
            f"{node.op_type} {node.key!r} reads angles up to {stats.absmax:.3g}, which "
            f"{screened.label} rounds by {stats.error:.1g} rad"
        )
        for other in (node, *upstream(screened, [(node.inputs[0], _RADIANS)])):
            yield Finding(Gravity.PRECISION, other, reason)
