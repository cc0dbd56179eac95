"""Cures by name: what a plan needs in order to make the cured model again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import onnx

from precsearch.core.errors import OptionError
from precsearch.graph.prepare import MIN_OPSET, prepare
from precsearch.graph.read import SourceModel
from precsearch.graph.view import GraphView
from precsearch.rewrites.attention import merged_scales
from precsearch.rewrites.constants import clamped_constants
from precsearch.rewrites.norms import fused_norms, scaled_norms
from precsearch.rewrites.rewrite import LAYERNORM_OPSET, Cure, rewritten

__all__ = ["CURES", "Recorded", "cured"]

Recorded = tuple[str, Mapping[str, int]]
"""Name of a cure and its parameters."""

_Make = Callable[[GraphView, Mapping[str, int]], Cure | None]


def _without(make: Callable[[GraphView], Cure | None]) -> _Make:
    return lambda graph, _: make(graph)


_MAKERS: dict[str, _Make] = {
    "fuse-layernorm": _without(fused_norms),
    "scale-variance": scaled_norms,
    "clamp-constants": _without(clamped_constants),
    "merge-scales": _without(merged_scales),
}

CURES = tuple(_MAKERS)
"""The names that there are."""


def cured(source: SourceModel, cures: Sequence[Recorded]) -> SourceModel:
    """The model with cures applied one after the other; the same bytes for the same model.

    Args:
        source: The model as read.
        cures: In order. One that fits nowhere changes nothing.

    Returns:
        The model with another graph; path, digest and external weights are the original's.

    Raises:
        OptionError: There is no cure of a name.
        ModelError: The graph cannot be raised to the operator set that a cure needs.
    """
    for name, params in cures:
        if name not in _MAKERS:
            raise OptionError(f"there is no rewrite {name!r}; use one of {', '.join(CURES)}")
        opset = LAYERNORM_OPSET if name == "fuse-layernorm" else MIN_OPSET
        graph = prepare(source, opset)
        cure = _MAKERS[name](graph, params)
        if cure is not None:
            model = onnx.ModelProto.FromString(rewritten(graph, cure.rewrite))
            source = replace(source, proto=model)
    return source
