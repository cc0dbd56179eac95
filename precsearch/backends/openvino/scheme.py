"""How OpenVINO wants INT8 written into a graph."""

from __future__ import annotations

from precsearch.core.quantization import QuantScheme, Quirk
from precsearch.graph.operators import PRODUCTS

__all__ = ["scheme"]


def scheme(weight_bits: int = 8) -> QuantScheme:
    """Asymmetric uint8 activations, symmetric int8 weights per channel.

    OpenVINO reads Q/DQ as FakeQuantize and moves it through what commutes. A Conv, MatMul or Gemm
    runs in INT8 if its inputs are quantized, whatever follows. Symmetric activations were slower on
    two of three models and far less accurate (docs/openvino.md). Left in float because OpenVINO
    computes them in float whatever is quantized: an Add that no convolution absorbs, and the
    products of two activations in an attention.

    Args:
        weight_bits: 8, or 7 on an x86 CPU without VNNI.
    """
    return QuantScheme.int8(
        name=f"ov-u8s8-{weight_bits}",
        activation="uint8",
        weight_bits=weight_bits,
        active=frozenset(PRODUCTS),
        passive=frozenset({"Add", "Concat", "AveragePool", "GlobalAveragePool"}),
        carried=frozenset(
            {"MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice"}
        ),
        outputs_of=frozenset(),
        quirks={Quirk.ADDS_AFTER_CONVOLUTIONS, Quirk.BEFORE_POOLING, Quirk.FLOAT_PRODUCTS},
    )
