"""`optimize --cure`: rewrites that heal FP16, verified in FP32 and made before a search."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np

from precsearch.core.backend import Feed
from precsearch.core.errors import EngineError, ModelError
from precsearch.core.events import Event, StageStarted
from precsearch.core.precision import Precision
from precsearch.core.problem import Prior
from precsearch.core.space import Assignment
from precsearch.emulation.configuration import MAX_EMULATED_FEEDS, Configuration, outputs_of
from precsearch.graph.read import SourceModel
from precsearch.grouping.group import group
from precsearch.metrics.distance import worst_relative_l2
from precsearch.rewrites import clamped_constants, cured
from precsearch.rewrites.search import EXACT, Suggestion, suggestions
from precsearch.setup.config import BackendConfig, OptimizeConfig
from precsearch.setup.inputs import Inputs, open_inputs
from precsearch.setup.target import Target, open_target

__all__ = ["UNREVIEWED_EXACT", "Cured", "curable", "curing", "open_cured"]

Cured = tuple[Target, Inputs, tuple[str, ...]]
"""Model, data, and what came of the cures, a sentence each."""

UNREVIEWED_EXACT = EXACT / 10
"""How far, relative L2, a cure may move FP32's outputs here, where nobody looks at it first."""

_HELPS = 0.9
"""A cure that leaves more of FP16's loss than this only rounds otherwise."""


def open_cured(config: OptimizeConfig, source: SourceModel) -> Cured:
    """`curing` for those who show no events."""
    steps = curing(config, source)
    while True:
        try:
            next(steps)
        except StopIteration as end:  # noqa: PERF203 - how a generator returns
            found: Cured = end.value
            return found


def curing(config: OptimizeConfig, source: SourceModel) -> Generator[Event, None, Cured]:
    """Open a run's model, with the cures that help if they are wanted, and its data.

    A cure is judged on the samples of the search, in the emulation of FP16 everywhere. That takes
    from seconds to minutes, so an event says when it begins; it comes before the journal is open,
    which is told from others by the cures found.

    Args:
        config: The run's.
        source: Its model as read.

    Raises:
        InputError: Model, data or an option is wrong.
    """
    target = _opened(config, source)
    inputs = open_inputs(config, target.graph)
    if not config.cure:
        return target, inputs, ()
    if Precision.FP16 not in target.space.precisions:
        return target, inputs, (_NO_HALF,)
    yield StageStarted("cure", "rewrites that heal FP16 and leave FP32 as it is")
    part = inputs.parts.search
    feeds = part.take(range(min(MAX_EMULATED_FEEDS, len(part)))).feeds
    try:
        found = _best(target, feeds)
    except (ModelError, EngineError) as error:
        return target, inputs, (f"searching without cures: {error}",)
    if found is None:
        return target, inputs, (_NO_CURE,)
    changed = _opened(config, cured(source, found.cures))
    said = (
        f"cured by {found.name} (nodes: {len(found.sites)}): FP16 everywhere is off by "
        f"{found.after:.2g}, without it by {found.before:.2g}; FP32 moves by {found.fp32:.1g}"
    )
    return replace(changed, cures=found.cures), inputs, (said,)


def curable(target: Target, priors: Sequence[Prior]) -> tuple[str, ...]:
    """What ``--cure`` may do about FP16's hazards where a backend may not leave them in FP32.

    So it is where FP16 is asked for by name: TensorRT 8.6 does not obey beside INT8
    (docs/benchmarks/gpu.md, measured). Nothing is run to find it out.

    Returns:
        A sentence, or nothing where no cure is about one of the hazards.
    """
    if not target.form.annotated or Precision.INT8 not in target.space.precisions:
        return ()
    kept = {p.key for p in priors if p.precision is Precision.FP16 and p.avoid}
    groups = [target.space.by_key[key] for key in sorted(kept)]
    clamped = clamped_constants(target.graph)
    masking = clamped.rewrite.instead if clamped is not None else ()
    masks = {target.graph.nodes[index].key for index in masking}
    fits = {
        "fuse-layernorm": any(g.kind == "layernorm-statistics" for g in groups),
        "clamp-constants": any(masks & set(g.nodes) for g in groups),
    }
    names = [name for name, does in fits.items() if does]
    return (_CURABLE.format(count=len(groups), names=", ".join(names)),) if names else ()


_CURABLE = (
    "groups whose values FP16 cannot hold: {count}; beside INT8 this backend may run them in FP16 "
    "all the same; --cure looks for rewrites that heal them (likely: {names})"
)
_NO_HALF = "--cure does nothing here: cures heal FP16, which is not among this run's precisions"
_NO_CURE = "--cure found no cure that helps FP16 and is exact in FP32; the model stays as it is"


def _opened(config: BackendConfig, source: SourceModel) -> Target:
    return open_target(
        source,
        config.backend,
        config.precisions,
        config.granularity,
        config.threads,
        build=config.build_options,
        control=config.control,
    )


def _best(target: Target, feeds: Sequence[Feed]) -> Suggestion | None:
    """The cure, or those together, that leave the least of FP16's loss; ``None`` if none helps."""
    graph = target.graph
    halves = frozenset({Precision.FP32, Precision.FP16})
    space = group(graph, target.scheme, halves, target.space.granularity, target.form)
    opened = Configuration(
        "FP16",
        graph,
        space,
        space.uniform(Precision.FP16),
        target.backend,
        target.scheme,
        target.form,
        None,
        target.options.model_folder,
        target.source,
    )
    if not opened.assignment.entries:
        return None
    scales, assignment = opened.assigned(feeds)
    reference = outputs_of(opened, scales, Assignment(), feeds)
    before = worst_relative_l2(outputs_of(opened, scales, assignment, feeds), reference)
    tried = suggestions(opened, target.source, feeds, _peaks(opened, feeds), before)
    good = [s for s in tried if s.fp32 <= UNREVIEWED_EXACT and s.after < _HELPS * before]
    return min(good, key=lambda s: s.after, default=None)


def _peaks(opened: Configuration, feeds: Sequence[Feed]) -> dict[str, float]:
    """The largest value of every difference in FP32: a LayerNorm squares one."""
    graph = opened.graph
    tensors = tuple(
        n.outputs[0] for n in graph.nodes if n.is_op("Sub") and graph.is_float(n.outputs[0])
    )
    if not tensors:
        return {}
    scales, _ = opened.assigned(feeds)
    look = opened.inside(opened.flat(Assignment(), scales), tensors, "").open(tensors)
    peaks = dict.fromkeys(tensors, 0.0)
    for feed in feeds:
        for tensor, value in look.run(feed).items():
            peaks[tensor] = max(peaks[tensor], float(np.max(np.abs(value), initial=0.0)))
    return peaks
