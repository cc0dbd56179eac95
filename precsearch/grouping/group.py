"""From a prepared graph to a search space: which nodes are decided together, and how.

Fused patterns are found by structure, layout nodes join what they rearrange, integer nodes between
nodes of one group join it, and what is not convex is split. Every node is in exactly one group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from precsearch.core.errors import OptionError
from precsearch.core.formats import FLOAT16, FLOAT32
from precsearch.core.precision import Encoding, Precision
from precsearch.core.quantization import TYPED, GraphForm, QuantScheme, Trait
from precsearch.core.space import LayerGroup, SearchSpace
from precsearch.graph.attention import attention_cores
from precsearch.graph.view import GraphView, NodeView
from precsearch.grouping.add_inputs import with_branches
from precsearch.grouping.convex import convex_parts, in_graph_order
from precsearch.grouping.patterns.kinds import kind_of
from precsearch.grouping.patterns.lookup import Pattern
from precsearch.grouping.patterns.registry import find_patterns
from precsearch.grouping.repeats import block_names, macs, signature
from precsearch.lowering.capabilities import cast_capable, quantized_trait
from precsearch.lowering.weight_only import fits

__all__ = ["GRANULARITIES", "group"]

Traits = Mapping[Precision, Sequence[Trait]]
"""Precision that Q/DQ writes → what each node does with quantised tensors."""

GRANULARITIES = ("node", "group", "block")

_LAYOUT = (
    *("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Identity"),
    *("MaxPool", "Gather", "Expand", "Pad", "Dropout", "DepthToSpace", "SpaceToDepth"),
)
"""Operators that move values and compute none: they run in their producer's precision."""

