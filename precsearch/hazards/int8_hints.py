"""Weak hints about INT8: where steps are as wide as values, and where no kernel gains."""

from __future__ import annotations

from precsearch.core.precision import Precision
from precsearch.core.quantization import QuantScheme, Trait
from precsearch.core.space import GroupTrait
from precsearch.graph.operators import CONVOLUTIONS
from precsearch.graph.view import NodeView
from precsearch.hazards.screened import Screened
from precsearch.lowering.capabilities import weight_slot
from precsearch.lowering.qdq.reach import quantizable

__all__ = ["int8_hints"]

_NARROW = 16
_NOISE = 0.5
_STEPS = 127


def int8_hints(screened: Screened, scheme: QuantScheme) -> dict[str, str]:
    """Group key → the end of a sentence, for groups that may take INT8."""
    hints = {
        g.key: "with both inputs of its Adds quantized, an engine took ten times as long to build"
        for g in screened.space.groups
        if GroupTrait.ADDS_INPUT in g.traits
    }
    for key, tensors in quantizable(screened.graph, scheme, screened.space).items():
        group = screened.space.by_key[key]
        nodes = [screened.graph.by_key[k] for k in group.nodes]
        narrow = next((s for n in nodes if (s := _narrow(screened, n, scheme))), "")
        wide = next((s for t in sorted(tensors) if (s := _wide(screened, t))), "")
        if Precision.INT8 in group.choices and (wide or narrow):
            hints[key] = wide or narrow
    return hints


def _wide(screened: Screened, tensor: str) -> str:
    """A range that outliers make so wide that rounding to 1/127 of it drowns the rest.

    Rounding to steps of s has an RMS error of s / sqrt(12).
    """
    stats = screened.statistics(tensor)
    if stats is None or stats.rms == 0:
        return ""
    noise = stats.absmax / _STEPS / 12**0.5 / stats.rms
    if noise < _NOISE:
        return ""
    return (
        f"absmax of tensor {tensor!r} is {stats.absmax / stats.rms:.0f} times its RMS, so that "
        f"rounding to a 127th of it is {noise:.0%} of the values"
    )


def _narrow(screened: Screened, node: NodeView, scheme: QuantScheme) -> str:
    """Fewer channels than one instruction of an INT8 unit takes."""
    computes = scheme.of(node.op_type, Precision.INT8).trait is Trait.INPUTS_QUANTIZABLE
    if not computes or weight_slot(node, screened.graph) is None:
        return ""
    shape = screened.graph.weights[node.inputs[1]].shape
    if len(shape) < 2 or node.int_attribute("group", 1) != 1:
        return ""
    least = min(shape[:2]) if node.is_op(*CONVOLUTIONS) else min(shape[-2:])
    if least >= _NARROW:
        return ""
    channels = "one channel" if least == 1 else f"{least} channels"
    return f"{node.op_type} {node.key!r} has only {channels}"
