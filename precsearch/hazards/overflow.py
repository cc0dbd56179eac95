"""Values beyond the range of a float format: of tensors, inside of operators, of constants."""

from __future__ import annotations

import math
from collections.abc import Iterator

from precsearch.graph.view import NodeView
from precsearch.hazards.finding import Finding, Gravity, readers
from precsearch.hazards.infinities import Infinities
from precsearch.hazards.screened import Screened

__all__ = ["constants", "harmful", "inner", "overflows"]

_HEADROOM = 2.0
_SQUARING = (
    *("InstanceNormalization", "GroupNormalization", "LpNormalization"),
    *("MeanVarianceNormalization", "LRN"),
)
"""Operators that square their input. LayerNormalization is not among them: engines keep its
statistics in FP32."""


def overflows(screened: Screened) -> Iterator[Finding]:
    """Activations beyond the largest number, or half of that: other samples may reach the rest."""
    infinities, stored_as = Infinities(screened), screened.stored_as
    for tensor in screened.activations:
        absmax = screened.absmax(tensor)
        if absmax * _HEADROOM <= stored_as.largest or infinities.harmless(tensor):
            continue
        over = absmax >= stored_as.overflow
        gravity = Gravity.OVERFLOW if over else Gravity.HEADROOM
        limit = f"> {screened.limit}" if over else f"within {_HEADROOM:g}x of {screened.limit}"
        producer = screened.graph.producer.get(tensor)
        if producer is not None:
            reason = f"absmax {absmax:.1e} of tensor {tensor!r} {limit}"
            yield Finding(gravity, producer, reason)
        for node, slot in readers(screened, tensor):
            if not infinities.harmless_at(node, slot):
                reason = f"it reads tensor {tensor!r}, absmax {absmax:.1e} {limit}"
                yield Finding(gravity, node, reason)


def constants(screened: Screened) -> Iterator[Finding]:
    """Constants beyond the largest number, such as the -3.4e38 of a mask."""
    for name, node in harmful(screened):
        stats = screened.statistics(name)
        assert stats is not None  # it is harmful by its values
        extreme = stats.low if -stats.low > stats.high else stats.high
        reason = f"constant {name!r} holds {extreme:.1e}, beyond {screened.limit}"
        yield Finding(Gravity.OVERFLOW, node, reason)


def harmful(screened: Screened) -> Iterator[tuple[str, NodeView]]:
    """Constants that become infinite, each with a reader that the infinity does harm in."""
    infinities = Infinities(screened)
    for name in screened.graph.weights:
        stats = screened.statistics(name)
        if stats is None or stats.absmax < screened.stored_as.overflow:
            continue
        for node, slot in readers(screened, name):
            if not infinities.harmless_at(node, slot):
                yield name, node


def inner(screened: Screened) -> Iterator[Finding]:
    """Sums and powers inside of operators, which an engine may well keep in the format."""
    largest = screened.stored_as.largest
    for node in screened.graph.nodes:
        reached = _inner(screened, node)
        if reached > largest and screened.absmax(node.outputs[0]) <= largest:
            reason = (
                f"inside of {node.op_type} {node.key!r} values reach {reached:.1e} > "
                f"{screened.limit}"
            )
            yield Finding(Gravity.INNER, node, reason)


def _is_l2(node: NodeView) -> bool:
    return node.int_attribute("p", 2) == 2


def _inner(screened: Screened, node: NodeView) -> float:
    if node.is_op("Softplus"):
        largest = screened.stored_as.largest
        last = math.floor(math.log(largest))  # e to this is the last whole power that fits
        return largest * 2 if screened.absmax(node.inputs[0]) > last else 0.0
    if node.is_op(*_SQUARING) and (node.op_type != "LpNormalization" or _is_l2(node)):
        return screened.absmax(node.inputs[0]) ** 2
    if not node.is_op("ReduceMean", "ReduceL2"):
        return 0.0
    whole, out = screened.statistics(node.inputs[0]), screened.statistics(node.outputs[0])
    if whole is None or out is None:
        return 0.0
    if node.is_op("ReduceL2"):
        return out.absmax**2
    return out.absmax * whole.count / out.count
