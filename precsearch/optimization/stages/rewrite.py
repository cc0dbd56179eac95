"""`optimize --rewrite`: rewrites for FP16, verified in FP32 before a search."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np

from precsearch.core.backend import Feed
from precsearch.core.errors import EngineError, ModelError, OptionError
from precsearch.core.events import Event, StageStarted
from precsearch.core.precision import Precision
from precsearch.core.problem import Prior
from precsearch.core.space import Assignment
from precsearch.emulation.configuration import MAX_EMULATED_FEEDS, Configuration, outputs_of
from precsearch.graph.reading.read import SourceModel
from precsearch.grouping.group import group
from precsearch.metrics.distance import worst_relative_l2
from precsearch.rewrites import Recorded, clamped_constants, with_rewrites
from precsearch.rewrites.fold_bias import FOLD_BIAS, fold_bias_fits
from precsearch.rewrites.lift import LIFT
from precsearch.rewrites.search import EXACT, Suggestion, suggestions
from precsearch.setup.config import BackendConfig, OptimizeConfig
from precsearch.setup.inputs import Inputs, open_inputs
from precsearch.setup.target import Target, open_target

__all__ = ["UNREVIEWED_EXACT", "Rewritten", "open_rewritten", "rewritable", "rewriting"]

Rewritten = tuple[Target, Inputs, tuple[str, ...]]
"""Model, data, and what came of the rewrites, a sentence each."""

UNREVIEWED_EXACT = EXACT / 10
"""How far, relative L2, a rewrite may move FP32's outputs here, where nobody looks at it first."""


def open_rewritten(config: OptimizeConfig, source: SourceModel) -> Rewritten:
    """`rewriting` for those who show no events."""
    steps = rewriting(config, source)
    while True:
        try:
            next(steps)
        except StopIteration as end:  # noqa: PERF203 - how a generator returns
            rewritten: Rewritten = end.value
            return rewritten


def rewriting(config: OptimizeConfig, source: SourceModel) -> Generator[Event, None, Rewritten]:
    """Open a run's model, with the rewrites that help if they are wanted, and its data.

    A rewrite is judged on the samples of the search, in the emulation of FP16 everywhere. That
    takes from seconds to minutes, so an event says when it begins. The event comes before the
    journal is open, since the identity of a run names the rewrites that were found.

    Args:
        config: The run's.
        source: Its model as read.

    Raises:
        InputError: Model, data or an option is wrong.
    """
    first: tuple[Recorded, ...] = ((LIFT, {}),) if config.lift else ()
    original, source = source, with_rewrites(source, first)
    if config.lift and source is original:
        raise OptionError("the model has no Q/DQ pairs that --lift could take out; leave it out")
    target = _opened(config, source)
    target = _with_folded_biases(config, replace(target, rewrites=(*first, *target.rewrites)))
    inputs = open_inputs(config, target.graph)
    if not config.rewrite:
        return target, inputs, ()
    if Precision.FP16 not in target.space.precisions:
        return target, inputs, (_NO_HALF,)
    yield StageStarted("rewrite", "rewrites that make FP16 accurate and leave FP32 as it is")
    part = inputs.parts.search
    feeds = part.take(range(min(MAX_EMULATED_FEEDS, len(part)))).feeds
    try:
        suggestion = _best(target, feeds)
    except (ModelError, EngineError) as error:
        return target, inputs, (f"searching without rewrites: {error}",)
    if suggestion is None:
        return target, inputs, (_NO_REWRITE,)
    changed = _opened(config, with_rewrites(target.source, suggestion.rewrites))
    rewrites = (*target.rewrites, *suggestion.rewrites, *changed.rewrites)
    sentence = (
        f"rewritten by {suggestion.name} (nodes: {len(suggestion.sites)}): FP16 everywhere is "
        f"off by {suggestion.after:.2g}, without it by {suggestion.before:.2g}; FP32 moves by "
        f"{suggestion.fp32:.1g}"
    )
    return replace(changed, rewrites=rewrites), inputs, (sentence,)


def _with_folded_biases(config: OptimizeConfig, target: Target) -> Target:
    """The target with what follows its convolutions folded into them, for INT8.

    Nothing is folded where the user has settled what happens to a node that would be gone.
    """
    folding = FOLD_BIAS in config.corrections and Precision.INT8 in target.space.precisions
    if not folding or not fold_bias_fits(target.source.proto):
        return target
    folded = with_rewrites(target.source, [(FOLD_BIAS, {})])
    if folded is target.source:
        return target
    try:
        folded_target = _opened(config, folded)
    except OptionError:
        return target
    return replace(
        folded_target, rewrites=(*target.rewrites, (FOLD_BIAS, {}), *folded_target.rewrites)
    )


def rewritable(target: Target, priors: Sequence[Prior]) -> tuple[str, ...]:
    """What ``--rewrite`` may do about FP16's hazards where a backend may not leave them in FP32.

    So it is where FP16 is asked for by name: TensorRT 8.6 does not obey beside INT8
    (docs/benchmarks/gpu.md, measured). Nothing is run to find it out.

    Returns:
        A sentence, or nothing where no rewrite is about one of the hazards.
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
    return (_REWRITABLE.format(count=len(groups), names=", ".join(names)),) if names else ()


_REWRITABLE = (
    "groups whose values FP16 cannot hold: {count}; beside INT8 this backend may run them in FP16 "
    "all the same; --rewrite looks for rewrites after which FP16 can (likely: {names})"
)
_NO_HALF = (
    "--rewrite does nothing here: rewrites are for FP16, which is not among this run's precisions"
)
_NO_REWRITE = (
    "--rewrite found no rewrite that helps FP16 and is exact in FP32; the model stays as it is"
)


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
    """The rewrites that leave the least of FP16's loss; ``None`` if none helps."""
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
    good = [s for s in tried if s.fp32 <= UNREVIEWED_EXACT and s.helps]
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
