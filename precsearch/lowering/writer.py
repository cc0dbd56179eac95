"""Writing a lowered graph: nodes and constants, each constant serialized once a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx

from precsearch.core.formats import INT8, NumberFormat
from precsearch.graph.encode import coded
from precsearch.graph.serialize import constant_bytes
from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.tensor_names import SEPARATOR

__all__ = ["EncodedTensors", "GraphWriter", "WeightCache"]


class EncodedTensors(Protocol):
    """The tensors of a graph as one encoding writes them; there is one for each encoding."""

    def operand(self, node: NodeView, slot: int, number_format: NumberFormat, /) -> str | None:
        """The name of an input of a node, written first where it is missing.

        Args:
            node: A node of the model.
            slot: Position of the input.
            number_format: The float format that the node reads it in.

        Returns:
            ``None`` if this encoding has no part in the input.
        """
        ...


@dataclass
class WeightCache:
    """Serialized constants by name: quantizing and retyping a weight is done once a model."""

    protos: dict[str, bytes] = field(default_factory=dict)

    def keep(self, key: str, proto: onnx.TensorProto) -> None:
        """Serialize a constant and keep it under ``key``."""
        self.protos[key] = proto.SerializeToString(deterministic=True)

    def keep_weight(
        self, key: str, values: npt.NDArray[np.generic], stored_as: NumberFormat
    ) -> None:
        """Keep a large constant of values that the format holds, with one copy of them alone."""
        if stored_as == INT8 and values.dtype == np.int8:
            self.protos[key] = constant_bytes(key, stored_as.elem_type, values)
        else:
            self.keep(key, coded(key, values, stored_as))


class GraphWriter:
    """Collects the nodes and constants of one lowered graph.

    Args:
        graph: The prepared model.
        cache: Constants of earlier graphs of the model.

    Attributes:
        nodes: Written so far.
        weights: Name of each constant that they read → the serialized constant.
    """

    def __init__(self, graph: GraphView, cache: WeightCache) -> None:
        self.graph = graph
        self.cache = cache
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, bytes] = {}
        self._begun: set[str] = set()

    def begins(self, tensor: str) -> bool:
        """Whether a tensor is asked for the first time, so that the caller has to write it."""
        if tensor in self._begun:
            return False
        self._begun.add(tensor)
        return True

    def constant(self, name: str, proto: Callable[[], onnx.TensorProto]) -> str:
        """A constant that the lowering adds; ``proto`` is asked for it once a model."""
        if name not in self.weights:
            if name not in self.cache.protos:
                self.cache.keep(name, proto())
            self.weights[name] = self.cache.protos[name]
        return name

    def node(self, op_type: str, inputs: Sequence[str], output: str) -> onnx.NodeProto:
        """Append a node that the lowering adds; it is named after its output and operator."""
        name = f"{output}{SEPARATOR}{op_type}"
        node = onnx.NodeProto(op_type=op_type, input=inputs, output=[output], name=name)
        self.nodes.append(node)
        return node

    def copy(self, node: NodeView, inputs: Sequence[str], outputs: Mapping[int, str]) -> None:
        """Append a node of the model with other inputs and, by position, other outputs."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node.proto)
        copy.input[:] = inputs
        for position, name in outputs.items():
            copy.output[position] = name
        self.nodes.append(copy)
