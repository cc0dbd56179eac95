"""`diagnose`: a configuration against FP32, tensor by tensor in graph order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from precsearch.core.errors import DataError, OptionError
from precsearch.core.formats import FLOAT16
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.data import Dataset, input_specs, load
from precsearch.diagnosis.look import look, open_configuration
from precsearch.diagnosis.result import Constant, Diagnosis, Layer
from precsearch.diagnosis.ruled import Ruled, ruled
from precsearch.emulation.configuration import MAX_EMULATED_FEEDS, Configuration
from precsearch.formatting import many
from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.qdq.reach import node_groups
from precsearch.metrics.similarity import Similarity, Sums
from precsearch.reference.inner_tensors import OrtTensors, TensorSource
from precsearch.rewrites.search import Suggestion, suggestions

__all__ = ["BUDGET_MB", "DiagnoseConfig", "diagnose"]

BUDGET_MB = 256
"""Default memory for tensors under comparison, in MB."""

_COPIES = 4
"""A tensor of each of two runs, and ONNX Runtime's own copy of each."""

_JUMP = 5.0
_LEAST = 0.02


@dataclass(frozen=True)
class DiagnoseConfig:
    """What to look at.

    Attributes:
        model: The ONNX file.
        data: Samples; ``None`` is random numbers.
        precision: Everything that can, in this precision; not with ``plan``.
        plan: A plan's assignment and scales.
        backend: Name of the engine whose rules are followed.
        granularity: ``node``, ``group`` or ``block``.
        batch: Samples of one feed.
        input_shapes: Input name → shape, where random numbers are made.
        memory_mb: For tensors under comparison, in MB.
        suggest: Whether to look for a rewrite.
        preprocess: Steps that make samples of pictures or sounds.
    """

    model: Path
    data: Path | None = None
    precision: Precision = Precision.FP16
    plan: Path | None = None
    backend: str = "auto"
    granularity: str = "group"
    batch: int = 1
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    memory_mb: int = BUDGET_MB
    suggest: bool = False
    preprocess: str = ""


def _samples(config: DiagnoseConfig, graph: GraphView) -> Dataset:
    data = load(
        config.data,
        input_specs(graph.inputs),
        batch=config.batch,
        shapes=config.input_shapes,
        outputs=tuple(o.name for o in graph.outputs),
        preprocess=config.preprocess,
    )
    return data.take(range(min(MAX_EMULATED_FEEDS, len(data))))


def _rewrites(
    opened: Configuration, data: Dataset, sums: Mapping[str, Sums], loss: float | None
) -> tuple[Suggestion, ...]:
    """What changes the loss; ``None`` is to be emulated first, as suggestions are."""
    if not opened.assignment.entries:
        return ()
    peaks = {t: s.reference_absmax for t, s in sums.items()}
    return suggestions(opened, opened.source, data.feeds, peaks, loss)


def diagnose(config: DiagnoseConfig) -> Diagnosis:
    """Compare a configuration with FP32.

    Raises:
        InputError: The model, data or plan cannot be read, an option is wrong, or the samples give
            no group a range for INT8.
        ReplayError: The plan is another model's.
        RunError: The model fails on the data.
    """
    if config.memory_mb < 1:
        raise OptionError(f"--memory takes megabytes of at least 1, not {config.memory_mb}")
    opened = open_configuration(
        config.model, config.precision, config.plan, config.backend, config.granularity
    )
    graph = opened.graph
    outputs = tuple(o.name for o in graph.outputs)
    data = _samples(config, graph)
    with closing(look(opened, data.feeds)) as looked:
        without = _without_ranges(opened, looked.assignment)
        opened = replace(opened, assignment=looked.assignment)
        reference, inside = looked.reference, looked.inside
        sums, held = _compared(reference, inside, data, config.memory_mb << 20)
    layers = tuple(_layers(graph, opened, sums, looked.achieved))
    losses = {o: _loss(o, sums) for o in outputs if graph.is_float(o) and o in graph.producer}
    resized = {o: s.resized for o, s in sums.items() if s.resized and o in losses}
    layers = tuple(
        replace(row, alone=looked.alone(row.group)) if row.jump else row for row in layers
    )
    rules = ruled(opened, data.feeds, config.memory_mb << 20)
    beyond = rules.beyond(frozenset(r.group for r in layers if r.jump)) if rules else ()
    worst = max((v for o, v in losses.items() if o not in resized), default=0.0)
    loss = worst if isinstance(inside, OrtTensors) else None
    return Diagnosis(
        model=config.model.name,
        asked=opened.asked,
        how=looked.inside.how,
        losses=losses,
        resized=resized,
        layers=layers,
        constants=tuple(_constants(graph, opened.space, opened, rules)),
        samples=sum(data.sizes),
        random=data.random,
        notes=(*opened.told, *without, *data.notes, *looked.notes(), *beyond),
        held_bytes=held,
        suggestions=_rewrites(opened, data, sums, loss) if config.suggest else (),
    )


