"""Groups that stand for a second decision on an Add: whether INT8 quantizes its branch, too."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from precsearch.core.backend import QuantScheme
from precsearch.core.precision import Encoding, Precision
from precsearch.core.space import LayerGroup, SearchSpace
from precsearch.graph.view import GraphView
from precsearch.grouping.patterns.kinds import ADD_INPUT, traits_of
from precsearch.lowering.qdq.placement import BRANCH_SUFFIX, has_branch

__all__ = ["with_branches"]


def with_branches(space: SearchSpace, graph: GraphView, scheme: QuantScheme) -> SearchSpace:
    """The space with a group of kind ``add-branch`` before each Add whose branch is decided.

    Such a group has no nodes. It is passive and the neighbour of its Add alone, so that
    `SearchSpace.canonical` drops it wherever the Add is not in INT8: the pair has three states, no
    input quantized, the shortcut, or both.

    Args:
        space: The groups of a model.
        graph: The prepared model.
        scheme: The backend's rules.
    """
    groups: list[LayerGroup] = []
    place: list[int] = []
    edges: list[tuple[int, int]] = []
    for group in space.groups:
        branches = _branches(group, graph, scheme)
        edges += [(len(groups) + i, len(groups) + len(branches)) for i in range(len(branches))]
        groups += branches
        place.append(len(groups))
        groups.append(group)
    if len(groups) == len(space.groups):
        return space
    edges += [(place[a], place[b]) for a, b in space.edges]
    return replace(space, groups=tuple(groups), edges=tuple(sorted(edges)))


def _branches(group: LayerGroup, graph: GraphView, scheme: QuantScheme) -> list[LayerGroup]:
    quantized = [p for p in group.choices if p.spec.encoding is Encoding.QDQ]
    if not group.passive or not quantized:
        return []
    signature = hashlib.sha256(f"{ADD_INPUT} {group.signature}".encode()).hexdigest()[:16]
    return [
        LayerGroup(
            key=f"{key}{BRANCH_SUFFIX}",
            kind=ADD_INPUT,
            nodes=(),
            choices=(Precision.FP32, *quantized),
            passive=True,
            signature=signature,
            block=group.block,
            traits=traits_of(ADD_INPUT),
        )
        for key in group.nodes
        if all(has_branch(graph.by_key[key], graph, scheme, p) for p in quantized)
    ]
