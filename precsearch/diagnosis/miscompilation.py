"""The first wrong tensor of an engine, by bisection, and a reproducer that anyone can run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from precsearch.backends.auto import backend_name
from precsearch.core.backend import Array, Backend, BackendOptions, ChoosesFp32, Feed
from precsearch.core.errors import EngineError, ModelError
from precsearch.core.precision import Precision
from precsearch.data import input_specs, load
from precsearch.diagnosis.reproducer import Miscompiled
from precsearch.graph.extract import ancestors, boundary, extracted, frontier
from precsearch.graph.reading.read import read_model
from precsearch.graph.view import GraphView
from precsearch.metrics.distance import relative_l2
from precsearch.reference.inner_tensors import OrtTensors
from precsearch.setup.target import Target, open_target

__all__ = ["Checked", "check_engine", "first_wrong"]

_WRONG = 1e-2
"""Relative L2 beyond which a strict FP32 engine computes something else: other orders of sums stay
far under it. TF32 may not, so that it is switched off for this."""

_MAX_NOT_BUILT = 8
"""Prefixes without an engine, each of which may have cost minutes, before the hunt ends."""


@dataclass(frozen=True)
class Checked:
    """An FP32 engine against the reference.

    Attributes:
        model: File name.
        backend: The engine.
        nodes: How many the prepared model has.
        found: What is wrong, ``None`` if nothing is.
        random: Whether the feed was of random numbers.
    """

    model: str
    backend: str
    nodes: int
    found: Miscompiled | None
    random: bool


def check_engine(model: Path, data: Path | None, backend: str, batch: int) -> Checked:
    """Look for the first wrong tensor of a model's FP32 engine, on the first feed.

    Raises:
        InputError: The model or the data cannot be read, the backend is unknown, or its engine of
            the whole model does not build or run.
    """
    name = backend_name(backend)
    target = open_target(read_model(model), name, (Precision.FP32,), "node", 0)
    outputs = tuple(o.name for o in target.graph.outputs)
    loaded = load(data, input_specs(target.graph.inputs), batch=batch, outputs=outputs)
    feed = loaded.feeds[0]
    options = replace(target.options, shapes=({k: tuple(v.shape) for k, v in feed.items()},))
    engine, folder = _strict(target, options), target.options.model_folder
    try:
        hunted = first_wrong(target.graph, engine, feed, folder=folder)
    except EngineError as error:
        raise ModelError(
            f"the {name} backend's FP32 engine of this model fails, so there is nothing to "
            f"compare: {error}"
        ) from error
    return Checked(model.name, name, len(target.graph.nodes), hunted, loaded.random)


def _strict(target: Target, options: BackendOptions) -> Backend:
    """The backend in its strictest FP32: a coarser one is no fault of a compiler."""
    backend = target.factory(options)
    if not isinstance(backend, ChoosesFp32):
        return backend
    strict = max(backend.fp32_modes(), key=lambda mode: mode.significand_bits)
    return target.factory(replace(options, build={**options.build, **strict.build}))


def first_wrong(
    graph: GraphView, backend: Backend, feed: Feed, bound: float = _WRONG, folder: str = ""
) -> Miscompiled | None:
    """The earliest tensor in graph order that an FP32 engine gets wrong.

    An engine of the first n nodes shows what they hand on. If that is wrong for n it is taken to be
    so for every larger n, which a bisection needs: it takes at most ⌈log₂ N⌉ + 1 engines. A prefix
    whose engine does not build or run is neither right nor wrong: one beside it is looked at.

    Args:
        graph: The prepared model, of N nodes.
        backend: Builds the engines.
        feed: One feed.
        bound: Relative L2 that counts as wrong.
        folder: Folder of external weights.

    Returns:
        ``None`` if the whole model's engine is right.

    Raises:
        ModelError: The reference refuses the model.
        BuildError, RunError: The whole model's engine does not build or run.
    """
    return _Hunt(graph, backend, feed, bound, folder).result()


class _Hunt:
    def __init__(
        self, graph: GraphView, backend: Backend, feed: Feed, bound: float, folder: str
    ) -> None:
        self._graph = graph
        self._backend = backend
        self._feed = feed
        self._bound = bound
        self._folder = folder
        self._builds = 0
        self._not_built = 0
        self._known: dict[str, Array] = dict(feed)

    def result(self) -> Miscompiled | None:
        """See `first_wrong`."""
        count = len(self._graph.nodes)
        worst = self._prefix(count)
        if worst is None:
            return None
        (tensor, difference), before = self._bisected(count, worst)
        builds, self._builds = self._builds, 0
        nodes = self._shrunk(tensor)
        model = extracted(self._graph, nodes, [tensor])
        inputs = self._reference(boundary(self._graph, nodes))
        try:
            got = self._engine(model, inputs)
        except EngineError:
            got = {}
        node = self._graph.producer[tensor]
        return Miscompiled(
            tensor=tensor,
            node=node.proto.name or node.key,
            op_type=node.op_type,
            difference=difference,
            builds=builds,
            shrunk=self._builds,
            nodes=tuple(self._graph.nodes[i].key for i in nodes),
            model=model,
            inputs=inputs,
            expected=self._reference([tensor]),
            got=got,
            not_built=self._not_built,
            before=before,
        )

    def _bisected(self, count: int, worst: tuple[str, float]) -> tuple[tuple[str, float], int]:
        """The earliest wrong tensor, and how many nodes before it could not be told."""
        right, wrong = 0, count
        unknown = set[int]()
        while left := sorted(set(range(right + 1, wrong)) - unknown):
            middle = min(left, key=lambda n: abs(n - (right + wrong) // 2))
            try:
                found = self._prefix(middle)
            except EngineError:
                unknown.add(middle)
                self._not_built += 1
                if self._not_built == _MAX_NOT_BUILT:
                    break
                continue
            if found is None:
                right = middle
            else:
                wrong, worst = middle, found
        return worst, wrong - right - 1

    def _prefix(self, count: int) -> tuple[str, float] | None:
        """The tensor that the first nodes get most wrong, ``None`` if all are right."""
        outputs = [t for t in frontier(self._graph, count) if self._graph.is_float(t)]
        if not outputs:
            return None
        nodes = range(count)
        model = extracted(self._graph, nodes, outputs)
        feed = {t: self._feed[t] for t in boundary(self._graph, nodes)}
        return self._wrong(model, feed, outputs)

    def _wrong(self, model: bytes, feed: Feed, outputs: Sequence[str]) -> tuple[str, float] | None:
        got = self._engine(model, feed)
        expected = self._reference(outputs)
        offs = {t: relative_l2(got[t], expected[t]) for t in outputs}
        bad = [t for t in outputs if not offs[t] <= self._bound]
        return (bad[0], offs[bad[0]]) if bad else None

    def _engine(self, model: bytes, feed: Feed) -> dict[str, Array]:
        """What an engine gives.

        Raises:
            BuildError: It cannot be built of this part.
            RunError: It does not run.
        """
        self._builds += 1
        session = self._backend.open(self._backend.build(model))
        try:
            return session.run(feed)
        finally:
            session.close()

    def _reference(self, tensors: Sequence[str]) -> dict[str, Array]:
        """FP32's tensors for the feed, run once each."""
        missing = [t for t in tensors if t not in self._known]
        if missing:
            inside = OrtTensors(
                "", tuple(missing), self._exposed, _itself, exact=True, model_folder=self._folder
            )
            self._known.update(inside.open(missing).run(self._feed))
        return {t: self._known[t] for t in tensors}

    def _exposed(self, tensors: Sequence[str]) -> bytes:
        return extracted(self._graph, ancestors(self._graph, tensors), tensors)

    def _shrunk(self, tensor: str) -> list[int]:
        """The smallest part before a tensor that still shows it, as far as can be had cheaply.

        First the fewest of its last ancestors, by bisection; then each of these without the others.
        """
        whole = ancestors(self._graph, [tensor])
        enough, few = len(whole), 0
        while enough - few > 1:
            middle = (enough + few) // 2
            if self._shows(whole[-middle:], tensor):
                enough = middle
            else:
                few = middle
        kept = whole[-enough:]
        for index in list(kept[:-1]):
            less = [i for i in kept if i != index]
            if self._shows(less, tensor):
                kept = less
        return kept

    def _shows(self, nodes: Collection[int], tensor: str) -> bool:
        needed = boundary(self._graph, nodes)
        if any(t not in self._graph.elem_types for t in needed):
            return False
        try:
            inputs = self._reference(needed)
        except ModelError:
            return False
        model = extracted(self._graph, nodes, [tensor])
        try:
            return self._wrong(model, inputs, [tensor]) is not None
        except EngineError:
            return False


def _itself(tensor: str) -> str:
    return tensor
