"""Rewrites by name: what a plan needs in order to make the rewritten model again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx

from precsearch.core.errors import OptionError
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import SourceModel
from precsearch.rewrites.registry import RULES
from precsearch.rewrites.rewrite import Parameters, rewritten

__all__ = ["REWRITES", "Recorded", "with_rewrites"]

Recorded = tuple[str, Parameters]
"""Name of a rewrite and its parameters."""

REWRITES = tuple(RULES)
"""The names that there are."""


def with_rewrites(source: SourceModel, rewrites: Sequence[Recorded]) -> SourceModel:
    """The model with rewrites applied one after the other; the same bytes for the same model.

    Args:
        source: The model as read.
        rewrites: In order. One that fits nowhere changes nothing.

    Returns:
        The model with another graph; path, digest and external weights are the original's.

    Raises:
        OptionError: There is no rewrite of a name.
        ModelError: The graph cannot be raised to the operator set that a rewrite needs.
    """
    for name, params in rewrites:
        rule = RULES.get(name)
        if rule is None:
            raise OptionError(f"there is no rewrite {name!r}; use one of {', '.join(REWRITES)}")
        graph = prepare(source, rule.min_opset)
        named = rule.apply(graph, params)
        if named is not None:
            model = onnx.ModelProto.FromString(rewritten(graph, named.rewrite))
            source = replace(source, proto=model)
    return source
