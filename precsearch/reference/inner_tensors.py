"""Inner tensors of a model while it runs: `TensorSource`, and how ONNX Runtime gives them.

Whoever shows inner tensors may change what is computed (an engine fuses less around an output), so
what is shown is asked for a few tensors at a time, and whether it changed the result is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import onnx

from precsearch.core.backend import Array, Feed
from precsearch.core.errors import ModelError, RunError
from precsearch.reference.session import first_line, open_reference, ort_errors, session_options
from precsearch.reference.taps import put_behind

if TYPE_CHECKING:
    import onnxruntime as ort

__all__ = ["Exposed", "OrtTensors", "TensorSession", "TensorSource"]


class TensorSession(Protocol):
    """A model that is ready to run and shows some of its inner tensors."""

    def run(self, feed: Feed) -> dict[str, Array]:
        """The tensors that were asked for, by the name that the prepared model gives them.

        Raises:
            RunError: It failed.
        """
        ...


class TensorSource(Protocol):
    """A model, or an engine made of it, whose inner tensors can be asked for.

    Attributes:
        how: Half a sentence for people: what it runs, and how it looks inside.
        tensors: What it can show, in graph order.
        at_once: How many tensors one `open` may expose, 0 without a limit: an engine that was cut
            everywhere is another engine.
    """

    how: str
    tensors: tuple[str, ...]
    at_once: int

    def open(self, tensors: Sequence[str]) -> TensorSession:
        """Make it ready, with these tensors exposed.

        Raises:
            ModelError: The reference refuses the model.
            BuildError: The backend refuses the cut model.
        """
        ...


Exposed = Callable[[Sequence[str]], bytes]
"""A serialized model that has these tensors as its outputs."""


class OrtTensors:
    """A model in ONNX Runtime on a CPU with the wanted tensors as outputs.

    Args:
        how: See `TensorSource`.
        tensors: See `TensorSource`.
        exposed: Makes the model.
        name: The name of a tensor in that model.
        exact: Whether graph optimization is off, so that no rounding is fused away.
        model_folder: Folder of external weights, if there are any.
        finish: Turns what came out into the tensor, by tensor name; where there is none, it is it.
    """

    at_once = 0

    def __init__(
        self,
        how: str,
        tensors: tuple[str, ...],
        exposed: Exposed,
        name: Callable[[str], str],
        *,
        exact: bool,
        model_folder: str = "",
        finish: Mapping[str, Callable[[Array], Array]] | None = None,
    ) -> None:
        self.how = how
        self.tensors = tensors
        self._exposed = exposed
        self._name = name
        self._exact = exact
        self._folder = model_folder
        self._finish = finish or {}

    def sizes(self, tensors: Sequence[str], feed: Feed) -> dict[str, int]:
        """How large each FP32 tensor is for one feed, in bytes.

        Raises:
            ModelError: The model or the feed is refused.
        """
        names = [self._name(t) for t in tensors]
        sizes = _sizes(self._exposed(tensors), names, feed, self._folder)
        return dict(zip(tensors, sizes, strict=True))

    def open(self, tensors: Sequence[str]) -> TensorSession:
        """See `TensorSource.open`."""
        model = self._exposed(tensors)
        try:
            session = self._session(model)
        except ort_errors() as error:
            raise ModelError(f"ONNX Runtime refuses the model: {first_line(error)}") from error
        names = {t: self._name(t) for t in tensors}
        return _OrtLook(session, names, self._finish)

    def _session(self, model: bytes) -> ort.InferenceSession:
        import onnxruntime as ort

        if not self._exact:
            return open_reference(model, self._folder)
        options = session_options(0, self._folder)
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_mem_pattern = False
        options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class _OrtLook:
    def __init__(
        self,
        session: ort.InferenceSession,
        names: Mapping[str, str],
        finish: Mapping[str, Callable[[Array], Array]],
    ) -> None:
        self._session = session
        self._names = names
        self._finish = finish
        self._inputs = {i.name for i in session.get_inputs()}

    def run(self, feed: Feed) -> dict[str, Array]:
        """See `TensorSession.run`."""
        given = {k: v for k, v in feed.items() if k in self._inputs}
        outputs = list(dict.fromkeys(self._names.values()))
        try:
            values = dict(zip(outputs, self._session.run(outputs, given), strict=True))
        except ort_errors() as error:
            raise RunError(first_line(error)) from error
        return {
            tensor: self._finish.get(tensor, _same)(values[name])
            for tensor, name in self._names.items()
        }


def _same(array: Array) -> Array:
    return array


def _sizes(model: bytes, tensors: Sequence[str], feed: Feed, folder: str) -> list[int]:
    """Bytes of FP32 tensors; none of them leaves the model."""
    proto = onnx.ModelProto.FromString(model)
    graph = proto.graph
    int64 = onnx.TensorProto.INT64
    behind: dict[str, list[onnx.NodeProto]] = {}
    del graph.output[:]
    for index, tensor in enumerate(tensors):
        node = onnx.helper.make_node("Size", [tensor], [f"precsearch//size_{index}"])
        behind.setdefault(tensor, []).append(node)
        graph.output.append(onnx.helper.make_tensor_value_info(node.output[0], int64, []))
    put_behind(graph, behind)
    try:
        session = open_reference(proto.SerializeToString(), folder)
        given = {i.name: feed[i.name] for i in session.get_inputs()}
        sizes: list[Any] = session.run(None, given)
    except ort_errors() as error:
        raise ModelError(
            f"the model does not run on the data given: {first_line(error)}"
        ) from error
    return [4 * int(np.asarray(size)) for size in sizes]
