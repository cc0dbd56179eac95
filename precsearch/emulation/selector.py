"""The ``If`` of each group of a proxy: which of its branches runs.

ONNX Runtime packs a MatMul's weight if it is a constant of the graph right around the branch
(``SessionState::PrepackConstantInitializedTensors``), not two levels out; one inside of a branch it
keeps three times. So branches that read large constants have an ``If`` each, side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from precsearch.core.precision import Precision
from precsearch.emulation.branch import (
    FLOAT_ZERO,
    Branch,
    flag_name,
    only_name,
    scale_name,
    zero_name,
)
from precsearch.graph.encode import coded
from precsearch.graph.view import GraphView

__all__ = ["SCALES", "ZEROS", "Choices"]

SCALES = "//scales"
"""The proxy's input with the activations' scales, FP32."""

ZEROS = "//zeros"
"""The proxy's input with their zero points."""

_NOTHING = "//nothing"

_LARGE = 1 << 16
"""Bytes from which packing a constant is worth two more ``If`` a run."""

Branches = Mapping[Precision, Branch]


class Choices:
    """Writes the ``If`` of each group.

    Args:
        graph: The prepared model.
        added: Serialized constants that are added to the model, by name.

    Attributes:
        flags: Name of each condition → key of the group, and the precisions that set it.
        scaled: The activations whose scales are read, by `scale_key` → their place in `SCALES` and
            `ZEROS`.
        precisions: The same activations → what they are quantized to.
    """

    def __init__(self, graph: GraphView, added: Mapping[str, bytes]) -> None:
        self.graph = graph
        self.flags: dict[str, tuple[str, frozenset[Precision]]] = {}
        self.scaled: dict[str, int] = {}
        self.precisions: dict[str, Precision] = {}
        self._added = added
        self._float_zero: onnx.TensorProto | None = None

    def of(self, key: str, outputs: Sequence[str], branches: Branches) -> list[onnx.NodeProto]:
        """The ``If`` of a group, or several.

        Args:
            key: The group's.
            outputs: Tensors that it makes for others.
            branches: Two or more.
        """
        lower = tuple(branches)[1:]
        for i, precision in enumerate(lower):
            self.flags[flag_name(key, precision)] = key, frozenset(lower[i:])
        apart = len(lower) > 1 and all(map(self.graph.is_float, outputs))
        if not apart or not any(map(self._is_large, branches.values())):
            return [self._choice(key, outputs, outputs, branches)]
        sides = [self._side(key, p, outputs, branches[p]) for p in lower]
        node, then, other = _if(flag_name(key, lower[0]), outputs)
        self._leaf(other, outputs, branches[next(iter(branches))])
        inner = [_below(t, lower[0]) for t in outputs]
        then.node.append(self._taken(key, outputs, inner, lower))
        self._close(then, outputs, inner)
        return [*sides, node]

    def constants(self) -> list[bytes]:
        """Serialized: where in the vectors the numbers of each activation are, and nothing."""
        constants = {_place_name(t): np.asarray(i, np.int64) for t, i in self.scaled.items()}
        constants[_NOTHING] = np.zeros(0, np.float32)
        tensors = [numpy_helper.from_array(a, n) for n, a in constants.items()]
        tensors += [] if self._float_zero is None else [self._float_zero]
        return [proto.SerializeToString() for proto in tensors]

    def _is_large(self, branch: Branch) -> bool:
        read = {t for node in branch.scope.nodes for t in node.input}
        return any(len(self._added.get(t, b"")) >= _LARGE for t in read)

    def _side(
        self, key: str, precision: Precision, outputs: Sequence[str], branch: Branch
    ) -> onnx.NodeProto:
        """The branch if it was chosen, else tensors without elements."""
        flag = only_name(key, precision)
        self.flags[flag] = key, frozenset({precision})
        node, then, other = _if(flag, [_side(t, precision) for t in outputs])
        self._leaf(then, outputs, branch)
        empty = [f"{t}//empty" for t in outputs]
        for name in empty:
            other.node.append(helper.make_node("Identity", [_NOTHING], [name]))
        self._close(other, outputs, empty)
        return node

    def _taken(
        self, key: str, outputs: Sequence[str], tensors: Sequence[str], lower: Sequence[Precision]
    ) -> onnx.NodeProto:
        """What the side of the chosen one of two or more precisions made."""
        node, then, other = _if(flag_name(key, lower[1]), tensors)
        self._hand_on(other, outputs, lower[0])
        if len(lower) == 2:
            self._hand_on(then, outputs, lower[1])
            return node
        inner = [_below(t, lower[1]) for t in outputs]
        then.node.append(self._taken(key, outputs, inner, lower[1:]))
        self._close(then, outputs, inner)
        return node

    def _hand_on(self, body: onnx.GraphProto, outputs: Sequence[str], precision: Precision) -> None:
        taken = [f"{t}//taken" for t in outputs]
        for tensor, name in zip(outputs, taken, strict=True):
            body.node.append(helper.make_node("Identity", [_side(tensor, precision)], [name]))
        self._close(body, outputs, taken)

    def _choice(
        self, key: str, outputs: Sequence[str], tensors: Sequence[str], branches: Branches
    ) -> onnx.NodeProto:
        """``If`` the group is in one of the lower precisions, the choice of these, else the first.

        A nested ``If`` costs time of its own, and most groups of most assignments are in FP32.
        """
        first, *lower = branches
        node, then, other = _if(flag_name(key, lower[0]), tensors)
        self._leaf(other, outputs, branches[first])
        if len(lower) == 1:
            self._leaf(then, outputs, branches[lower[0]])
            return node
        inner = [_below(t, lower[0]) for t in outputs]
        then.node.append(self._choice(key, outputs, inner, {p: branches[p] for p in lower}))
        self._close(then, outputs, inner)
        return node

    def _leaf(self, body: onnx.GraphProto, outputs: Sequence[str], branch: Branch) -> None:
        scope = branch.scope
        for tensor, quantized_to in sorted(scope.scaled.items()):
            body.node.extend(self._numbers(tensor, quantized_to))
        for group, precision in sorted(scope.asked):
            self.flags[only_name(group, precision)] = group, frozenset({precision})
        body.node.extend(scope.nodes)
        self._close(body, outputs, [branch.name(t) for t in outputs])

    def _numbers(self, tensor: str, precision: Precision) -> list[onnx.NodeProto]:
        """Fetch the scale and the zero point of an activation, where they are needed."""
        self.scaled.setdefault(tensor, len(self.scaled))
        self.precisions[tensor], stored_as = precision, precision.spec.format
        place = _place_name(tensor)
        nodes = [helper.make_node("Gather", [SCALES, place], [scale_name(tensor)])]
        if stored_as.is_integer:
            nodes.append(helper.make_node("Gather", [ZEROS, place], [zero_name(tensor)]))
        else:
            self._float_zero = coded(FLOAT_ZERO, np.zeros(()), stored_as)
        return nodes

    def _close(self, body: onnx.GraphProto, tensors: Iterable[str], names: Iterable[str]) -> None:
        body.name = "branch"
        for tensor, name in zip(tensors, names, strict=True):
            value = body.output.add(name=name)
            if elem_type := self.graph.elem_types.get(tensor):
                value.type.tensor_type.elem_type = elem_type


def _if(
    condition: str, outputs: Iterable[str]
) -> tuple[onnx.NodeProto, onnx.GraphProto, onnx.GraphProto]:
    """The node and its branches, to be written into."""
    node = onnx.NodeProto(op_type="If", name=f"{condition}//if", input=[condition])
    node.output.extend(outputs)
    kind = onnx.AttributeProto.GRAPH
    then = node.attribute.add(name="then_branch", type=kind).g
    return node, then, node.attribute.add(name="else_branch", type=kind).g


def _side(tensor: str, precision: Precision) -> str:
    return f"{tensor}//{precision}//side"


def _below(tensor: str, precision: Precision) -> str:
    """What a group made in this precision or a lower one."""
    return f"{tensor}//{precision}//lower"


def _place_name(tensor: str) -> str:
    return f"{tensor}//place"
