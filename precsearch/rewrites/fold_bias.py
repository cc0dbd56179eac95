"""Constant shifts and factors after a convolution, folded into it; Identity nodes left out.

Paddle's and TensorFlow's exporters write the bias of a Conv as an Add of its own, often with an
Identity behind it. Engines fold both in FP32. Between QuantizeLinear and DequantizeLinear they do
not: the Conv's output is then rounded before the bias is added, and the Add and the Relu behind it
run in floats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import onnx

from precsearch.graph.operators import CONVOLUTIONS
from precsearch.graph.view import GraphView, NodeView
from precsearch.rewrites.rewrite import NamedRewrite, Parameters, Rewrite

__all__ = ["FOLD_BIAS", "fold_bias_fits", "folded_biases"]

FOLD_BIAS = "fold-bias"
"""The name of the rewrite, in plans."""

Floats = npt.NDArray[np.float32]

_AFFINE = ("Add", "Mul")


def fold_bias_fits(model: onnx.ModelProto) -> bool:
    """Whether a model may have something to fold; a quick look that prepares nothing."""
    if model.functions:
        return True
    produced = {t for n in model.graph.node if n.op_type in CONVOLUTIONS for t in n.output}
    follows = ("Identity", *_AFFINE)
    return any(n.op_type in follows and produced & set(n.input) for n in model.graph.node)


def folded_biases(graph: GraphView, parameters: Parameters) -> NamedRewrite | None:
    """Every convolution with what follows it; ``None`` if nothing does.

    Args:
        graph: The prepared model.
        parameters: None are needed.
    """
    del parameters
    rewrite = Rewrite()
    readers = _Readers(graph)
    for node in graph.nodes:
        steps = list(_steps(node, graph, readers))
        if steps:
            rewrite.instead.update({n.index: [] for n in (node, *steps[:-1])})
            rewrite.instead[steps[-1].index] = [_folded(node, steps, graph, rewrite)]
            rewrite.sites.append(steps[-1].key)
    for tensor, source in readers.same.items():
        maker = graph.producer.get(source)
        if maker is not None and maker.is_op(*CONVOLUTIONS):
            rewrite.sites.append(tensor)
    if not rewrite.sites:
        return None
    _left_out(graph, readers.same, rewrite)
    what = "fold the constant shifts and factors after convolutions into them"
    return NamedRewrite(FOLD_BIAS, what, rewrite)


class _Readers:
    """Who reads a tensor, with Identity nodes seen through.

    Attributes:
        same: Output of an Identity that can be left out → the tensor that it repeats.
    """

    def __init__(self, graph: GraphView) -> None:
        captured = frozenset().union(*(n.captures for n in graph.nodes))
        kept = graph.output_names | captured
        self.same: dict[str, str] = {}
        self._users: dict[str, list[NodeView]] = {}
        self._kept = kept
        for node in graph.nodes:
            if node.is_op("Identity") and node.outputs[0] not in kept:
                self.same[node.outputs[0]] = self.source(node.inputs[0])
                continue
            for tensor in node.inputs:
                self._users.setdefault(self.source(tensor), []).append(node)

    def source(self, tensor: str) -> str:
        """The tensor that is read in truth."""
        return self.same.get(tensor, tensor)

    def only(self, tensor: str) -> NodeView | None:
        """The single reader of a tensor that is no output of the graph."""
        users = self._users.get(tensor, [])
        return users[0] if len(users) == 1 and tensor not in self._kept else None


def _steps(node: NodeView, graph: GraphView, readers: _Readers) -> Iterator[NodeView]:
    """The nodes that can be folded into a convolution, in order."""
    weight = graph.weights.get(node.inputs[1]) if node.is_op(*CONVOLUTIONS) else None
    constants = all(not t or (t in graph.weights and graph.is_float(t)) for t in node.inputs[1:])
    if weight is None or not constants:
        return
    tensor = node.outputs[0]
    while (step := readers.only(tensor)) is not None and step.is_op(*_AFFINE):
        if step.is_op("Mul") and not node.is_op("Conv"):
            return
        if _row(step, graph, len(weight.shape), _channels(node, graph)) is None:
            return
        yield step
        tensor = step.outputs[0]


def _channels(node: NodeView, graph: GraphView) -> int:
    shape = graph.weights[node.inputs[1]].shape
    return shape[0] if node.is_op("Conv") else shape[1] * node.int_attribute("group", 1)


def _row(step: NodeView, graph: GraphView, rank: int, channels: int) -> Floats | None:
    """The constant of an Add or Mul by output channel, ``None`` if it differs by position."""
    constants = [t for t in step.inputs if t in graph.weights]
    if len(constants) != 1 or not graph.is_float(constants[0]):
        return None
    weight = graph.weights[constants[0]]
    shape = (1,) * (rank - len(weight.shape)) + weight.shape
    if len(shape) != rank or shape not in ((1, n, *[1] * (rank - 2)) for n in (1, channels)):
        return None
    values = np.asarray(weight.load(), np.float32).reshape(-1)
    return np.ascontiguousarray(np.broadcast_to(values, (channels,)))


def _folded(
    node: NodeView, steps: list[NodeView], graph: GraphView, rewrite: Rewrite
) -> onnx.NodeProto:
    weight_name, rank = node.inputs[1], len(graph.weights[node.inputs[1]].shape)
    channels, key = _channels(node, graph), steps[-1].key
    factor = np.ones(channels, np.float32)
    bias = np.zeros(channels, np.float32)
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = np.asarray(graph.weights[node.inputs[2]].load(), np.float32)
    for step in steps:
        row = _row(step, graph, rank, channels)
        assert row is not None  # see `_steps`
        if step.is_op("Add"):
            bias = bias + row
        else:
            factor, bias = factor * row, bias * row
    if any(step.is_op("Mul") for step in steps):
        weight = np.asarray(graph.weights[weight_name].load(), np.float32)
        scaled = weight * factor.reshape(-1, *[1] * (rank - 1))
        weight_name = rewrite.constant(graph, f"{key}/{FOLD_BIAS}/weight", scaled)
    bias_name = rewrite.constant(graph, f"{key}/{FOLD_BIAS}/bias", bias)
    copy = onnx.NodeProto()
    copy.CopyFrom(node.proto)
    copy.name = steps[-1].proto.name
    copy.input[:] = [node.inputs[0], weight_name, bias_name]
    copy.output[:] = [steps[-1].outputs[0]]
    return copy


def _left_out(graph: GraphView, same: Mapping[str, str], rewrite: Rewrite) -> None:
    """Let the readers of Identity nodes read what these repeat."""
    for node in graph.nodes:
        for proto in rewrite.instead.get(node.index, [node.proto]):
            if node.outputs[0] in same and node.is_op("Identity"):
                rewrite.instead[node.index] = []
            elif any(t in same for t in proto.input):
                copy = onnx.NodeProto()
                copy.CopyFrom(proto)
                copy.input[:] = [same.get(t, t) for t in proto.input]
                rewrite.instead[node.index] = [copy]
