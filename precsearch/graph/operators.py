"""Classes of ONNX operators, each named once.

A class says what its operators do to values. What one engine or rule needs besides is written
where it is needed: ``(*REARRANGING, "MaxPool")``. ``tests/graph/test_operators.py`` fails where a
class is spelled out again.
"""

from __future__ import annotations

__all__ = [
    "BINARY_ARITHMETIC",
    "CONVOLUTIONS",
    "FUSED_ACTIVATIONS",
    "MEASURING",
    "PASSING",
    "PRODUCTS",
    "QDQ",
    "REARRANGING",
    "RESAMPLING",
    "RESHAPING",
    "SELECTING",
    "SOFTMAXES",
]

CONVOLUTIONS = ("Conv", "ConvTranspose")
"""Convolutions of floats."""

PRODUCTS = (*CONVOLUTIONS, "Gemm", "MatMul")
"""Sums of products, mostly of an activation and a weight: what quantization speeds up."""

QDQ = ("QuantizeLinear", "DequantizeLinear")
"""Between a tensor and its quantized form."""

BINARY_ARITHMETIC = ("Add", "Sub", "Mul", "Div")
"""Elementwise arithmetic of two operands; with a constant one, a shift or a scale."""

FUSED_ACTIVATIONS = ("Relu", "Clip")
"""What every engine computes in the kernel of the operator before, whatever that one computes in.
"""

PASSING = ("Identity", "Dropout")
"""Give back what they are given."""

RESHAPING = ("Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten")
"""The same values in the same order, in another shape."""

REARRANGING = (*RESHAPING, "Transpose")
"""The same values, in another order or shape."""

SELECTING = ("Slice", "Split", "Gather", "Expand")
"""Some of the values, or some more than once."""

MEASURING = ("Shape", "Size")
"""Read the sizes of a tensor and none of its values."""

SOFTMAXES = ("Softmax", "LogSoftmax")
"""Exponentials over their sum."""

RESAMPLING = ("Resize", "Upsample", "GridSample")
"""Read values at computed positions."""
