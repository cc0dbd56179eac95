"""How a backend wants a graph written: where INT8 stands, and what says that a node is FP16."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from precsearch.core.formats import BFLOAT16, FLOAT16, FLOAT32, NumberFormat
from precsearch.core.precision import Encoding, Precision

__all__ = ["TYPED", "TYPED_HALF", "WEAK", "GraphForm", "QuantScheme"]


_RAISED = re.compile(r"-\d+$")


@dataclass(frozen=True, slots=True)
class QuantScheme:
    """How a backend wants INT8 written into the graph.

    Attributes:
        name: Recorded in the plan.
        activation: ``uint8`` (asymmetric) or ``int8`` (symmetric, zero point 0).
        weight_bits: 8, or 7 where products of 8-bit numbers saturate (x86 without VNNI).
        active: Op types that compute in INT8 (weights per channel, symmetric int8).
        passive: Op types that can keep their tensors quantised, inputs and output.
        carried: Op types that a quantised tensor passes through unchanged, scale included.
        outputs_of: Active op types whose output must be quantised for them to run in INT8.
        split_bias: Write the bias of an INT8 MatMul or Gemm as a subtraction of its negative.
            ONNX Runtime otherwise fuses MatMul and Add into a Gemm, which it then runs in FP32
            with the weight dequantised at every run.
        guard_float: Write something between an FP32 Conv or Gemm that reads a dequantised tensor
            and a QuantizeLinear after it. ONNX Runtime otherwise quantises its weight on its own.
        paired_inputs: A Conv, ConvTranspose or Gemm must have its data and its weight dequantised,
            or neither: one in float does not read what a DequantizeLinear gives back.
        add_inputs: What of an INT8 Add of two activations is quantised. ``both``: its inputs and
            its output; ``decided``: the shortcut of a residual Add, and its other branch if a
            group of its own says so; of any other Add both inputs, and never the output;
            ``convolutions``: as ``both``, of a residual Add after a convolution alone.
        products: Whether a MatMul of two activations computes in INT8.
        kernel_shapes: Write a Conv's ``kernel_shape`` where the model leaves it to the weight:
            TensorRT 8.6's parser cannot see the shape of a dequantised one.
    """

    name: str
    activation: str
    weight_bits: int
    active: frozenset[str]
    passive: frozenset[str]
    carried: frozenset[str]
    outputs_of: frozenset[str]
    split_bias: bool = False
    guard_float: bool = False
    kernel_shapes: bool = False
    paired_inputs: bool = False
    add_inputs: str = "both"
    products: bool = True


@dataclass(frozen=True, slots=True)
class GraphForm:
    """What kind of ONNX graph a backend builds an engine from.

    Attributes:
        name: ``typed``, ``typed-half`` or ``weak``; recorded in the plan.
        min_opset: A model of an older operator set is raised to this.
        max_opset: A model of a newer one is refused; ``None`` is no limit.
        int8_float: The float type around INT8 nodes.
        annotated: Whether a float precision is asked for by name, in the model's metadata, and not
            by types.
        guard_products: Whether an operator that changes nothing follows an FP32 product among
            those of another float format: the engine would otherwise compute it in that format and
            say nothing.
        lacks: (operator, name of a float format) that ONNX has and the engine does not build.
    """

    name: str
    min_opset: int
    max_opset: int | None = None
    int8_float: Precision = Precision.FP32
    annotated: bool = False
    guard_products: bool = False
    lacks: frozenset[tuple[str, str]] = frozenset()

    def takes(self, op_type: str, wanted: NumberFormat) -> bool:
        """Whether the engine builds an operator in a float format."""
        return (op_type, wanted.name) not in self.lacks

    @property
    def base(self) -> str:
        """The name without the operator set that it was raised to."""
        return _RAISED.sub("", self.name)

    def raised(self, opset: int) -> GraphForm:
        """The same form from a later operator set on, which its name then ends in."""
        if opset <= self.min_opset:
            return self
        return replace(self, name=f"{self.base}-{opset}", min_opset=opset)

    def holding(self, precisions: Iterable[Precision]) -> GraphForm:
        """The form raised to the operator set that these precisions need.

        Quantized weights alone need it: Casts and Q/DQ are offered where the operator set has them.
        """
        needed = (
            p.spec.format.min_opset for p in precisions if p.spec.encoding is Encoding.WEIGHT_ONLY
        )
        return self.raised(max(needed, default=0))

    def typed_as(self, wanted: NumberFormat) -> NumberFormat:
        """The format whose ONNX types say which operators can compute in ``wanted``.

        Where a precision is asked for by name the graph stays FP32, and ONNX's type lists, in which
        bfloat16 came late, say nothing: then it is float16, which every float operator has.
        """
        return FLOAT16 if self.annotated and wanted != FLOAT32 else wanted


TYPED = GraphForm("typed", 13)
"""Casts and Q/DQ say everything; FP32 around INT8, as ONNX Runtime's CPU provider wants it."""

TYPED_HALF = GraphForm(
    "typed-half",
    19,
    int8_float=Precision.FP16,
    guard_products=True,
    lacks=frozenset(
        (op_type, BFLOAT16.name)
        for op_type in ("ConvTranspose", "GRU", "HardSwish", "LpNormalization", "Mish")
    ),
)
"""The same with FP16 around INT8, whose scales QuantizeLinear-19 is the first to take."""

WEAK = GraphForm("weak", 13, 17, annotated=True)
"""An FP32 graph with Q/DQ; FP16 is asked for layer by layer (TensorRT 8.6, which ignores types)."""
