"""The part of a tensor's range that what reads the tensor can tell apart.

SiLU, GELU, HardSwish or Sigmoid give nearly the same for -6 as for -40. Where nothing else reads a
tensor, values beyond such a point need no levels of their own, and the others get finer ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.qdq.scales import TensorRange

__all__ = ["Curves", "curves_behind", "useful_range"]

Doubles = npt.NDArray[np.float64]

_POINTS = 2048
"""Values between the ends of a range at which what reads it is looked at."""

_MOST_NODES = 12
"""Nodes between a tensor and what is looked at: a GELU written out has eight."""

_LEVELS = 255

_LEAST = 0.01
"""Of a range: to cut less would gain nothing."""


@dataclass(frozen=True)
class Curves:
    """What single numbers of a tensor become, where nothing else is made of it.

    Attributes:
        tensor: Its name.
        nodes: Arithmetic on the tensor and on constants of one number, in order.
        ends: Tensors that something else reads.
        graph: Has the constants.
    """

    tensor: str
    nodes: tuple[NodeView, ...]
    ends: tuple[str, ...]
    graph: GraphView

    def at(self, values: Doubles) -> Doubles:
        """The ends at some values, shape ``(ends, values)``."""
        known = {self.tensor: values}
        for node in self.nodes:
            operands = [known[t] if t in known else _number(t, self.graph) for t in node.inputs]
            known[node.outputs[0]] = np.broadcast_to(
                _CURVES[node.op_type](node, operands), values.shape
            )
        return np.stack([known[t] for t in self.ends])


def curves_behind(tensors: Iterable[str], graph: GraphView) -> dict[str, Curves]:
    """The tensors of which curves alone are read.

    Args:
        tensors: To look at.
        graph: The prepared model.
    """
    pairs = ((tensor, _curves(tensor, graph)) for tensor in tensors)
    return {tensor: curves for tensor, curves in pairs if curves is not None}


def useful_range(whole: TensorRange, curves: Curves) -> TensorRange:
    """The range without ends in which the curves change less than rounding changes them elsewhere.

    An end is cut where that moves no curve by more than half a level does at its steepest.

    Args:
        whole: The range.
        curves: What is read of its tensor.
    """
    low, high = min(whole.low, 0.0), max(whole.high, 0.0)
    if not low < high:
        return whole
    points = np.linspace(low, high, _POINTS)
    values = curves.at(points)
    if not np.isfinite(values).all():
        return whole
    slopes = np.abs(np.diff(values, axis=1)).max(axis=1) / (points[1] - points[0])
    first = _flat(values, points, slopes, high)
    last = _flat(values[:, ::-1], points[::-1], slopes, float(points[first]))
    end = float(points[::-1][last])
    first = _flat(values, points, slopes, end)  # a shorter range has finer levels
    return TensorRange(float(points[first]), end)


def _flat(values: Doubles, points: Doubles, slopes: Doubles, other: float) -> int:
    """The last point before 0 that stands for all points before it."""
    rounding = slopes[:, None] * np.abs(points - other) / _LEVELS / 2
    above = np.maximum.accumulate(values, axis=1) - values
    below = values - np.minimum.accumulate(values, axis=1)
    fits = (np.maximum(above, below) <= rounding).all(axis=0)
    fits &= np.sign(points) != np.sign(points[-1])  # zero stays within the range
    last = int(np.flatnonzero(fits)[-1]) if fits.any() else 0
    return last if last > _LEAST * len(points) else 0


def _curves(tensor: str, graph: GraphView) -> Curves | None:
    """Grows along nodes that read nothing else; ``None`` if something else reads the tensor."""
    known, nodes, ends = {tensor}, list[NodeView](), list[str]()
    if tensor in graph.output_names:
        return None
    for node in graph.nodes:
        if known.isdisjoint(node.inputs) or not _is_curve(node, known, graph):
            continue
        if len(nodes) == _MOST_NODES:
            break
        nodes.append(node)
        known.add(node.outputs[0])
    inside = {n.index for n in nodes}
    for name in (tensor, *(n.outputs[0] for n in nodes)):
        users = graph.users(name)
        if name in graph.output_names or any(u.index not in inside for u in users):
            ends.append(name)
    return Curves(tensor, tuple(nodes), tuple(ends), graph) if tensor not in ends and ends else None


def _is_curve(node: NodeView, known: set[str], graph: GraphView) -> bool:
    if node.domain or node.captures or node.op_type not in _CURVES or len(node.outputs) != 1:
        return False
    return all(t in known or not t or _is_number(t, graph) for t in node.inputs)


def _is_number(tensor: str, graph: GraphView) -> bool:
    return tensor in graph.weights and graph.weights[tensor].size == 1 and graph.is_float(tensor)


def _number(tensor: str, graph: GraphView) -> Doubles:
    """A constant of one number; of an input that is absent, NaN."""
    if not tensor:
        return np.asarray(np.nan)
    return np.asarray(graph.weights[tensor].array, np.float64).reshape(())


def _sigmoid(x: Doubles) -> Doubles:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -700, 700))))


def _erf(x: Doubles) -> Doubles:
    return np.array([math.erf(v) for v in np.ravel(x)]).reshape(np.shape(x))


def _hard_sigmoid(x: Doubles, alpha: float, beta: float) -> Doubles:
    return np.asarray(np.clip(alpha * x + beta, 0, 1))


def _clip(node: NodeView, operands: list[Doubles]) -> Doubles:
    low, high = (*operands[1:], np.asarray(np.nan), np.asarray(np.nan))[:2]
    return np.asarray(np.fmin(np.fmax(operands[0], low), high))


def _gelu(node: NodeView, operands: list[Doubles]) -> Doubles:
    return np.asarray(operands[0] * (1 + _erf(operands[0] / math.sqrt(2))) / 2)


_Curve = Callable[[NodeView, list[Doubles]], Doubles]
_CURVES: Mapping[str, _Curve] = {
    "Add": lambda _, x: x[0] + x[1],
    "Sub": lambda _, x: x[0] - x[1],
    "Mul": lambda _, x: x[0] * x[1],
    "Div": lambda _, x: x[0] / np.where(x[1] == 0, np.nan, x[1]),
    "Pow": lambda _, x: np.power(x[0], x[1]),
    "Identity": lambda _, x: x[0],
    "Relu": lambda _, x: np.maximum(x[0], 0),
    "LeakyRelu": lambda n, x: np.where(x[0] < 0, n.float_attribute("alpha", 0.01) * x[0], x[0]),
    "Sigmoid": lambda _, x: _sigmoid(x[0]),
    "HardSigmoid": lambda n, x: _hard_sigmoid(
        x[0], n.float_attribute("alpha", 0.2), n.float_attribute("beta", 0.5)
    ),
    "HardSwish": lambda _, x: x[0] * _hard_sigmoid(x[0], 1 / 6, 0.5),
    "Swish": lambda n, x: x[0] * _sigmoid(n.float_attribute("alpha", 1.0) * x[0]),
    "Tanh": lambda _, x: np.tanh(x[0]),
    "Erf": lambda _, x: _erf(x[0]),
    "Clip": _clip,
    "Gelu": _gelu,
}
