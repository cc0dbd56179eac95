"""One assignment of a model in FP32 arithmetic with its rounding, whose inner tensors can be read.

The same as `precsearch.emulation.multiplexed` gives for that assignment, without an ``If``.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import numpy_helper

from precsearch.core.space import Assignment
from precsearch.emulation.branch import FLOAT_ZERO, Branch, Scope, scale_name, zero_name
from precsearch.emulation.multiplexed import ADDED_BYTES
from precsearch.emulation.weights import ProxyWeights
from precsearch.graph.encode import coded
from precsearch.graph.serialize import join_model
from precsearch.lowering.context import LoweringContext

__all__ = ["FlatProxy"]


class FlatProxy:
    """The emulation of one assignment.

    Args:
        context: The prepared model, its groups, and how assignments of it are written.
        assignment: Canonical.
        budget: Bytes of constants that may be added.

    Raises:
        OptionError: The assignment is outside of the space.
        ModelError: A weight is not finite, or a tensor to quantize was not calibrated.
        PlanError: A plan's scales do not fit.
    """

    def __init__(
        self,
        context: LoweringContext,
        assignment: Assignment,
        budget: int = ADDED_BYTES,
    ) -> None:
        graph, space, scheme = context.graph, context.space, context.scheme
        self.graph = graph
        params = context.layout(assignment).params
        weights = ProxyWeights(context, params, budget)
        self._scope = Scope()
        for group in space.groups:
            Branch(
                context,
                group,
                assignment[group.key],
                weights,
                self._scope,
                decided=lambda key, precision: assignment[key] is precision,
            )
        self._constants = [w.proto_bytes for w in graph.weights.values()]
        self._constants += weights.added.values()
        constants: dict[str, onnx.TensorProto] = {}
        for key, precision in sorted(self._scope.scaled.items()):
            kept, stored_as = context.stored(params[key], precision), scheme.activation(precision)
            scale, zero = np.asarray(kept.scale, np.float32), np.asarray(kept.zero_point)
            name = zero_name(key) if stored_as.format.is_integer else FLOAT_ZERO
            constants[scale_name(key)] = numpy_helper.from_array(scale, scale_name(key))
            constants[name] = coded(name, zero, stored_as.format)
        self._constants += [proto.SerializeToString() for proto in constants.values()]

    def name(self, tensor: str) -> str:
        """The name of a tensor of the model in `with_outputs`."""
        return self._scope.local.get(tensor, tensor)

    def with_outputs(self, tensors: Iterable[str]) -> bytes:
        """A serialized model whose outputs are these tensors of the prepared model, by `name`."""
        outputs = []
        for tensor in tensors:
            value = onnx.ValueInfoProto(name=self.name(tensor))
            if elem_type := self.graph.elem_types.get(tensor):
                value.type.tensor_type.elem_type = elem_type
            outputs.append(value)
        nodes = self._scope.nodes
        return join_model(self.graph, nodes, self.graph.inputs, self._constants, outputs)
