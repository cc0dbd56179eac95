"""Looking into an engine that was compiled: it is cut at a few tensors at a time.

An engine shows no more than its outputs. One more output keeps its builder from fusing across it,
which may hide a fault or cause one, so each engine gets a few only, and what the model itself gives
is compared with that of the engine that was not cut.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import onnx
from onnx import TensorProto, helper

from precsearch.core.backend import Array, Backend, BackendOptions, Feed, KernelTime, Session
from precsearch.core.errors import EngineError, WorkerError
from precsearch.core.precision import Precision
from precsearch.executors.protocol import Channel
from precsearch.graph.view import GraphView
from precsearch.lowering.lower import Lowered
from precsearch.measurement.place import Place
from precsearch.measurement.profiling import products_told
from precsearch.metrics.distance import relative_l2
from precsearch.reference.inner_tensors import TensorSession

__all__ = ["AT_ONCE", "Cutter", "EngineCuts", "open_cutter"]

AT_ONCE = 8
"""How many tensors one engine is cut at, unless another number is asked for."""

_SAME = 1e-6
_ROUNDING = 1e-3
"""Twice what FP16 rounds by: other fusions round elsewhere, and nothing was repaired or broken."""

_STORED = ("//dq", "//dqh", "", "//half", "//raw")
"""What the lowering calls a tensor as it is stored, what it was rounded to first."""

_OUTPUT = "precsearch//cut_{}"


class Cutter:
    """Builds and runs engines in a worker.

    Args:
        backend: Whose engines.
        announce: Is told the stage.
    """

    def __init__(self, backend: Backend, announce: Callable[[str], None]) -> None:
        self._backend = backend
        self._announce = announce
        self._artifact = b""
        self._plain: Session | None = None
        self._cut: Session | None = None

    def plain(self, model: bytes, feed: Feed | None = None) -> tuple[KernelTime, ...]:
        """Build the engine that is not cut, keep it, and tell its kernels if there is a feed.

        Raises:
            BuildError: The backend refuses the model.
            RunError: The engine does not run.
        """
        self._announce("build")
        artifact = self._artifact = self._backend.build(model)
        kernels: tuple[KernelTime, ...] = ()
        if feed is not None:
            profiled = self._backend.open(artifact, profiled=True)
            try:
                kernels = profiled.profile(feed, 1)
            finally:
                profiled.close()
        self._plain = self._backend.open(artifact)
        return kernels

    def told(self, products: Collection[str]) -> Mapping[str, Precision | None]:
        """What the products of the engine that is not cut run in, where the backend tells.

        Raises:
            BuildError: Its layers cannot be read.
        """
        return products_told(self._backend, self._artifact, products)

    def cut(self, model: bytes) -> None:
        """Build an engine with more outputs, in place of the last one.

        Raises:
            BuildError: The backend refuses the model.
        """
        self._announce("build")
        if self._cut is not None:
            self._cut.close()
            self._cut = None
        self._cut = self._backend.open(self._backend.build(model))

    def run(self, feed: Feed) -> tuple[dict[str, Array], dict[str, Array]]:
        """Outputs of the engine that is cut, and of the one that is not.

        Raises:
            RunError: One fails.
        """
        self._announce("run")
        assert self._cut is not None, "built before"
        assert self._plain is not None, "built before"
        return self._cut.run(feed), self._plain.run(feed)


def open_cutter(
    place: Place,
    factory: Callable[[BackendOptions], Backend],
    options: BackendOptions,
    announce: Callable[[str], None],
) -> Cutter:
    """What a worker serves.

    Args:
        place: Where the external weights are on its host.
        factory: Constructs the backend.
        options: Its options, without the paths of one machine.
        announce: Is told the stage.
    """
    return Cutter(factory(replace(options, model_folder=place.weights)), announce)


class EngineCuts:
    """An engine that is built again for every few tensors, with these as outputs.

    Args:
        worker: Has built the engine as it is.
        graph: The prepared model.
        lowered: The assignment's model.
        wanted: Tensors to show, in graph order.
        at_once: At how many one engine is cut.

    Attributes:
        changed: The largest relative change of a model output that cutting made, so far.
        where: The tensors of that engine.
        lost: Tensors that could not be shown → what the engine said.
    """

    def __init__(
        self,
        worker: Channel[Cutter],
        graph: GraphView,
        lowered: Lowered,
        requested: Sequence[str],
        at_once: int = AT_ONCE,
    ) -> None:
        self.how = (
            f"the engine itself, built again for every {at_once} tensors with these as outputs"
        )
        self.at_once = at_once
        self._worker = worker
        self._lowered = lowered
        self._float = tuple(o.name for o in graph.outputs if graph.is_float(o.name))
        proto = onnx.ModelProto.FromString(lowered.model)
        produced = {t for n in proto.graph.node for t in n.output}
        names = {t: [t + form for form in _STORED if t + form in produced] for t in requested}
        self._names = {t: matches[0] for t, matches in names.items() if matches}
        self.tensors = tuple(self._names)
        self.changed = 0.0
        self.where: tuple[str, ...] = ()
        self.lost: dict[str, str] = {}
        self._died = False

    def open(self, tensors: Sequence[str]) -> TensorSession:
        """See `TensorSource.open`; `lost` is what cannot be cut."""
        try:
            if self._died:
                self._worker.call(Cutter.plain, self._lowered.model)
                self._died = False
            self._worker.call(Cutter.cut, self._exposed(tensors))
        except (EngineError, WorkerError) as error:
            self._lose(tensors, error)
        return _Cuts(self, tensors)

    def show(self, tensors: Sequence[str], feed: Feed) -> dict[str, Array]:
        """The tensors that the last engine was cut at; none of those that are lost."""
        if any(t in self.lost for t in tensors):
            return {}
        try:
            exposed, plain = self._worker.call(Cutter.run, feed)
        except (EngineError, WorkerError) as error:
            self._lose(tensors, error)
            return {}
        self._compare(tensors, exposed, plain)
        # The model's own outputs are those of the engine as it is.
        return {
            t: plain[t] if t in plain else exposed[_OUTPUT.format(i)] for i, t in enumerate(tensors)
        }

    def _lose(self, tensors: Sequence[str], error: EngineError | WorkerError) -> None:
        self._died = self._died or isinstance(error, WorkerError)
        self.lost.update(dict.fromkeys(tensors, str(error)))

    def notes(self) -> tuple[str, ...]:
        """Whether looking changed the result, and what could not be seen, a sentence each."""
        notes = ["looking inside did not change what the engine gives"]
        if 0 < self.changed <= _ROUNDING:
            notes = [
                f"looking inside changed what the engine gives by {self.changed:.2g} (relative L2) "
                "at most, no more than rounding does"
            ]
        elif self.changed:
            notes = [
                f"looking inside changed what the engine gives, most by {self.changed:.2g} "
                f"(relative L2) where it was cut at {self.where[0]!r} to {self.where[-1]!r}: what "
                "is exposed is fused no more"
            ]
        if self.lost:
            tensor, error = next(iter(self.lost.items()))
            notes.append(f"{len(self.lost)} tensors could not be shown, {tensor!r} first: {error}")
        return tuple(notes)

    def _exposed(self, tensors: Sequence[str]) -> bytes:
        """With Casts to FP32 behind the tensors, so that an output's type is known."""
        proto = onnx.ModelProto.FromString(self._lowered.model)
        whole = {o.name for o in proto.graph.output}
        for index, tensor in enumerate(tensors):
            if tensor in whole:
                continue
            output = _OUTPUT.format(index)
            source = self._names[tensor]
            proto.graph.node.append(
                helper.make_node("Cast", [source], [output], output, to=TensorProto.FLOAT)
            )
            value = onnx.ValueInfoProto(name=output)
            value.type.tensor_type.elem_type = TensorProto.FLOAT
            proto.graph.output.append(value)
        return bytes(proto.SerializeToString())

    def _compare(
        self, tensors: Sequence[str], exposed: Mapping[str, Array], plain: Mapping[str, Array]
    ) -> None:
        for name in self._float:
            off = relative_l2(exposed[name], plain[name])
            if off > max(self.changed, _SAME):
                self.changed, self.where = off, tuple(tensors)


class _Cuts:
    def __init__(self, inside: EngineCuts, tensors: Sequence[str]) -> None:
        self._inside = inside
        self._tensors = tuple(tensors)

    def run(self, feed: Feed) -> dict[str, Array]:
        """See `TensorSession.run`; empty where the engine was lost."""
        return self._inside.show(self._tensors, feed)
