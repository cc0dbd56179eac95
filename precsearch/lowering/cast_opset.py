"""The operator set that a model needs, so that a float format reaches its operators."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from precsearch.core.formats import FLOAT16, NumberFormat
from precsearch.core.precision import Encoding, Precision
from precsearch.core.quantization import GraphForm
from precsearch.lowering.capabilities import operator_takes

__all__ = ["with_cast_opset"]


def with_cast_opset(
    form: GraphForm, operators: Collection[str], opset: int, precisions: Iterable[Precision]
) -> GraphForm:
    """The form raised so far that ONNX has a model's operators in these float precisions.

    Conv has bfloat16 from operator set 22 on: a CNN of an older one would be offered BF16 nowhere.
    What an engine builds in no such format needs nothing, nor what has no form in FP16 either.

    Args:
        form: What kind of graph the backend builds from.
        operators: Operator types of the model, without those of other domains.
        opset: Of the model.
        precisions: That are asked for.
    """
    if form.annotated:
        return form
    now, needed = max(opset, form.min_opset), [0]
    for precision in precisions:
        wanted = precision.spec.format
        if precision.spec.encoding is Encoding.CAST:
            taken = (o for o in operators if form.takes(o, wanted))
            needed += (_first(o, wanted, now, form.cast_opset) for o in taken)
    highest = max(needed)
    return form.raised(highest) if highest > now else form


def _first(operator: str, wanted: NumberFormat, now: int, last: int) -> int:
    """The first operator set from ``now`` to ``last`` with the operator in a format, 0 if none."""
    if not operator_takes(operator, now, FLOAT16):
        return 0
    return next((v for v in range(now, last + 1) if operator_takes(operator, v, wanted)), 0)
