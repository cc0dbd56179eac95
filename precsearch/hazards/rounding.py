"""Values that a float format holds too coarsely: tiny ones, and those that nearly cancel."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from precsearch.graph.operators import FUSED_ACTIVATIONS, MEASURING, REARRANGING, SELECTING
from precsearch.graph.view import NodeView
from precsearch.hazards.finding import Finding, Gravity, touching
from precsearch.hazards.screened import Screened

__all__ = ["cancellations", "coarse", "upstream"]

_COMPARED = (
    *(*FUSED_ACTIVATIONS, "Add", "Sub", "Concat", "Where", "Max", "Min", "MaxPool"),
    *("Tanh", "Erf", "Sigmoid", "Softmax", "Exp", "Sum"),
)
"""Operators that pass an error on no larger than it is."""

_MOVING = (*SELECTING, "Pad")

_ADDITIVE = ("Add", "Sub", "Neg", "Sum", "Concat", *REARRANGING)
_MULTIPLICATIVE = ("Mul", "Div")
_STEPS = 32


def coarse(screened: Screened) -> Iterator[Finding]:
    """Tensors, constants too, that have too large a relative error in the format."""
    for tensor in (*screened.activations, *screened.graph.weights):
        stats = screened.statistics(tensor)
        if (
            stats is None
            or stats.absmax >= screened.stored_as.overflow
            or stats.error <= screened.too_coarse * stats.rms
        ):
            continue
        if stats.count == 1 and not screened.measured:
            continue  # whether an epsilon matters, only a run shows
        if _matters(screened, tensor, stats.error):
            share = stats.error / stats.rms
            reason = (
                f"tensor {tensor!r} is too small for it (RMS {stats.rms:.1e}): rounding takes "
                f"{share:.1%} of it"
            )
            for node in touching(screened, tensor):
                yield Finding(Gravity.PRECISION, node, reason)


def cancellations(screened: Screened) -> Iterator[Finding]:
    """Sums and differences much smaller than the rounding errors of their operands are large."""
    for node in screened.graph.nodes:
        if not node.is_op("Add", "Sub") or len(screened.operands(node)) != 2:
            continue
        out = screened.statistics(node.outputs[0])
        both = [s for t in node.inputs if (s := screened.statistics(t)) is not None]
        if out is None or len(both) != 2 or out.rms == 0:
            continue
        error = math.hypot(*(s.error for s in both))
        if error > screened.too_coarse * out.rms and _matters(screened, node.outputs[0], error):
            larger = max(s.rms for s in both) / out.rms
            reason = (
                f"operands {larger:.3g} times as large as {node.outputs[0]!r} cancel in it, and "
                f"their rounding is {error / out.rms:.1%} of it"
            )
            yield Finding(Gravity.CANCELLATION, node, reason)
            least = screened.too_coarse * out.rms
            for other in upstream(screened, [(t, least) for t in screened.operands(node)]):
                yield Finding(Gravity.CANCELLATION, other, reason)


def upstream(screened: Screened, sources: Sequence[tuple[str, float]]) -> Iterator[NodeView]:
    """The nodes that write what must be more accurate than the format holds it.

    Args:
        screened: The graph and what is known of its tensors.
        sources: Tensors, and the RMS error that each may have.
    """
    pending = list(sources)
    seen: set[str] = set()
    while pending and len(seen) < _STEPS:
        tensor, allowed = pending.pop()
        stats = screened.statistics(tensor)
        maker = screened.graph.producer.get(tensor)
        if tensor in seen or stats is None or stats.error <= allowed or maker is None:
            continue
        seen.add(tensor)
        yield maker
        for source in screened.operands(maker):
            before = screened.statistics(source)
            if before is None or before.rms == 0:
                continue
            if maker.is_op(*_ADDITIVE):
                pending.append((source, allowed))
            elif maker.is_op(*_MULTIPLICATIVE) and stats.rms > 0:
                pending.append((source, allowed * before.rms / stats.rms))


def _matters(screened: Screened, tensor: str, error: float, steps: int = _STEPS) -> bool:
    """Whether an error of that RMS is still large beside what is computed from the tensor."""
    if tensor in screened.graph.output_names or steps == 0:
        return True
    users = (n for n in screened.graph.users(tensor) if not n.is_op(*MEASURING))
    return any(_matters_to(screened, node, tensor, error, steps - 1) for node in users)


def _matters_to(screened: Screened, node: NodeView, tensor: str, error: float, steps: int) -> bool:
    outputs = [t for t in node.outputs if t]
    if node.is_op(*REARRANGING, *_MOVING):
        return any(_matters(screened, t, error, steps) for t in outputs)
    before, after = screened.statistics(tensor), screened.statistics(outputs[0])
    if before is None or after is None:
        return True
    if node.is_op(*_COMPARED):
        return error > screened.too_coarse * after.rms
    if node.is_op(*_MULTIPLICATIVE):
        return _matters(screened, outputs[0], error * after.rms / before.rms, steps)
    return True
