"""Operators that move constants or make them of a shape; no arithmetic but on indices."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from precsearch.graph.folding.call import Array, Call, Kernel, Unfoldable
from precsearch.graph.operators import RESHAPING

__all__ = ["LAYOUT", "SIZES", "new_shape"]


def new_shape(call: Call) -> tuple[int, ...]:
    """The shape that Reshape, Squeeze, Unsqueeze, Flatten or Identity gives its first input.

    Raises:
        Unfoldable: The node is malformed.
    """
    shape, op = call.shape(0), call.node.op_type
    if op == "Identity":
        return shape
    if op == "Reshape":
        return _reshaped(shape, [int(v) for v in call.array(1).reshape(-1)], call)
    if op == "Flatten":
        axis = call.integer("axis", 1)
        axis = axis + len(shape) if axis < 0 else axis
        return _count(shape[:axis]), _count(shape[axis:])
    axes = call.listed("axes", 1)
    if op == "Squeeze":
        gone = _inside(axes, len(shape)) if axes is not None else _ones(shape)
        if any(shape[a] != 1 for a in gone):
            raise Unfoldable("it squeezes an axis that is not 1")
        return tuple(d for i, d in enumerate(shape) if i not in gone)
    rank = len(shape) + len(axes or ())
    added, rest = _inside(axes or [], rank), iter(shape)
    return tuple(1 if i in added else next(rest) for i in range(rank))


def _ones(shape: tuple[int, ...]) -> set[int]:
    return {i for i, d in enumerate(shape) if d == 1}


def _inside(axes: list[int], rank: int) -> set[int]:
    positive = {a + rank if a < 0 else a for a in axes}
    if len(positive) != len(axes) or any(not 0 <= a < rank for a in positive):
        raise Unfoldable("an axis does not exist")
    return positive


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _reshaped(shape: tuple[int, ...], target: list[int], call: Call) -> tuple[int, ...]:
    zero = bool(call.integer("allowzero", 0))
    dims = []
    for i, dim in enumerate(target):
        if dim == 0 and not zero and i >= len(shape):
            raise Unfoldable("it copies an axis that does not exist")
        dims.append(shape[i] if dim == 0 and not zero else dim)
    if dims.count(-1) > 1 or min(dims, default=0) < -1:
        raise Unfoldable("its shape is malformed")
    if -1 in dims:
        rest = _count(tuple(d for d in dims if d != -1))
        if rest == 0 or _count(shape) % rest:
            raise Unfoldable("its shape does not fit")
        dims[dims.index(-1)] = _count(shape) // rest
    if _count(tuple(dims)) != _count(shape):
        raise Unfoldable("its shape does not fit")
    return tuple(dims)


def _same_values(call: Call) -> list[Array]:
    return [call.array().reshape(new_shape(call))]


def _transposed(call: Call) -> list[Array]:
    array = call.array()
    perm = call.listed("perm")
    return [array.transpose(perm if perm is not None else range(array.ndim)[::-1])]


def _joined(call: Call) -> list[Array]:
    return [np.concatenate(call.arrays(), axis=call.integer("axis", 0))]


def _sliced(call: Call) -> list[Array]:
    array = call.array()
    starts, ends = call.listed("starts", 1), call.listed("ends", 2)
    if starts is None or ends is None:
        raise Unfoldable("its limits are missing")
    axes = call.listed("axes", 3) or list(range(len(starts)))
    steps = call.listed("steps", 4) or [1] * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step == 0:
            raise Unfoldable("a step is 0")
        # ONNX limits starts and ends as Python limits those of a slice.
        places = range(*slice(start, end, step).indices(array.shape[axis]))
        array = np.take(array, places, axis=axis)
    return [array]


def _split(call: Call) -> list[Array]:
    array, axis = call.array(), call.integer("axis", 0)
    count = len(call.node.outputs)
    sizes = call.listed("split", 1)
    size = array.shape[axis]
    if sizes is None:
        step = -(-size // count)
        sizes = [min(step, size - i * step) for i in range(count)]
    if sum(sizes) != size or len(sizes) != count or min(sizes) < 0:
        raise Unfoldable("its sizes do not fit")
    return list(np.split(array, np.cumsum(sizes)[:-1], axis=axis))


def _gathered(call: Call) -> list[Array]:
    array, places = call.array(0), call.array(1)
    axis = call.integer("axis", 0)
    size = array.shape[axis]
    if places.size and (int(places.min()) < -size or int(places.max()) >= size):
        raise Unfoldable("an index is out of range")
    return [np.take(array, places.astype(np.int64), axis=axis)]


def _expanded(call: Call) -> list[Array]:
    array = call.array()
    shape = np.broadcast_shapes(array.shape, tuple(int(v) for v in call.array(1).reshape(-1)))
    return [np.broadcast_to(array, shape)]


def _tiled(call: Call) -> list[Array]:
    repeats = [int(v) for v in call.array(1).reshape(-1)]
    return [np.tile(call.array(), repeats) if repeats else call.array()]


def _filled(call: Call) -> list[Array]:
    attribute = call.node.attributes.get("value")
    value = np.zeros(1, np.float32) if attribute is None else attribute.as_tensor().numpy()
    shape = tuple(int(v) for v in call.array().reshape(-1))
    return [np.full(shape, np.asarray(value).reshape(-1)[0], np.asarray(value).dtype)]


def _padded(call: Call) -> list[Array]:
    array, pads = call.array(), call.listed("pads", 1)
    if call.text("mode", "constant") != "constant" or pads is None or min(pads, default=0) < 0:
        raise Unfoldable("precsearch pads with a constant alone")
    value = call.array(2).reshape(-1)[0] if call.has(2) else array.dtype.type(0)
    axes = call.listed("axes", 3) or list(range(array.ndim))
    widths = [(0, 0)] * array.ndim
    for place, axis in enumerate(axes):
        widths[axis] = (pads[place], pads[place + len(axes)])
    return [np.pad(array, widths, constant_values=value)]


def _ranged(call: Call) -> list[Array]:
    start, limit, delta = (call.array(i).reshape(-1)[0] for i in range(3))
    if call.array(0).dtype.kind not in "iu" or int(delta) == 0:
        raise Unfoldable("a Range is computed for whole numbers alone")
    return [np.arange(int(start), int(limit), int(delta)).astype(call.array(0).dtype)]


def _places(call: Call) -> list[Array]:
    return [np.array(np.nonzero(call.array()), dtype=np.int64)]


def _triangle(call: Call) -> list[Array]:
    shift = int(call.array(1).reshape(-1)[0]) if call.has(1) else 0
    keep = np.triu if call.integer("upper", 1) else np.tril
    return [keep(call.array(), shift)]


def _shape(call: Call) -> list[Array]:
    shape = call.shape()
    end = call.integer("end", len(shape))
    return [np.array(shape[call.integer("start", 0) : end], np.int64)]


def _size(call: Call) -> list[Array]:
    return [np.array(_count(call.shape()), np.int64)]


LAYOUT: Mapping[str, Kernel] = {
    **dict.fromkeys(RESHAPING, _same_values),
    "Transpose": _transposed,
    "Concat": _joined,
    "Slice": _sliced,
    "Split": _split,
    "Gather": _gathered,
    "Expand": _expanded,
    "Tile": _tiled,
    "ConstantOfShape": _filled,
    "Pad": _padded,
    "Range": _ranged,
    "NonZero": _places,
    "Trilu": _triangle,
    "Shape": _shape,
    "Size": _size,
}
"""Operator → what evaluates it."""


def _expanded_size(call: Call) -> int:
    shape = tuple(int(v) for v in call.array(1).reshape(-1))
    return _count(np.broadcast_shapes(call.shape(0), shape))


def _range_size(call: Call) -> int:
    start, limit, delta = (float(call.array(i).reshape(-1)[0]) for i in range(3))
    return int(max(0.0, (limit - start) / delta)) + 1 if delta else 0


def _padded_size(call: Call) -> int:
    pads = call.listed("pads", 1) or []
    return _count(call.shape()) * (1 + sum(pads)) if any(p > 0 for p in pads) else 0


SIZES: Mapping[str, Callable[[Call], int]] = {
    "Expand": _expanded_size,
    "Tile": lambda c: _count(c.shape()) * _count(tuple(int(v) for v in c.array(1).reshape(-1))),
    "ConstantOfShape": lambda c: _count(tuple(int(v) for v in c.array().reshape(-1))),
    "Gather": lambda c: _count(c.shape(0)) // max(_axis(c), 1) * _count(c.shape(1)),
    "Pad": _padded_size,
    "Range": _range_size,
    "NonZero": lambda c: _count(c.shape()) * len(c.shape()),
    "Shape": lambda c: len(c.shape()),
    "Size": lambda _: 1,
}
"""Operator → an upper bound of the elements of its result, before any is made."""


def _axis(call: Call) -> int:
    shape = call.shape(0)
    return shape[call.integer("axis", 0)] if shape else 1
