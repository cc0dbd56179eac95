"""Arithmetic on constants that gives the same bits on every machine.

Only operations whose result IEEE 754 fixes: + - * / sqrt, comparison, conversion, and whole
numbers. Exponentials, logarithms and general powers are left out: their last bit depends on the
library. Sums are taken in FP64, by halves in a fixed order (`_by_halves`), and rounded once to the
type of the input: that is at least as accurate as what an engine computes, and need not be equal to
it. NaN is never a result: its sign and payload differ between machines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from precsearch.core.formats import FORMATS
from precsearch.graph.folding.call import Array, Call, Kernel, Unfoldable

__all__ = ["ARITHMETIC"]

_FLOATS = (np.float16, np.float32, np.float64)
_LOW_FLOATS = frozenset(
    row.name
    for row in FORMATS.values()
    if row.elem_type and not row.is_integer and not row.in_numpy
)
_COMPUTED = frozenset(
    {*map(np.dtype, _FLOATS), *map(np.dtype, ("b", "h", "i", "q", "B", "H", "I", "Q", "?"))}
)


def _is_float(array: Array) -> bool:
    return array.dtype in _FLOATS


def _checked(*arrays: Array) -> None:
    for array in arrays:
        if array.dtype not in _COMPUTED:
            raise Unfoldable(f"precsearch does not compute in {array.dtype}")


def _finished(result: Array) -> list[Array]:
    if _is_float(result) and bool(np.isnan(result).any()):
        raise Unfoldable("the result is NaN")
    return [result]


def _binary(operation: Callable[[Array, Array], Array]) -> Kernel:
    def kernel(call: Call) -> list[Array]:
        result, *others = call.arrays()
        _checked(result, *others)
        for other in others:
            result = np.asarray(operation(result, other))
        return _finished(result)

    return kernel


def _unary(operation: Callable[[Array], Array], *, floats: bool = False) -> Kernel:
    def kernel(call: Call) -> list[Array]:
        array = call.array()
        _checked(array)
        if floats and not _is_float(array):
            raise Unfoldable(f"{call.node.op_type} is for floating point")
        return _finished(np.asarray(operation(array)).astype(array.dtype, copy=False))

    return kernel


def _divided(a: Array, b: Array) -> Array:
    """A quotient; of whole numbers rounded towards zero, as in C."""
    if _is_float(a):
        return np.asarray(np.divide(a, b))
    if not b.all() or bool((b.astype(np.int64) == -1).any()):
        raise Unfoldable("a divisor is 0 or -1")
    quotient = np.floor_divide(a, b)
    inexact = (np.multiply(quotient, b) != a) & (np.less(a, 0) != np.less(b, 0))
    return np.asarray(quotient + inexact.astype(a.dtype))


def _larger(a: Array, b: Array) -> Array:
    return _selected(np.greater_equal, a, b)


def _smaller(a: Array, b: Array) -> Array:
    return _selected(np.less_equal, a, b)


def _selected(order: Callable[[Array, Array], Array], a: Array, b: Array) -> Array:
    if any(_is_float(x) and bool(np.isnan(x).any()) for x in (a, b)):
        raise Unfoldable("an operand is NaN")
    return np.asarray(np.where(order(a, b), a, b))


def _power(call: Call) -> list[Array]:
    """Squares and square roots: the powers that are exact."""
    base, exponent = call.array(0), call.array(1)
    _checked(base, exponent)
    if exponent.size != 1 or not _is_float(base) or exponent.ndim > base.ndim:
        raise Unfoldable("precsearch computes no powers but squares and square roots")
    power = float(exponent.reshape(-1)[0])
    if power not in (0.5, 1.0, 2.0):
        raise Unfoldable(f"precsearch does not compute the power {power:g}")
    result = np.sqrt(base) if power == 0.5 else np.multiply(base, base) if power == 2 else base
    return _finished(np.asarray(result))


def _modulo(call: Call) -> list[Array]:
    a, b = call.array(0), call.array(1)
    _checked(a, b)
    if _is_float(a) or not b.all():
        raise Unfoldable("Mod is computed for whole numbers alone")
    return [np.asarray(np.fmod(a, b) if call.integer("fmod", 0) else np.mod(a, b))]


def _where(call: Call) -> list[Array]:
    return [np.asarray(np.where(call.array(0), call.array(1), call.array(2)))]


# Conversion.


def _cast(call: Call) -> list[Array]:
    return [_converted(call.array(), ir.DataType(call.integer("to", 0)))]


def _cast_like(call: Call) -> list[Array]:
    return [_converted(call.array(), call.tensor(1).dtype)]


def _converted(array: Array, dtype: ir.DataType) -> Array:
    """Values in another type; of floating point rounded to nearest even, to whole numbers cut."""
    target = dtype.numpy() if dtype is not ir.DataType.STRING else np.dtype(object)
    wide = (*_COMPUTED, *(d for d in (array.dtype, target) if d.name in _LOW_FLOATS))
    if array.dtype not in wide or target not in wide:
        raise Unfoldable(f"precsearch does not convert {array.dtype} to {dtype.name}")
    if np.dtype(target).kind in "iu" and array.dtype.kind not in "iub":
        whole = array.astype(np.float64)
        limits = np.iinfo(np.dtype(target).str)
        inside = (np.trunc(whole) >= float(limits.min)) & (np.trunc(whole) < float(limits.max))
        if not bool(inside.all()):
            raise Unfoldable(f"a value does not fit {dtype.name}")
    if array.dtype == np.float64 and np.dtype(target).name in _LOW_FLOATS:
        raise Unfoldable("FP64 is not converted to BF16: it would be rounded twice")
    return _finished(array.astype(target))[0]


_QUANTIZED = frozenset(map(np.dtype, ("b", "B", "h", "H", "i")))


def _dequantized(call: Call) -> list[Array]:
    """Stored whole numbers as FP32: (q - zero point) * scale, rounded once."""
    stored, scale = call.array(0), call.array(1)
    zero = call.array(2) if call.has(2) else np.zeros((), stored.dtype)
    if stored.dtype not in _QUANTIZED or scale.dtype != np.float32 or call.integer("block_size", 0):
        raise Unfoldable(f"precsearch does not dequantize {stored.dtype} in this form")
    if scale.size > 1:
        line = [1] * stored.ndim
        line[call.integer("axis", 1)] = -1
        scale, zero = scale.reshape(line), zero.reshape(line if zero.size > 1 else ())
    shifted = stored.astype(np.int64) - zero.astype(np.int64)
    if bool((np.abs(shifted) > 1 << 24).any()):
        raise Unfoldable("a stored number is too large for FP32")
    scale = scale.reshape(()) if scale.size == 1 else scale
    return _finished(np.asarray(np.multiply(shifted.astype(np.float32), scale)))


# Reduction.


def _by_halves(operation: Callable[[Array, Array], Array], rows: Array) -> Array:
    """One row from many: the first half with the second, what is left over last, and again."""
    while len(rows) > 1:
        half = len(rows) // 2
        head = operation(rows[:half], rows[half : 2 * half])
        rows = np.concatenate([head, rows[2 * half :]])
    return np.asarray(rows[0])


def _reduced(kind: str) -> Kernel:
    def kernel(call: Call) -> list[Array]:
        array = call.array()
        _checked(array)
        axes = call.listed("axes", 1)
        if not axes:
            if call.integer("noop_with_empty_axes", 0):
                raise Unfoldable("it reduces nothing")
            axes = list(range(array.ndim))
        axes = sorted(a % array.ndim for a in axes) if array.ndim else []
        kept = [i for i in range(array.ndim) if i not in axes]
        count = int(np.prod([array.shape[a] for a in axes], dtype=np.int64))
        if count == 0 or array.dtype == np.bool_:
            raise Unfoldable("it has nothing to reduce")
        rows = array.transpose(*axes, *kept).reshape(count, *(array.shape[i] for i in kept))
        keep = bool(call.integer("keepdims", 1))
        shape = [1 if i in axes else d for i, d in enumerate(array.shape) if keep or i in kept]
        return _finished(_row(kind, rows, count).astype(array.dtype).reshape(shape))

    return kernel


def _row(kind: str, rows: Array, count: int) -> Array:
    if kind in ("max", "min"):
        return _by_halves(_larger if kind == "max" else _smaller, rows)
    if not _is_float(rows):
        if kind not in ("sum", "prod"):
            raise Unfoldable("precsearch computes that for floating point alone")
        return _by_halves(np.add if kind == "sum" else np.multiply, rows)
    wide = rows.astype(np.float64)
    if kind == "prod":
        raise Unfoldable("precsearch computes products of whole numbers alone")
    if kind in ("l2", "squares"):
        wide = np.multiply(wide, wide)
    elif kind == "l1":
        wide = np.abs(wide)
    total = _by_halves(np.add, wide)
    if kind == "mean":
        return np.asarray(np.divide(total, count))
    return np.asarray(np.sqrt(total)) if kind == "l2" else total


ARITHMETIC: Mapping[str, Kernel] = {
    "Add": _binary(np.add),
    "Sub": _binary(np.subtract),
    "Mul": _binary(np.multiply),
    "Sum": _binary(np.add),
    "Div": _binary(_divided),
    "Max": _binary(_larger),
    "Min": _binary(_smaller),
    "And": _binary(np.logical_and),
    "Or": _binary(np.logical_or),
    "Xor": _binary(np.logical_xor),
    "Equal": _binary(np.equal),
    "Less": _binary(np.less),
    "LessOrEqual": _binary(np.less_equal),
    "Greater": _binary(np.greater),
    "GreaterOrEqual": _binary(np.greater_equal),
    "Sqrt": _unary(np.sqrt, floats=True),
    "Reciprocal": _unary(lambda x: np.divide(x.dtype.type(1), x), floats=True),
    "Abs": _unary(np.abs),
    "Neg": _unary(np.negative),
    "Floor": _unary(np.floor, floats=True),
    "Ceil": _unary(np.ceil, floats=True),
    "Not": _unary(np.logical_not),
    "Pow": _power,
    "Mod": _modulo,
    "Where": _where,
    "Cast": _cast,
    "CastLike": _cast_like,
    "DequantizeLinear": _dequantized,
    "ReduceSum": _reduced("sum"),
    "ReduceMean": _reduced("mean"),
    "ReduceSumSquare": _reduced("squares"),
    "ReduceL1": _reduced("l1"),
    "ReduceL2": _reduced("l2"),
    "ReduceMax": _reduced("max"),
    "ReduceMin": _reduced("min"),
    "ReduceProd": _reduced("prod"),
}
"""Operator → what evaluates it."""
