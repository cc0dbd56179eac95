"""How a backend wants Q/DQ written: which operators, in which formats, and what else it needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cached_property

from precsearch.core.formats import INT4, INT8, UINT8
from precsearch.core.precision import Precision
from precsearch.core.quantization.operators import (
    FusedAttention,
    OperatorFormats,
    PerAxis,
    PerBlock,
    TensorFormat,
    Trait,
    operator_formats,
)

__all__ = ["QuantScheme", "Quirk"]

_NOTHING = OperatorFormats(Trait.NON_QUANTIZABLE)

_INT4_BLOCKS = TensorFormat(INT4, granularity=PerBlock(32))
"""Engines take blocks of 16 to 128: smaller ones are more exact, and a scale of 16 bits for 32
values makes 4.5 bits a weight."""
_PACKED = ("MatMul", "Gemm")


class Quirk(Enum):
    """What is written otherwise so that one engine runs what it was asked for."""

    SPLIT_BIAS = auto()
    """Write the bias of an INT8 MatMul or Gemm as a subtraction of its negative. ONNX Runtime
    otherwise fuses MatMul and Add into a Gemm, which it then runs in FP32 with the weight
    dequantized at every run."""
    GUARD_FLOAT = auto()
    """Write something between an FP32 Conv or Gemm that reads a dequantized tensor and a
    QuantizeLinear after it. ONNX Runtime otherwise quantizes its weight on its own."""
    PAIRED_INPUTS = auto()
    """A Conv, ConvTranspose or Gemm must have its data and its weight dequantized, or neither: one
    in float does not read what a DequantizeLinear gives back."""
    KERNEL_SHAPES = auto()
    """Write a Conv's ``kernel_shape`` where the model leaves it to the weight: the parser of
    TensorRT 8.6 cannot see the shape of a dequantized one."""
    ADD_INPUTS_DECIDED = auto()
    """Of a quantized Add of two activations, quantize the shortcut of a residual Add, and its other
    branch if a group of its own says so; of any other Add both inputs, and never the output.
    Without this, quantize both inputs and the output."""
    ADDS_AFTER_CONVOLUTIONS = auto()
    """Quantize an Add only where it is residual and follows a convolution."""
    BEFORE_POOLING = auto()
    """What a MaxPool's readers want quantized is quantized before it: the values are the same."""
    DYNAMIC_RANGES = auto()
    """The engine multiplies by weights with the range of each inference as fast as with a known
    one; see `precsearch.lowering.qdq.dynamic`."""
    CHEAP_FACTORS = auto()
    """A Mul in front of a quantized product takes little time beside it, as was measured; see
    `precsearch.rewrites.scaling.smooth`."""
    FLOAT_PRODUCTS = auto()
    """A MatMul of two activations stays in float."""


@dataclass(frozen=True)
class QuantScheme:
    """How a backend wants Q/DQ written into the graph.

    Attributes:
        name: Recorded in the plan.
        formats: (Operator, precision) → what is quantized there. The activations of one precision
            all have one format. An operator that is not listed stays in float.
        quirks: What this engine needs besides.
        attention: Precision → the attention cores that become one kernel; none does of a precision
            that is not listed. Empty where nothing is known of any.
    """

    name: str
    formats: Mapping[tuple[str, Precision], OperatorFormats] = field(hash=False)
    quirks: frozenset[Quirk] = frozenset()
    attention: Mapping[Precision, FusedAttention] = field(default_factory=dict, hash=False)

    @classmethod
    def int8(
        cls,
        name: str,
        *,
        activation: str,
        weight_bits: int,
        active: Collection[str],
        passive: Collection[str],
        carried: Collection[str],
        outputs_of: Collection[str],
        quirks: Collection[Quirk] = (),
    ) -> QuantScheme:
        """A scheme with INT8 alone: weights symmetric, per output channel.

        Args:
            name: Recorded in the plan.
            activation: ``uint8`` (asymmetric) or ``int8`` (symmetric, zero point 0).
            weight_bits: 8, or 7 where products of 8-bit numbers saturate (x86 without VNNI).
            active: Operators that compute in INT8.
            passive: Operators that can keep their tensors quantized, inputs and output.
            carried: Operators that a quantized tensor passes through unchanged, scale included.
            outputs_of: Those of ``active`` whose output must be quantized for them to run in INT8.
            quirks: What the engine needs besides.
        """
        unsigned = activation == UINT8.name
        rows = operator_formats(
            Precision.INT8,
            activations=TensorFormat(UINT8 if unsigned else INT8, symmetric=not unsigned),
            weights=TensorFormat(INT8, granularity=PerAxis(), reduced=weight_bits == 7),
            quantizable=active,
            follows=passive,
            agnostic=carried,
            outputs_of=outputs_of,
        )
        return cls(name, rows, frozenset(quirks))

    @cached_property
    def precisions(self) -> tuple[Precision, ...]:
        """The precisions in which it quantizes activations, the most precise first."""
        return Precision.ordered(
            p for (_, p), row in self.formats.items() if row.inputs is not None
        )

    def of(self, op_type: str, precision: Precision) -> OperatorFormats:
        """What is quantized around an operator of the model at a precision."""
        return self.formats.get((op_type, precision), _NOTHING)

    def packed(self, op_type: str, precision: Precision) -> TensorFormat | None:
        """The format of a weight that alone is quantized; ``None`` if there is none.

        INT4 in blocks is every backend's that offers it; another precision of this encoding has the
        formats that the scheme lists for it.
        """
        formats = self.of(op_type, precision)
        if formats.weights is not None and formats.inputs is None:
            return formats.weights
        packed = precision is Precision.INT4 and op_type in _PACKED
        return _INT4_BLOCKS if packed else None

    def packs(self, precision: Precision) -> bool:
        """Whether weights alone are quantized to a precision, of some operator."""
        listed = {op_type for op_type, p in self.formats if p is precision}
        return any(self.packed(op_type, precision) is not None for op_type in (*_PACKED, *listed))

    def activation(self, precision: Precision) -> TensorFormat:
        """The format of activations.

        Raises:
            KeyError: The scheme does not write the precision.
        """
        return self._activations[precision]

    @cached_property
    def _activations(self) -> dict[Precision, TensorFormat]:
        rows = ((p, row.inputs) for (_, p), row in self.formats.items())
        return {p: inputs for p, inputs in rows if inputs is not None}

    def weight(self, op_type: str, precision: Precision) -> TensorFormat:
        """The format of an operator's weight.

        Raises:
            KeyError: The scheme quantizes no weight there.
        """
        weights = self.of(op_type, precision).weights
        if weights is None:
            raise KeyError(f"{self.name}: {op_type} has no weight in {precision}")
        return weights
