"""What a rewrite changes in a graph, and the model that comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from precsearch.graph.serialize import join_model
from precsearch.graph.view import GraphView

__all__ = ["LAYERNORM_OPSET", "NamedRewrite", "Parameters", "Rewrite", "rewritten"]

Parameters = Mapping[str, int | str]
"""Of a rewrite: whole numbers, or vectors of them as `precsearch.codec.vectors` writes them."""

LAYERNORM_OPSET = 17
"""The operator set that has LayerNormalization."""


@dataclass
class Rewrite:
    """Changes to a prepared graph.

    Attributes:
        instead: Node index → the nodes that stand in its place.
        constants: New constants by tensor name.
        sites: Keys of the nodes that it is about, for people.
    """

    instead: dict[int, list[onnx.NodeProto]] = field(default_factory=dict)
    constants: dict[str, npt.NDArray[np.generic]] = field(default_factory=dict)
    sites: list[str] = field(default_factory=list)

    def constant(self, graph: GraphView, name: str, values: npt.NDArray[np.generic]) -> str:
        """Add a constant.

        A model that was rewritten before has the names that the same rewrite writes, so ``name`` is
        lengthened where the graph has a tensor of that name.

        Args:
            graph: What is rewritten.
            name: Of the constant, the same for the same place.
            values: Its values.

        Returns:
            The name that it has.
        """
        name = graph.free_name(name)
        self.constants[name] = values
        return name


@dataclass(frozen=True)
class NamedRewrite:
    """A rewrite of one kind wherever it fits.

    Attributes:
        name: For the command line and the plan.
        what: Half a sentence for people.
        rewrite: The changes.
        params: What it needs beside the graph to be made again: a whole number for each site, or
            a vector of them as `precsearch.codec.vectors` writes it.
    """

    name: str
    what: str
    rewrite: Rewrite
    params: Parameters = field(default_factory=dict)


def rewritten(graph: GraphView, rewrite: Rewrite) -> bytes:
    """The changed model, serialized, without the nodes that nothing reads any more."""
    nodes = [n for v in graph.nodes for n in rewrite.instead.get(v.index, [v.proto])]
    kept = _needed(nodes, graph)
    used = _reads(kept) | graph.output_names
    weights = [w.proto_bytes for name, w in graph.weights.items() if name in used]
    kept, weights = _plain_names(graph, kept, weights, used)
    for name, array in rewrite.constants.items():
        weights.append(numpy_helper.from_array(np.asarray(array), name).SerializeToString())
    return join_model(graph, kept, graph.inputs, weights)


def _plain_names(
    graph: GraphView, nodes: list[onnx.NodeProto], weights: list[bytes], used: set[str]
) -> tuple[list[onnx.NodeProto], list[bytes]]:
    """Nodes and constants, with other names for constants that preparation added.

    Their names hold what stands in a lowering between a tensor and its form, so that the model
    could not be prepared again.
    """
    names = {n: n.replace("//", "/folded/") for n in graph.weights if "//" in n and n in used}
    if not names:
        return nodes, weights
    renamed: list[onnx.NodeProto] = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [names.get(t, t) for t in node.input]
        renamed.append(copy)
    for index, serialized in enumerate(weights):
        proto = onnx.TensorProto.FromString(serialized)
        if proto.name in names:
            proto.name = names[proto.name]
            weights[index] = proto.SerializeToString(deterministic=True)
    return renamed, weights


def _needed(nodes: list[onnx.NodeProto], graph: GraphView) -> list[onnx.NodeProto]:
    """From the outputs backwards; a node without outputs that are read is left out."""
    needed = set(graph.output_names)
    kept: list[onnx.NodeProto] = []
    for node in reversed(nodes):
        if needed & {t for t in node.output if t}:
            kept.append(node)
            needed |= _reads([node])
    return kept[::-1]


def _reads(nodes: list[onnx.NodeProto]) -> set[str]:
    """What nodes and their subgraphs read; names of the subgraphs' own do no harm."""
    names: set[str] = set()
    pending: list[onnx.NodeProto] = list(nodes)
    while pending:
        node = pending.pop()
        names |= {t for t in node.input if t}
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else []
            for body in (*inner, *attribute.graphs):
                pending += body.node
                names |= {o.name for o in body.output}
    return names


def constant_of(graph: GraphView, tensor: str) -> float | None:
    """The value of a constant with one element."""
    weight = graph.weights.get(tensor)
    if weight is None or weight.size != 1 or not graph.is_float(tensor):
        return None
    return float(np.asarray(weight.array).reshape(-1)[0])
