"""How a backend wants a graph written: where Q/DQ stands, and what says that a node is FP16."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import cached_property

from precsearch.core.formats import BFLOAT16, FLOAT16, FLOAT32, INT8, UINT8, NumberFormat
from precsearch.core.precision import Encoding, Precision

__all__ = [
    "TYPED",
    "TYPED_HALF",
    "WEAK",
    "FusedAttention",
    "GraphForm",
    "OperatorFormats",
    "PerAxis",
    "PerBlock",
    "PerTensor",
    "QuantScheme",
    "Quirk",
    "TensorFormat",
    "Trait",
    "operator_formats",
]


class Trait(Enum):
    """What an operator does with quantized tensors; the words are those of NNCF."""

    INPUTS_QUANTIZABLE = auto()
    """Computes on quantized inputs."""
    FOLLOWS = auto()
    """Keeps its tensors quantized, inputs and output, beside an operator that computes on such."""
    QUANTIZATION_AGNOSTIC = auto()
    """Passes a quantized tensor on with its scale."""
    NON_QUANTIZABLE = auto()
    """Has no quantized form."""


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
    FLOAT_PRODUCTS = auto()
    """A MatMul of two activations stays in float."""


_RAISED = re.compile(r"-\d+$")


@dataclass(frozen=True, slots=True)
class PerTensor:
    """One scale for the whole tensor."""


@dataclass(frozen=True, slots=True)
class PerAxis:
    """One scale for each output channel of a weight."""


@dataclass(frozen=True, slots=True)
class PerBlock:
    """One scale for each block of values along the axis that a product sums over.

    Attributes:
        size: Values in a block.
    """

    size: int


@dataclass(frozen=True, slots=True)
class TensorFormat:
    """How a tensor is quantized.

    Attributes:
        format: What its values are stored in.
        symmetric: Whether the zero point is 0.
        granularity: What shares a scale.
        reduced: Whether one bit of an integer format stays unused, which keeps sums of products
            from saturating on an x86 CPU without VNNI.
    """

    format: NumberFormat
    symmetric: bool = True
    granularity: PerTensor | PerAxis | PerBlock = PerTensor()
    reduced: bool = False

    @property
    def largest(self) -> float:
        """The largest value that is used."""
        return (self.format.largest - 1) / 2 if self.reduced else self.format.largest


@dataclass(frozen=True, slots=True)
class OperatorFormats:
    """What is quantized around one operator; ``None`` stays in float.

    Attributes:
        trait: What the operator does with quantized tensors.
        inputs: Its activations.
        weights: A constant second operand.
        outputs: What it writes, after the activation that is fused with it.
    """

    trait: Trait
    inputs: TensorFormat | None = None
    weights: TensorFormat | None = None
    outputs: TensorFormat | None = None


_NOTHING = OperatorFormats(Trait.NON_QUANTIZABLE)


@dataclass(frozen=True, slots=True)
class FusedAttention:
    """Which attention cores an engine computes in one kernel at a precision.

    Attributes:
        heads: Sizes of a head.
        keys: The least and the most tokens that are attended to.
        quantized_output: Whether what it writes must be quantized, too.
    """

    heads: frozenset[int]
    keys: tuple[float, float] = (1, math.inf)
    quantized_output: bool = False

    def takes(self, head: int | None, keys: int | None) -> bool:
        """Whether there is such a kernel; sizes that are not known are taken to fit."""
        least, most = self.keys
        return (keys is None or least <= keys <= most) and (head is None or head in self.heads)


def operator_formats(
    precision: Precision,
    *,
    activations: TensorFormat,
    weights: TensorFormat,
    quantizable: Collection[str],
    follows: Collection[str] = (),
    agnostic: Collection[str] = (),
    outputs_of: Collection[str] = (),
) -> dict[tuple[str, Precision], OperatorFormats]:
    """Rows of a `QuantScheme` for one precision.

    Args:
        precision: Written with Q/DQ.
        activations: The format of every activation.
        weights: The format of every weight.
        quantizable: Operators that compute in the precision.
        follows: Operators that can keep their tensors quantized.
        agnostic: Operators that a quantized tensor passes through unchanged.
        outputs_of: Those of ``quantizable`` that run in the precision only if their output is
            quantized, too.
    """
    made: dict[tuple[str, Precision], OperatorFormats] = {}
    for op in sorted(quantizable):
        after = activations if op in outputs_of else None
        made[op, precision] = OperatorFormats(Trait.INPUTS_QUANTIZABLE, activations, weights, after)
    for op in sorted(follows):
        made[op, precision] = OperatorFormats(Trait.FOLLOWS, activations, outputs=activations)
    for op in sorted(agnostic):
        made[op, precision] = OperatorFormats(
            Trait.QUANTIZATION_AGNOSTIC, activations, outputs=activations
        )
    return made


@dataclass(frozen=True)
class QuantScheme:
    """How a backend wants Q/DQ written into the graph.

    Attributes:
        name: Recorded in the plan.
        formats: (Operator, precision) → what is quantized there. The activations of one precision
            all have one format. An operator that is not listed stays in float.
        quirks: What this engine needs besides.
        attention: Precision → the attention cores that become one kernel. Of a precision that is
            not listed none does, or nothing is known: where no precision is listed.
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
        """The precisions that it writes, the most precise first."""
        return Precision.ordered(p for _, p in self.formats)

    def of(self, op_type: str, precision: Precision) -> OperatorFormats:
        """What is quantized around an operator of the model at a precision."""
        return self.formats.get((op_type, precision), _NOTHING)

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
        found = self.of(op_type, precision).weights
        if found is None:
            raise KeyError(f"{self.name}: {op_type} has no weight in {precision}")
        return found


@dataclass(frozen=True, slots=True)
class GraphForm:
    """What kind of ONNX graph a backend builds an engine from.

    Attributes:
        name: ``typed``, ``typed-half`` or ``weak``; recorded in the plan.
        min_opset: A model of an older operator set is raised to this.
        max_opset: A model of a newer one is refused; ``None`` is no limit.
        surrounding: Precision written with Q/DQ → the float precision around it; what is not listed
            has FP32. One scheme serves graphs with different floats around INT8, so that this is no
            part of the scheme.
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
    surrounding: Mapping[Precision, Precision] = field(default_factory=dict, hash=False)
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

    def float_of(self, precision: Precision) -> Precision:
        """What the float operators of a group at ``precision`` compute in."""
        if precision.spec.encoding in (Encoding.NATIVE, Encoding.CAST):
            return precision
        return self.surrounding.get(precision, Precision.FP32)

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
    surrounding=dict.fromkeys((Precision.FP8, Precision.INT8, Precision.INT4), Precision.FP16),
    guard_products=True,
    lacks=frozenset(
        (op_type, BFLOAT16.name)
        for op_type in ("ConvTranspose", "GRU", "HardSwish", "LpNormalization", "Mish")
    ),
)
"""The same with FP16 around quantized tensors; QuantizeLinear-19 is the first to take such scales.
"""

WEAK = GraphForm("weak", 13, 17, annotated=True)
"""An FP32 graph with Q/DQ; FP16 is asked for layer by layer (TensorRT 8.6, which ignores types)."""
