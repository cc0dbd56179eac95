"""A model whose groups can be scored in any precision without opening another session.

One ``If`` per group with one branch per precision; the conditions are an input, activation scales
are inputs too, since what shares a scale (a Concat's parts) depends on the assignment. Each kind is
one vector: ONNX Runtime looks at every input at every run, and a thousand of them cost
milliseconds. All of it computes in FP32 and rounds what is stored
(`precsearch.emulation.branch`), so it must run without graph optimization, which may fuse a
rounding away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from precsearch.core.errors import ModelError
from precsearch.core.formats import UINT8
from precsearch.core.precision import Encoding, Precision
from precsearch.core.space import Assignment, LayerGroup
from precsearch.emulation.branch import Branch, Scope
from precsearch.emulation.selector import SCALES, ZEROS, Choices
from precsearch.emulation.weights import ProxyWeights
from precsearch.graph.serialize import join_model
from precsearch.lowering.context import LoweringContext

__all__ = ["ADDED_BYTES", "FLAGS", "SCALES", "ZEROS", "ProxyGraph", "ProxyModel", "ProxyRequest"]

ADDED_BYTES = 128 << 20
"""What rounded and dequantized weights may add to a model, in FP32."""

FLAGS = "//flags"
"""The proxy's input with what is chosen, Boolean."""

_COUNTED_SPLIT_OPSET = 18

_LARGEST = 2000 << 20
"""Protocol Buffers' limit."""

_BOOL = onnx.TensorProto.BOOL
_FLOAT = onnx.TensorProto.FLOAT


@dataclass(frozen=True)
class ProxyModel:
    """What a session is opened from.

    Attributes:
        model: The serialized ``ModelProto``; external weights stay external.
        flags: (group key, precisions) of every element of the input `FLAGS`, in order: it is set if
            the group is in one of them.
        scaled: The activations whose scale and zero point are the elements of `SCALES` and `ZEROS`,
            in order.
        activation: Type of a quantized activation, ``uint8`` or ``int8``.
        added_bytes: Size of the constants that the model itself has not.
        complete: Every form of a weight is a constant, none is computed at every run.
    """

    model: bytes
    flags: tuple[tuple[str, frozenset[Precision]], ...]
    scaled: tuple[str, ...]
    activation: str
    added_bytes: int
    complete: bool = False


@dataclass(frozen=True)
class ProxyRequest:
    """An assignment in terms of a proxy's inputs.

    Attributes:
        flags: What is set, in order.
        scales, zero_points: Of every scaled activation, in order; where the assignment quantizes it
            not, they are of no effect.
    """

    flags: tuple[bool, ...]
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]


