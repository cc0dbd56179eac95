"""Looking for a rewrite: each is verified in FP32 before it is tried in the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from precsearch.core.backend import Feed
from precsearch.core.errors import ModelError
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.emulation.configuration import Configuration, outputs_of
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import SourceModel
from precsearch.graph.view import GraphView
from precsearch.metrics.distance import worst_relative_l2
from precsearch.rewrites import (
    NamedRewrite,
    Recorded,
    clamped_constants,
    fused_norms,
    merged_scales,
    norm_exponents,
    rewritten,
    scaled_norms,
)
from precsearch.rewrites.int8 import int8_corrections, range_sources
from precsearch.rewrites.rewrite import LAYERNORM_OPSET

__all__ = ["EXACT", "HELPS", "Suggestion", "suggestions"]

EXACT = 1e-4
"""How far, relative L2, a rewrite may move FP32's outputs: the order of sums, nothing more."""


HELPS = 0.9
"""A rewrite or correction that leaves more of the loss than this only rounds otherwise."""


@dataclass(frozen=True)
class Suggestion:
    """A rewrite or another correction that was tried.

    Attributes:
        name: Of the rewrite, of several joined by +, or of the correction.
        what: Half a sentence.
        sites: Keys of the nodes that it is about.
        fp32: Relative L2 that it moves FP32's outputs by.
        before, after: Loss of the configuration without and with it, both emulated.
        model: The rewritten model, serialized; ``None`` if it is not exact, or not rewritten.
        rewrites: Name and parameters of each, for `precsearch.rewrites.with_rewrites`.
    """

    name: str
    what: str
    sites: tuple[str, ...]
    fp32: float
    before: float
    after: float
    model: bytes | None = None
    rewrites: tuple[Recorded, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether FP32 gives the same with it."""
        return self.fp32 <= EXACT

    @property
    def helps(self) -> bool:
        """Whether it is exact and leaves clearly less of the loss."""
        return self.exact and self.after <= HELPS * self.before and self.after < self.before


def suggestions(
    opened: Configuration,
    source: SourceModel,
    feeds: Sequence[Feed],
    absmax: Mapping[str, float],
    before: float | None = None,
) -> tuple[Suggestion, ...]:
    """Every rewrite that fits the model, and those that are exact together; the best first.

    Args:
        opened: The configuration.
        source: The model.
        feeds: Samples.
        absmax: Largest value by tensor, in FP32.
        before: The configuration's loss, emulated; ``None`` is not known yet.

    Raises:
        ModelError: ONNX Runtime refuses the model itself.
    """
    plain, assignment = opened.assigned(feeds)
    reference = outputs_of(opened, plain, Assignment(), feeds)
    if before is None:
        before = worst_relative_l2(outputs_of(opened, plain, assignment, feeds), reference)
    tried: list[Suggestion] = []
    for named, graph in _rewrites(opened, source, absmax, feeds):
        tried.append(_tried(opened, source, graph, [named], feeds, reference, before))
    if opened.assignment.keys_at(Precision.INT8) and opened.scales is None:
        tried += _ranges(opened, feeds, reference, before)
    good = [t for t in tried if t.exact and t.model is not None]
    if len(good) > 1 and min(t.after for t in good) > _ENOUGH * before:
        names = {t.name for t in good}
        tried.append(_together(opened, source, names, feeds, reference, before, absmax))
    return tuple(sorted(tried, key=lambda t: (not t.exact, t.after)))


_ENOUGH = 1e-2


def _ranges(
    opened: Configuration, feeds: Sequence[Feed], reference: Sequence[Feed], before: float
) -> list[Suggestion]:
    """The method of ranges that leaves least of the loss; no change of the model."""
    found: list[Suggestion] = []
    for method, scales, cut in range_sources(opened, feeds):
        _, assignment = opened.assigned(feeds)
        after = worst_relative_l2(outputs_of(opened, scales, assignment, feeds), reference)
        what = f"end the ranges of activations by {method} instead of at the largest value"
        found.append(Suggestion("ranges", what, cut, 0.0, before, after))
    return sorted(found, key=lambda t: t.after)[:1]


def _rewrites(
    opened: Configuration,
    source: SourceModel,
    absmax: Mapping[str, float],
    feeds: Sequence[Feed],
) -> Iterator[tuple[NamedRewrite, GraphView]]:
    """Those that fit, each with the graph that it changes; corrections where INT8 is looked at."""
    graph = opened.graph
    if opened.assignment.keys_at(Precision.INT8):
        yield from ((named, graph) for named in int8_corrections(opened, feeds))
        return
    newer = graph
    if graph.opsets.get("", 1) < LAYERNORM_OPSET:
        try:
            newer = prepare(source, LAYERNORM_OPSET)
        except ModelError:  # cannot be raised: LayerNormalization is not to be had
            newer = graph
    for named, whose in (
        (fused_norms(newer), newer),
        (scaled_norms(graph, norm_exponents(graph, absmax)), graph),
        (clamped_constants(graph), graph),
        (merged_scales(graph), graph),
    ):
        if named is not None:
            yield named, whose


def _together(
    opened: Configuration,
    source: SourceModel,
    names: set[str],
    feeds: Sequence[Feed],
    reference: Sequence[Feed],
    before: float,
    absmax: Mapping[str, float],
) -> Suggestion:
    """One after the other: a rewrite looks at the graph that the one before left."""
    done, current = list[NamedRewrite](), source
    while True:
        candidates = (c for c in _rewrites(opened, current, absmax, feeds) if c[0].name in names)
        named, whose = next(candidates, (None, opened.graph))
        if named is None:
            break
        names = names - {named.name}
        current = _source(source, rewritten(whose, named.rewrite))
        opened = opened.of(prepare(current, opened.form.min_opset))
        done.append(named)
    return _judged(
        opened, opened.graph, done, feeds, reference, before, current.proto.SerializeToString()
    )


def _tried(
    opened: Configuration,
    source: SourceModel,
    graph: GraphView,
    rewrites: Sequence[NamedRewrite],
    feeds: Sequence[Feed],
    reference: Sequence[Feed],
    before: float,
) -> Suggestion:
    model = rewritten(graph, rewrites[0].rewrite)
    changed = prepare(_source(source, model), opened.form.min_opset)
    return _judged(opened, changed, rewrites, feeds, reference, before, model)


def _source(source: SourceModel, model: bytes) -> SourceModel:
    return replace(source, path=Path(source.path), proto=onnx.ModelProto.FromString(model))


def _judged(
    opened: Configuration,
    graph: GraphView,
    rewrites: Sequence[NamedRewrite],
    feeds: Sequence[Feed],
    reference: Sequence[Feed],
    before: float,
    model: bytes,
) -> Suggestion:
    changed = opened.of(graph)
    scales, assignment = changed.assigned(feeds)
    fp32 = worst_relative_l2(outputs_of(changed, scales, Assignment(), feeds), reference)
    after = before
    if fp32 <= EXACT:
        after = worst_relative_l2(outputs_of(changed, scales, assignment, feeds), reference)
    return Suggestion(
        name="+".join(c.name for c in rewrites),
        what=", and ".join(c.what for c in rewrites),
        sites=tuple(s for c in rewrites for s in c.rewrite.sites),
        fp32=fp32,
        before=before,
        after=after,
        model=model if fp32 <= EXACT else None,
        rewrites=tuple((c.name, c.params) for c in rewrites),
    )
