"""Corrections that a plan has by node, checked."""

from __future__ import annotations

from precsearch.codec.vectors import decode_halves
from precsearch.core.errors import PlanError
from precsearch.core.quantization import QuantScheme
from precsearch.graph.view import GraphView
from precsearch.lowering.qdq.dynamic import can_be_dynamic
from precsearch.lowering.qdq.shifts import Floats, bias_holder, channels_of
from precsearch.plan.plan import Recipe
from precsearch.replay.artifact import EDITED

__all__ = ["dynamic_nodes", "fixed_shifts"]


def fixed_shifts(recipe: Recipe, graph: GraphView) -> dict[str, Floats]:
    """Node key → shift, shape ``(channels,)``.

    Raises:
        PlanError: A shift does not fit its node.
    """
    holders = ((bias_holder(node, graph), node) for node in graph.nodes if recipe.shifts)
    biased = {one.key: channels_of(node, graph) for one, node in holders if one is not None}
    shifts: dict[str, Floats] = {}
    for row in recipe.shifts:
        channels = biased.get(row.node)
        try:
            shift = decode_halves(row.shift)
        except ValueError:
            channels = None
        if channels is None or shift.shape != (channels,) or row.node in shifts:
            raise PlanError(f"the plan's shift of node {row.node!r} does not fit it; {EDITED}")
        shifts[row.node] = shift
    return shifts


def dynamic_nodes(recipe: Recipe, graph: GraphView, scheme: QuantScheme) -> frozenset[str]:
    """Keys of the products that round by the range of each inference.

    Raises:
        PlanError: A node cannot do that.
    """
    for key in recipe.dynamic:
        node = graph.by_key.get(key)
        if node is None or not can_be_dynamic(node, graph, scheme):
            raise PlanError(
                f"the plan's node {key!r} cannot round by the range of each inference; {EDITED}"
            )
    return frozenset(recipe.dynamic)
