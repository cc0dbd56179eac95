"""The names of the forms in which a lowered graph has a tensor of the model.

Names are in the bytes of a lowered model, so those of FP16 and INT8 stay what they were when there
was nothing else.
"""

from __future__ import annotations

from precsearch.core.formats import FLOAT16, FLOAT32, NumberFormat
from precsearch.core.precision import Precision

__all__ = [
    "LIFTED",
    "SEPARATOR",
    "dequantized_name",
    "float_name",
    "quantized_stem",
    "scale_key",
    "short",
]

LIFTED = "/lifted"
"""How the name of a weight ends that its author had quantized: it lies on a grid, per channel."""

SEPARATOR = "//"
"""Between the name of a tensor or node of the model and what the lowering adds to it."""


def short(number_format: NumberFormat) -> str:
    """A float format within a name: "" for FP32, ``h`` for FP16, else its own name."""
    return {FLOAT32: "", FLOAT16: "h"}.get(number_format, number_format.name)


def float_name(tensor: str, number_format: NumberFormat) -> str:
    """A tensor in a float format; in FP32 it has its own name."""
    if number_format == FLOAT32:
        return tensor
    word = "half" if number_format == FLOAT16 else number_format.name
    return f"{tensor}{SEPARATOR}{word}"


def scale_key(tensor: str, precision: Precision) -> str:
    """What the scale of a tensor is called in a plan: its name, if it is quantized to INT8."""
    return tensor if precision is Precision.INT8 else f"{tensor}{SEPARATOR}{precision}"


def quantized_stem(tensor: str, precision: Precision) -> str:
    """What the names around a quantized tensor begin with."""
    return f"{scale_key(tensor, precision)}{SEPARATOR}"


def dequantized_name(tensor: str, precision: Precision, number_format: NumberFormat) -> str:
    """What DequantizeLinear gives where the tensor exists unquantized, too."""
    return f"{quantized_stem(tensor, precision)}dq{short(number_format)}"
