"""Which nodes are decided together: patterns, with the layout and integer nodes that join them."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from precsearch.core.formats import FLOAT16
from precsearch.core.precision import Encoding, Precision
from precsearch.graph.operators import REARRANGING, SELECTING
from precsearch.graph.view import GraphView, NodeView
from precsearch.grouping.convex import convex_parts, in_graph_order
from precsearch.grouping.patterns.kinds import kind_of
from precsearch.grouping.patterns.lookup import Pattern
from precsearch.grouping.patterns.registry import find_patterns
from precsearch.lowering.capabilities import cast_capable

__all__ = [
    "core_of",
    "gather",
    "is_integer",
    "is_layout",
    "kind_of_group",
    "merged",
    "predecessors",
    "split",
]

_LAYOUT = (
    *(*REARRANGING, *SELECTING),
    *("Dropout", "MaxPool", "Pad", "DepthToSpace", "SpaceToDepth"),
)
"""Operators that move values and compute none: they run in their producer's precision."""

_UNKNOWN = onnx.TensorProto.UNDEFINED
_FLOATS = frozenset(
    p.spec.format.elem_type
    for p in Precision.ordered()
    if p.spec.encoding in (Encoding.NATIVE, Encoding.CAST)
)
_NOT_INTEGER = _FLOATS | {_UNKNOWN, onnx.TensorProto.DOUBLE, onnx.TensorProto.STRING}


def predecessors(graph: GraphView) -> list[tuple[int, ...]]:
    """Of every node, the nodes whose tensors it or its subgraphs read."""
    return [
        tuple({p.index for t in (*n.inputs, *n.captures) if (p := graph.producer.get(t))})
        for n in graph.nodes
    ]


def is_integer(node: NodeView, graph: GraphView) -> bool:
    """Whether a node computes shapes, indices or masks and nothing in floating point."""
    types = [graph.elem_types.get(t, _UNKNOWN) for t in node.outputs if t]
    return not (node.domain or node.captures) and _NOT_INTEGER.isdisjoint(types)


def is_layout(node: NodeView, graph: GraphView) -> bool:
    """Whether a node moves the FP32 values of an activation and computes none."""
    if not node.is_op(*_LAYOUT) or node.inputs[0] in graph.weights:
        return False
    return graph.is_float(node.inputs[0]) and graph.is_float(node.outputs[0])


def kind_of_group(nodes: Sequence[NodeView], graph: GraphView) -> str:
    """What a group is that no pattern names."""
    kinds = (kind_of(n, graph) for n in nodes if not is_layout(n, graph))
    named = next((k for k in kinds if k != "node"), "")
    if named:
        return named
    return "layout" if any(is_layout(n, graph) for n in nodes) else "node"


def core_of(part: Pattern, graph: GraphView) -> list[NodeView]:
    """What computes in a group. Its layout differs where the same layer has other neighbours."""
    nodes = [graph.nodes[i] for i in part.nodes]
    core = [n for n in nodes if not (is_layout(n, graph) or is_integer(n, graph))]
    return core or nodes


def split(
    graph: GraphView,
    before: Sequence[tuple[int, ...]],
    parts: Sequence[Pattern],
    blocks: Sequence[str],
) -> tuple[list[Pattern], list[str]]:
    """The groups with those parts of patterns apart that may be; blocks are those of the wholes."""
    patterns = [piece for p in find_patterns(graph) for piece in p.parts or (p,)]
    block_of = {i: b for part, b in zip(parts, blocks, strict=True) for i in part.nodes}
    pieces = gather(graph, before, patterns)
    return pieces, [block_of[p.nodes[-1]] for p in pieces]


def gather(
    graph: GraphView, before: Sequence[tuple[int, ...]], patterns: Sequence[Pattern]
) -> list[Pattern]:
    """The groups, convex and in graph order."""
    subsets = [(p.kind, list(p.nodes)) for p in patterns]
    owner = {i: number for number, (_, nodes) in enumerate(subsets) for i in nodes}
    floats = [cast_capable(n, graph, FLOAT16) for n in graph.nodes]
    for node in graph.nodes:
        if node.index in owner:
            continue
        source = graph.producer.get(node.inputs[0]) if is_layout(node, graph) else None
        host = owner[source.index] if source is not None else -1
        if host >= 0 and any(floats[i] for i in subsets[host][1]):
            subsets[host][1].append(node.index)
            owner[node.index] = host
        else:
            owner[node.index] = len(subsets)
            subsets.append((kind_of_group((node,), graph), [node.index]))
    _absorb_integers(graph, before, [nodes for _, nodes in subsets], owner)
    kinds = {tuple(sorted(nodes)): kind for kind, nodes in subsets if nodes}
    parts = in_graph_order(before, convex_parts(before, kinds))
    return [
        Pattern(kinds.get(p) or kind_of_group([graph.nodes[i] for i in p], graph), p) for p in parts
    ]


def _absorb_integers(
    graph: GraphView,
    before: Sequence[tuple[int, ...]],
    members: Sequence[list[int]],
    owner: dict[int, int],
) -> None:
    """Let the integer nodes on paths from a group back into it join it.

    Exporters reshape a tensor to a shape that they compute from the tensor's own: without the
    nodes in between, the Reshape could not stay with what it reshapes.
    """
    integer = [is_integer(n, graph) for n in graph.nodes]
    for number, nodes in enumerate(members):
        if len(nodes) < 2:
            continue
        first = min(nodes)
        pending = [u for i in nodes for u in before[i] if integer[u] and owner[u] != number]
        chain: set[int] = set()
        while pending:
            index = pending.pop()
            if index > first and index not in chain and len(members[owner[index]]) == 1:
                chain.add(index)
                pending += [u for u in before[index] if integer[u]]
        for index in sorted(chain):
            if any(owner[u] == number for u in before[index]):
                members[owner[index]].remove(index)
                nodes.append(index)
                owner[index] = number


def merged(
    parts: Sequence[Pattern], blocks: Sequence[str], before: Sequence[tuple[int, ...]]
) -> tuple[list[Pattern], list[str]]:
    """The parts with those of each block made one, where that is convex."""
    owner = {i: number for number, part in enumerate(parts) for i in part.nodes}
    sources = [{owner[u] for i in p.nodes for u in before[i]} - {n} for n, p in enumerate(parts)]
    members: dict[str, list[int]] = {}
    for number, block in enumerate(blocks):
        if block:
            members.setdefault(block, []).append(number)
    whole = {tuple(m): block for block, m in members.items()}
    names: dict[tuple[int, ...], tuple[str, str]] = {}
    for numbers in convex_parts(sources, whole):
        if numbers in whole and len(numbers) > 1:
            nodes = tuple(sorted(i for n in numbers for i in parts[n].nodes))
            names[nodes] = ("block", whole[numbers])
        else:
            names.update({parts[n].nodes: (parts[n].kind, blocks[n]) for n in numbers})
    ordered = in_graph_order(before, names)
    return [Pattern(names[p][0], p) for p in ordered], [names[p][1] for p in ordered]
