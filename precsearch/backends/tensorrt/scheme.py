"""How TensorRT wants INT8 written into the graph: explicit, symmetric, weights per channel."""

from __future__ import annotations

import math
from dataclasses import replace

from precsearch.core.formats import FLOAT8E4M3
from precsearch.core.precision import Precision
from precsearch.core.quantization import (
    FusedAttention,
    PerAxis,
    QuantScheme,
    Quirk,
    TensorFormat,
    operator_formats,
)
from precsearch.graph.operators import PRODUCTS

__all__ = ["scheme"]

_INT8_ATTENTION = FusedAttention(frozenset({16, 32, 64}), (1, 512), quantized_output=True)
_MOST = 256
_DOCUMENTED = dict.fromkeys(
    (Precision.FP16, Precision.BF16), FusedAttention(frozenset(range(16, _MOST + 1, 8)))
)
"""Of TensorRT, by its documentation; what it says of FP8 is no list of sizes."""
_SEEN = {
    **dict.fromkeys(
        (Precision.FP16, Precision.BF16), FusedAttention(frozenset(range(9, _MOST + 1)))
    ),
    Precision.FP8: FusedAttention(frozenset(range(1, _MOST + 1)), (32, math.inf)),
}
"""Of TensorRT-RTX 1.7.1, by the layers of what it builds (`benchmarks/typed/attention.py`)."""


def scheme(
    add_inputs: str = "decided", *, rtx: bool = False, attention: bool = False
) -> QuantScheme:
    """Symmetric int8 activations per tensor, symmetric int8 weights per channel, float biases.

    What is Q/DQ'd is what NVIDIA's documentation of explicit quantization recommends: the inputs of
    weighted operators and never their outputs, which the next reader quantizes where it runs in
    INT8, so that TensorRT fuses bias, activation and residual Add before it. MaxPool, Reshape and
    the like commute with Q/DQ in TensorRT: a quantized reader of theirs is enough.
    A weighted operator has all of its inputs quantized or, in float, none.
    FP8 (E4M3) is written in the same way, and no tensor is kept in it: what pools or adds reads
    floats.

    Args:
        add_inputs: ``decided``: an INT8 Add that follows a convolution, MatMul or Gemm quantizes
            its shortcut, and whether the other branch is quantized too is a decision of its own;
            ``both``: both inputs and the output.
        rtx: Of TensorRT-RTX, which runs no ConvTranspose and no average pooling in INT8 (1.7.1: a
            kernel in FP16 with Q/DQ around it), so that it is not offered. Whether TensorRT does is
            not measured.
        attention: Quantize what an INT8 attention core writes, too, where TensorRT then computes
            the core in one kernel. Without that it computes two products and a Softmax, unless what
            reads the core happens to be in INT8.
    """
    active = frozenset(PRODUCTS)
    passive = frozenset({"Add", "Concat", "AveragePool", "GlobalAveragePool"})
    if rtx:
        active -= {"ConvTranspose"}
        passive -= {"AveragePool", "GlobalAveragePool"}
    name = "rtx-s8s8" if rtx else "trt-s8s8"
    quirks = {Quirk.KERNEL_SHAPES, Quirk.PAIRED_INPUTS}
    if add_inputs == "decided":
        quirks.add(Quirk.ADD_INPUTS_DECIDED)
    chosen = QuantScheme.int8(
        name=name if add_inputs == "decided" else f"{name}-add-{add_inputs}",
        activation="int8",
        weight_bits=8,
        active=active,
        passive=passive,
        carried=frozenset(
            {"MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice"}
        ),
        outputs_of=frozenset(),
        quirks=quirks,
    )
    float8 = operator_formats(
        Precision.FP8,
        activations=TensorFormat(FLOAT8E4M3),
        weights=TensorFormat(FLOAT8E4M3, granularity=PerAxis()),
        quantizable=("Conv", "Gemm", "MatMul"),
    )
    chosen = replace(chosen, formats={**chosen.formats, **float8})
    if not attention:
        return chosen
    fused = {Precision.INT8: _INT8_ATTENTION, **(_SEEN if rtx else _DOCUMENTED)}
    return replace(chosen, name=f"{chosen.name}-attention", attention=fused)