def _without_ranges(opened: Configuration, assignment: Assignment) -> tuple[str, ...]:
    """How many groups stay in FP32, since the samples give no range for what they hold or read.

    Raises:
        DataError: No group is left in INT8.
    """
    asked, kept = (a.keys_at(Precision.INT8) for a in (opened.assignment, assignment))
    lost = [g.key for g in opened.space.groups if g.key in asked and g.key not in kept]
    if not lost:
        return ()
    why = f"on these samples, {lost[0]!r} for one, tensors hold NaN or infinity and have no range"
    if not kept:
        raise DataError(f"no group can be in INT8: {why}; remove such samples")
    return (f"INT8 is left out of {many(len(lost), 'group')}: {why}",)


def _loss(output: str, sums: Mapping[str, Sums]) -> float:
    return sums[output].likeness().relative if output in sums else math.nan


def _compared(
    reference: OrtTensors, inside: TensorSource, data: Dataset, budget: int
) -> tuple[dict[str, Sums], int]:
    """Sums by tensor, and the most bytes that were held for them at once."""
    known = frozenset(inside.tensors)
    tensors = [t for t in reference.tensors if t in known]
    sizes = _sizes(reference, tensors, data)
    sums = {t: Sums() for t in tensors}
    shown_tensors = set[str]()  # an engine that was cut somewhere may not build
    held = 0
    for chunk in _chunks(tensors, sizes, budget // _COPIES, inside.at_once):
        expected, shown = reference.open(chunk), inside.open(chunk)
        for feed in data.feeds:
            right, mine = expected.run(feed), shown.run(feed)
            held = max(held, sum(a.nbytes for a in (*right.values(), *mine.values())))
            for tensor in mine:
                sums[tensor].add(mine[tensor], right[tensor])
            shown_tensors.update(mine)
    return {t: s for t, s in sums.items() if t in shown_tensors}, held


def _sizes(reference: OrtTensors, tensors: Sequence[str], data: Dataset) -> dict[str, int]:
    """The largest size of each tensor over feeds of different shapes."""
    shapes: dict[tuple[tuple[str, tuple[int, ...]], ...], int] = {}
    for index, feed in enumerate(data.feeds):
        shapes.setdefault(tuple((k, v.shape) for k, v in sorted(feed.items())), index)
    sizes: dict[str, int] = dict.fromkeys(tensors, 0)
    for index in shapes.values():
        for tensor, size in reference.sizes(tensors, data.feeds[index]).items():
            sizes[tensor] = max(sizes[tensor], size)
    return sizes


def _chunks(
    tensors: Sequence[str], sizes: Mapping[str, int], budget: int, at_once: int
) -> Iterator[list[str]]:
    """Neighbours in graph order that fit the budget together; one that alone does not, alone."""
    chunk: list[str] = []
    total = 0
    for tensor in tensors:
        full = at_once and len(chunk) >= at_once
        if chunk and (full or total + 2 * sizes[tensor] > budget):
            yield chunk
            chunk, total = [], 0
        chunk.append(tensor)
        total += 2 * sizes[tensor]
    if chunk:
        yield chunk


def _layers(
    graph: GraphView,
    opened: Configuration,
    sums: Mapping[str, Sums],
    achieved: Mapping[str, Precision],
) -> Iterator[Layer]:
    owners = node_groups(opened.space)
    alike = {t: s.likeness() for t, s in sums.items()}
    for node in graph.nodes:
        for tensor in node.outputs:
            if tensor not in alike:
                continue
            group = opened.space.by_key[owners[node.key]]
            before = _before(node, graph, alike)
            relative = alike[tensor].relative
            yield Layer(
                tensor=tensor,
                op_type=node.op_type,
                node=node.proto.name or node.key,
                group=group.key,
                kind=group.kind,
                block=group.block,
                precision=opened.assignment[group.key],
                achieved=achieved.get(group.key),
                shape=sums[tensor].shape,
                likeness=alike[tensor],
                reads=node.inputs,
                before=before,
                # Another size says nothing of how far its values are off.
                jump=not alike[tensor].resized and relative > max(_LEAST, _JUMP * before),
            )


def _before(node: NodeView, graph: GraphView, alike: Mapping[str, Similarity]) -> float:
    """Through nodes that are not shown (integers, or fused away), what those read."""
    worst, pending, seen = 0.0, [*node.inputs, *node.captures], set[str]()
    while pending:
        tensor = pending.pop()
        if tensor in seen or not tensor:
            continue
        seen.add(tensor)
        if tensor in alike:
            worst = max(worst, alike[tensor].relative)
        elif (maker := graph.producer.get(tensor)) is not None:
            pending += maker.inputs
    return worst


def _constants(
    graph: GraphView, space: SearchSpace, opened: Configuration, rules: Ruled | None
) -> Iterator[Constant]:
    """Weights that an FP16 node reads and FP16 cannot hold."""
    owners = node_groups(space)
    for name, weight in graph.weights.items():
        readers = tuple(
            u.key
            for u in graph.users(name)
            if opened.assignment[owners.get(u.key, "")] is Precision.FP16
        )
        if not readers or not graph.is_float(name) or not weight.size:
            continue
        values = np.asarray(weight.load(), np.float32)
        finite = np.abs(values[np.isfinite(values)])
        if finite.size and float(finite.max()) > FLOAT16.largest:
            harmless = rules is not None and not any((name, r) in rules.constants for r in readers)
            yield Constant(name, float(finite.max()), readers, harmless)
