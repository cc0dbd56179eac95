"""Looking into an ONNX Runtime engine: a lowered model with some of its tensors as outputs.

What is stored quantized is taken out as integers, which no fusion minds, and dequantized here; of
the rest, what one group hands to another. Whether that changed the result is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from precsearch.core.backend import Array, Backend, Feed, Session
from precsearch.graph.view import GraphView
from precsearch.lowering.lower import Lowered
from precsearch.lowering.qdq.scales import QuantParams
from precsearch.metrics.distance import relative_l2
from precsearch.reference.inner_tensors import TensorSession

__all__ = ["EngineTensors"]

_SAME = 1e-6


class EngineTensors:
    """An engine that is opened again with extra outputs.

    Args:
        backend: Opens it; its engines are the models themselves.
        graph: The prepared model.
        lowered: The assignment's model.
        wanted: What groups hand on.

    Attributes:
        changed: The largest relative change of a model output that looking made, so far.
    """

    how = "the engine itself, with extra outputs between its kernels"
    at_once = 0

    def __init__(
        self, backend: Backend, graph: GraphView, lowered: Lowered, tensors: Sequence[str]
    ) -> None:
        self._backend = backend
        self._lowered = lowered
        self._float = tuple(o.name for o in graph.outputs if graph.is_float(o.name))
        self._made = {
            t for n in onnx.ModelProto.FromString(lowered.model).graph.node for t in n.output
        }
        self._names = {t: name for t in tensors if (name := self._name(t)) in self._made}
        self.tensors = tuple(self._names)
        self.changed = 0.0
        self._plain: Session | None = None

    def _name(self, tensor: str) -> str:
        return f"{tensor}//q" if f"{tensor}//q" in self._made else tensor

    def open(self, tensors: Sequence[str]) -> TensorSession:
        """See `precsearch.reference.inner_tensors.TensorSource.open`."""
        proto = onnx.ModelProto.FromString(self._lowered.model)
        have = {o.name for o in proto.graph.output}
        for tensor in tensors:
            name = self._names[tensor]
            if name not in have:
                proto.graph.output.append(onnx.ValueInfoProto(name=name))
        model = bytes(proto.SerializeToString())
        session = self._backend.open(self._backend.build(model))
        if self._plain is None:
            self._plain = self._backend.open(self._backend.build(self._lowered.model))
        names = {t: self._names[t] for t in tensors}
        return _EngineLook(session, names, self._lowered.params, self._compare)

    def _compare(self, feed: Feed, exposed: Mapping[str, Array]) -> None:
        assert self._plain is not None, "a look was opened"
        for name, value in self._plain.run(feed).items():
            if name in self._float:
                off = relative_l2(exposed[name], value)
                self.changed = max(self.changed, off if off > _SAME else 0.0)


class _EngineLook:
    def __init__(
        self,
        session: Session,
        names: Mapping[str, str],
        params: Mapping[str, QuantParams],
        compare: Callable[[Feed, Mapping[str, Array]], None],
    ) -> None:
        self._session = session
        self._names = names
        self._params = params
        self._compare = compare

    def run(self, feed: Feed) -> dict[str, Array]:
        """See `precsearch.reference.inner_tensors.TensorSession.run`."""
        values = self._session.run(feed)
        self._compare(feed, values)
        return {tensor: self._float(tensor, values[name]) for tensor, name in self._names.items()}

    def _float(self, tensor: str, value: Array) -> Array:
        if value.dtype.kind == "f":
            return value
        params = self._params[tensor]
        wide: Any = value.astype(np.float32)
        array: Array = (wide - np.float32(params.zero_point)) * np.float32(params.scale)
        return array
