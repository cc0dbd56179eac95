"""Corrections of INT8 that `diagnose --suggest` tries: rewrites of the model, and ranges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from precsearch.calibration.channels import ChannelRequest, ChannelStatistics, collect_channels
from precsearch.calibration.ranges import METHODS, Calibration, ranges_by_method
from precsearch.core.backend import Feed
from precsearch.core.quantization import Quirk
from precsearch.core.space import Assignment
from precsearch.emulation.configuration import Configuration
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, ScaleSource
from precsearch.rewrites.fold_bias import folded_biases
from precsearch.rewrites.rewrite import NamedRewrite
from precsearch.rewrites.scaling.channels import Axis
from precsearch.rewrites.scaling.equalize import equalized
from precsearch.rewrites.scaling.scale_choice import (
    chosen_scales,
    scalable_axes,
    smooth_scales,
    smoothable_axes,
)
from precsearch.rewrites.scaling.smooth import smoothed

__all__ = ["int8_corrections", "range_sources"]


def int8_corrections(opened: Configuration, feeds: Sequence[Feed]) -> Iterator[NamedRewrite]:
    """The corrections that fit a graph, as `optimize` tries them before it searches.

    Args:
        opened: The graph, and how its backend quantizes.
        feeds: Samples that channels are looked at on.

    Raises:
        ModelError: ONNX Runtime refuses the model.
    """
    graph = opened.graph
    scales = chosen_scales(graph, _statistics(opened, scalable_axes(graph), feeds))
    made = [folded_biases(graph, {}), equalized(graph, scales) if scales else None]
    if Quirk.CHEAP_FACTORS in opened.scheme.quirks:
        factors = smooth_scales(graph, _statistics(opened, smoothable_axes(graph), feeds))
        made.append(smoothed(graph, factors) if factors else None)
    yield from (one for one in made if one is not None)


def range_sources(
    opened: Configuration, feeds: Sequence[Feed]
) -> Iterator[tuple[str, ScaleSource, tuple[str, ...]]]:
    """Ranges by every method but min-max: the method, the scales, and the tensors that it cuts.

    Args:
        opened: The graph, and how its backend quantizes.
        feeds: Samples that ranges come from.

    Raises:
        ModelError: ONNX Runtime refuses the model.
    """
    tensors = quantizable(opened.graph, opened.scheme, opened.space)
    every = tuple(sorted(frozenset().union(*tensors.values())))
    calibration = Calibration(_bare(opened), opened.model_folder, every)
    found = ranges_by_method(calibration, feeds, METHODS)
    plain = found["minmax"]
    for method in METHODS:
        cut = tuple(t for t, one in plain.items() if found[method][t] != one)
        if method != "minmax" and cut:
            yield method, RangeScales(found[method], opened.scheme), cut


def _bare(opened: Configuration) -> bytes:
    return opened.lowered(Assignment(), RangeScales({}, opened.scheme)).model


def _statistics(
    opened: Configuration, axes: tuple[Axis, ...], feeds: Sequence[Feed]
) -> dict[Axis, ChannelStatistics]:
    ranks = {tensor: len(opened.graph.shapes[tensor]) for tensor, _ in axes}
    return collect_channels(ChannelRequest(_bare(opened), opened.model_folder, axes, ranks), feeds)