class ProxyGraph:
    """Writes the proxy of one prepared model and translates assignments for it.

    Args:
        context: The prepared model, its groups, and how assignments of it are written.
        budget: Bytes of constants that may be added.

    Raises:
        ModelError: A weight is not finite, a tensor that INT8 quantizes was not calibrated, or
            the proxy is too large.
        PlanError: A plan's scales do not fit.
    """

    def __init__(
        self,
        context: LoweringContext,
        budget: int = ADDED_BYTES,
    ) -> None:
        self.context = context
        self.graph, self.space = context.graph, context.space
        self._owners = context.owners
        self._readers = self._read_outside()
        self.proxy = self._model(budget)

    def request(self, assignment: Assignment) -> ProxyRequest:
        """The inputs that make the proxy run a canonical assignment.

        Raises:
            OptionError: The assignment is outside of the space.
            ModelError: A tensor to quantize was not calibrated.
            PlanError: A plan's scales do not fit.
        """
        self.space.check(assignment)
        scaled = self.proxy.scaled
        steps, zeros = [1.0] * len(scaled), [0] * len(scaled)
        if any(p.spec.encoding is Encoding.QDQ for _, p in assignment.entries):
            params = self.context.layout(assignment).params
            for position, tensor in enumerate(scaled):
                if tensor in params:
                    stored = self.context.stored(params[tensor], self._precisions[tensor])
                    steps[position], zeros[position] = stored.scale, stored.zero_point
        flags = tuple(assignment[key] in conditions for key, conditions in self.proxy.flags)
        return ProxyRequest(flags, tuple(steps), tuple(zeros))

    def _read_outside(self) -> frozenset[str]:
        """Tensors that another group than their own reads, or the model's user."""
        tensors = set(self.graph.output_names)
        for node in self.graph.nodes:
            mine = self._owners.get(node.key)
            for tensor in (*node.inputs, *node.captures):
                maker = self.graph.producer.get(tensor)
                if maker is not None and self._owners.get(maker.key) != mine:
                    tensors.add(tensor)
        return frozenset(tensors)

    def _model(self, budget: int) -> ProxyModel:
        nominal = {
            key: params
            for p in self.space.precisions
            if p.spec.encoding is Encoding.QDQ
            for key, params in self.context.layout(self.space.uniform(p)).params.items()
        }
        weights = ProxyWeights(self.context, nominal, budget)
        pairs = [(group, self._branches(group, weights)) for group in self.space.groups]
        choices = Choices(self.graph, weights.added)
        nodes: list[onnx.NodeProto] = []
        for group, branches in pairs:
            if branches:
                nodes += choices.of(group.key, self._outputs(group), branches)
            else:
                nodes += [self.graph.by_key[key].proto for key in group.nodes]
        flags, self._precisions = choices.flags, choices.precisions
        if flags:
            nodes.insert(0, self._taken_apart(flags))
        constants = [w.proto_bytes for w in self.graph.weights.values()]
        constants += [*weights.added.values(), *choices.constants()]
        _check_size(sum(map(len, constants)))
        inputs = self._inputs(len(flags), len(choices.scaled))
        return ProxyModel(
            join_model(self.graph, nodes, inputs, constants),
            tuple(flags.values()),
            tuple(choices.scaled),
            self._zeros,
            weights.added_bytes,
            weights.complete,
        )

    def _branches(self, group: LayerGroup, weights: ProxyWeights) -> dict[Precision, Branch]:
        """None where a group has no choice, or nothing that others read."""
        if len(group.choices) == 1 or not self._outputs(group):
            return {}
        return {p: Branch(self.context, group, p, weights, Scope()) for p in group.choices}

    def _outputs(self, group: LayerGroup) -> list[str]:
        outputs = (t for key in group.nodes for t in self.graph.by_key[key].outputs)
        return [t for t in outputs if t in self._readers]

    def _taken_apart(self, flags: Iterable[str]) -> onnx.NodeProto:
        """The flags as tensors of one element each."""
        node = helper.make_node("Split", [FLAGS], list(flags), FLAGS, axis=0)
        if self.graph.opsets.get("", 1) >= _COUNTED_SPLIT_OPSET:
            node.attribute.append(helper.make_attribute("num_outputs", len(node.output)))
        return node

    @property
    def _zeros(self) -> str:
        """Type of the zero points: that of integers, if there are any."""
        scheme = self.context.scheme
        kinds = (scheme.activation(p).format for p in scheme.precisions)
        return next((kind.name for kind in kinds if kind.is_integer), UINT8.name)

    def _inputs(self, flags: int, scaled: int) -> list[onnx.ValueInfoProto]:
        quantized = helper.np_dtype_to_tensor_dtype(np.dtype(self._zeros))
        inputs = list(self.graph.inputs)
        if flags:
            inputs.append(helper.make_tensor_value_info(FLAGS, _BOOL, [flags]))
        if scaled:
            inputs.append(helper.make_tensor_value_info(SCALES, _FLOAT, [scaled]))
            inputs.append(helper.make_tensor_value_info(ZEROS, quantized, [scaled]))
        return inputs


def _check_size(size: int) -> None:
    if size > _LARGEST:
        raise ModelError(
            f"the proxy of this model would have {size >> 20} MB, Protocol Buffers end at "
            f"{_LARGEST >> 20}: store the weights outside of the model file"
        )
