"""What is quantized around an operator, and how each tensor is."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto

from precsearch.core.formats import NumberFormat
from precsearch.core.precision import Precision

__all__ = [
    "FusedAttention",
    "OperatorFormats",
    "PerAxis",
    "PerBlock",
    "PerTensor",
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
    table: dict[tuple[str, Precision], OperatorFormats] = {}
    for op in sorted(quantizable):
        after = activations if op in outputs_of else None
        table[op, precision] = OperatorFormats(
            Trait.INPUTS_QUANTIZABLE, activations, weights, after
        )
    for op in sorted(follows):
        table[op, precision] = OperatorFormats(Trait.FOLLOWS, activations, outputs=activations)
    for op in sorted(agnostic):
        table[op, precision] = OperatorFormats(
            Trait.QUANTIZATION_AGNOSTIC, activations, outputs=activations
        )
    return table
