"""How far Q/DQ at one node reaches: what is fused with it, and who reads what it quantizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from precsearch.core.precision import Encoding, Precision
from precsearch.core.quantization import QuantScheme, Quirk
from precsearch.core.space import SearchSpace
from precsearch.graph.operators import CONVOLUTIONS, FUSED_ACTIVATIONS
from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.capabilities import data_slots
from precsearch.lowering.qdq.lift import before_pool
from precsearch.lowering.qdq.placement import BRANCH_SUFFIX, placed
from precsearch.lowering.qdq.scales import QuantParams, fits_half
from precsearch.lowering.tensor_names import scale_key

__all__ = [
    "PAIRED",
    "fused_tail",
    "node_groups",
    "quantizable",
    "quantizing",
    "reaches_all",
    "reads_fine_scale",
]

PAIRED = (*CONVOLUTIONS, "Gemm")


def node_groups(space: SearchSpace) -> dict[str, str]:
    """Node key → key of its group."""
    return {node: group.key for group in space.groups for node in group.nodes}


def fused_tail(node: NodeView, graph: GraphView, groups: Mapping[str, str]) -> str:
    """The tensor at the end of the Relu and Clip that follow ``node`` in its group."""
    tensor = node.outputs[0]
    while True:
        user = graph.only_user(tensor)
        if user is None or not user.is_op(*FUSED_ACTIVATIONS) or user.inputs[0] != tensor:
            return tensor
        if groups.get(user.key) != groups.get(node.key):
            return tensor
        tensor = user.outputs[0]


def quantizable(
    graph: GraphView, scheme: QuantScheme, space: SearchSpace
) -> dict[str, frozenset[str]]:
    """Group key → the tensors that Q/DQ there quantizes: what calibration must look at."""
    groups = node_groups(space)
    reached: dict[str, set[str]] = {}
    for node in graph.nodes:
        group = space.by_key.get(groups.get(node.key, ""))
        if group is None:
            continue
        for precision in quantizing(group.choices):
            found_here = placed(node, graph, scheme, group.passive, precision)
            if found_here is None:
                continue
            tensors = reached.setdefault(group.key, set())
            tensors |= {node.inputs[s] for s in found_here.slots}
            if Quirk.BEFORE_POOLING in scheme.quirks:
                sources = (before_pool(node.inputs[s], graph) for s in found_here.slots)
                tensors |= {source for source in sources if source}
            if found_here.output:
                tensors.add(fused_tail(node, graph, groups))
            branch = f"{node.key}{BRANCH_SUFFIX}"
            if branch in space.by_key:
                reached.setdefault(branch, set()).update(node.inputs[s] for s in found_here.branch)
    return {key: frozenset(tensors) for key, tensors in reached.items()}


def quantizing(precisions: Iterable[Precision]) -> tuple[Precision, ...]:
    """Those that Q/DQ writes."""
    return tuple(p for p in precisions if p.spec.encoding is Encoding.QDQ)


def reaches_all(node: NodeView, tail: str, graph: GraphView, scheme: QuantScheme) -> bool:
    """Whether float readers get the quantized output of a passive INT8 node, too.

    They do, but where data and weight are dequantized together or not at all
    (`Quirk.PAIRED_INPUTS`) not that of a pooling or Add that a Conv, ConvTranspose or Gemm
    reads: INT8 readers quantize that for themselves. It depends on the model alone, so that a
    proxy, which writes one group without knowing the others' precisions, has the same values. Those
    of a Concat are the same either way.

    Args:
        node: The node.
        tail: Its output, after what is fused with it.
        graph: The prepared model.
        scheme: The backend's rules.
    """
    if Quirk.PAIRED_INPUTS not in scheme.quirks or node.is_op("Concat"):
        return True
    return not any(n.is_op(*PAIRED) for n in graph.users(tail))


def reads_fine_scale(
    node: NodeView,
    graph: GraphView,
    params: Mapping[str, QuantParams],
    precision: Precision = Precision.INT8,
) -> bool:
    """Whether a product on quantized tensors reads one whose scale FP16 does not hold.

    Args:
        node: The product.
        graph: The prepared model.
        params: Scale and zero point by `precsearch.lowering.tensor_names.scale_key`.
        precision: What it computes in.
    """
    read = (params.get(scale_key(node.inputs[s], precision)) for s in data_slots(node, graph))
    return any(p is not None and not fits_half(p.scale) for p in read)
