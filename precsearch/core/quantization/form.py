"""What kind of ONNX graph a backend builds from, and what says in it that a node is FP16."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from precsearch.core.formats import BFLOAT16, FLOAT16, FLOAT32, NumberFormat
from precsearch.core.precision import Encoding, Precision

__all__ = ["TYPED", "TYPED_HALF", "WEAK", "GraphForm"]

_RAISED = re.compile(r"-\d+$")


@dataclass(frozen=True, slots=True)
class GraphForm:
    """What kind of ONNX graph a backend builds an engine from.

    Attributes:
        name: ``typed``, ``typed-half`` or ``weak``; recorded in the plan.
        min_opset: A model of an older operator set is raised to this.
        max_opset: A model of a newer one is refused; ``None`` is no limit.
        cast_opset: A model is raised up to this where a float format that is asked for has some of
            its operators in later sets alone; 0 raises none.
        surrounding: Precision written with Q/DQ → the float precision around it; what is not listed
            has FP32. One scheme serves graphs with different floats around INT8, so that this is no
            part of the scheme.
        annotated: Whether a float precision is asked for by name, in the model's metadata, and not
            by types.
        guard_products: Whether an operator that changes nothing follows an FP32 product among
            those of another float format: the engine would otherwise compute it in that format and
            say nothing.
        lacks: (operator, name of a float format) that ONNX has and the engine does not build.
        one_kernel: Kind of group that one kernel computes in a float precision → the operators of
            it whose results are stored all the same; without such an operator it is another form
            of the pattern. What else only the group itself reads is never rounded. It concerns
            the emulation alone, not the graph.
    """

    name: str
    min_opset: int
    max_opset: int | None = None
    cast_opset: int = 0
    surrounding: Mapping[Precision, Precision] = field(default_factory=dict, hash=False)
    annotated: bool = False
    guard_products: bool = False
    lacks: frozenset[tuple[str, str]] = frozenset()
    one_kernel: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)

    def takes(self, op_type: str, number_format: NumberFormat) -> bool:
        """Whether the engine builds an operator in a float format."""
        return (op_type, number_format.name) not in self.lacks

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

        Quantized weights alone need it: Q/DQ is offered where the operator set has it, and what
        Casts need depends on the operators of a model (`precsearch.lowering.cast_opset`).
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

    def typed_as(self, number_format: NumberFormat) -> NumberFormat:
        """The format whose ONNX types say which operators can compute in ``number_format``.

        Where a precision is asked for by name the graph stays FP32, and ONNX's type lists, in which
        bfloat16 came late, say nothing: then it is float16, which every float operator has.
        """
        return FLOAT16 if self.annotated and number_format != FLOAT32 else number_format


TYPED = GraphForm("typed", 13)
"""Casts and Q/DQ say everything; FP32 around INT8, as ONNX Runtime's CPU provider wants it."""

TYPED_HALF = GraphForm(
    "typed-half",
    19,
    surrounding=dict.fromkeys(
        (p for p in Precision if p.spec.encoding in (Encoding.QDQ, Encoding.WEIGHT_ONLY)),
        Precision.FP16,
    ),
    guard_products=True,
    cast_opset=22,
    lacks=frozenset(
        (op_type, BFLOAT16.name)
        for op_type in ("ConvTranspose", "GRU", "HardSwish", "LpNormalization", "Mish")
    ),
)
"""The same with FP16 around quantized tensors; QuantizeLinear-19 is the first to take such scales.

Operator set 22 is the first that has convolutions, poolings and many activations in bfloat16.
"""

WEAK = GraphForm("weak", 13, 17, annotated=True)
"""An FP32 graph with Q/DQ; FP16 is asked for layer by layer (TensorRT 8.6, which ignores types)."""
