"""The names of the forms in which a lowered graph has a tensor of the model.

Names are in the bytes of a lowered model, so those of FP16 stay what they were when it was the only
other float format.
"""

from __future__ import annotations

from precsearch.core.formats import FLOAT16, FLOAT32, NumberFormat

__all__ = ["LIFTED", "SEPARATOR", "dequantized_name", "float_name", "short"]

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


def dequantized_name(tensor: str, number_format: NumberFormat) -> str:
    """What DequantizeLinear gives where the tensor exists unquantized, too."""
    return f"{tensor}{SEPARATOR}dq{short(number_format)}"
