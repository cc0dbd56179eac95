"""From a prepared graph to a search space: which nodes are decided together, and how.

Fused patterns are found by structure, layout nodes join what they rearrange, integer nodes between
nodes of one group join it, and what is not convex is split. Every node is in exactly one group.
"""

from __future__ import annotations

from collections.abc import Sequence

from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.core.quantization import TYPED, GraphForm, QuantScheme
from precsearch.core.space import LayerGroup, SearchSpace
from precsearch.graph.attention import attention_cores
from precsearch.graph.operators import MEASURING
from precsearch.graph.view import GraphView
from precsearch.grouping.add_inputs import with_branches
from precsearch.grouping.choices import Choices, is_narrow
from precsearch.grouping.gather import (
    core_of,
    gather,
    kind_of_group,
    merged,
    predecessors,
    split,
)
from precsearch.grouping.patterns.kinds import traits_of
from precsearch.grouping.patterns.lookup import Pattern
from precsearch.grouping.patterns.registry import find_patterns
from precsearch.grouping.repeats import block_names, macs, signature

__all__ = ["GRANULARITIES", "group"]

GRANULARITIES = ("node", "group", "block")


def group(
    graph: GraphView,
    scheme: QuantScheme,
    precisions: frozenset[Precision],
    granularity: str = "group",
    form: GraphForm = TYPED,
) -> SearchSpace:
    """The groups of a model, what each may be asked for, and which are neighbours.

    Args:
        graph: The prepared model.
        scheme: What the backend can run with Q/DQ.
        precisions: What the backend can run at all; FP32 is always offered.
        granularity: ``node``: every node on its own; ``group``: fused patterns, of a LayerNorm the
            statistics on their own where a float precision of less range than FP32 is offered;
            ``block``: the groups of each repeated block are one.
        form: What kind of graph the backend builds from.

    Raises:
        OptionError: ``granularity`` is none of these.
    """
    if granularity not in GRANULARITIES:
        raise OptionError(
            f"there is no granularity {granularity!r}; use one of {', '.join(GRANULARITIES)}"
        )
    before = predecessors(graph)
    if granularity == "node":
        parts = [Pattern(kind_of_group((n,), graph), (n.index,)) for n in graph.nodes]
    else:
        parts = gather(graph, before, find_patterns(graph))
    cores = [signature(core_of(p, graph), graph) for p in parts]
    blocks = block_names([p.nodes for p in parts], cores, graph)
    if granularity == "group" and any(map(is_narrow, precisions)):
        parts, blocks = split(graph, before, parts, blocks)
    if granularity == "block":
        parts, blocks = merged(parts, blocks, before)
    choices = Choices(graph, scheme, precisions, form)
    groups = tuple(
        _layer_group(part, block, graph, choices) for part, block in zip(parts, blocks, strict=True)
    )
    edges = _edges(parts, graph, choices, [choices.quantized(g.choices) for g in groups])
    fused = _fused(groups, graph) if scheme.attention else ()
    return with_branches(SearchSpace(groups, edges, granularity, fused), graph, scheme)


def _fused(groups: Sequence[LayerGroup], graph: GraphView) -> tuple[frozenset[str], ...]:
    """The groups of each attention core that consists of several."""
    owner = {node: g.key for g in groups if len(g.choices) > 1 for node in g.nodes}
    cores = (
        frozenset(owner[graph.nodes[i].key] for i in core.nodes if graph.nodes[i].key in owner)
        for core in attention_cores(graph).values()
    )
    return tuple(keys for keys in cores if len(keys) > 1)


def _layer_group(part: Pattern, block: str, graph: GraphView, choices: Choices) -> LayerGroup:
    nodes = [graph.nodes[i] for i in part.nodes]
    return LayerGroup(
        key=nodes[-1].key,
        kind=part.kind,
        nodes=tuple(n.key for n in nodes),
        choices=choices.of(part),
        passive=choices.passive(part),
        signature=signature(nodes, graph),
        block=block,
        macs=macs(nodes, graph),
        traits=traits_of(part.kind),
    )


def _edges(
    parts: Sequence[Pattern], graph: GraphView, choices: Choices, quantized: Sequence[bool]
) -> tuple[tuple[int, int], ...]:
    """Pairs of groups that an FP32 tensor connects.

    A tensor that a carrying node rearranges outside of the groups that have an INT8 form arrives
    quantized all the same, so it connects its consumers to where it comes from, too.
    """
    owner = {i: number for number, part in enumerate(parts) for i in part.nodes}
    origins: dict[str, frozenset[int]] = {}
    edges: set[tuple[int, int]] = set()
    for node in graph.nodes:
        number = owner[node.index]
        reads = () if node.is_op(*MEASURING) else (*node.inputs, *node.captures)
        for tensor in reads:
            edges |= {(o, number) for o in origins.get(tensor, ()) if o != number}
        mine = frozenset({number})
        if choices.carries(node) and not quantized[number]:
            mine |= origins.get(node.inputs[0], frozenset())
        origins.update({t: mine for t in node.outputs if t and graph.is_float(t)})
    return tuple(sorted(edges))
