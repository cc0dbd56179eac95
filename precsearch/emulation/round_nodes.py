"""ONNX nodes that round FP32 values to a float format and back."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from precsearch.core.errors import OptionError
from precsearch.core.formats import FLOAT32, NumberFormat

__all__ = ["cast_pair", "rounding"]

_WIDEST = 2.0**100
"""Beyond this, the products of `rounding` leave FP32."""


def cast_pair(source: str, output: str, stored_as: NumberFormat) -> list[onnx.NodeProto]:
    """FP32 → another format → FP32: nearest even, subnormals kept, beyond its range infinite.

    Where ONNX has no such type, see `rounding`.
    """
    if not stored_as.elem_type:
        return rounding(source, output, stored_as)
    inner = f"{output}//h"
    return [
        helper.make_node("Cast", [source], [inner], inner, to=stored_as.elem_type),
        helper.make_node("Cast", [inner], [output], output, to=FLOAT32.elem_type),
    ]


def _numbers(stored_as: NumberFormat) -> dict[str, float]:
    """The constants of `rounding`, by name."""
    return {
        "low": -2 * stored_as.largest,
        "high": 2 * stored_as.largest,
        "phi": 2.0**23 + 1,
        "less": 1 - 2.0**-24,
        "normal": stored_as.smallest_normal,
        "digits": 1.5 * 2.0 ** (24 - stored_as.significand_bits),
        "largest": stored_as.largest,
        "infinity": np.inf,
    }


def rounding(source: str, made: str, stored_as: NumberFormat) -> list[onnx.NodeProto]:
    """The same in FP32 arithmetic, for a format of less range than FP32.

    The power of two below a number is found by two products and a difference (Rump, *ACM TOMS*
    36, 2009, algorithm 3.5); adding and subtracting 1.5 * 2^23 units of the last place rounds.

    Raises:
        OptionError: The format has nearly the range of FP32.
    """
    if stored_as.largest > _WIDEST:
        raise OptionError(
            f"ONNX has no type {stored_as.name}, and its range is too wide to emulate"
        )
    nodes = [_number(f"{made}//{name}", value) for name, value in _numbers(stored_as).items()]

    # Names of this function go by a prefix and the two of the graph do not, since the graph may
    # have a tensor "q", too.
    def node(op_type: str, name: str, inputs: list[str]) -> None:
        nodes.append(helper.make_node(op_type, inputs, [name], name))

    def add(op_type: str, output: str, *inputs: str) -> None:
        node(op_type, f"{made}//{output}", [f"{made}//{t}" for t in inputs])

    node("Clip", f"{made}//x", [source, f"{made}//low", f"{made}//high"])
    add("Mul", "q", "x", "phi")
    add("Mul", "q1", "q", "less")
    add("Sub", "d", "q", "q1")
    add("Abs", "power", "d")
    add("Max", "base", "power", "normal")
    add("Mul", "magic", "base", "digits")
    add("Add", "up", "x", "magic")
    add("Sub", "near", "up", "magic")
    add("Abs", "size", "near")
    add("Greater", "over", "size", "largest")
    add("Mul", "beyond", "x", "infinity")
    add("Where", "finite", "over", "beyond", "near")
    node("IsNaN", f"{made}//nan", [source])
    node("Where", made, [f"{made}//nan", source, f"{made}//finite"])
    return nodes


def _number(name: str, value: float) -> onnx.NodeProto:
    held = numpy_helper.from_array(np.asarray(value, np.float32), name)
    return helper.make_node("Constant", [], [name], name, value=held)