_UNKNOWN = onnx.TensorProto.UNDEFINED
_NOT_INTEGER = frozenset(
    {_UNKNOWN, onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
) | {onnx.TensorProto.DOUBLE, onnx.TensorProto.STRING}


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
    before = _predecessors(graph)
    if granularity == "node":
        parts = [Pattern(_kind((n,), graph), (n.index,)) for n in graph.nodes]
    else:
        parts = _gather(graph, before, find_patterns(graph))
    cores = [signature(_core(p, graph), graph) for p in parts]
    blocks = block_names([p.nodes for p in parts], cores, graph)
    if granularity == "group" and any(map(_is_narrow, precisions)):
        parts, blocks = _split(graph, before, parts, blocks)
    if granularity == "block":
        parts, blocks = _merged(parts, blocks, before)
    traits = {
        p: [quantized_trait(n, graph, scheme, p) for n in graph.nodes] for p in scheme.precisions
    }
    groups = tuple(
        _layer_group(part, block, graph, traits, precisions, form)
        for part, block in zip(parts, blocks, strict=True)
    )
    quantised = [any(p in traits for p in g.choices) for g in groups]
    edges = _edges(parts, graph, traits, quantised)
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


def _layer_group(
    part: Pattern,
    block: str,
    graph: GraphView,
    traits: Traits,
    precisions: frozenset[Precision],
    form: GraphForm,
) -> LayerGroup:
    nodes = [graph.nodes[i] for i in part.nodes]
    return LayerGroup(
        key=nodes[-1].key,
        kind=part.kind,
        nodes=tuple(n.key for n in nodes),
        choices=_choices(part, graph, traits, precisions, form),
        passive=any(_is_passive(part, graph, found) for found in traits.values()),
        signature=signature(nodes, graph),
        block=block,
        macs=macs(nodes, graph),
    )


def _is_narrow(precision: Precision) -> bool:
    """Whether values that FP32 holds overflow in a float precision."""
    spec = precision.spec
    return spec.encoding is Encoding.CAST and spec.format.largest < FLOAT32.largest / 2


def _predecessors(graph: GraphView) -> list[tuple[int, ...]]:
    """Of every node, the nodes whose tensors it or its subgraphs read."""
    return [
        tuple({p.index for t in (*n.inputs, *n.captures) if (p := graph.producer.get(t))})
        for n in graph.nodes
    ]


# What belongs together.


def _is_integer(node: NodeView, graph: GraphView) -> bool:
    """Whether a node computes shapes, indices or masks and nothing in floating point."""
    types = [graph.elem_types.get(t, _UNKNOWN) for t in node.outputs if t]
    return not (node.domain or node.captures) and _NOT_INTEGER.isdisjoint(types)


def _is_layout(node: NodeView, graph: GraphView) -> bool:
    """Whether a node moves the FP32 values of an activation and computes none."""
    if not node.is_op(*_LAYOUT) or node.inputs[0] in graph.weights:
        return False
    return graph.is_float(node.inputs[0]) and graph.is_float(node.outputs[0])


def _kind(nodes: Sequence[NodeView], graph: GraphView) -> str:
    """What a group is that no pattern names."""
    kinds = (kind_of(n, graph) for n in nodes if not _is_layout(n, graph))
    named = next((k for k in kinds if k != "node"), "")
    if named:
        return named
    return "layout" if any(_is_layout(n, graph) for n in nodes) else "node"


def _core(part: Pattern, graph: GraphView) -> list[NodeView]:
    """What computes in a group. Its layout differs where the same layer has other neighbours."""
    nodes = [graph.nodes[i] for i in part.nodes]
    core = [n for n in nodes if not (_is_layout(n, graph) or _is_integer(n, graph))]
    return core or nodes


def _split(
    graph: GraphView,
    before: Sequence[tuple[int, ...]],
    parts: Sequence[Pattern],
    blocks: Sequence[str],
) -> tuple[list[Pattern], list[str]]:
    """The groups with those parts of patterns apart that may be; blocks are those of the wholes."""
    found = [piece for p in find_patterns(graph) for piece in p.parts or (p,)]
    block_of = {i: b for part, b in zip(parts, blocks, strict=True) for i in part.nodes}
    pieces = _gather(graph, before, found)
    return pieces, [block_of[p.nodes[-1]] for p in pieces]


def _gather(
    graph: GraphView, before: Sequence[tuple[int, ...]], patterns: Sequence[Pattern]
) -> list[Pattern]:
    """The groups, convex and in graph order."""
    wanted = [(p.kind, list(p.nodes)) for p in patterns]
    owner = {i: number for number, (_, nodes) in enumerate(wanted) for i in nodes}
    floats = [cast_capable(n, graph, FLOAT16) for n in graph.nodes]
    for node in graph.nodes:
        if node.index in owner:
            continue
        source = graph.producer.get(node.inputs[0]) if _is_layout(node, graph) else None
        host = owner[source.index] if source is not None else -1
        if host >= 0 and any(floats[i] for i in wanted[host][1]):
            wanted[host][1].append(node.index)
            owner[node.index] = host
        else:
            owner[node.index] = len(wanted)
            wanted.append((_kind((node,), graph), [node.index]))
    _absorb_integers(graph, before, [nodes for _, nodes in wanted], owner)
    kinds = {tuple(sorted(nodes)): kind for kind, nodes in wanted if nodes}
    parts = in_graph_order(before, convex_parts(before, kinds))
    return [Pattern(kinds.get(p) or _kind([graph.nodes[i] for i in p], graph), p) for p in parts]


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
    integer = [_is_integer(n, graph) for n in graph.nodes]
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


def _merged(
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
    found: dict[tuple[int, ...], tuple[str, str]] = {}
    for numbers in convex_parts(sources, whole):
        if numbers in whole and len(numbers) > 1:
            nodes = tuple(sorted(i for n in numbers for i in parts[n].nodes))
            found[nodes] = ("block", whole[numbers])
        else:
            found.update({parts[n].nodes: (parts[n].kind, blocks[n]) for n in numbers})
    ordered = in_graph_order(before, found)
    return [Pattern(found[p][0], p) for p in ordered], [found[p][1] for p in ordered]


# What a group may be asked for.


def _is_passive(part: Pattern, graph: GraphView, traits: Sequence[Trait]) -> bool:
    """Whether a precision means no more to a group than to keep its tensors quantised."""
    if not any(traits[i] is Trait.FOLLOWS for i in part.nodes):
        return False
    return all(
        traits[i] is Trait.FOLLOWS
        or graph.nodes[i].is_op("Relu", "Clip")
        or _is_layout(graph.nodes[i], graph)
        or _is_integer(graph.nodes[i], graph)
        for i in part.nodes
    )


def _choices(
    part: Pattern,
    graph: GraphView,
    traits: Traits,
    precisions: frozenset[Precision],
    form: GraphForm,
) -> tuple[Precision, ...]:
    nodes = [graph.nodes[i] for i in part.nodes]
    floats = [n for n in nodes if cast_capable(n, graph, FLOAT16)]
    opset = graph.opsets.get("", 1)

    def has_form(precision: Precision) -> bool:
        spec = precision.spec
        if spec.encoding is Encoding.CAST:
            # An activation in BF16 gains nothing behind a Conv that has no form in BF16.
            typed = form.typed_as(spec.format)
            taken = all(form.takes(n.op_type, spec.format) for n in floats)
            return bool(floats) and taken and all(cast_capable(n, graph, typed) for n in floats)
        if opset < spec.format.min_opset:
            return False
        if spec.encoding is Encoding.WEIGHT_ONLY:
            return any(fits(n, graph) for n in nodes)
        found = traits.get(precision)
        if found is None:
            return False
        computes = any(found[i] is Trait.INPUTS_QUANTIZABLE for i in part.nodes)
        return computes or _is_passive(part, graph, found)

    return (Precision.FP32, *filter(has_form, Precision.ordered(precisions)))


def _edges(
    parts: Sequence[Pattern], graph: GraphView, traits: Traits, quantised: Sequence[bool]
) -> tuple[tuple[int, int], ...]:
    """Pairs of groups that an FP32 tensor connects.

    A tensor that a carrying node rearranges outside of the groups that have an INT8 form arrives
    quantised all the same, so it connects its consumers to where it comes from, too.
    """
    owner = {i: number for number, part in enumerate(parts) for i in part.nodes}
    origins: dict[str, frozenset[int]] = {}
    found: set[tuple[int, int]] = set()
    for node in graph.nodes:
        number = owner[node.index]
        reads = () if node.is_op("Shape", "Size") else (*node.inputs, *node.captures)
        for tensor in reads:
            found |= {(o, number) for o in origins.get(tensor, ()) if o != number}
        mine = frozenset({number})
        agnostic = Trait.QUANTIZATION_AGNOSTIC
        carries = any(found[node.index] is agnostic for found in traits.values())
        if carries and not quantised[number]:
            mine |= origins.get(node.inputs[0], frozenset())
        origins.update({t: mine for t in node.outputs if t and graph.is_float(t)})
    return tuple(sorted(found))
