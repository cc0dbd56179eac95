"""The ``If`` of each group of a proxy: which of its branches runs.

ONNX Runtime packs a MatMul's weight if it is a constant of the branch itself or of the graph right
around it (``SessionState::PrepackConstantInitializedTensors``), not two levels out. So a constant
that one branch alone reads is written into it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, MutableMapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from precsearch.onnxio.graph import GraphView
from precsearch.onnxio.proxybranch import Branch, flag_name, scale_name, zero_name
from precsearch.space import Precision

__all__ = ["SCALES", "ZEROS", "Choices", "alone"]

SCALES = "//scales"
"""The proxy's input with the activations' scales, FP32."""

ZEROS = "//zeros"
"""The proxy's input with their zero points."""

Branches = Mapping[Precision, Branch]


def alone(branches: Iterable[Branch]) -> frozenset[str]:
    """The names that one of these branches reads and no other."""
    read = Counter(t for b in branches for t in {t for n in b.scope.nodes for t in n.input})
    return frozenset(t for t, readers in read.items() if readers == 1)


class Choices:
    """Writes the ``If`` of each group.

    Args:
        graph: The prepared model.
        own: Serialised constants that one branch alone reads, by name. Each is taken out when it is
            written, so that large ones are not there twice.

    Attributes:
        scaled: The activations whose scales are read → their place in `SCALES` and `ZEROS`.
    """

    def __init__(self, graph: GraphView, own: MutableMapping[str, bytes]) -> None:
        self.graph = graph
        self.scaled: dict[str, int] = {}
        self._own = own

    def of(self, key: str, outputs: Sequence[str], branches: Branches) -> onnx.NodeProto:
        """The ``If`` of a group.

        Args:
            key: The group's.
            outputs: Tensors that it makes for others.
            branches: Two or more.
        """
        node = onnx.NodeProto()
        self._choose(node, key, outputs, outputs, branches)
        return node

    def places(self) -> list[bytes]:
        """Serialised constants: where in the vectors the numbers of each activation are."""
        return [
            numpy_helper.from_array(np.asarray(i, np.int64), _place_name(t)).SerializeToString()
            for t, i in self.scaled.items()
        ]

    def _choose(
        self,
        node: onnx.NodeProto,
        key: str,
        outputs: Sequence[str],
        made: Sequence[str],
        branches: Branches,
    ) -> None:
        """``If`` the group is in one of the lower precisions, the choice of these, else the first.

        A nested ``If`` costs time of its own, and most groups of most assignments are in FP32. All
        is written where it stays: a copy would copy weights.
        """
        first, *lower = branches
        name = flag_name(key, lower[0])
        node.op_type, node.name = "If", f"{name}//if"
        node.input.append(name)
        node.output.extend(made)
        then, other = (
            node.attribute.add(name=way, type=onnx.AttributeProto.GRAPH).g
            for way in ("then_branch", "else_branch")
        )
        self._leaf(other, outputs, branches[first])
        if len(lower) == 1:
            self._leaf(then, outputs, branches[lower[0]])
            return
        inner = [f"{t}//lower" for t in outputs]
        self._choose(then.node.add(), key, outputs, inner, {p: branches[p] for p in lower})
        self._close(then, outputs, inner)

    def _leaf(self, body: onnx.GraphProto, outputs: Sequence[str], branch: Branch) -> None:
        scope = branch.scope
        for tensor in sorted(scope.scaled):
            body.node.extend(self._numbers(tensor))
        body.node.extend(scope.nodes)
        for name in dict.fromkeys(t for node in scope.nodes for t in node.input):
            if name in self._own:
                body.initializer.add().ParseFromString(self._own.pop(name))
        self._close(body, outputs, [branch.name(t) for t in outputs])

    def _numbers(self, tensor: str) -> list[onnx.NodeProto]:
        """Fetch the scale and the zero point of an activation, where they are needed."""
        self.scaled.setdefault(tensor, len(self.scaled))
        place = _place_name(tensor)
        return [
            helper.make_node("Gather", [SCALES, place], [scale_name(tensor)]),
            helper.make_node("Gather", [ZEROS, place], [zero_name(tensor)]),
        ]

    def _close(self, body: onnx.GraphProto, tensors: Iterable[str], names: Iterable[str]) -> None:
        body.name = "branch"
        for tensor, name in zip(tensors, names, strict=True):
            value = body.output.add(name=name)
            if elem_type := self.graph.elem_types.get(tensor):
                value.type.tensor_type.elem_type = elem_type


def _place_name(tensor: str) -> str:
    return f"{tensor}//place"
